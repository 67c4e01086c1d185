"""What phitui adds to a server's stream, against curl reading the same one: `phitui ask --engine`, and the console.

A server on the loopback, in a process of its own, sends pieces by the clock (paced), and as fast as they are taken
(unpaced). In the pauses of the paced stream there is time for much that a piece costs: its figures say how late an
answer ends, the unpaced ones what a piece costs.

- curl's `time_total`, and the `total_ms` that `ask` measures at its end, are from the request to the end of the answer;
  the start of the process is not in them and given for itself.
- The console runs in a real pseudo-terminal of 120×40; its time is from the write of Enter to the terminal until the
  answer's finished line of facts stands on the screen, with all that the screen costs, and an emulator reading it here.
  That line is painted as soon as the answer has ended, with what text is still to be painted.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from report import machine, publish, summary
from terminal import Console, command, environment, wait_until

from phitui.core.ipc.boot import python

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
def piece(text):
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
    return event({"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})
pieces = [piece(text) for text in json.loads(sys.stdin.read())]
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
            peer.sendall(pieces[number % len(pieces)])
        end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}
        usage = {"prompt_tokens": 5, "completion_tokens": count, "total_tokens": count + 5}
        peer.sendall(event(end) + event({"choices": [], "usage": usage}) + b"data: [DONE]\\n\\n")
    peer.close()
while True: threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


@contextmanager
def server(interval_s: float = INTERVAL_S, paced: int = PIECES, texts: Sequence[str] = ("word ",)) -> Iterator[str]:
    """The address of the server. Answers of up to `paced` tokens come one each `interval_s`, longer ones at once; their
    tokens are `texts`, over and over."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    code = _SERVER.replace("INTERVAL", str(interval_s)).replace("PACED", str(paced))
    process = subprocess.Popen([*python(code), str(port)], stdin=subprocess.PIPE)  # ends with whoever started it
    if process.stdin is not None:
        process.stdin.write(json.dumps(list(texts)).encode())
        process.stdin.close()
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


def console_on(home: Path, url: str, pieces: int) -> Console:
    """A console whose answers have so many pieces."""
    settings = home / f"box-{pieces}.toml"
    settings.write_text(f'[engines.box]\nurl = "{url}"\n[generation]\nmax_tokens = {pieces}\n', encoding="utf-8")
    return Console(command("--config", str(settings), "--engine", "box"), environment(home))


def console_s(console: Console, pieces: int) -> float:
    """Seconds from Enter to the facts of the whole answer, in a fresh chat."""
    whole = re.compile(rf"\b{pieces} tokens · [\d.]+ tok/s")
    looked = -1

    def stands() -> bool:
        """Looked for only where something has been painted: it takes the emulator's time to read."""
        nonlocal looked
        before, looked = looked, len(console.output)
        return looked != before and whole.search(console.text()) is not None

    console.send("\x0e")
    if not wait_until(lambda: not whole.search(console.text()), 30):
        raise SystemExit(f"no fresh chat; the screen:\n{console.text()}")
    console.send("Hi")
    console.wait_for("Hi")
    begun = time.perf_counter()
    console.send("\r")
    if not wait_until(stands, 120, 0.002):
        raise SystemExit(f"the answer is not whole; the screen:\n{console.text()}")
    return time.perf_counter() - begun


def main() -> None:
    about = machine()
    paced: dict[str, list[float]] = {name: [] for name in ("curl_s", "ask_s", "console_s", "process_s")}
    unpaced: dict[str, list[float]] = {name: [] for name in ("curl_s", "ask_s", "console_s")}
    with server() as url, tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        ask_s(home, url, 10)  # the first import compiles
        with console_on(home, url, PIECES) as slow, console_on(home, url, FREE_PIECES) as fast:
            for console in (slow, fast):
                console.wait_for("answers through", 60)
            for _ in range(ROUNDS):
                paced["curl_s"].append(curl_s(url, PIECES))
                stream, wall = ask_s(home, url, PIECES)
                paced["ask_s"].append(stream)
                paced["process_s"].append(wall - stream)
                paced["console_s"].append(console_s(slow, PIECES))
                unpaced["curl_s"].append(curl_s(url, FREE_PIECES))
                unpaced["ask_s"].append(ask_s(home, url, FREE_PIECES)[0])
                unpaced["console_s"].append(console_s(fast, FREE_PIECES))
    publish("remote", {"machine": about, **figures(paced, unpaced)})


def figures(paced: dict[str, list[float]], unpaced: dict[str, list[float]]) -> dict[str, Any]:
    """The published figures, of seconds by who read the stream."""
    taken = {"paced": paced, "unpaced": unpaced}
    found = {name: {of: summary(values, 4) for of, values in rows.items()} for name, rows in taken.items()}
    whole, free = ({of: one["median"] for of, one in found[name].items()} for name in ("paced", "unpaced"))
    readers = ("ask", "console")
    return {
        "method": f"{ROUNDS} interleaved rounds. Paced: {PIECES} pieces, one each {1000 * INTERVAL_S:g} ms. Unpaced: "
        f"{FREE_PIECES} pieces without a pause",
        **found,
        "paced_overhead_pct": {of: round(100 * (whole[f"{of}_s"] / whole["curl_s"] - 1), 2) for of in readers},
        "limit_pct": 3.0,
        "paced_ms_later_than_curl": {of: round(1000 * (whole[f"{of}_s"] - whole["curl_s"]), 1) for of in readers},
        "unpaced_us_per_piece_more_than_curl": {
            of: round(1e6 * (free[f"{of}_s"] - free["curl_s"]) / FREE_PIECES, 1) for of in readers
        },
    }


if __name__ == "__main__":
    main()
