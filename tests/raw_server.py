"""Servers on the loopback that do what no real one can be asked to: every byte of an answer is the test's."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Answer = Callable[["Connection"], None]


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self):
        return json.loads(self.body)


@dataclass
class Connection:
    """One request and the socket to answer it on."""

    socket: socket.socket
    request: Request
    closed: threading.Event  # the test is over

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.socket.sendall(part)

    def head(self, status: int = 200, kind: str = "text/event-stream", **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} Any", f"Content-Type: {kind}", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n")

    def reply(self, status: int, body: bytes = b"", kind: str = "application/json", **headers: str) -> None:
        self.head(status, kind, Content_Length=str(len(body)), **headers)
        self.send(body)

    def event(self, value: object) -> None:
        self.send(b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n")

    def piece(self, text: str | None = None, reason: str | None = None, **more: object) -> None:
        self.event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}], **more})

    def usage(self, prompt: object, completion: object, **more: object) -> None:
        usage = {"prompt_tokens": prompt, "completion_tokens": completion, **more}
        self.event({"choices": [], "usage": usage})

    def done(self) -> None:
        self.event(b"[DONE]")

    def reset(self) -> None:
        """End the connection as a killed process's kernel does."""
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.socket.close()

    def hang(self) -> None:
        self.closed.wait(30)


@dataclass
class RawServer:
    url: str
    port: int
    requests: list[Request] = field(default_factory=list)

    def chats(self) -> list[Request]:
        return [request for request in self.requests if request.method == "POST"]


MODELS = {"object": "list", "data": [{"id": "m", "object": "model", "owned_by": "somebody"}]}


@contextlib.contextmanager
def raw_server(
    chat: Answer, gets: dict[str, object] | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[RawServer]:
    """Answers each POST with `chat`. `gets`: for a path JSON to send, or a function; all others are 404."""
    gets = {"/v1/models": MODELS} if gets is None else gets
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = RawServer(f"http{'s' if tls else ''}://127.0.0.1:{port}", port)
    closed = threading.Event()

    def serve(plain: socket.socket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            connection = tls.wrap_socket(plain, server_side=True) if tls else plain
            with connection:
                request = _read(connection)
                if request is None:
                    return
                server.requests.append(request)
                _answer(Connection(connection, request, closed), chat, gets)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server
    finally:
        closed.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _answer(connection: Connection, chat: Answer, gets: dict[str, object]) -> None:
    if connection.request.method == "POST":
        chat(connection)
        return
    found = gets.get(connection.request.path)
    if callable(found):
        found(connection)
    elif found is None:
        connection.reply(404, b'{"error": "not found"}')
    else:
        connection.reply(200, json.dumps(found).encode())


def _read(connection: socket.socket) -> Request | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        more = connection.recv(65536)
        if not more:  # a client that leaves in the middle of its request
            return None
        body += more
    method, path, _ = first.split(" ")
    return Request(method, path, headers, body)
