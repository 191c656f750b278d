"""No search for cookies in a response that has none.

httpx hands every response to `http.cookiejar`, wrapped as urllib's request and as an e-mail message, under the jar's
lock. Without a `Set-Cookie` (or `Set-Cookie2`) header the jar then finds nothing, asks no policy, and changes nothing.
"""

from __future__ import annotations

import http.cookiejar
from http.cookiejar import CookieJar
from typing import Any

from .derived import attributes
from .known import Library

RELIES_ON = (
    "_client:BaseClient.cookies",
    "_client:{Client}._send_single_request",
    "_models:Cookies.extract_cookies",
    "_models:Cookies.__init__",
    "_models:Cookies._CookieCompatRequest.__init__",
    "_models:Cookies._CookieCompatResponse.__init__",
    "_models:Cookies._CookieCompatResponse.info",
    "_models:Headers.__init__",
)

_extract_from_jar = CookieJar.extract_cookies
_quick_classes: dict[str, type] = {}


def quick_cookies(library: Library, base: type, _: dict[str, Any]) -> dict[str, Any]:
    """`cookies`: what is set becomes a Cookies of the quick kind; what is got is what was set."""
    stock: Any = library.client.BaseClient.__dict__["cookies"]
    plain: type = library.models.Cookies
    quick = _quick_class(library)

    def set_cookies(client: Any, cookies: Any) -> None:
        stock.fset(client, cookies)
        _become(client._cookies, plain, quick)

    return {"cookies": property(stock.fget, set_cookies, stock.fdel, stock.__doc__)}


def adopt(library: Library, client: Any, _: tuple[Any, ...]) -> None:
    """The cookies that the client has already: the same object, of the quick kind from now on."""
    _become(getattr(client, "_cookies", None), library.models.Cookies, _quick_class(library))


def release(client: Any) -> None:
    cookies = getattr(client, "_cookies", None)
    plain = vars(type(cookies)).get("_fast_litellm_base")
    if plain is not None:
        cookies.__class__ = plain


def _become(cookies: Any, plain: type, quick: type) -> None:
    if type(cookies) is plain:
        cookies.__class__ = quick


def _quick_class(library: Library) -> type:
    quick = _quick_classes.get(library.name)
    if quick is None:
        quick = _quick_classes.setdefault(library.name, _make_quick_class(library.models.Cookies))
    return quick


def _make_quick_class(plain: Any) -> type:
    extract = plain.extract_cookies

    def extract_cookies(self: Any, response: Any) -> None:
        jar = self.jar
        if (
            plain.extract_cookies is extract
            and type(jar) is CookieJar
            and CookieJar.extract_cookies is _extract_from_jar
            and "extract_cookies" not in jar.__dict__
            and not http.cookiejar.debug  # type: ignore[attr-defined]
            and response.request.url.scheme  # urllib refuses a URL without one
        ):
            for _, name, _ in response.headers._list:
                if name == b"set-cookie" or name == b"set-cookie2":
                    break
            else:
                return
        plain.extract_cookies(self, response)

    def reduce(self: Any, protocol: Any) -> Any:
        # A copy, or one out of a pickle, is httpx's plain kind.
        return _make_plain, (plain,), self.__dict__

    return type(
        plain.__name__,
        (plain,),
        {
            **attributes(plain),
            "__reduce_ex__": reduce,
            "extract_cookies": extract_cookies,
        },
    )


def _make_plain(plain: Any) -> Any:
    return plain.__new__(plain)
