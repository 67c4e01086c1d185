"""HTTP to one server: TLS, time limits, bounds on what it may send."""

from __future__ import annotations

import os
import ssl
import zlib
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec

from phitui import __version__
from phitui.core.errors import PhituiError, UsageError
from phitui.core.files import open_regular
from phitui.core.text import one_line
from phitui.engine.remote.endpoint import Endpoint, expanded
from phitui.engine.remote.faults import Fault, faults_told, refusal
from phitui.engine.remote.wire import BODY_BYTES, TooMuch

STREAM_BYTES = 256_000_000
_PART_BYTES = 65_536
# The head of a response is bounded by h11 (64 KiB).

Reply = TypeVar("Reply")


class Plain(httpx.AsyncByteStream):
    """A response's bytes as they come, decompressed, up to `most`. Plain bytes are asked for, but some proxies send
    compressed ones all the same, and a few of those can stand for very many."""

    def __init__(self, stream: httpx.AsyncByteStream, encoding: str, most: int) -> None:
        self._stream, self._most = stream, most
        # Of either: zlib's own format, which is what "deflate" means, and gzip's.
        self._zip = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32) if encoding else None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        total = 0
        async for chunk in self._stream:
            for part in [chunk] if self._zip is None else _unzipped(self._zip, chunk):
                total += len(part)
                if total > self._most:
                    raise TooMuch(f"more than {self._most:,} bytes")
                if part:
                    yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


def _unzipped(decompressor: zlib._Decompress, chunk: bytes) -> Iterator[bytes]:
    while chunk and not decompressor.eof:
        try:
            yield decompressor.decompress(chunk, _PART_BYTES)
        except zlib.error as error:
            raise httpx.DecodingError("what it sends compressed cannot be read") from error
        chunk = decompressor.unconsumed_tail


class _Secrets(httpx.Auth):
    """Puts key and headers into each request as it leaves: until then they are in no object that shows itself."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if self._endpoint.key:
            request.headers["Authorization"] = f"Bearer {self._endpoint.key.reveal()}"
        for name, secret in self._endpoint.headers.items():
            request.headers[name] = secret.reveal()
        yield request


def open_client(endpoint: Endpoint) -> httpx.AsyncClient:
    """A client for this server alone. It follows no redirect: a key goes nowhere else. Raises UsageError."""
    try:
        return _opened(endpoint)
    except Fault as fault:
        raise fault.error from fault


def _opened(endpoint: Endpoint) -> httpx.AsyncClient:
    connect = endpoint.settings.connect_timeout_s
    with faults_told(endpoint):
        return httpx.AsyncClient(
            auth=_Secrets(endpoint),
            headers={"User-Agent": f"phitui/{__version__}", "Accept-Encoding": "identity"},
            verify=_tls(endpoint),
            follow_redirects=False,
            trust_env=False,  # engine/remote/proxies.py and `_tls` read the environment
            proxy=endpoint.proxy.url if endpoint.proxy else None,
            # The time for a token is the reader's to watch: a server that sends bytes and no token is no better.
            timeout=httpx.Timeout(connect=connect, write=max(connect, 30.0), pool=None, read=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        )


def _tls(endpoint: Endpoint) -> ssl.SSLContext | bool:
    if not endpoint.encrypted:
        return False  # there is nothing to verify, and reading the authorities takes a while
    if not endpoint.settings.verify:
        return httpx.create_ssl_context(verify=False)
    if not endpoint.settings.ca_file:
        _check_variables()
        context = httpx.create_ssl_context()
        context.load_default_certs()  # those of the system beside certifi's
        return context
    where = f"{endpoint.table}.{endpoint.name}.ca_file"
    try:
        return _trusting(expanded(endpoint.settings.ca_file))
    except ssl.SSLError as error:
        raise UsageError(f"{where}: it has no certificate in PEM form") from error
    except OSError as error:
        raise UsageError(f"{where}: it cannot be read: {error.strerror}") from error


def _trusting(path: Path) -> ssl.SSLContext:
    """Raises OSError, and its ssl.SSLError. OpenSSL itself would wait for the other end of a pipe."""
    os.close(open_regular(path))
    return ssl.create_default_context(cafile=str(path))


def _check_variables() -> None:
    """Raises UsageError where OpenSSL would fail at a file that the environment names, or pass over it."""
    for name, needed in (("SSL_CERT_FILE", os.R_OK), ("SSL_CERT_DIR", os.R_OK | os.X_OK)):
        place = os.environ.get(name, "")
        if place and not os.access(place, needed):
            why = "cannot be read" if Path(place).exists() else "is not there"
            raise UsageError(f"{name} names {one_line(place, 120)}, which {why}", "Unset it, or name what is there.")
    if os.environ.get("SSL_CERT_FILE"):
        try:
            _trusting(Path(os.environ["SSL_CERT_FILE"]))
        except OSError as error:  # ssl.SSLError is one
            raise UsageError("SSL_CERT_FILE names a file without a certificate in PEM form", "Unset it.") from error
    if os.environ.get("SSLKEYLOGFILE"):
        try:
            ssl.create_default_context()
        except OSError as error:
            raise UsageError(f"SSLKEYLOGFILE cannot be written: {error.strerror}", "Unset it.") from error


async def get(client: httpx.AsyncClient, endpoint: Endpoint, path: str) -> tuple[int, httpx.Headers, bytes]:
    """Status, headers and body of a small resource. Raises Fault where there is no answer or one that is too large."""
    limit = endpoint.settings.connect_timeout_s
    request = client.build_request("GET", endpoint.base + path, timeout=limit)
    with faults_told(endpoint):
        async with _sent(client, request) as response:
            return response.status_code, response.headers, await read_body(response)


def decoded(body: bytes, kind: type[Reply]) -> Reply | None:
    """A body's JSON as `kind`, None where it is none: also for wrong UTF-8, which msgspec raises as an error of another
    family."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


