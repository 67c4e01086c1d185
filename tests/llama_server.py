"""llama.cpp's own HTTP server on a GGUF file, in a process of its own: a real remote engine on the loopback."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tiny_phi3 import CHAT_TEMPLATE

# One compute thread: with two of them on two cores some runs take five times as long.
_SERVER = """
import sys, time
import xllamacpp
path, port, key, slots, window, template = sys.argv[1:]
params = xllamacpp.CommonParams()
params.model.path = path
params.model_alias = {"tiny"}
params.hostnames = ["127.0.0.1"]
params.port = int(port)
params.n_parallel = int(slots)
params.n_ctx = int(window) * int(slots)
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.endpoint_metrics = True
params.warmup = False
params.use_jinja = True
if template:
    params.chat_template = template
if key:
    params.api_keys = [key]
server = xllamacpp.Server(params)
print("up", flush=True)
time.sleep(3600)
"""


class LlamaServer:
    """`url` of a server that answers, and its process to be killed."""

    def __init__(
        self, path: Path, key: str, slots: int, window: int, port: int = 0, template: str = CHAT_TEMPLATE
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            self.port = probe.getsockname()[1]
        self.path = path
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = path.with_suffix(".log").open("ab")
        words = [sys.executable, "-c", _SERVER, str(path), str(self.port), key, str(slots), str(window), template]
        self.process = subprocess.Popen(
            words,
            stdout=self._log,
            stderr=self._log,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError, urllib.error.URLError):
                if urllib.request.urlopen(f"{self.url}/health", timeout=5).status == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"llama.cpp's server does not start: {self._log.name}")

    def kill(self) -> None:
        """As the kernel ends a process that takes too much."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._log.close()


@contextlib.contextmanager
def llama_server(
    path: Path, key: str = "", slots: int = 2, window: int = 2048, template: str = CHAT_TEMPLATE
) -> Iterator[LlamaServer]:
    """A server that is there for the block. `window` is the context of each of its `slots`. Without a `template` the
    file's own is taken."""
    server = LlamaServer(path, key, slots, window, template=template)
    try:
        yield server
    finally:
        server.kill()
