"""What `make platforms` asks of an installed wheel: it imports, and speaks TLS with the embedded server."""

from __future__ import annotations

import asyncio
import contextlib

import httpx

import fast_litellm
from fast_litellm import AsyncHTTPTransport, HTTPTransport
from fast_litellm.server import EmbeddedServer

REQUEST = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}


def check(answer: httpx.Response) -> None:
    assert answer.status_code == 200, answer
    assert answer.json()["choices"][0]["message"]["content"], answer.text


def blocking(url: str, ca_file: str) -> None:
    with httpx.Client(transport=HTTPTransport(verify=ca_file)) as client:
        check(client.post(url, json=REQUEST))


async def on_a_loop(url: str, ca_file: str) -> None:
    async with httpx.AsyncClient(transport=AsyncHTTPTransport(verify=ca_file)) as client:
        check(await client.post(url, json=REQUEST))


def without_trust(url: str) -> None:
    with httpx.Client(transport=HTTPTransport()) as client, contextlib.suppress(httpx.ConnectError):
        client.post(url, json=REQUEST)
        raise AssertionError("a certificate of an unknown authority was accepted")


def main() -> None:
    assert fast_litellm.ACCELERATION_AVAILABLE, "the extension is missing"
    with EmbeddedServer(tls=True) as server:
        assert server.ca_file is not None
        url = f"{server.base_url}/chat/completions"
        blocking(url, server.ca_file)
        asyncio.run(on_a_loop(url, server.ca_file))
        without_trust(url)
        stats = server.stats()
        assert stats.requests == 2, stats
    print("smoke: passed")


if __name__ == "__main__":
    main()
