"""A server for demonstrations and tests, on loopback: it speaks as OpenAI, Azure, vLLM, Anthropic and Ollama
do, counts what its clients cost it, and can keep what they sent.

    from fast_litellm.server import EmbeddedServer

    with EmbeddedServer(tls=True) as server:
        ...  # server.base_url, server.ca_file, server.stats()

or ``python -m fast_litellm.server --port 0 --tls --print-json``. Needs the ``server`` extra.

What may be known here: HTTP as a server sees it. Nothing of the pool, of httpx or of litellm.
"""

from .counters import ServerStats
from .embedded import EmbeddedServer, EmbeddedServerError
from .recording import RequestRecord

__all__ = ["EmbeddedServer", "EmbeddedServerError", "RequestRecord", "ServerStats"]
