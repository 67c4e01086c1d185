"""vLLM's own HTTP server on a tiny random Phi-3, in a process of its own and an environment of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Importing it takes most of this; half a minute on a quiet machine.
_PATIENCE_S = 300
_FLAGS = ("--max-model-len=2048", "--max-num-seqs=8", "--enforce-eager", "--dtype=float32")


@dataclass
class VllmServer:
    url: str
    process: subprocess.Popen[bytes]
    log: Path


def _environment(folder: Path) -> dict[str, str]:
    """Nothing is asked of a network, and nothing is kept outside of `folder`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VLLM_"))}
    return kept | {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_CACHE_ROOT": str(folder / "cache"),
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "OMP_NUM_THREADS": "1",
    }


@contextlib.contextmanager
def vllm_server(python: str, model: Path, folder: Path) -> Iterator[VllmServer]:
    """A server that is there for the block. `python` is that of the environment with vLLM in it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--host", "127.0.0.1"]
    log = folder / "vllm.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*words, "--port", str(port), "--served-model-name", "tiny", "tiny-phi3", *_FLAGS],
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            env=_environment(folder),
            cwd=folder,
            start_new_session=True,
        )
    server = VllmServer(f"http://127.0.0.1:{port}", process, log)
    try:
        _wait(server)
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the server and its engine
        process.wait()


def _wait(server: VllmServer) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and server.process.poll() is None:
        with contextlib.suppress(OSError, urllib.error.URLError):
            if urllib.request.urlopen(f"{server.url}/health", timeout=5).status == 200:
                return
        time.sleep(0.2)
    raise AssertionError(f"vLLM's server does not start:\n{server.log.read_text(errors='replace')[-3000:]}")
