"""Which proxy the environment names for an address, and by which variable: so that an error can say which it is.

The rules are those of the standard library (urllib) and curl, read here because httpx refuses what it does not
understand of them with exceptions of many kinds.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from phitui.core.errors import UsageError
from phitui.core.text import one_line

_KINDS = ("http", "https", "socks5", "socks5h")
_INSTEAD = "Unset it, or add the engine's host to NO_PROXY."


@dataclass(frozen=True)
class Proxy:
    """`url` may hold a password: it is not shown. `place` is its host and port."""

    variable: str
    place: str
    url: str = field(repr=False)


def proxy_for(base: str, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy on the way to the address `base`, None for none. Raises UsageError where a variable names one that
    cannot be."""
    parts = urlsplit(base)
    host = (parts.hostname or "").lower()
    if _bypassed(host, parts.port, environ):
        return None
    for name in (f"{parts.scheme}_proxy", "all_proxy"):
        for variable in (name, name.upper()):
            # A web server's client sets HTTP_PROXY by a header "Proxy:" where phitui runs as a CGI script.
            if environ.get(variable, "").strip() and not (variable == "HTTP_PROXY" and "REQUEST_METHOD" in environ):
                return _proxy(variable, environ[variable].strip())
    return None


def _proxy(variable: str, value: str) -> Proxy:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not host.isascii() or any(sign.isspace() for sign in value):
        raise UsageError(f"{variable} is not the address of a proxy, such as http://proxy.example:3128", _INSTEAD)
    kind = "socks5" if parts.scheme == "socks" else parts.scheme  # as GNOME has it
    if kind not in _KINDS:
        known = ", ".join(f"{name}://" for name in _KINDS)
        raise UsageError(
            f"{variable} names a proxy of the kind {one_line(kind, 20)}://; phitui knows {known}", _INSTEAD
        )
    shown = f"[{host}]" if ":" in host else host
    place = shown if port is None else f"{shown}:{port}"
    return Proxy(variable, place, urlunsplit((kind, parts.netloc, parts.path.rstrip("/"), "", "")))


def _bypassed(host: str, port: int | None, environ: Mapping[str, str]) -> bool:
    """Whether NO_PROXY has the host: by its name or a domain that it is in, its address, or a network."""
    listed = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    return any(_matches(entry, host, port) for entry in listed.lower().replace(" ", ",").split(",") if entry)


def _matches(entry: str, host: str, port: int | None) -> bool:
    entry = entry.partition("://")[2] or entry
    if entry == "*":
        return True
    if entry.startswith("["):
        entry, _, rest = entry[1:].partition("]")
        wanted = rest.removeprefix(":")
    elif entry.count(":") == 1:
        entry, _, wanted = entry.partition(":")
    else:
        wanted = ""
    if wanted and wanted != str(port):
        return False
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        name = entry.removeprefix("*").removeprefix(".").rstrip(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))
