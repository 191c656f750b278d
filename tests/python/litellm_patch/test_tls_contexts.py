"""litellm's TLS contexts become settings of the pool only when nothing can be lost by it."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import certifi
import httpx
import pytest

import fast_litellm
from fast_litellm import _core
from fast_litellm.litellm_patch.tls_recipe import (
    ContextRecipes,
    Rebuilt,
    Refused,
    fingerprint,
    interpreter_tls_is_original,
    make_context,
    settings_of,
)
from peers.scripted import ScriptedServer, serve_ok, server_context
from support.certificates import Certificates

CIPHERS = "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256"
KEY = (certifi.where(), None, None)


@pytest.fixture
def client_certificate(tmp_path: Path) -> str:
    trustme = pytest.importorskip("trustme")
    file = tmp_path / "client.pem"
    trustme.CA().issue_cert("client@example.org").private_key_and_cert_chain_pem.write_to_path(str(file))
    return str(file)


class Cache:
    """A cache as litellm's, with one context, and the recipes that know it."""

    def __init__(self, key: Any = KEY, *, configured: bool = False, born_observed: bool = True) -> None:
        self.context = make_context(key, CIPHERS)
        self.recipes = ContextRecipes({key: self.context}, CIPHERS, lambda: configured)
        if born_observed:
            self.recipes.observe(self.context)

    def rebuild(self) -> Rebuilt | Refused:
        return self.recipes.rebuild(self.context)

    def refusal(self) -> str:
        result = self.rebuild()
        assert isinstance(result, Refused)
        return result.reason


def test_a_context_that_litellm_made_is_rebuilt_completely() -> None:
    cache = Cache()
    rebuilt = cache.rebuild()
    assert isinstance(rebuilt, Rebuilt)
    settings = rebuilt.settings
    assert settings["verify_peer"] is True
    assert settings["verify_hostname"] is True
    assert settings["ca_file"] == certifi.where()
    assert settings["cipher_list"] == CIPHERS
    assert settings["verify_flags"] == int(cache.context.verify_flags)
    assert settings["minimum_version"] == 0x0303
    assert settings["maximum_version"] == 0
    assert settings["options"] == int(cache.context.options)
    assert settings["security_level"] == cache.context.security_level
    assert settings["groups"] == ""
    assert rebuilt.veto.reason == ""


def test_the_settings_say_of_openssl_what_the_context_does() -> None:
    """Another context, built from the settings alone, reads the same in everything that can be read."""
    key = (certifi.where(), "DEFAULT@SECLEVEL=1", "prime256v1")
    context = make_context(key, CIPHERS)
    settings = settings_of(context, key, CIPHERS)
    built = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    built.load_verify_locations(settings["ca_file"])
    built.set_ciphers(settings["cipher_list"])
    built.minimum_version = ssl.TLSVersion(settings["minimum_version"])
    built.verify_flags = ssl.VerifyFlags(settings["verify_flags"])
    built.options |= settings["options"]
    assert fingerprint(built) == fingerprint(context)
    assert settings["security_level"] == 1
    assert settings["groups"] == "prime256v1"


def test_a_curve_that_openssl_does_not_know_is_left_out_as_litellm_does() -> None:
    key = (certifi.where(), None, "no-such-curve")
    assert settings_of(make_context(key, CIPHERS), key, CIPHERS)["groups"] == ""


@pytest.mark.parametrize(
    "key",
    [
        (certifi.where(), None, None),  # litellm before 1.109
        (certifi.where(), None, None, False),
        (certifi.where(), None, None, True),
        (certifi.where(), "DEFAULT@SECLEVEL=1", "prime256v1", False),
        (certifi.where(), None, "no-such-curve", False),
        (False, "prime256v1", "DEFAULT@SECLEVEL=1", certifi.where(), None),  # in whatever order, and however many
    ],
    ids=str,
)
def test_a_key_is_recognised_by_what_it_contains(key: Any) -> None:
    rebuilt = Cache(key).rebuild()
    assert isinstance(rebuilt, Rebuilt)
    assert rebuilt.settings["ca_file"] == certifi.where()
    assert rebuilt.settings["groups"] == ("prime256v1" if "prime256v1" in key else "")
    assert rebuilt.settings["cipher_list"] == ("DEFAULT@SECLEVEL=1" if "DEFAULT@SECLEVEL=1" in key else CIPHERS)


