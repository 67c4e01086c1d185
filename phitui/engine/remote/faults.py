"""What goes wrong between here and a server, as one clear line each."""

from __future__ import annotations

import os
import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx

from phitui.core.errors import ExitCode, PhituiError, UnavailableError, UsageError
from phitui.core.text import one_line
from phitui.engine.remote.endpoint import Endpoint
from phitui.engine.remote.proxies import Proxy
from phitui.engine.remote.said import decoded_error, is_final, said_in
from phitui.engine.remote.wire import Garbled

# Of what a server says of its error, so many characters are shown.
SHOWN_CHARS = 300
# What a server refuses because of what is in the request.
_BAD_INPUT = (400, 413, 422)
_AGAIN = (408, 409, 425, 429)
_NEVER = (501, 505)
# Nobody waits so long for a try.
_FAR_S = 300.0
_LOADING = re.compile(
    r"\b(loading|loaded yet|being loaded|not (yet )?(loaded|ready)|starting|warming)\b", re.IGNORECASE
)


class Fault(Exception):
    """A failure and what may follow: whether to send the request `again` (before a first token only), and after how
    many seconds, if the server said. `status` is HTTP's where that is what failed."""

    def __init__(
        self, error: PhituiError, again: bool = False, after_s: float | None = None, status: int | None = None
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.again = again
        self.after_s = after_s
        self.status = status

    @property
    def loading(self) -> bool:
        """Whether the server says that its model is still on its way into memory: that takes minutes, not tries."""
        late = self.status is not None and (self.status >= 500 or self.status in (409, 425, 429))
        return late and _LOADING.search(self.error.message) is not None


# Of these only our own code raises any here: they are a defect, and are to be seen as one.
_DEFECTS = (AssertionError, AttributeError, NameError, TypeError, LookupError, NotImplementedError)


@contextmanager
def faults_told(endpoint: Endpoint) -> Iterator[None]:
    """The boundary between the libraries and phitui: whatever they raise, of httpx or below it, leaves here as a Fault.
    What is one already, or a PhituiError, stays as it is."""
    try:
        yield
    except (Fault, PhituiError, *_DEFECTS):
        raise
    except Exception as error:
        raise fault_of(error, endpoint) from error


def fault_of(error: Exception, endpoint: Endpoint) -> Fault:
    """What httpx, or the reading of a stream, has raised."""
    who = endpoint.who
    if isinstance(error, Garbled):
        return Fault(PhituiError(f"{who}: it sends {endpoint.told(str(error), 200)}"))
    root = _root(error)
    if endpoint.proxy is not None and isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        return _behind_proxy(error, root, endpoint, endpoint.proxy)
    if isinstance(root, socket.gaierror):
        return Fault(UnavailableError(f"{endpoint.name}: the host of {endpoint.host} is not known", "Check the url."))
    if isinstance(root, ssl.SSLCertVerificationError):
        why = one_line(getattr(root, "verify_message", "") or str(root), 120)
        fix = "Check the host's name, or give its authority as ca_file."
        return Fault(UnavailableError(f"{who}: its certificate cannot be trusted: {why}", fix))
    if isinstance(root, ssl.SSLError):
        why = one_line(getattr(root, "reason", None) or str(root), 80)
        return Fault(UnavailableError(f"{who}: no TLS connection: {why}", "Is it https:// on this port?"))
    if isinstance(error, httpx.ConnectTimeout):
        limit = endpoint.settings.connect_timeout_s
        return Fault(UnavailableError(f"{who}: no connection within {limit:g} s", "Check the url."), again=True)
    if isinstance(error, httpx.ConnectError | httpx.ProxyError):
        why = _lost(error, root, endpoint)
        return Fault(UnavailableError(f"{who} cannot be reached: {why}", "Is the server running?"), again=True)
    if isinstance(error, httpx.TimeoutException):
        return Fault(PhituiError(f"{who}: the server does not read or answer in time"), again=True)
    if isinstance(error, httpx.RemoteProtocolError | httpx.NetworkError):
        return Fault(PhituiError(f"{who}: the connection was lost ({_lost(error, root, endpoint)})"), again=True)
    return Fault(PhituiError(f"{who}: {endpoint.told(str(error) or type(error).__name__, 200)}"))


def _behind_proxy(error: Exception, root: BaseException, endpoint: Endpoint, proxy: Proxy) -> Fault:
    """No connection, where the environment has a proxy on the way."""
    limit = endpoint.settings.connect_timeout_s
    late = isinstance(error, httpx.ConnectTimeout)
    why = f"no connection within {limit:g} s" if late else _lost(error, root, endpoint)
    why = "its host is not known" if isinstance(root, socket.gaierror) else why
    host = urlsplit(endpoint.base).hostname
    return Fault(
        UnavailableError(
            f"{endpoint.who} cannot be reached through the proxy {proxy.place} ({proxy.variable}): {why}",
            f"Is that proxy right and running? NO_PROXY={host} goes without it.",
        ),
        again=True,
    )


def _root(error: BaseException) -> BaseException:
    """The first cause: what the system or OpenSSL said."""
    seen = 0
    while seen < 20:
        # Of a host with several addresses, as localhost has, the group has an error for each.
        below = next(iter(getattr(error, "exceptions", ())), None) or error.__cause__ or error.__context__
        if below is None:
            break
        error, seen = below, seen + 1
        if isinstance(error, ssl.SSLError | socket.gaierror):
            break
    return error


def _lost(error: Exception, root: BaseException, endpoint: Endpoint) -> str:
    if isinstance(root, OSError) and root.errno and root.errno > 0:
        return os.strerror(root.errno)  # its own text repeats the address
    return endpoint.told(str(error) or str(root) or type(root).__name__, 120)


def refusal(status: int, headers: httpx.Headers, body: bytes, endpoint: Endpoint) -> Fault:
    """What an HTTP status other than 200 means."""
    who, said = endpoint.who, endpoint.told(said_in(body), SHOWN_CHARS)
    line = f"{who} answers {status}" + (f": {said}" if said else "")
    if 300 <= status < 400:
        target = endpoint.told(headers.get("location", "nowhere"), 120)
        return Fault(PhituiError(f"{who} redirects to {target}, which is not followed", "Set url to that address."))
    if status in (401, 403):
        fix = (
            f"Check {endpoint.table}.{endpoint.name}.api_key_env or api_key_file."
            if endpoint.key
            else "It wants a key."
        )
        return Fault(PhituiError(line, fix))
    if status in _BAD_INPUT:
        return Fault(UsageError(line), status=status)
    again = (status in _AGAIN or status >= 500) and status not in _NEVER and not is_final(decoded_error(body))[0]
    after_s = _retry_after(headers)
    if again and after_s is not None and after_s > _FAR_S:
        return Fault(PhituiError(line, f"It asks to wait {after_s / 60:.0f} minutes."), status=status)
    return Fault(PhituiError(line), again, after_s, status)


def _retry_after(headers: httpx.Headers) -> float | None:
    """In seconds: the header has a number of them, or a date."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value, re.ASCII):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def unreachable(fault: Fault) -> PhituiError:
    """The same for an engine that is only being asked what it is: that it does not answer means that there is none."""
    if fault.error.exit_code == ExitCode.FAILED and fault.again:
        return UnavailableError(fault.error.message, fault.error.fix or "Is the server running?")
    return fault.error
