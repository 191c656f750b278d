"""What becomes of a client is decided from its arguments alone."""

from __future__ import annotations

import ssl
import warnings
from pathlib import Path
from typing import Any

import certifi
import httpx
import pytest

from fast_litellm.acceleration.libraries import Library, of_module
from fast_litellm.acceleration.veto import Veto
from fast_litellm.litellm_patch.decision import Accelerate, Arguments, Stock, decide
from fast_litellm.litellm_patch.tls_recipe import Rebuilt, Refused

HTTPX = of_module(httpx)
CONTEXT = ssl.create_default_context()


class Contexts:
    """Rebuilds every context, or none."""

    def __init__(self, rebuilt: Rebuilt | Refused) -> None:
        self._rebuilt = rebuilt

    def rebuild(self, context: ssl.SSLContext) -> Rebuilt | Refused:
        return self._rebuilt


NO_CONTEXTS = Contexts(Refused("ssl context: not litellm's"))


def decided(contexts: Contexts = NO_CONTEXTS, library: Library = HTTPX, **arguments: Any) -> Accelerate | Stock:
    return decide(Arguments(**arguments), contexts, library)


@pytest.fixture(autouse=True)
def no_certificates_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"):
        monkeypatch.delenv(name, raising=False)


def test_plain_arguments_are_handed_on() -> None:
    limits = httpx.Limits(max_connections=7)
    assert decided(verify=certifi.where(), trust_env=False, limits=limits) == Accelerate(
        {"verify": certifi.where(), "cert": None, "trust_env": False, "http1": True, "http2": False, "limits": limits}
    )
    assert decided(verify=False) == Accelerate(
        {"verify": False, "cert": None, "trust_env": True, "http1": True, "http2": False}
    )


def test_a_client_that_the_pool_cannot_serve_gets_the_stock_transport() -> None:
    assert decided(http1=False) == Stock("http1 disabled")


@pytest.mark.parametrize("http1", [True, False])
def test_http2_is_handed_on(http1: bool) -> None:
    decision = decided(verify=False, http1=http1, http2=True)
    assert isinstance(decision, Accelerate)
    assert (decision.keywords["http1"], decision.keywords["http2"]) == (http1, True)


def test_a_context_of_litellms_becomes_settings() -> None:
    veto = Veto()
    decision = decided(Contexts(Rebuilt({"ca_file": "ca.pem"}, veto)), verify=CONTEXT)
    assert isinstance(decision, Accelerate)
    assert decision.keywords["tls_settings"] == {"ca_file": "ca.pem"}
    assert decision.keywords["verify"] is True
    assert decision.vetoes == (veto,)
    assert not decision.context_because


def test_any_other_context_is_used_as_it_is() -> None:
    decision = decided(verify=CONTEXT)
    assert isinstance(decision, Accelerate)
    assert decision.keywords["verify"] is CONTEXT
    assert decision.context_because == "ssl context: not litellm's"


def test_a_client_certificate_is_loaded_into_the_users_context_as_httpx_does(certificates: Any) -> None:
    loaded: list[Any] = []

    class Context(ssl.SSLContext):
        def load_cert_chain(self, *args: Any, **keywords: Any) -> None:
            loaded.extend((*args, *keywords.values()))

    context = Context(ssl.PROTOCOL_TLS_CLIENT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # some versions of httpx have one
        decision = decided(verify=context, cert=str(certificates.client.combined))
    assert isinstance(decision, Accelerate)
    assert decision.keywords["verify"] is context
    assert decision.keywords["cert"] is None
    assert loaded == [str(certificates.client.combined)]


def test_arguments_that_httpx_refuses_are_passed_to_httpx() -> None:
    assert decided(verify=CONTEXT, cert="/no/such/file.pem") == Stock("refused: FileNotFoundError")
    assert decided(verify=object()) == Stock("ssl context: not the interpreter's own kind")


def test_a_replaced_ssl_module_means_that_true_is_a_context_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssl, "create_default_context", lambda **keywords: CONTEXT)
    decision = decided()
    assert isinstance(decision, Accelerate)
    assert hasattr(decision.keywords["verify"], "wrap_bio")
    assert decision.context_because == "the ssl module was replaced"


def test_a_key_log_is_written_by_a_context(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    decision = decided()
    assert isinstance(decision, Accelerate)
    assert decision.keywords["verify"].keylog_filename == str(tmp_path / "keys")
    assert decision.context_because == "SSLKEYLOGFILE is set"
    assert decided(verify=False) == Accelerate(
        {"verify": False, "cert": None, "trust_env": True, "http1": True, "http2": False}
    )


def test_the_default_trust_of_another_library_comes_from_that_library(monkeypatch: pytest.MonkeyPatch) -> None:
    library = of_module(pytest.importorskip("httpx2"))
    decision = decided(library=library)
    assert isinstance(decision, Accelerate)
    assert hasattr(decision.keywords["verify"], "wrap_bio")
    assert decision.context_because == "httpx2's own trust"
    again = decided(library=library)
    assert isinstance(again, Accelerate)
    assert again.keywords["verify"] is decision.keywords["verify"]  # so that clients share connections
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    decision = decided(library=library)
    assert isinstance(decision, Accelerate)
    assert decision.keywords["verify"] is True
    assert not decision.context_because
    assert decided(library=library, trust_env=False).context_because == "httpx2's own trust"  # type: ignore[union-attr]