@pytest.mark.parametrize(
    "key",
    [
        (certifi.where(), None, None, False, "something new"),
        (certifi.where(), None, None, False, True),
        (certifi.where(), None, None, False, 0),
        (certifi.where(), None, None, False, frozenset({"h2"})),
        (certifi.where(), None, None, certifi.where()),
        (certifi.where(), "DEFAULT@SECLEVEL=1", None, "DEFAULT@SECLEVEL=0"),
    ],
    ids=str,
)
def test_a_key_with_a_part_that_is_not_known_is_an_unknown_recipe(key: Any) -> None:
    assert Cache(key).refusal() == "unknown recipe"


@pytest.mark.parametrize("key", [certifi.where(), frozenset({certifi.where()}), 7], ids=str)
def test_a_key_of_another_kind_is_an_unknown_recipe(key: Any) -> None:
    context = make_context(KEY, CIPHERS)
    assert ContextRecipes({key: context}, CIPHERS, lambda: False).rebuild(context) == Refused("unknown recipe")


def test_a_context_that_differs_from_what_its_key_says_is_refused() -> None:
    context = make_context((certifi.where(), "DEFAULT@SECLEVEL=1", None, False), CIPHERS)
    recipes = ContextRecipes({(certifi.where(), None, None, False): context}, CIPHERS, lambda: False)
    assert recipes.rebuild(context) == Refused("ssl context: differs from litellm's recipe")


def test_a_context_that_is_not_in_litellms_cache_is_refused() -> None:
    cache = Cache()
    stranger = make_context(KEY, CIPHERS)  # equal, but not that one
    assert cache.recipes.rebuild(stranger) == Refused("ssl context: not litellm's")


def test_a_context_of_a_subclass_is_refused() -> None:
    class Mine(ssl.SSLContext):
        pass

    context = Mine(ssl.PROTOCOL_TLS_CLIENT)
    recipes = ContextRecipes({KEY: context}, CIPHERS, lambda: False)
    assert isinstance(recipes.rebuild(context), Refused)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("check_hostname", False),
        ("verify_flags", ssl.VERIFY_CRL_CHECK_LEAF),
        ("minimum_version", ssl.TLSVersion.TLSv1_3),
        ("maximum_version", ssl.TLSVersion.TLSv1_2),
        ("options", ssl.OP_ALL | ssl.OP_NO_TICKET),
        ("post_handshake_auth", True),
    ],
)
def test_a_context_on_which_an_attribute_was_set_is_refused(attribute: str, value: Any) -> None:
    cache = Cache()
    setattr(cache.context, attribute, value)
    assert cache.refusal() == "ssl context: differs from litellm's recipe"


def test_the_attributes_are_looked_at_again_for_each_client() -> None:
    cache = Cache()
    assert isinstance(cache.rebuild(), Rebuilt)
    cache.context.check_hostname = False
    cache.context.verify_mode = ssl.CERT_NONE
    assert cache.refusal() == "ssl context: differs from litellm's recipe"


def test_a_context_whose_bundle_changed_on_disk_since_is_refused(tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme")
    bundle = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(bundle))
    cache = Cache((str(bundle), None, None))
    trustme.CA().cert_pem.write_to_path(str(bundle))
    assert cache.refusal() == "ssl context: differs from litellm's recipe"
    bundle.unlink()
    assert cache.refusal() == "ssl context: differs from litellm's recipe"


def test_settings_keep_what_the_context_trusts_when_its_bundle_changes(tmp_path: Path) -> None:
    """Stock clients on a context that litellm keeps still trust the certificates that were loaded into it."""
    trustme = pytest.importorskip("trustme")
    bundle = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(bundle))
    cache = Cache((str(bundle), None, None))
    first = cache.rebuild()
    assert isinstance(first, Rebuilt)
    trustme.CA().cert_pem.write_to_path(str(bundle))
    second = cache.rebuild()
    assert isinstance(second, Rebuilt)
    assert second.settings == first.settings
    now = _core.TlsSettings(ca_file=str(bundle)).read().files
    assert second.settings["files"] != now


def test_a_client_certificate_loaded_into_a_context_is_noticed(client_certificate: str) -> None:
    cache = Cache()
    cache.context.load_cert_chain(client_certificate)
    assert cache.refusal() == "ssl context: load_cert_chain was called on it"


def test_a_certificate_loaded_later_is_noticed_by_existing_clients(client_certificate: str) -> None:
    cache = Cache()
    rebuilt = cache.rebuild()
    assert isinstance(rebuilt, Rebuilt)
    cache.context.load_cert_chain(client_certificate)
    assert rebuilt.veto.reason == "ssl context: load_cert_chain was called on it"


