#!/usr/bin/env python3
"""A link with real delay between two network namespaces (Linux, root, /dev/net/tun; tc netem is not needed).

    delayed_link.py ONE_WAY_MS -- command ...

Two namespaces, each with a TUN device; this process carries the packets between them, each ONE_WAY_MS late. TCP end to
end: acknowledgements, FIN and RST travel as on a real network, which a delaying proxy would hide. Nothing leaves the
machine. The command runs with LINK_CLIENT_NS, LINK_SERVER_NS, LINK_CLIENT_ADDR, LINK_SERVER_ADDR and LINK_IP (the path
of `ip`) set, and starts its two sides with `"$LINK_IP" netns exec "$LINK_SERVER_NS" ...`. Its exit status is passed on;
everything is removed at the end.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
CLIENT_ADDRESS, SERVER_ADDRESS = "198.18.0.1", "198.18.0.2"  # RFC 2544: for tests, routed nowhere


def ip() -> str:
    """The path of iproute2's `ip`."""
    found = shutil.which("ip", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))
    if found is None:
        raise FileNotFoundError("there is no `ip` here: it is in iproute2")
    return found


def _ip(*arguments: str) -> None:
    try:
        subprocess.run([ip(), *arguments], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        raise OSError(f"ip {' '.join(arguments)}: {error.stderr.strip()}") from None


def _open_end(namespace: str, device: str, address: str) -> int:
    """Creates the namespace with one TUN device in it; returns the descriptor that carries its packets."""
    _ip("netns", "add", namespace)
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH", device.encode(), _IFF_TUN | _IFF_NO_PI))
        _ip("link", "set", device, "netns", namespace)
        _ip("-n", namespace, "addr", "add", f"{address}/30", "dev", device)
        _ip("-n", namespace, "link", "set", device, "up")
        _ip("-n", namespace, "link", "set", "lo", "up")
    except BaseException:
        os.close(end)
        raise
    return end


def _carry(ends: list[int], delay: float, stop: threading.Event) -> None:
    """Moves packets from each end to the other, `delay` seconds late, in order, until `stop` is set."""
    # A network is no slower because this machine is busy.
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))  # of this thread alone
    other = {ends[0]: ends[1], ends[1]: ends[0]}
    late: collections.deque[tuple[float, int, bytes]] = (
        collections.deque()
    )  # one delay for all: it stays sorted by time
    while not stop.is_set():
        wait = late[0][0] - time.monotonic() if late else 0.05
        for end in select.select(ends, [], [], min(max(0.0, wait), 0.05))[0]:
            while True:
                try:
                    packet = os.read(end, 65536)
                except BlockingIOError:
                    break
                late.append((time.monotonic() + delay, other[end], packet))
        while late and late[0][0] <= time.monotonic():
            _, to, packet = late.popleft()
            try:
                os.write(to, packet)
            except OSError:
                pass  # a full queue or a device going down drops the packet, as a network would


def main(arguments: list[str]) -> int:
    if len(arguments) < 3 or arguments[1] != "--":
        sys.exit(__doc__)
    # Ended by a signal it tidies up all the same.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    client, server = f"link{os.getpid()}c", f"link{os.getpid()}s"
    ends: list[int] = []
    stop = threading.Event()
    carrier = threading.Thread(target=_carry, args=(ends, float(arguments[0]) / 1000, stop), daemon=True)
    try:
        ends.append(_open_end(client, "linkc", CLIENT_ADDRESS))
        ends.append(_open_end(server, "links", SERVER_ADDRESS))
        carrier.start()
        names = {
            "LINK_IP": ip(),
            "LINK_CLIENT_NS": client,
            "LINK_SERVER_NS": server,
            "LINK_CLIENT_ADDR": CLIENT_ADDRESS,
            "LINK_SERVER_ADDR": SERVER_ADDRESS,
        }
        return subprocess.run(arguments[2:], check=False, env={**os.environ, **names}).returncode
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        stop.set()
        if carrier.ident is not None:
            carrier.join()
        for end in ends:
            os.close(end)
        for namespace in (client, server):
            subprocess.run([ip(), "netns", "del", namespace], check=False, capture_output=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
