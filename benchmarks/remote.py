"""What `phitui ask --engine` adds to a server's stream, against curl reading the same one.

A server on the loopback, in a process of its own, sends pieces by the clock, and as fast as they are taken. curl's
`time_total`, and the `total_ms` that `ask` measures at its end, are from the request to the end of the answer; the
start of the process is not in them and given for itself.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from report import machine, publish, summary
from terminal import command, environment

ROUNDS = 7
PIECES = 1000
INTERVAL_S = 0.002  # 500 tokens/s: several times what one prompt gets of a fast card
FREE_PIECES = 20_000

_SERVER = """
import json, socket, sys, threading, time
threading.excepthook = lambda _: None  # a client that leaves
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
models = json.dumps({"object": "list", "data": [{"id": "m", "owned_by": "bench"}]}).encode()
def event(value): return b"data: " + json.dumps(value).encode() + b"\\n\\n"
piece = event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
               "choices": [{"index": 0, "delta": {"content": "word "}, "logprobs": None, "finish_reason": None}]})
def serve(peer):
    data = b""
    while b"\\r\\n\\r\\n" not in data: data += peer.recv(65536)
    head, _, body = data.partition(b"\\r\\n\\r\\n")
    if head.startswith(b"GET"):
        status = b"200 OK" if b"/v1/models " in head else b"404 No"
        peer.sendall(b"HTTP/1.1 " + status + b"\\r\\nConnection: close\\r\\n\\r\\n" + models)
    else:
        length = int(head.lower().split(b"content-length:")[1].split()[0])
        while len(body) < length: body += peer.recv(65536)
        count = json.loads(body)["max_tokens"]
        step = INTERVAL if count <= PACED else 0.0
        peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Type: text/event-stream\\r\\nConnection: close\\r\\n\\r\\n")
        begun = time.monotonic()
        for number in range(count):
            if step: time.sleep(max(0.0, begun + (number + 1) * step - time.monotonic()))
            peer.sendall(piece)
        end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}
        usage = {"prompt_tokens": 5, "completion_tokens": count, "total_tokens": count + 5}
        peer.sendall(event(end) + event({"choices": [], "usage": usage}) + b"data: [DONE]\\n\\n")
    peer.close()
while True: threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


@contextmanager
def server(interval_s: float = INTERVAL_S, paced: int = PIECES) -> Iterator[str]:
    """The address of the server. Answers of up to `paced` tokens come one each `interval_s`, longer ones at once."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    code = _SERVER.replace("INTERVAL", str(interval_s)).replace("PACED", str(paced))
    process = subprocess.Popen([sys.executable, "-c", code, str(port)])
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def curl_s(url: str, pieces: int) -> float:
    """Seconds that curl takes for the stream."""
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": pieces, "stream": True}
    words = ["curl", "-sN", "-o", os.devnull, "-w", "%{time_total}", "-H", "Content-Type: application/json"]
    done = subprocess.run(
        [*words, "-d", json.dumps(body), f"{url}/v1/chat/completions"], capture_output=True, check=True
    )
    return float(done.stdout)


def ask_s(home: Path, url: str, pieces: int) -> tuple[float, float]:
    """Seconds from the request to the answer's end, and of the whole process."""
    begun = time.perf_counter()
    words = command("ask", "--engine", url, "--json", "--max-tokens", str(pieces), "Hi")
    done = subprocess.run(words, env=environment(home), capture_output=True, check=True)
    wall = time.perf_counter() - begun
    report = json.loads(done.stdout)
    if report["usage"]["completion_tokens"] != pieces or report["text"] != "word " * pieces:
        raise SystemExit("the answer is not whole")
    return report["timings"]["total_ms"] / 1000, wall


def main() -> None:
    about = machine()
    rows: dict[str, list[float]] = {name: [] for name in ("curl_s", "ask_s", "process_s", "free_curl_s", "free_ask_s")}
    with server() as url, tempfile.TemporaryDirectory() as folder:
        ask_s(Path(folder), url, 10)  # the first import compiles
        for _ in range(ROUNDS):
            rows["curl_s"].append(curl_s(url, PIECES))
            stream, wall = ask_s(Path(folder), url, PIECES)
            rows["ask_s"].append(stream)
            rows["process_s"].append(wall - stream)
            rows["free_curl_s"].append(curl_s(url, FREE_PIECES))
            rows["free_ask_s"].append(ask_s(Path(folder), url, FREE_PIECES)[0])
    found = {name: summary(values, 4) for name, values in rows.items()}
    overhead = 100 * (found["ask_s"]["median"] / found["curl_s"]["median"] - 1)
    per_piece = 1e6 * (found["free_ask_s"]["median"] - found["free_curl_s"]["median"]) / FREE_PIECES
    publish(
        "remote",
        {
            "machine": about,
            "method": f"{ROUNDS} interleaved rounds; {PIECES} pieces, one each {1000 * INTERVAL_S:g} ms; "
            f"and {FREE_PIECES} without a pause",
            **found,
            "overhead_pct": round(overhead, 2),
            "limit_pct": 3.0,
            "us_per_piece_more_than_curl": round(per_piece, 1),
        },
    )


if __name__ == "__main__":
    main()
