"""Package indexes and a Hub on the loopback, for what the real ones cannot be asked to do."""

from __future__ import annotations

import contextlib
import http.server
import json
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


def hub(repository: str, folder: Path, status: int = 200, code: str = "") -> type[_Quiet]:
    """A Hub with one repository, the files of `folder`; or one that answers `status` with the error `code`."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    asked: list[str] = []

    class Handler(_Quiet):
        paths = asked

        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            asked.append(self.path)
            path = self.path.split("?")[0]
            if status != 200:
                self.answer(status, b'{"error": "no"}', X_Error_Code=code, X_Error_Message="no")
            elif path.startswith(f"/api/models/{repository}/tree/"):
                self.json([{"type": "file", "oid": "0", "path": p.name, "size": p.stat().st_size} for p in files()])
            elif path.startswith(f"/api/models/{repository}"):
                siblings = [{"rfilename": p.name, "size": p.stat().st_size} for p in files()]
                self.json({"id": repository, "sha": commit, "siblings": siblings, "cardData": {"license": "mit"}})
            elif path.startswith(f"/{repository}/resolve/{commit}/"):
                self.file(folder / path.rsplit("/", 1)[-1])
            else:
                self.answer(404, b"", X_Error_Code="RepoNotFound")

        def json(self, value):
            self.answer(200, json.dumps(value).encode(), Content_Type="application/json")

        def file(self, path):
            etag = f'"{path.name}-{path.stat().st_size}"'
            self.answer(200, path.read_bytes(), ETag=etag, X_Repo_Commit=commit)

    def files():
        return sorted(path for path in folder.iterdir() if path.is_file())

    return Handler
