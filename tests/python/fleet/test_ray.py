"""examples/ray: the workers of a Ray cluster share one limit."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fleet.counting_chat import CountingChat
from peers.redis_server import RedisServer

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "ray"
LIMIT = 6
WORKERS = 3

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="elsewhere: an environment with `pip install ray`, which the locks leave out, and this test alone",
)


@contextmanager
def cluster() -> Iterator[str]:
    """Two nodes on this machine, of two CPUs each; its address."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        made.add_node(num_cpus=2)
        yield made.address
    finally:
        made.shutdown()


def test_the_workers_of_a_cluster_answer_all_prompts_and_never_exceed_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the nodes' environment gives their workers.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    prompts = [f"prompt {number}" for number in range(300)]
    (tmp_path / "prompts.txt").write_text("\n".join(prompts))
    with RedisServer(tmp_path / "redis") as redis, CountingChat(0.2) as upstream, cluster() as address:
        command = [sys.executable, str(EXAMPLE / "batch.py"), "prompts.txt", "answers.jsonl", "--fleet", redis.url]
        command += ["--limit", f"{upstream.origin}={LIMIT}", "--model", "openai/m", "--api-base", upstream.base_url]
        command += ["--workers", str(WORKERS), "--at-once", "25", "--address", address]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout.splitlines()[-1])
        assert (told["prompts"], told["failed"]) == (len(prompts), 0)
        assert [each[upstream.origin]["members"] for each in told["fleet"]] == [WORKERS] * WORKERS
        answers = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
        assert {each["number"]: each["answer"] for each in answers} == dict(enumerate(prompts))
        assert upstream.served == len(prompts)
        assert upstream.most == LIMIT
