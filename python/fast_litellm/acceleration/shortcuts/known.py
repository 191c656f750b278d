"""The functions of httpx that the shortcuts were written for, recognised by their source.

A function is known if it is httpx's own (its code comes from httpx's folder) and its text is one of those below. So
another httpx, or a function that a mock or a tracer has replaced, is not taken for what it is not.

    python -m fast_litellm.acceleration.shortcuts.known

prints the digests of the httpx that is installed, for the table below, and marks those that are not in it.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
from contextlib import contextmanager
from importlib import import_module
from types import FunctionType
from typing import Any

#: "module:name" -> the texts known, as the first 12 digits of their SHA-256.
DIGESTS: dict[str, tuple[str, ...]] = {
    "_auth:Auth.async_auth_flow": ("952b06129f88", "0488c30f0c54", "bb8b4ff735ff"),
    "_auth:Auth.auth_flow": ("3db15d53236c", "57b9181eafb5"),
    "_auth:Auth.sync_auth_flow": ("9f08b0ff604b", "392b59b83fb1", "bd0b98c187c9"),
    "_client:AsyncClient._send_handling_auth": ("73be9fe14688",),
    "_client:AsyncClient._send_handling_redirects": ("88dba22b4299", "6134dc271370", "b5d01089a129"),
    "_client:AsyncClient._send_single_request": ("339c8a224990", "107ec34d9606", "d52736d2ea8c"),
    "_client:AsyncClient.send": ("76a23b35cd47", "5b1c3a2c9470", "364f25ffae28", "d35c44e4c5d7"),
    "_client:BaseClient._build_request_auth": ("400016131483", "0f6d4aa9bc42"),
    "_client:BaseClient._merge_cookies": ("6e7b01852586", "ff0cdc7a8391"),
    "_client:BaseClient._merge_headers": ("474b000e56d9",),
    "_client:BaseClient._merge_queryparams": ("ce5e95f48911", "f9c9bb5f156e"),
    "_client:BaseClient._merge_url": ("3b00320150ee", "4fc05131cde7"),
    "_client:BaseClient.build_request": (
        "30899d7e0678",
        "857d355898b3",
        "f3a083745cc5",
        "6d1384c1b3bf",
        "3b5079943b97",
    ),
    "_client:BaseClient.cookies": ("f6c62fb2b396",),
    "_client:BoundAsyncStream.__aiter__": ("de747a3b4fb7", "3a2f0b76b023", "b16a693d8a8b"),
    "_client:BoundAsyncStream.__init__": ("47f2b15b35e8", "08c3fe8b7b45"),
    "_client:BoundSyncStream.__init__": ("fea4bff74be6", "e74d89d73ac2"),
    "_client:BoundSyncStream.__iter__": ("b07ce94fb27a", "b7dd7527ece3", "f9e995f7c446"),
    "_client:Client._send_handling_auth": ("f7b52e86d910",),
    "_client:Client._send_handling_redirects": ("5cfa5658545a", "9eb553001936", "5b2be5222b4b"),
    "_client:Client._send_single_request": ("d964c700bd8e", "f23edbb582d9", "5935c5606523"),
    "_client:Client.send": ("319a84957624", "d06f9a1c70df", "7d4d074244c6", "3d52b7f9dbf4"),
    "_content:ByteStream.__iter__": ("d885ed57d16b",),
    "_decoders:ByteChunker.decode": ("8f2517ec7ae2", "4163dee8e660"),
    "_decoders:ByteChunker.flush": ("5cb5addf98d0",),
    "_decoders:IdentityDecoder.decode": ("7eb3f80ed8d6", "3e9540feb96e", "e57de4c7670b"),
    "_decoders:IdentityDecoder.flush": ("84968c1a44f7", "9128177c602a", "2c2b52cda99a"),
    "_decoders:LineDecoder.__init__": ("d73ac5e67879",),
    "_decoders:LineDecoder.decode": ("8097e3e9f92e", "bb346dac906f"),
    "_decoders:LineDecoder.flush": ("db49090f74d5",),
    "_decoders:TextChunker.decode": ("2ca58d2e3393", "0decf1e6ffdf"),
    "_decoders:TextChunker.flush": ("2263c772763f",),
    "_decoders:TextDecoder.__init__": ("73a77cbb5536",),
    "_decoders:TextDecoder.decode": ("a9dd2dffa9a7",),
    "_decoders:TextDecoder.flush": ("eddfc9db4ce5",),
    "_exceptions:request_context": ("e8b21fd7b402", "ad58ccf82ad7"),
    "_models:Cookies._CookieCompatRequest.__init__": ("344f9a680e02",),
    "_models:Cookies._CookieCompatResponse.__init__": ("98ac86616643",),
    "_models:Cookies._CookieCompatResponse.info": ("c31094d1ffb6",),
    "_models:Cookies.__init__": ("ac01259d6d59",),
    "_models:Cookies.extract_cookies": ("ed8dc7a9b42d",),
    "_models:Headers.__contains__": ("e0f082dd8cfd", "c0c5d8170a88"),
    "_models:Headers.__delitem__": ("951742befba9", "f53e6561b6c9"),
    "_models:Headers.__getitem__": ("7c220df74e99",),
    "_models:Headers.__init__": ("6e29ee106a1f", "25af0b382c0b", "fc08d95346fa"),
    "_models:Headers.__setitem__": ("c7cb4e9e85d6", "4793d04850de"),
    "_models:Headers.encoding": ("f9fc1ca32eac",),
    "_models:Headers.keys": ("0ded4dfe814e", "99df17ac1a62", "2f385cc7f083"),
    "_models:Headers.raw": ("5aca9bbc49d2",),
    "_models:Headers.update": ("e09eca7851ec",),
    "_models:Request.__init__": ("23b22679c8fb", "6849ab77a653", "d3a050f9b65a", "5454d580455b", "1bccd583f10d"),
    "_models:Request._prepare": ("2512f2c35f01", "e7d8c5e9eec9", "d10917b52616", "6644548f2764"),
    "_models:Request.read": ("87cafd01601c", "97d6eb224ac0"),
    "_models:Response.__init__": ("44f516354352", "c7205eb49bf9", "2a318df78e87", "451ab7373ee4"),
    "_models:Response._get_content_decoder": ("e4e87bf13cff", "6b7a68129dab"),
    "_models:Response.aclose": ("f5682caf50a1", "826a885c19b7"),
    "_models:Response.aiter_bytes": ("e4eeded40b7a", "c8446ed0aab6", "f9df85663e06", "f42f25a5d001", "d80557a17a06"),
    "_models:Response.aiter_lines": ("852397bad6e1", "0cb547da8d62"),
    "_models:Response.aiter_raw": ("f8662c5e6a82", "ca72bf800ea3", "bfd3a5b19832", "7d8c951e84ac"),
    "_models:Response.aiter_text": ("b7396633c7a7", "13e3f46f37f1", "775af55e7c51"),
    "_models:Response.aread": ("b6908ee9b52c", "b3e3f5f85388"),
    "_models:Response.charset_encoding": ("0ccb96bc6425", "3b0ee3c76f5e"),
    "_models:Response.close": ("112cd82adf7c", "04168897da98"),
    "_models:Response.iter_bytes": ("75a0df0b318a", "bdd323900120", "4ea95691580a", "9c4475f5d5f8"),
    "_models:Response.iter_lines": ("02c26e4a5081", "a9bad3785287"),
    "_models:Response.iter_raw": ("fa13eb548c47", "6a97465e0144", "d8cc447cf930"),
    "_models:Response.iter_text": ("195af327182b", "1fe0bd34775c"),
    "_models:Response.read": ("f7fc21bf4d2c",),
    "_urlparse:ParseResult.copy_with": ("0573546d4d96",),
    "_urls:URL.__init__": ("47f88a7d1d7d", "f075c9193cf2", "1d2c22169faf"),
    "_urls:URL.copy_with": ("d907c8a99771", "af792f4c9d1a", "a97994a32180"),
    "_urls:URL.is_relative_url": ("a4687aad49fa",),
    "_urls:URL.password": ("233c52112f76",),
    "_urls:URL.username": ("e11ccbd38b3a",),
}

#: Modules in which every function of the table is known, as the first 16 digits of their files' SHA-256: those of httpx
#: 0.27.0 to 0.28.1 (of `_client`, 0.28 alone: not all of 0.27's is known). To look at files as a whole is faster, and
#: saves the first client some 20 ms.
FILES: dict[str, tuple[str, ...]] = {
    "_auth": ("62bdd0c1a5122b5e", "1b78ad8657d2727c"),
    "_client": ("c43f941baefe58c9", "1f10a23a5e049f4e"),
    "_content": ("9ee2b4be8ec52dd6", "d14b15547e89c1c4", "2c61b3ac94d1dceb"),
    "_decoders": ("a74757f08d0d1077", "99e5065ad9cea0e0", "1f25f9d6f69cd9b4"),
    "_exceptions": ("6f15bb7f1ce054c0", "be707bf3f2cbf898"),
    "_models": ("e3ffc6bb2bf580bc", "ca3555466cb45578", "e17dee0808829b57"),
    "_urlparse": ("640987e3b38d7e4c", "6a2606ea52f7db7b", "cf56450363c295b5"),
    "_urls": ("757f7d551d4348e1", "2606242b822e0b73", "c8268bbdb9b12358"),
}

#: Texts that do themselves what a shortcut would: httpx2 looks for `Set-Cookie` first.
WITHOUT_NEED = {"_models:Cookies.extract_cookies": ("677f72ed98cb",)}

#: The code of every function that `contextmanager` makes.
_CONTEXT_MANAGER: Any = contextmanager(lambda: iter(())).__code__


class Library:
    """httpx, or a twin of it under another name: its modules, and what is known of them. Any thread may ask."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.root: Any = import_module(name)
        self.client: Any = import_module(f"{name}._client")
        self.models: Any = import_module(f"{name}._models")
        self._folder = os.path.dirname(self.client.BaseClient.build_request.__code__.co_filename)
        #: code -> its digest
        self._digests: dict[Any, str] = {}
        self._known_files = {module for module, digests in FILES.items() if self._file_digest(module) in digests}

    def find(self, qualified: str) -> Any:
        """What stands under a name of the table now; None if there is none."""
        module, _, path = qualified.partition(":")
        try:
            found: Any = import_module(f"{self.name}.{module}")
        except ImportError:
            return None
        for part in path.split("."):
            found = inspect.getattr_static(found, part, None)
        return found

    def unknown(self, relies_on: tuple[str, ...], base: type) -> str:
        """Why a shortcut that relies on these functions cannot be put on clients of the class `base`, or ""."""
        kind = "AsyncClient" if issubclass(base, self.client.AsyncClient) else "Client"
        for name in relies_on:
            qualified = name.replace("{Client}", kind)
            found = self.find(qualified)
            if found is None:
                return f"{self.name} has no {qualified.partition(':')[2]}"
            if not self._is_own(found):
                return f"{qualified.partition(':')[2]} was replaced"
            if qualified.partition(":")[0] not in self._known_files:
                if self.digest(found) in WITHOUT_NEED.get(qualified, ()):
                    return "not needed"
                if self.digest(found) not in DIGESTS.get(qualified, ()):
                    return f"this {self.name}'s {qualified.partition(':')[2]} is not known"
            owner, _, attribute = qualified.partition(":")[2].rpartition(".")
            if owner in ("BaseClient", kind) and inspect.getattr_static(base, attribute) is not found:
                return f"the client's class has its own {attribute}"
        return ""

    def places(self, relies_on: tuple[str, ...], base: type) -> set[tuple[Any, str, Any]]:
        """(owner, attribute, what it holds) for all that `unknown` looked at: its answer holds while they do."""
        kind = "AsyncClient" if issubclass(base, self.client.AsyncClient) else "Client"
        found = set()
        for name in relies_on:
            module, _, path = name.replace("{Client}", kind).partition(":")
            owner: Any = import_module(f"{self.name}.{module}")
            for part in path.split("."):
                place = base if getattr(owner, "__name__", "") in ("BaseClient", kind) else owner
                owner = getattr(place, part, None)
                found.add((place, part, owner))
        return found

    def digest(self, function: Any) -> str:
        """Of a function's text; "" if that cannot be read."""
        code = _code(function)
        digest = self._digests.get(code)
        if digest is None:
            try:
                text = inspect.getsource(code)
            except (OSError, TypeError):
                text = ""
            digest = self._digests[code] = hashlib.sha256(text.encode()).hexdigest()[:12] if text else ""
        return digest

    def _file_digest(self, module: str) -> str:
        try:
            with open(os.path.join(self._folder, f"{module}.py"), "rb") as file:
                return hashlib.sha256(file.read()).hexdigest()[:16]
        except OSError:
            return ""

    def _is_own(self, function: Any) -> bool:
        code = _code(function)
        return code is not None and os.path.dirname(code.co_filename) == self._folder


def library_of(client_class: type) -> Library | None:
    """The library whose client this class is, or is derived from."""
    for owner in client_class.__mro__:
        if owner.__name__ == "BaseClient" and owner.__module__ in ("httpx._client", "httpx2._client"):
            name = owner.__module__.partition(".")[0]
            library = _libraries.get(name)
            if library is None:
                library = _libraries[name] = Library(name)
            return library
    return None


_libraries: dict[str, Library] = {}


def _code(function: Any) -> Any:
    """Of a plain function, a property's getter, or what `contextmanager` made of one; None for anything else: a
    tracer's wrapper may pretend to be a function, to isinstance too."""
    if type(function) is property:
        function = function.fget
    if type(function) is not FunctionType:
        return None
    if function.__code__ is _CONTEXT_MANAGER:
        function = vars(function)["__wrapped__"]
    return function.__code__


def _print_digests(name: str) -> None:
    library = Library(name)
    for qualified in DIGESTS:
        found = library.find(qualified)
        digest = library.digest(found) if found is not None else "-"
        known = digest in DIGESTS[qualified]
        print(f'    "{qualified}": "{digest}",' + ("" if known else "  # not known"))


if __name__ == "__main__":
    _print_digests(*(sys.argv[1:] or ["httpx"]))
