"""A server that authenticates connections as IIS does with NTLM, and a client's part of the handshake."""

from __future__ import annotations

from collections.abc import Generator

import httpx

from .scripted import Connection


async def authenticate_connections(connection: Connection) -> None:
    """A script: the third request of the handshake authenticates the connection, and later ones act as that user."""
    user = ""
    while True:
        request = await connection.request()
        scheme, _, message = (request.header("authorization") or "").partition(" ")
        if scheme.lower() in ("ntlm", "negotiate") and message.startswith("3:"):
            user = message[2:]
        if user:
            await connection.respond(f"{user} on {connection.number}".encode())
        else:
            await connection.respond(b"", "401 Unauthorized", "www-authenticate: NTLM")


class Ntlm(httpx.Auth):
    """Three requests on one connection, and no credentials in later ones."""

    def __init__(self, user: str, scheme: str = "NTLM") -> None:
        self._user = user
        self._scheme = scheme

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        response = yield request
        if response.status_code == 401:
            request.headers["authorization"] = f"{self._scheme} 1:"
            yield request
            request.headers["authorization"] = f"{self._scheme} 3:{self._user}"
            yield request
