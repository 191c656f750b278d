"""The client of one matrix: litellm under some interpreter, stock or accelerated. A program, not a module.

What is said on its pipes: see `reporting.talk`. `mode`: "stock", litellm as it comes; "httpx", the same without its
aiohttp transport; "accelerated".
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from cells import CELLS, Cell
from reporting import counts, difference, dump, dump_error, dump_hidden, talk, version_of

KEY = "sk-matrix"
#: provider -> prefix of the model for chats, for texts and pictures, for embeddings
PREFIXES = {
    "openai": ("openai", "openai", "openai"),
    "azure": ("azure", "azure", "azure"),
    "anthropic": ("anthropic", "anthropic", "anthropic"),
    "hosted_vllm": ("hosted_vllm", "hosted_vllm", "hosted_vllm"),
    "ollama": ("ollama_chat", "ollama", "ollama"),
}
_FREE = {
    "max_tokens": 4096,
    "max_input_tokens": 4096,
    "max_output_tokens": 4096,
    "litellm_provider": "ollama",
    "mode": "chat",
    "input_cost_per_token": 0.0,
    "output_cost_per_token": 0.0,
}


class Client:
    """litellm with the settings of the matrix. Asynchronous calls share one loop."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._fast_litellm: Any = None
        if settings["mode"] == "accelerated":
            import fast_litellm

            self._fast_litellm = fast_litellm
        import litellm

        self._litellm: Any = litellm
        litellm.suppress_debug_info = True
        litellm.user_url_allowed_hosts = ["127.0.0.1"]  # newer ones fetch no picture from loopback otherwise
        # A model that litellm does not know it asks Ollama about, several times, when it likes; older ones always do.
        for model in ("some-model", "error-429", "error-500"):
            for prefix in PREFIXES["ollama"]:
                litellm.model_cost[f"{prefix}/{model}"] = {**_FREE, "litellm_provider": prefix}
        litellm.OllamaConfig.get_model_info = lambda *_, **__: {"key": "some-model", **_FREE}
        if settings["mode"] == "httpx":
            litellm.disable_aiohttp_transport = True

    def introduction(self) -> dict[str, Any]:
        versions = {name: version_of(name) for name in ("litellm", "openai", "httpx", "httpcore", "aiohttp", "anyio")}
        return {"versions": versions, "python": sys.version.split()[0], "patch": self.status()}

    def run(self, cell: Cell) -> dict[str, Any]:
        before = counts(self._fast_litellm)
        try:
            result = self._do(cell)
        except Exception as error:
            result = dump_error(error)
        after = counts(self._fast_litellm)
        return {"result": result, "pool": difference(before, after)}

    def _do(self, cell: Cell) -> Any:
        operation = cell.operation.removeprefix("a") if cell.asynchronous else cell.operation
        litellm = self._litellm
        call = self._caller(cell)
        if operation == "completion":
            return dump(call(litellm.completion, litellm.acompletion, **self._chat(cell)))
        if operation == "error":
            return dump(call(litellm.completion, litellm.acompletion, **self._chat(cell, "error-429")))
        if operation == "stream":
            return self._stream(cell)
        if operation == "embedding":
            inputs = [f"{cell.name}: one", "grüße 世界"]
            return dump(call(litellm.embedding, litellm.aembedding, input=inputs, **self._common(cell, 2)))
        if operation == "text_completion":
            return dump(litellm.text_completion(prompt=f"{cell.name}: grüße 世界", **self._common(cell, 1)))
        if operation == "image":
            return dump(call(litellm.completion, litellm.acompletion, **self._picture(cell)))
        if operation == "router":
            router = self._router(cell)
            return dump(call(router.completion, router.acompletion, model="first", messages=_messages(cell)))
        raise ValueError(operation)

    def _caller(self, cell: Cell) -> Callable[..., Any]:
        def call(synchronous: Callable[..., Any], asynchronous: Callable[..., Any], **keywords: Any) -> Any:
            if cell.asynchronous:
                return self._loop.run_until_complete(asynchronous(**keywords))
            return synchronous(**keywords)

        return call

    def _stream(self, cell: Cell) -> Any:
        keywords = {**self._chat(cell), "stream": True, "stream_options": {"include_usage": True}}

        async def collect() -> list[Any]:
            answer = await self._litellm.acompletion(**keywords)
            chunks = [dump(chunk) async for chunk in answer]
            return [*chunks, dump_hidden(answer)]

        if cell.asynchronous:
            return self._loop.run_until_complete(collect())
        answer = self._litellm.completion(**keywords)
        chunks = [dump(chunk) for chunk in answer]
        return [*chunks, dump_hidden(answer)]

    def _common(self, cell: Cell, kind: int, model: str = "some-model") -> dict[str, Any]:
        """Keywords of every call. `kind`: which of the provider's prefixes."""
        origin = self._settings["origin"]
        keywords = {
            "model": f"{PREFIXES[cell.provider][kind]}/{model}",
            "api_base": f"{origin}/v1" if cell.provider in ("openai", "hosted_vllm") else origin,
            "api_key": KEY,
            "timeout": 30,
            "max_retries": 0,
        }
        if cell.provider == "azure":
            keywords["api_version"] = "2024-10-21"
        return keywords

    def _chat(self, cell: Cell, model: str = "some-model") -> dict[str, Any]:
        headers = {"X-Matrix-Cell": cell.name, "x-LOWER-upper": "Value"}
        common = self._common(cell, 0, model)
        return {**common, "messages": _messages(cell), "max_tokens": 64, "extra_headers": headers}

    def _picture(self, cell: Cell) -> dict[str, Any]:
        url = f"{self._settings['pictures']}/images/{cell.name}.png"
        parts = [
            {"type": "text", "text": f"{cell.name}: what is this?"},
            {"type": "image_url", "image_url": {"url": url}},
        ]
        return {**self._common(cell, 1), "messages": [{"role": "user", "content": parts}], "max_tokens": 64}

    def _router(self, cell: Cell) -> Any:
        def deployment(name: str, model: str) -> dict[str, Any]:
            return {"model_name": name, "litellm_params": self._common(cell, 0, model)}

        deployments = [deployment("first", "error-500"), deployment("second", "some-model")]
        return self._litellm.Router(model_list=deployments, fallbacks=[{"first": ["second"]}], num_retries=0)

    def status(self) -> Any:
        return self._fast_litellm.get_patch_status() if self._fast_litellm else None

    def close(self) -> None:
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


def _messages(cell: Cell) -> list[dict[str, Any]]:
    return [{"role": "user", "content": f"{cell.name}: grüße 世界"}]


if __name__ == "__main__":
    talk(Client, CELLS)
