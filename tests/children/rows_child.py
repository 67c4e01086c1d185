"""A stand-in for the engine that speaks its messages about batches: answers are a function of the prompt.

Prompts ask for misbehaviour: "POISON" in one ends the process when its row is run, "RAISE" refuses the row. The
environment sets how it works: ROWS_STEP_S seconds a decode step, ROWS_TOLD_S between two `RowsMade`.
"""

import os
import queue
import time
import zlib

from phitui.core.ipc.child import Channel
from phitui.core.ipc.messages import Failure
from phitui.engine.protocol.api import (
    AddRows,
    BatchEnded,
    BatchState,
    Cancel,
    Load,
    Loaded,
    OpenBatch,
    Request,
    RowDone,
    RowFailed,
    RowsMade,
)
from phitui.engine.protocol.rows_api import RowUsage

STEP_S = float(os.environ.get("ROWS_STEP_S", "0"))
TOLD_S = float(os.environ.get("ROWS_TOLD_S", "0.02"))
END = 0


def answer_ids(prompt, max_tokens):
    """What the stand-in makes of a prompt, its end token included where it gets that far."""
    seed = zlib.crc32(prompt.encode())
    ids = [1 + (seed * (place + 1)) % 997 for place in range(seed % 23)] + [END]
    return ids[:max_tokens]


def text_of(ids):
    return " ".join(f"w{number}" for number in ids if number != END)


class Alive:
    def __init__(self, row):
        self.row = row
        self.whole = answer_ids(row.turns[-1].content, row.sampling.max_tokens)
        assert self.whole[: len(row.made)] == row.made, "what was made before is not what would be made"
        self.count = len(row.made)
        self.told = self.count


class Engine:
    def __init__(self):
        self.channel = Channel(Request)
        self.inbox = queue.SimpleQueue()
        self.channel.listen(self.inbox.put, lambda: os._exit(0))

    def run(self):
        while True:
            message = self.inbox.get()
            if isinstance(message, Load):
                self.channel.send(
                    Loaded("stand-in", "Stand-in", "cpu", message.compute_type, 1, 4096, 1, 0.0, "stand-in")
                )
            elif isinstance(message, OpenBatch):
                self.batch(message)

    def batch(self, opened):
        self.id, self.waiting, self.alive, self.last, self.told = opened.id, [], [], False, time.monotonic()
        while True:
            while not self.inbox.empty() or (not self.alive and not self.waiting and not self.last):
                message = self.inbox.get()
                if isinstance(message, AddRows):
                    self.waiting += message.rows
                    self.last = self.last or message.last
                elif isinstance(message, Cancel):
                    self.tell()
                    self.channel.send(BatchEnded(self.id, "cancelled"))
                    return
            self.fill(opened.batch or 8)
            self.step()
            if not self.alive and not self.waiting and self.last:
                self.channel.send(BatchEnded(self.id, "done"))
                return

    def fill(self, most):
        while self.waiting and len(self.alive) < most:
            row = self.waiting.pop(0)
            prompt = row.turns[-1].content
            if "POISON" in prompt:
                os._exit(66)
            if "RAISE" in prompt:
                self.channel.send(RowFailed(self.id, row.key, Failure("the engine raised", "", 1)))
            else:
                self.alive.append(Alive(row))

    def step(self):
        time.sleep(STEP_S)
        for one in self.alive:
            one.count = min(one.count + 1, len(one.whole))
        done = [one for one in self.alive if one.count == len(one.whole)]
        self.alive = [one for one in self.alive if one.count < len(one.whole)]
        for one in done:
            reason = "stop" if one.whole[-1] == END else "length"
            usage = RowUsage(len(one.row.turns[-1].content.split()), len(one.whole))
            made = one.whole[one.told :]
            self.channel.send(RowDone(self.id, one.row.key, text_of(one.whole), reason, usage, made, 0.1))
        if time.monotonic() - self.told >= TOLD_S:
            self.told = time.monotonic()
            self.tell()

    def tell(self):
        made = [(one.row.key, one.whole[one.told : one.count]) for one in self.alive if one.count > one.told]
        for one in self.alive:
            one.told = one.count
        if made:
            self.channel.send(RowsMade(self.id, made))
        self.channel.send(BatchState(self.id, len(self.alive), len(self.waiting), 0, 0))


def main():
    Engine().run()
