"""The client of the SDKs' matrix: openai and anthropic under some interpreter, stock or accelerated. A program, not a
module.

What is said on its pipes: see `reporting.talk`. `mode`: "stock", the SDKs as they come; "accelerated".
"""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any

from reporting import counts, difference, dump, dump_error, talk, version_of
from sdk_cells import PROXIED_SDK_CELLS, SDK_CELLS, SdkCell

KEY = "sk-matrix"
_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY")
_VERSIONS = ("openai", "anthropic", "httpx", "httpx2", "uvloop", "trio")


class Client:
    """The SDKs' clients are made anew for each cell, as an event loop is."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._origin = settings["origin"]
        self._proxy = settings["proxy"]
        self._fast_litellm: Any = None
        if settings["mode"] == "accelerated":
            import fast_litellm

            self._fast_litellm = fast_litellm

    def introduction(self) -> dict[str, Any]:
        versions = {name: version_of(name) for name in _VERSIONS}
        return {"versions": versions, "python": sys.version.split()[0], "patch": self.status()}

    def status(self) -> Any:
        return self._fast_litellm.get_patch_status() if self._fast_litellm else None

    def run(self, cell: SdkCell) -> dict[str, Any]:
        before = counts(self._fast_litellm)
        os.environ.update(dict.fromkeys(_VARIABLES, self._proxy) if cell.proxied == "environment" else {})
        try:
            result = self._do(cell)
        except Exception as error:
            result = dump_error(error)
        for name in _VARIABLES:
            os.environ.pop(name, None)
        return {"result": result, "pool": difference(before, counts(self._fast_litellm))}

    def close(self) -> None:
        pass

    def _do(self, cell: SdkCell) -> Any:
        module = import_module(cell.sdk)
        if cell.way == "blocking":
            name = "OpenAI" if cell.sdk == "openai" else "Anthropic"
            with getattr(module, name)(**self._arguments(cell)) as client:
                answer = self._ask(client, cell)
                return [dump(piece) for piece in answer] if cell.operation == "stream" else dump(answer)

        async def ask() -> Any:
            name = "AsyncOpenAI" if cell.sdk == "openai" else "AsyncAnthropic"
            async with getattr(module, name)(**self._arguments(cell)) as client:
                answer = await self._ask(client, cell)
                return [dump(piece) async for piece in answer] if cell.operation == "stream" else dump(answer)

        return _RUNNERS[cell.way](ask)

    def _arguments(self, cell: SdkCell) -> dict[str, Any]:
        base_url = f"{self._origin}/v1" if cell.sdk == "openai" else self._origin
        arguments = {"base_url": base_url, "api_key": KEY, "max_retries": 0, "timeout": 30.0}
        if cell.proxied in ("proxy", "mounts"):
            arguments["http_client"] = self._proxied_client(cell)
        return arguments

    def _proxied_client(self, cell: SdkCell) -> Any:
        """A client of the SDK's own HTTP library, as a program makes it."""
        default: Any = import_module(cell.sdk).DefaultHttpxClient
        (library,) = {base.__module__.split(".")[0] for base in default.__mro__ if base.__name__ == "Client"}
        httpx = import_module(library)
        prefix = "" if cell.way == "blocking" else "Async"
        context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
        if cell.proxied == "proxy":
            client = getattr(httpx, f"{prefix}Client")(proxy=self._proxy, verify=context)
        else:
            transport = getattr(httpx, f"{prefix}HTTPTransport")(proxy=self._proxy, verify=context)
            client = getattr(httpx, f"{prefix}Client")(mounts={"https://": transport})
        return self._fast_litellm.accelerate(client) if self._fast_litellm else client

    def _ask(self, client: Any, cell: SdkCell) -> Any:
        """The SDK's call; to be awaited, if the client is an asynchronous one."""
        if cell.operation == "embedding":
            return client.embeddings.create(model="some-model", input=[f"{cell.name}: one", "grüße 世界"])
        keywords: dict[str, Any] = {
            "model": "error-429" if cell.operation == "error" else "some-model",
            "messages": [{"role": "user", "content": f"{cell.name}: grüße 世界"}],
            "max_tokens": 64,
            "extra_headers": {"X-Matrix-Cell": cell.name, "x-LOWER-upper": "Value"},
        }
        if cell.operation == "stream":
            keywords["stream"] = True
        create = client.chat.completions.create if cell.sdk == "openai" else client.messages.create
        return create(**keywords)


def _on_uvloop(function: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    import uvloop

    loop = uvloop.new_event_loop()
    try:
        return loop.run_until_complete(function())
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _on_trio(function: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    import trio

    return trio.run(function)


_RUNNERS: dict[str, Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]] = {
    "asyncio": lambda function: asyncio.run(function()),
    "uvloop": _on_uvloop,
    "trio": _on_trio,
}


if __name__ == "__main__":
    talk(Client, (*SDK_CELLS, *PROXIED_SDK_CELLS))