def test_additional_trust_that_no_attribute_shows_is_noticed(tmp_path: Path) -> None:
    cache = Cache()
    cache.context.load_verify_locations(capath=str(tmp_path))
    assert cache.refusal() == "ssl context: load_verify_locations was called on it"


def test_an_observed_method_still_does_its_work(client_certificate: str) -> None:
    context = Cache().context
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    assert "ECDHE-RSA-AES128-GCM-SHA256" in [cipher["name"] for cipher in context.get_ciphers()]
    with pytest.raises(FileNotFoundError):
        context.load_cert_chain("/no/such/file.pem")


def test_an_older_context_is_rebuilt_only_while_no_client_certificate_is_configured() -> None:
    assert isinstance(Cache(born_observed=False).rebuild(), Rebuilt)
    refused = Cache(born_observed=False, configured=True)
    assert refused.refusal() == "ssl context: may hold a client certificate"
    assert isinstance(Cache(configured=True).rebuild(), Rebuilt)  # we would have seen it


def test_a_replaced_ssl_module_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert interpreter_tls_is_original()
    cache = Cache()

    class Truststore(ssl.SSLContext):
        pass

    with monkeypatch.context() as patch:
        patch.setattr(ssl, "SSLContext", Truststore)
        assert not interpreter_tls_is_original()
        assert cache.refusal() == "the ssl module was replaced"
    with monkeypatch.context() as patch:
        patch.setattr(ssl, "create_default_context", lambda **keywords: None)
        assert not interpreter_tls_is_original()
    with monkeypatch.context() as patch:
        patch.setattr(ssl.SSLContext, "load_verify_locations", lambda *arguments: None, raising=False)
        assert not interpreter_tls_is_original()
    assert interpreter_tls_is_original()


def test_the_recipe_is_the_one_that_litellm_follows(litellm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """If litellm changes it, nothing is accelerated any more: better to hear it here."""
    from litellm.llms.custom_httpx import http_handler

    for level in (None, "DEFAULT@SECLEVEL=1"):
        for curve in (None, "X25519", "nonsense"):
            key = (certifi.where(), level, curve)
            theirs = http_handler._create_ssl_context(*key)
            assert fingerprint(theirs) == fingerprint(make_context(key, http_handler.DEFAULT_SSL_CIPHERS))


# With litellm itself.


@pytest.fixture
def mutual(serve: Callable[..., ScriptedServer], certificates: Certificates) -> ScriptedServer:
    """A server that talks only to clients that show a certificate of the tests' authority."""
    context = server_context(certificates.server)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificates.ca_file)
    return serve(serve_ok, tls=context)


def test_a_client_certificate_of_litellms_settings_is_presented(
    accelerated: Any,
    mode: Any,
    reported: Any,
    carried: Any,
    mutual: ScriptedServer,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    goes_through_the_pool: Callable[[Any], bool],
) -> None:
    """httpx loads SSL_CERTIFICATE into the very context that all of litellm shares. (aiohttp is never given it.)"""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
    before = mode.handler(accelerated)
    with pytest.raises(httpx.NetworkError):
        mode.do(before.get(f"{mutual.url}/x"))
    monkeypatch.setenv("SSL_CERTIFICATE", str(certificates.client.combined))
    handler = mode.handler(accelerated)
    assert goes_through_the_pool(handler.client)
    if mode.name == "async":
        with pytest.raises(httpx.NetworkError):
            mode.do(handler.get(f"{mutual.url}/x"))
        return
    assert mode.do(handler.get(f"{mutual.url}/x")).content == b"GET /x"
    assert reported.stock_requests == {}
    # And by clients that were built on that context before: as with httpx's own transport.
    assert mode.do(before.get(f"{mutual.url}/x")).content == b"GET /x"
    assert reported.stock_requests == {"ssl context: load_cert_chain was called on it": 1}


