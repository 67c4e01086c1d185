"""Where a remote engine is and how to speak to it: address, key, headers, TLS, time limits."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from phitui.config.remotes import HostSettings, RemoteSettings
from phitui.core.errors import UsageError
from phitui.core.files import open_regular, read_opened
from phitui.core.text import one_line
from phitui.engine.remote.proxies import Proxy, proxy_for

_KEY = re.compile(r"[\x21-\x7e]{1,8192}")
_KEY_FILE_BYTES = 16_384
# What is shorter is no secret, and hiding it would take words apart.
_LEAST_SECRET_CHARS = 6
_SHOWN_AT_MOST_CHARS = 10_000


class Secret:
    """A text that shows itself only when asked to: not in a log, an error or a traceback with variables."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "Secret(…)"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not written anywhere")


@dataclass(frozen=True)
class Endpoint:
    """`base` is the address without /v1 and without a slash at its end; `host` has the port where the address has;
    `proxy` is on the way there where the environment names one."""

    name: str
    base: str
    host: str
    settings: RemoteSettings
    key: Secret
    headers: dict[str, Secret] = field(default_factory=dict)
    table: str = "engines"
    proxy: Proxy | None = None

    @property
    def who(self) -> str:
        """The engine in an error."""
        return self.name if self.name == self.host else f"{self.name} at {self.host}"

    @property
    def encrypted(self) -> bool:
        return self.base.startswith("https://")

    def told(self, text: str, limit: int) -> str:
        """What the server says, made safe, on one line of `limit` characters, with "…" for a key or header of ours that
        it repeats."""
        text = one_line(text, max(limit, _SHOWN_AT_MOST_CHARS))
        for secret in sorted(self._secrets(), key=len, reverse=True):
            text = text.replace(secret, "…")
        return one_line(text, limit)

    def _secrets(self) -> set[str]:
        """The key and the headers' values; of "Bearer …" also what stands behind it; and all as an address has it."""
        values = [self.key.reveal(), *(header.reveal() for header in self.headers.values())]
        values += [value.split()[-1] for value in values if value]
        return {
            form for value in values if len(value) >= _LEAST_SECRET_CHARS for form in (value, quote(value, safe=""))
        }


def exporter_of(name: str, settings: HostSettings, environ: Mapping[str, str] = os.environ) -> Endpoint:
    """[hosts.NAME] in the same way; without a path in its address it is /metrics."""
    url = settings.url
    if url and urlsplit(url).path in ("", "/"):
        url = f"{url.rstrip('/')}/metrics"
    shared = {key: getattr(settings, key) for key in ("api_key_env", "api_key_file", "headers", "ca_file", "verify")}
    remote = RemoteSettings(
        url=url, connect_timeout_s=settings.timeout_s, plain_http_key=settings.plain_http_key, **shared
    )
    return endpoint_of(name, remote, environ, "hosts")


def endpoint_of(
    name: str, settings: RemoteSettings, environ: Mapping[str, str] = os.environ, table: str = "engines"
) -> Endpoint:
    """The engine as it is configured, with its key. Raises UsageError for what is wrong or missing."""
    where = f"{table}.{name}"
    if not settings.url:
        raise UsageError(f"{where} has no url", f'Write url = "http://…" below [{where}].')
    parts = urlsplit(settings.url)
    path = parts.path.rstrip("/").removesuffix("/chat/completions")  # as such addresses are often given
    base = f"{parts.scheme}://{parts.netloc}{path}".removesuffix("/v1").rstrip("/")
    headers = {header: Secret(value) for header, value in settings.headers.items()}
    key = _key(where, settings, environ)
    # What is on this machine is asked without a proxy.
    proxy = None if _loopback(parts.hostname or "") else proxy_for(base, environ)
    endpoint = Endpoint(name, base, parts.netloc, settings, key, headers, table, proxy)
    _check_plain(endpoint, parts.hostname or "")
    return endpoint


def _key(where: str, settings: RemoteSettings, environ: Mapping[str, str]) -> Secret:
    if settings.api_key_env and settings.api_key_file:
        raise UsageError(f"{where} has both api_key_env and api_key_file", "Leave one of them out.")
    if settings.api_key_env:
        source = f"the variable that {where}.api_key_env names"
        text = environ.get(settings.api_key_env)
        if not text:
            raise UsageError(f"{source} is not set", "Export it, or use api_key_file.")
    elif settings.api_key_file:
        source = f"the file that {where}.api_key_file names"
        text = _read_key(expanded(settings.api_key_file), source)
    else:
        return Secret("")
    if not _KEY.fullmatch(text.strip()):
        raise UsageError(f"{source} has no key in it: one line of ASCII without blanks")
    return Secret(text.strip())


def expanded(path: str) -> Path:
    """A path as it is configured, with ~ or ~name for a user's home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _read_key(path: Path, source: str) -> str:
    """The file's text, if it is a file that only its owner may read."""
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & 0o077:
                raise UsageError(f"{source} can be read by others (mode {mode & 0o777:04o})", f"chmod 600 {path}")
            return read_opened(file, path, _KEY_FILE_BYTES).decode("ascii", "replace")
    except OSError as error:
        raise UsageError(f"{source} cannot be read: {error.strerror}") from error


def _check_plain(endpoint: Endpoint, hostname: str) -> None:
    """Refuse to send a key over an unencrypted connection, on which others could read it."""
    secret = endpoint.key or endpoint.headers
    if secret and not endpoint.encrypted and not _loopback(hostname) and not endpoint.settings.plain_http_key:
        raise UsageError(
            f"{endpoint.name}: its key or headers would go unencrypted to {endpoint.host}",
            f"Use https://, a tunnel (ssh -L), or {endpoint.table}.{endpoint.name}.plain_http_key = true.",
        )


def _loopback(hostname: str) -> bool:
    if hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False
