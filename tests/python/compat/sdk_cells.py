"""What is tried of the SDKs by themselves, without litellm: each operation in each way to wait. Workers import it too:
nothing but the standard library here."""

from __future__ import annotations

from typing import NamedTuple

OPERATIONS = {
    "openai": ("completion", "stream", "embedding", "error"),
    "anthropic": ("completion", "stream", "error"),
}
#: Blocking, or the event loop of the asynchronous client.
WAYS = ("blocking", "asyncio", "uvloop", "trio")

#: By the environment, which the SDK's own client looks at; or by an argument of an accelerated httpx client that is
#: given to the SDK.
PROXIED = ("environment", "proxy", "mounts")


class SdkCell(NamedTuple):
    sdk: str
    operation: str
    way: str
    #: How the client comes to a proxy, one of PROXIED; "" for no proxy.
    proxied: str = ""

    @property
    def name(self) -> str:
        return "-".join(filter(None, (self.sdk, self.operation, self.way, self.proxied)))


SDK_CELLS = tuple(
    SdkCell(sdk, operation, way) for sdk, operations in OPERATIONS.items() for operation in operations for way in WAYS
)
PROXIED_SDK_CELLS = tuple(
    SdkCell(sdk, operation, way, proxied)
    for sdk, operations in OPERATIONS.items()
    for operation in operations
    for way in ("blocking", "asyncio", "trio")
    for proxied in PROXIED
)
