"""What is tried: each operation with each provider. Workers import it too: nothing but the standard library here."""

from __future__ import annotations

from typing import NamedTuple

OPERATIONS = (
    "completion",
    "acompletion",
    "stream",
    "astream",
    "embedding",
    "aembedding",
    "text_completion",
    "router",
    "arouter",
    "image",
    "aimage",
    "error",
    "aerror",
)
PROVIDERS = ("openai", "azure", "anthropic", "hosted_vllm", "ollama")

#: What each operation is, for readers.
DESCRIPTIONS = {
    "completion": "`completion`",
    "acompletion": "`acompletion`",
    "stream": "`completion(stream=True)`",
    "astream": "`acompletion(stream=True)`",
    "embedding": "`embedding`",
    "aembedding": "`aembedding`",
    "text_completion": "`text_completion`",
    "router": "`Router.completion` with a fallback after status 500",
    "arouter": "`Router.acompletion` with a fallback after status 500",
    "image": "`completion` with the URL of a picture",
    "aimage": "`acompletion` with the URL of a picture",
    "error": "`completion` answered with status 429",
    "aerror": "`acompletion` answered with status 429",
}


class Cell(NamedTuple):
    provider: str
    operation: str

    @property
    def name(self) -> str:
        return f"{self.provider}-{self.operation}"

    @property
    def asynchronous(self) -> bool:
        return self.operation in ("acompletion", "astream", "aembedding", "arouter", "aimage", "aerror")


CELLS = tuple(Cell(provider, operation) for provider in PROVIDERS for operation in OPERATIONS)

#: What is tried once more with the environment naming a proxy. Pictures are fetched over plain HTTP: forwarded.
PROXIED_CELLS = tuple(
    cell
    for cell in CELLS
    if cell.operation in ("completion", "acompletion", "stream", "astream", "aembedding", "error", "aerror")
    or (cell.provider == "anthropic" and cell.operation in ("image", "aimage"))
)
