"""`Lease`: one connection for as long as a `with` block lasts."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from .. import _core
from ..exceptions import Forked, StaleLease, cannot_watch, error_factory

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..runtime.event_loops import Refusal


class Lease:
    """The exclusive use of one connection of a pool, from entering the `with` block (or `async with`) to leaving it.

    Made by `SimpleConnectionPool.lease`. One thread at a time. Leaving the block gives the connection back; the pool
    closes it if what was done on it did not end clean. A lease that is dropped gives it back too.
    """

    def __init__(self, pool: _core.Pool, endpoint: str, timeout: float | None) -> None:
        self._pool = pool
        self._endpoint = endpoint
        self._timeout = timeout
        self._id: str | None = None

    @property
    def id(self) -> str:
        """The connection's id, as `get_connection` gives it. StaleLease outside the block."""
        if self._id is None:
            raise StaleLease(f"this lease of {self._endpoint} is not open: use it inside its with block")
        return self._id

    def request(
        self,
        method: str,
        target: str,
        *,
        headers: Sequence[tuple[str, str]] | Sequence[_core.HeaderPair] | dict[str, str] | None = None,
        content: bytes | str | None = None,
        timeout: float | _core.TimeoutTuple | None = 5.0,
    ) -> _core.Response:
        """One exchange on this connection, with the whole body read. `target` is what stands in the request line, such
        as "/v1/models?limit=1". `timeout` in seconds, for connect, read, write and pool each, or one of each. Raises
        httpx's exceptions."""
        return self._pool.request(self.id, method, target, headers=headers, content=content, timeout=timeout)

    def health_check(self) -> bool:
        """Looks at the socket, after connecting if that has not happened yet: False if the peer has gone."""
        return self._pool.health_check(self.id)

    def __enter__(self) -> Lease:
        self._must_not_be_open()
        self._hold(self._pool.get_connection(self._endpoint, timeout=self._timeout))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._release()

    def __del__(self) -> None:
        self._release()

    async def __aenter__(self) -> AsyncLease:
        from ..runtime.event_loops import event_loop, renewed_event_loop  # asyncio, for those who use it

        self._must_not_be_open()
        try:
            held = await self._pool.start_lease(event_loop(cannot_watch), self._endpoint, self._timeout)
        except Forked:
            held = await self._pool.start_lease(renewed_event_loop(cannot_watch), self._endpoint, self._timeout)
        self._hold(held)
        return AsyncLease(self, event_loop)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._release()

    def _must_not_be_open(self) -> None:
        if self._id is not None:
            raise RuntimeError(f"this lease of {self._endpoint} is open already")

    def _hold(self, connection_id: str | None) -> None:
        if connection_id is None:
            detail = f"no connection to {self._endpoint} became free within {self._timeout} s"
            raise error_factory("pool_timeout", "acquire", 0, 0, detail)
        self._id = connection_id

    def _release(self) -> None:
        held, self._id = self._id, None
        if held is not None:
            self._pool.return_connection(held)

    def __repr__(self) -> str:
        return f"<Lease of {self._endpoint}: {self._id or 'not open'}>"


class AsyncLease:
    """What `async with pool.lease(endpoint) as connection` gives: the same connection, its requests awaited."""

    def __init__(self, lease: Lease, event_loop: Callable[[Refusal], _core.EventLoop]) -> None:
        self._lease = lease
        self._event_loop = event_loop  # of `runtime.event_loops`, which this module does not import for everybody

    @property
    def id(self) -> str:
        """As of `Lease`."""
        return self._lease.id

    async def request(
        self,
        method: str,
        target: str,
        *,
        headers: Sequence[tuple[str, str]] | Sequence[_core.HeaderPair] | dict[str, str] | None = None,
        content: bytes | str | None = None,
        timeout: float | _core.TimeoutTuple | None = 5.0,
    ) -> _core.Response:
        """As `Lease.request`, for asyncio (uvloop) and trio."""
        return await self._lease._pool.start_request(
            self._event_loop(cannot_watch), self.id, method, target, headers, content, timeout
        )

    def __repr__(self) -> str:
        return f"<Async{repr(self._lease)[1:]}"
