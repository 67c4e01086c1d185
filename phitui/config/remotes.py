"""[engines.NAME]: engines on other machines, and what is right in such a table beyond its types.

Unlike all other settings these have their defaults here: there is no such table in config.toml that comes with phitui.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec

from phitui.core.errors import UsageError
from phitui.core.text import one_line

# The engine in a process of phitui's own.
LOCAL = "ct2"
_NAME = re.compile(r"[A-Za-z0-9\[][A-Za-z0-9._:\[\]-]{0,99}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, section 5.6.2: token
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
# What a request is made of: set by a table it would break the request or hide a key's way.
_OWN_HEADERS = ("host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding")


class RemoteSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[engines.NAME]: a server with an OpenAI-style API, or Ollama's own. Times in seconds; for `route` see
    engine/remote/routes.py; `retries` of a request that has not given a first token; `context_window` in tokens, which
    Ollama is asked for (0: as the model is set there); `concurrency` rows of a batch at once, 0: as tuned, or as the
    server says."""

    url: str = ""
    model: str = ""
    kind: Literal["auto", "vllm", "tgi", "llama.cpp", "ollama", "other"] = "auto"
    route: Literal["auto", "chat", "completions", "generate"] = "auto"
    api_key_env: str = ""
    api_key_file: str = ""
    headers: dict[str, str] = {}
    connect_timeout_s: Annotated[float, msgspec.Meta(ge=0.1, le=600)] = 10.0
    first_token_timeout_s: Annotated[float, msgspec.Meta(ge=0.1, le=86400)] = 300.0
    idle_timeout_s: Annotated[float, msgspec.Meta(ge=0.1, le=86400)] = 60.0
    retries: Annotated[int, msgspec.Meta(ge=0, le=20)] = 3
    context_window: Annotated[int, msgspec.Meta(ge=0, le=100_000_000)] = 0
    concurrency: Annotated[int, msgspec.Meta(ge=0, le=65536)] = 0
    ca_file: str = ""
    verify: bool = True
    plain_http_key: bool = False

    def __repr__(self) -> str:  # headers may hold a key
        return f"RemoteSettings(url={self.url!r}, model={self.model!r}, kind={self.kind!r})"


class HostSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[hosts.NAME]: a machine whose hardware is read from an exporter of Prometheus metrics. `memory_gb_s` is the peak
    of its cards' memory in GB/s, 0 where it is not known: no exporter tells it."""

    url: str = ""
    interval_s: Annotated[float, msgspec.Meta(ge=0.2, le=3600)] = 2.0
    timeout_s: Annotated[float, msgspec.Meta(ge=0.1, le=600)] = 5.0
    memory_gb_s: Annotated[float, msgspec.Meta(ge=0, le=100_000)] = 0.0
    api_key_env: str = ""
    api_key_file: str = ""
    headers: dict[str, str] = {}
    ca_file: str = ""
    verify: bool = True
    plain_http_key: bool = False

    def __repr__(self) -> str:  # headers may hold a key
        return f"HostSettings(url={self.url!r})"


def check_name(name: str, where: str, table: str = "engines") -> None:
    """Raises UsageError where `name` cannot be that of an engine or host of one's own."""
    if not _NAME.fullmatch(name) or (name == LOCAL and table == "engines"):
        shown = one_line(name, 60)
        not_local = f', and is not "{LOCAL}"' if table == "engines" else ""
        raise UsageError(f'{where}: {table}."{shown}": a name has letters, digits and . _ - :{not_local}')


def check_value(key: str, value: object, where: str) -> None:
    """Raises UsageError for what has the right type and is wrong. No value is repeated: it may be a key in the wrong
    place."""
    if key == "url":
        check_url(str(value), where)
    elif key == "api_key_env" and value and not _VARIABLE.fullmatch(str(value)):
        raise UsageError(f"{where}: expected the name of an environment variable, not the key itself")
    elif key == "headers" and isinstance(value, dict):
        for name, text in value.items():
            _check_header(name, text, where)


def check_url(url: str, where: str) -> None:
    """Raises UsageError where `url` is not the plain address of a server."""
    from urllib.parse import urlsplit  # 4 ms that only this needs

    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise UsageError(f"{where}: not an address such as http://127.0.0.1:8000") from None
    if parts.username is not None or parts.password is not None:
        raise UsageError(f"{where}: an address does not carry a key or password", "Use api_key_env or api_key_file.")
    if parts.query or parts.fragment:
        raise UsageError(f"{where}: a server's address has no ? or # part", "Leave it out.")
    if parts.scheme not in ("http", "https") or not host or re.search(r"[^\x21-\x7e]", url):
        raise UsageError(f'{where}: "{one_line(url, 80)}" is not an address such as http://127.0.0.1:8000')


def _check_header(name: str, text: str, where: str) -> None:
    if not _HEADER.fullmatch(name) or name.lower() in _OWN_HEADERS:
        raise UsageError(f"{where}: {one_line(name, 40)}: not a header that can be set")
    if not _HEADER_VALUE.fullmatch(text):
        raise UsageError(f"{where}: {one_line(name, 40)}: its value is not plain ASCII on one line")