def test_a_client_certificate_under_force_ipv4_is_presented_where_litellm_presents_it(
    litellm: Any,
    mode: Any,
    mutual: ScriptedServer,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    goes_through_the_pool: Callable[[Any], bool],
) -> None:
    """Since 1.109 it is loaded into the context of the transport that litellm makes there; before, into none."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
    monkeypatch.setenv("SSL_CERTIFICATE", str(certificates.client.combined))
    monkeypatch.setattr(litellm, "force_ipv4", True)

    def ask() -> tuple[Any, bool]:
        handler = mode.handler(litellm)
        accelerated = goes_through_the_pool(handler.client)
        try:
            return mode.do(handler.get(f"{mutual.url}/x")).content, accelerated
        except httpx.TransportError:
            return "refused", accelerated
        finally:
            mode.do(handler.close())

    stock, _ = ask()
    assert fast_litellm.apply_acceleration()
    assert ask() == (stock, True)


def test_the_pools_own_engine_does_tls_for_the_contexts_of_this_litellm(
    accelerated: Any, mode: Any, reported: Any, openai_server: Any, carried: Any
) -> None:
    handler = mode.handler(accelerated)
    assert mode.do(handler.get(f"{openai_server.base_url}/models")).status_code == 200
    assert carried.requests == 1
    assert reported.accelerated == 1
    assert reported.tls_by_context == reported.fallbacks == {}
    mode.do(handler.close())


def test_contexts_of_a_later_litellm_with_longer_keys_do_tls_themselves_and_are_counted(
    accelerated: Any, mode: Any, reported: Any, openai_server: Any, carried: Any
) -> None:
    from litellm.llms.custom_httpx import http_handler

    contexts = http_handler._ssl_context_cache
    http_handler.get_ssl_configuration()
    (key, context), *_ = contexts.items()
    contexts.clear()
    contexts[(*key, "with something new")] = context
    handler = mode.handler(accelerated, ssl_verify=context)
    assert mode.do(handler.get(f"{openai_server.base_url}/models")).status_code == 200
    assert carried.requests == 1
    assert reported.tls_by_context == {"unknown recipe": 1}
    assert reported.fallbacks == reported.stock_requests == {}
    mode.do(handler.close())


def test_a_context_of_the_users_does_tls_itself(
    accelerated: Any,
    mode: Any,
    reported: Any,
    mutual: ScriptedServer,
    certificates: Certificates,
    goes_through_the_pool: Callable[[Any], bool],
) -> None:
    context = ssl.create_default_context(cafile=certificates.ca_file)
    context.load_cert_chain(certificates.client.combined)
    handler = mode.handler(accelerated, ssl_verify=context)
    assert goes_through_the_pool(handler.client)
    assert mode.do(handler.get(f"{mutual.url}/x")).content == b"GET /x"
    assert reported.fallbacks == reported.stock_requests == {}
    assert reported.tls_by_context == {"ssl context: not litellm's": 1}
    mode.do(handler.close())


def test_a_key_log_that_the_user_asked_for_is_written(
    accelerated: Any, mode: Any, reported: Any, openai_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    handler = mode.handler(accelerated)
    assert mode.do(handler.get(f"{openai_server.base_url}/models")).status_code == 200
    assert reported.accelerated == 1
    assert reported.stock_requests == {}
    assert "CLIENT" in (tmp_path / "keys").read_text()
    mode.do(handler.close())


@pytest.mark.parametrize("patched", [False, True], ids=["stock", "patched"])
def test_a_handler_trusts_what_litellms_cached_context_does(
    litellm: Any,
    mode: Any,
    serve: Callable[..., ScriptedServer],
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    patched: bool,
) -> None:
    if patched:
        assert fast_litellm.apply_acceleration()
    bundle = tmp_path / "ca.pem"
    shutil.copy(certificates.ca_file, bundle)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    server = serve(serve_ok, tls=certificates.server)
    before = mode.handler(litellm)
    assert mode.do(before.get(f"{server.url}/x")).content == b"GET /x"
    shutil.copy(certificates.unknown_ca_file, bundle)
    after = mode.handler(litellm)
    assert mode.do(after.get(f"{server.url}/x")).content == b"GET /x"  # litellm's cache is by name
    litellm.llms.custom_httpx.http_handler._ssl_context_cache.clear()
    fresh = mode.handler(litellm)
    with pytest.raises(httpx.TransportError, match=r"certificate"):
        mode.do(fresh.get(f"{server.url}/x"))
    for handler in (before, after, fresh):
        mode.do(handler.close())


def test_an_unknown_issuer_is_refused_through_the_pool_too(
    accelerated: Any,
    mode: Any,
    openai_server: Any,
    monkeypatch: pytest.MonkeyPatch,
    goes_through_the_pool: Callable[[Any], bool],
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    handler = mode.handler(accelerated)
    assert goes_through_the_pool(handler.client)
    with pytest.raises(httpx.ConnectError, match="certificate"):
        mode.do(handler.get(f"{openai_server.base_url}/models"))
    mode.do(handler.close())
