"""An OpenAI-style server on the loopback whose answers are a function of the prompt, and that can misbehave."""

from __future__ import annotations

import contextlib
import threading
import time
import zlib

from raw_server import raw_server


def answer_to(prompt: str, max_tokens: int) -> tuple[list[str], str]:
    """The pieces, one a token, and why the answer ends."""
    count = 1 + zlib.crc32(prompt.encode()) % 12
    pieces = [f"{word}{n} " for n, word in enumerate([prompt.split()[-1]] * count)]
    return pieces[:max_tokens], "length" if count > max_tokens else "stop"


class Answering:
    """`misbehave(connection, prompt, n)` may answer the n-th request (from 1) for a prompt in its own way: then it
    returns True. `step_s` is between two tokens. `at_once` is the most requests that were answered at the same time."""

    def __init__(self, misbehave=None, step_s=0.0):
        self.misbehave, self.step_s = misbehave, step_s
        self.seen: dict[str, int] = {}
        self.bodies: list[dict] = []
        self.now = self.at_once = 0
        self._lock = threading.Lock()

    def __call__(self, connection):
        body = connection.request.json()
        prompt = body["messages"][-1]["content"]
        with self._lock:
            self.bodies.append(body)
            count = self.seen[prompt] = self.seen.get(prompt, 0) + 1
            self.now += 1
            self.at_once = max(self.at_once, self.now)
        try:
            if self.misbehave is None or not self.misbehave(connection, prompt, count):
                self.answer(connection, prompt, body["max_tokens"])
        finally:
            with self._lock:
                self.now -= 1

    def answer(self, connection, prompt, max_tokens):
        pieces, reason = answer_to(prompt, max_tokens)
        connection.head()
        for piece in pieces:
            if self.step_s:
                time.sleep(self.step_s)
            connection.piece(piece)
        connection.piece(None, reason)
        connection.usage(len(prompt.split()), len(pieces))
        connection.done()


@contextlib.contextmanager
def answering(misbehave=None, step_s=0.0, gets=None):
    """The server and its `Answering`."""
    how = Answering(misbehave, step_s)
    with raw_server(how, gets) as server:
        yield server, how
