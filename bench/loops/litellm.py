"""litellm's acompletion as one of the measured clients: accelerated, stock, and over httpx without a network."""

from __future__ import annotations

import importlib
import json
import os
from typing import Any

from bench.common.memory_transport import MemoryTransport
from bench.common.workload import REQUEST_BODY, RESPONSE_BODY, Peer
from bench.http.clients import NotAvailable
from bench.loops.clients import Call, memory_client

_MESSAGES = json.loads(REQUEST_BODY)["messages"]
_ANSWER = json.loads(RESPONSE_BODY)["choices"][0]["message"]["content"]
KINDS = ("litellm_memory", "litellm_floor", "litellm_own", "litellm_stock", "litellm_httpx")


class Litellm:
    """litellm in this process, set up as its kind says. One per process: what it sets is litellm's for good."""

    def __init__(self, kind: str, peer: Peer) -> None:
        if peer.ca_file is not None:
            os.environ["SSL_CERT_FILE"] = peer.ca_file
        self._own = importlib.import_module("fast_litellm") if kind == "litellm_own" else None
        try:
            litellm: Any = importlib.import_module("litellm")
        except ModuleNotFoundError as error:
            raise NotAvailable(f"not installed ({error.name})") from error
        litellm.suppress_debug_info = True
        if kind == "litellm_memory":
            litellm.aclient_session = memory_client()
        elif kind == "litellm_floor":
            # litellm makes its clients as ever, for every loop and every key; only what they send goes nowhere.
            handlers: Any = importlib.import_module("litellm.llms.custom_httpx.http_handler")
            handlers.AsyncHTTPHandler.create_async_transport = staticmethod(lambda **_: MemoryTransport())
        elif kind == "litellm_httpx":
            litellm.disable_aiohttp_transport = True
        self._acompletion = litellm.acompletion
        self._base = f"{peer.origin}/v1"

    def call(self, key: str = "sk-0123456789abcdef0123456789abcdef") -> Call:
        """A call with this key. Each is one request: a failure is raised, not tried again."""
        acompletion, base = self._acompletion, self._base

        async def call() -> None:
            answer = await acompletion(
                model="openai/gpt-4o-mini",
                api_base=base,
                api_key=key,
                messages=_MESSAGES,
                temperature=0.2,
                timeout=60,
                num_retries=0,
                max_retries=0,
            )
            if answer.choices[0].message.content != _ANSWER:
                raise AssertionError(f"another answer than the server's: {answer}")

        return call

    def check_carried(self) -> None:
        """After the first call: NotAvailable if the pool was to carry it and did not."""
        if self._own is None:
            return
        if not self._own.get_performance_stats()["pool"]["total_connections"]:
            raise NotAvailable(f"the pool did not carry the call: {self._own.get_patch_status()}")
