"""Package indexes and a Hub on the loopback, for what the real ones cannot be asked to do."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def serving(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server that is there for the block."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class _Quiet(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def answer(self, status: int, body: bytes, **headers: str):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def stalling_index(wheel: str) -> type[_Quiet]:
    """An index whose wheel begins to arrive and never ends."""

    class Handler(_Quiet):
        def do_GET(self):
            if not self.path.endswith(".whl"):
                self.answer(200, f'<a href="/files/{wheel}">{wheel}</a>'.encode(), Content_Type="text/html")
                return
            self.send_response(200)
            self.send_header("Content-Length", "92871040")
            self.end_headers()
            self.wfile.write(bytes(5_000_000))
            self.wfile.flush()
            time.sleep(60)

    return Handler


COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubHandler(_Quiet):
    """What `hub` makes its servers from."""

    repository: str
    folder: Path
    status: int
    code: str
    refuses: str = ""  # what the path of a refused request has in it
    cut_at: int | None
    elsewhere: str
    paths: list[str]
    asked: list[tuple[str, str, str]]

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.paths.append(self.path)
        path = self.path.split("?")[0]
        if self.status != 200 and self.refuses in path:
            self.answer(self.status, b'{"error": "no"}', X_Error_Code=self.code, X_Error_Message="no")
        elif path.startswith(f"/api/models/{self.repository}"):
            siblings = [describe(path) for path in sorted(self.folder.iterdir()) if path.is_file()]
            self.json({"id": self.repository, "sha": COMMIT, "siblings": siblings, "cardData": {"license": "mit"}})
        elif path.startswith(f"/{self.repository}/resolve/{COMMIT}/"):
            self.file(self.folder / path.rsplit("/", 1)[-1])
        else:
            self.answer(404, b"", X_Error_Code="RepoNotFound")

    def json(self, value):
        self.answer(200, json.dumps(value).encode(), Content_Type="application/json")

    def file(self, path):
        if self.command == "GET":
            self.asked.append((path.name, self.headers.get("Range", ""), self.headers.get("Authorization", "")))
        data = path.read_bytes()
        about = {"ETag": f'"{path.name}-{len(data)}"', "X_Repo_Commit": COMMIT}
        if self.elsewhere and large(path):
            about |= {"Location": self.elsewhere + self.path, "X_Linked_Size": str(len(data)), "X_Linked_Etag": '"x"'}
            self.answer(302, b"", **about)
            return
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        if self.command == "HEAD" or self.cut_at is None or len(data) <= self.cut_at:
            self.answer(206 if start else 200, data[start:], **about)
        else:
            self.cut(data[start:], self.cut_at - start, 206 if start else 200)

    def cut(self, body, length, status):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:length])
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True


def hub(
    repository: str, folder: Path, status: int = 200, code: str = "", cut_at: int | None = None, elsewhere: str = ""
) -> type[HubHandler]:
    """A Hub with one repository, the files of `folder`; or one that answers `status` with the error `code`.

    `cut_at`: no connection lives beyond this byte of a file. `elsewhere`: large files are on the server of this
    address. The `paths` are the requests; the `asked` are (file, range, token) of the files' own.
    """
    given = {"repository": repository, "folder": folder, "status": status, "code": code}
    return type("Hub", (HubHandler,), {**given, "cut_at": cut_at, "elsewhere": elsewhere, "paths": [], "asked": []})


def large(path):
    return path.suffix == ".safetensors"


def describe(path):
    """A file in the Hub's list of a repository's files."""
    found = {"rfilename": path.name, "size": path.stat().st_size, "blobId": "0"}
    if large(path):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        found["lfs"] = {"sha256": digest, "size": found["size"], "pointerSize": 134}
    return found
