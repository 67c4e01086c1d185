"""Starts benchmarks/bare.py and asks it for runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from phitui.engine.protocol.api import Turn
from phitui.engine.worker.prompt import ChatPrompt
from phitui.models.manifest import read_manifest


class Bare:
    """The engine alone in a process of its own, on the same prompt as phitui gets. A context manager."""

    def __init__(self, folder: Path, threads: int, prompt: str, max_tokens: int) -> None:
        manifest = read_manifest(folder)
        self._process = subprocess.Popen(
            [
                sys.executable, str(Path(__file__).with_name("bare.py")), str(folder), "--threads", str(threads),
                "--prompt", ChatPrompt(folder, manifest).render([Turn("user", prompt)]),
                "--end-token", manifest.end_tokens[0], "--max-tokens", str(max_tokens),
            ],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._line()

    def __enter__(self) -> Bare:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def run(self) -> dict[str, Any]:
        """One run's figures."""
        if self._process.stdin is None:
            raise AssertionError("no pipe")
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        figures: dict[str, Any] = json.loads(self._line())
        return figures

    def _line(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise AssertionError("the bare process ended")
        return line
