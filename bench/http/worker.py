"""One measured process: one Python client, warmed up, then timed.

    python -m bench.http.worker CLIENT PORT THREADS WARM_SECONDS MEASURED_SECONDS [CA.pem]

Prints one JSON object: requests, seconds, cpu_us (user and system time of this process over the measured loop),
p50_us, p99_us; or {"unavailable": reason}. With MEASURED_SECONDS 0 it makes one call and says {"requests": 1}.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time

from bench.common.workload import Peer
from bench.http.clients import Call, NotAvailable, Opened, open_client


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _warm_up(call: Call, seconds: float) -> None:
    end = time.perf_counter() + seconds
    for _ in range(5):
        call()
    while time.perf_counter() < end:
        call()


def _measure(call: Call, seconds: float) -> list[int]:
    """Calls until the time is over; one clock reading per call. Nanoseconds each took."""
    samples: list[int] = []
    append, now = samples.append, time.perf_counter_ns
    begin = now()
    end = begin + int(seconds * 1e9)
    while begin < end:
        call()
        after = now()
        append(after - begin)
        begin = after
    return samples


def _in_this_thread(opened: Opened, warm: float, seconds: float) -> tuple[list[int], float, float]:
    call = opened.for_thread()
    _warm_up(call, warm)
    cpu, begin = _cpu_seconds(), time.perf_counter()
    samples = _measure(call, seconds)
    return samples, time.perf_counter() - begin, _cpu_seconds() - cpu


def _in_threads(opened: Opened, threads: int, warm: float, seconds: float) -> tuple[list[int], float, float]:
    # Passed twice: once when all are warm, and again after this thread has read the clocks.
    gate = threading.Barrier(threads + 1)
    results: list[list[int]] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            call = opened.for_thread()
            _warm_up(call, warm)
            gate.wait()
            gate.wait()
            results.append(_measure(call, seconds))
        except threading.BrokenBarrierError:
            pass
        except BaseException as error:
            errors.append(error)
            gate.abort()

    workers = [threading.Thread(target=run) for _ in range(threads)]
    for worker in workers:
        worker.start()
    cpu = begin = 0.0
    try:
        gate.wait()
        cpu, begin = _cpu_seconds(), time.perf_counter()
        gate.wait()
    except threading.BrokenBarrierError:
        pass
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]
    samples = [sample for own in results for sample in own]
    return samples, time.perf_counter() - begin, _cpu_seconds() - cpu


def measure(opened: Opened, threads: int, warm: float, seconds: float) -> dict[str, object]:
    """The figures that are printed. Closes the client."""
    try:
        if seconds == 0:
            opened.for_thread()()
            return {"requests": 1}
        if threads == 1:
            samples, elapsed, cpu = _in_this_thread(opened, warm, seconds)
        else:
            samples, elapsed, cpu = _in_threads(opened, threads, warm, seconds)
    finally:
        opened.close()
    samples.sort()
    return {
        "requests": len(samples),
        "seconds": elapsed,
        "cpu_us": cpu * 1e6,
        "p50_us": samples[len(samples) // 2] / 1e3,
        "p99_us": samples[min(len(samples) - 1, len(samples) * 99 // 100)] / 1e3,
    }


def main(arguments: list[str]) -> None:
    client, port, threads, warm, seconds = arguments[:5]
    peer = Peer(int(port), arguments[5] if len(arguments) > 5 else None)
    try:
        result = measure(open_client(client, peer), int(threads), float(warm), float(seconds))
    except NotAvailable as reason:
        result = {"unavailable": str(reason)}
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
