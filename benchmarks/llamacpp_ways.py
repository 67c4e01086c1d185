"""The ways in which llama.cpp's server is measured: compute threads and prompts at once."""

from __future__ import annotations

from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

from llamacpp import LlamaServer
from tokenizers import Tokenizer

from phitui.autotune.probes import Goal
from phitui.engine.worker.prompt import ChatPrompt
from phitui.models.manifest import read_manifest

CONCURRENCIES = (8, 16, 26, 32)
THREADS = (1, 2)


class Way(NamedTuple):
    """How llama.cpp's server runs."""

    threads: int
    concurrency: int

    def __str__(self) -> str:
        return f"llamacpp_{self.concurrency}_at_{self.threads}_thread{'s' * (self.threads != 1)}"


class Llama:
    """A server for each number of compute threads; one that fails, or hangs, is left out from then on."""

    def __init__(self, stack: ExitStack, goal: Goal) -> None:
        self._new_tokens = goal.new_tokens
        context = goal.prompt_tokens + goal.new_tokens + 8
        self._servers = {
            threads: stack.enter_context(LlamaServer(max(CONCURRENCIES), context, threads)) for threads in THREADS
        }
        self._warm = False
        self.rates: dict[Way, list[float]] = {}
        self.failed: dict[int, str] = {}

    def round(self, prompts: list[list[int]]) -> None:
        """Each number of threads at each concurrency, once."""
        for threads, server in self._servers.items():
            if threads in self.failed:
                continue
            try:
                if not self._warm:
                    server.rate(prompts[:2], 4)
                for count in CONCURRENCIES:
                    rate = server.rate(prompts[:count], self._new_tokens)
                    self.rates.setdefault(Way(threads, count), []).append(rate)
            except (OSError, HTTPException, AssertionError) as error:
                self.failed[threads] = f"{type(error).__name__}: {error}"
        self._warm = True


def prompts_of(folder: Path, rows: int, count: int) -> list[list[int]]:
    """The prompts of a probe, as token ids: those of the GGUF file are the same."""
    words = ChatPrompt(folder, read_manifest(folder)).ordinary(rows, count)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return [[tokenizer.token_to_id(word) or 0 for word in row] for row in words]