async def get_json(client: httpx.AsyncClient, endpoint: Endpoint, path: str, kind: type[Reply]) -> Reply | None:
    """A resource as `kind`, None where the server has no such. Raises Fault."""
    status, headers, body = await get(client, endpoint, path)
    if status in (401, 403, 407, 429) or status >= 500:
        raise refusal(status, headers, body, endpoint)
    return decoded(body, kind) if status == 200 else None


async def post_json(
    client: httpx.AsyncClient, endpoint: Endpoint, path: str, body: dict[str, Any], kind: type[Reply]
) -> Reply | None:
    """What the server answers to a small question, None where it has no such route or answers otherwise. Raises
    Fault where there is no answer."""
    request = client.build_request("POST", endpoint.base + path, json=body, timeout=endpoint.settings.connect_timeout_s)
    with faults_told(endpoint):
        async with _sent(client, request) as response:
            if response.status_code != 200:
                return None
            return decoded(await read_body(response), kind)


@asynccontextmanager
async def _sent(client: httpx.AsyncClient, request: httpx.Request) -> AsyncIterator[httpx.Response]:
    if client.is_closed:  # while this was on its way; httpx would call it a mistake in the program
        raise Fault(PhituiError("the engine is not connected"))
    response = await client.send(request, stream=True)
    try:
        yield response
    finally:
        await response.aclose()


async def read_body(response: httpx.Response) -> bytes:
    """A whole small body. Raises TooMuch."""
    _unpack(response, BODY_BYTES)
    return b"".join([chunk async for chunk in response.aiter_raw()])


def _unpack(response: httpx.Response, most: int) -> None:
    """Have its raw bytes be plain ones, and no more than `most`. Raises Fault where they are packed in a way that is
    not known."""
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding in ("identity", "none"):
        encoding = ""
    if encoding not in ("", "gzip", "x-gzip", "deflate"):
        raise Fault(PhituiError(f"the server compresses what it should send plain: {one_line(encoding, 40)}"))
    if isinstance(response.stream, httpx.AsyncByteStream):
        response.stream = Plain(response.stream, encoding, most)


@asynccontextmanager
async def streaming(
    client: httpx.AsyncClient, endpoint: Endpoint, path: str, body: dict[str, Any], lines_are_events: bool
) -> AsyncIterator[httpx.Response]:
    """A POST whose answer comes in pieces, bounded. Raises Fault where the server refuses it."""
    accept = "application/x-ndjson" if lines_are_events else "text/event-stream"
    request = client.build_request("POST", endpoint.base + path, json=body, headers={"Accept": accept})
    with faults_told(endpoint):
        async with _sent(client, request) as response:
            if not 200 <= response.status_code < 300:
                said = await read_body(response)
                raise refusal(response.status_code, response.headers, said, endpoint)
            _unpack(response, STREAM_BYTES)
            yield response
