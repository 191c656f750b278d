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


class SdkCell(NamedTuple):
    sdk: str
    operation: str
    way: str

    @property
    def name(self) -> str:
        return f"{self.sdk}-{self.operation}-{self.way}"


SDK_CELLS = tuple(
    SdkCell(sdk, operation, way) for sdk, operations in OPERATIONS.items() for operation in operations for way in WAYS
)
