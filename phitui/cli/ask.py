"""`phitui ask`: one prompt, its answer on stdout."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any

from msgspec.structs import replace

from phitui.cli import loop
from phitui.cli.output import Narrator, narrate, write
from phitui.cli.piped import is_piped, read_text, with_piped
from phitui.config.layers import Config
from phitui.core.errors import ExitCode, PhituiError, UnavailableError, UsageError
from phitui.core.ipc.messages import Failure, Progress
from phitui.core.text import StreamSanitizer
from phitui.engine.protocol.api import (
    BrokeOff,
    Delta,
    Died,
    Event,
    Finished,
    Rejected,
    Retrying,
    Sampling,
    Turn,
)
from phitui.workbench.chat.chat import check_prompt
from phitui.workbench.chat.parameters import check
from phitui.workbench.front import Front
from phitui.workbench.start import sampling, wait_loaded
from phitui.workbench.workbench import Workbench

EXAMPLES = """  phitui ask "What is a KV cache?"
  git diff | phitui ask "Review this."    the text of the pipe, then the prompt
  phitui ask --json "Say hello" | jq .usage
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "prompt",
        metavar="PROMPT",
        nargs="?",
        help="the prompt; what is piped in goes before it, and is the prompt where this is missing or -",
    )
    parser.add_argument("-s", "--system", metavar="SYSTEM", help="the system prompt: how to answer")
    parser.add_argument("--max-tokens", metavar="N", type=int, help="the longest answer, in tokens")
    parser.add_argument("--json", action="store_true", help="print one JSON object with text, usage and timings")


def run(config: Config, args: argparse.Namespace) -> int:
    """Answer and return the exit code. Raises PhituiError."""
    prompt = read_prompt(args.prompt)
    system = config.generation.system if args.system is None else check("system", args.system)
    turns = [Turn("system", system)] if system else []
    draw = sampling(config.generation)
    if args.max_tokens is not None:
        if args.max_tokens < 1:
            raise UsageError(f"--max-tokens: expected a number above 0, got {args.max_tokens}")
        draw = replace(draw, max_tokens=args.max_tokens)
    asker = Asker(config, stream=not args.json)
    try:
        finished = loop.run(asker.answer([*turns, Turn("user", prompt)], draw))
    except PhituiError:
        if args.json and (asker.text or asker.thinking):  # of an answer that broke off
            write(json.dumps(_unfinished(asker), ensure_ascii=sys.stdout.isatty()) + "\n")
        raise
    if args.json:
        write(json.dumps(_report(asker, finished), ensure_ascii=sys.stdout.isatty()) + "\n")
    if finished.reason == "cancelled":
        return int(ExitCode.INTERRUPTED)
    return int(ExitCode.FAILED if finished.failed else ExitCode.DONE)


def read_prompt(argument: str | None) -> str:
    """The prompt, with what is piped into it. Raises UsageError where there is none, or it is empty or no UTF-8."""
    if argument is not None:
        prompt = read_text() if argument == "-" else with_piped(argument)
    elif is_piped():
        prompt = read_text(waiting="which is the prompt")
    else:
        raise UsageError("ask: there is no prompt", 'Give one: phitui ask "What is a KV cache?", or pipe it in')
    check_prompt(prompt)
    return prompt


class Asker(Front):
    """One question to an engine that is started for it."""

    def __init__(self, config: Config, stream: bool) -> None:
        self._stream = stream
        self._clean = StreamSanitizer()
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        engine = replace(config.engine, restart_limit=0)
        self._workbench = Workbench(replace(config, engine=engine))
        self._workbench.subscribe(self)
        self._narrator = Narrator()
        self.text = self.thinking = ""

    def show_event(self, event: Event) -> None:
        self._events.put_nowait(event)

    async def answer(self, turns: list[Turn], draw: Sampling) -> Finished:
        """The whole answer; its text goes to stdout as it comes where that was asked for. Raises PhituiError."""
        try:
            return await self._answer(turns, draw)
        finally:
            await self._workbench.close()

    async def _answer(self, turns: list[Turn], draw: Sampling) -> Finished:
        self._workbench.start_engine()
        await wait_loaded(self._events, self._narrate)
        await self._workbench.engine.generate(turns, draw)
        while True:
            event = await self._events.get()
            if isinstance(event, Delta):
                self._take(event)
            elif isinstance(event, Finished):
                self._end()
                for note in event.notes:
                    narrate(f"phitui: {note}")
                if event.shortfall and (self._stream or event.failed):  # JSON has it
                    narrate(f"phitui: {event.shortfall}")
                return event
            elif isinstance(event, Retrying):
                narrate(f"phitui: {event.text}")
            else:
                self._raise(event)

    def _raise(self, event: Event) -> None:
        if isinstance(event, Failure):
            raise event.error()
        if isinstance(event, Rejected | BrokeOff):
            if self.text:
                self._end()
            raise event.failure.error()
        if isinstance(event, Died):
            raise UnavailableError(f"the engine died ({event.reason})", "Run phitui doctor")

    def _take(self, event: Delta) -> None:
        """What was thought is no part of the answer. Where only its end was marked, it is on stdout by then."""
        if event.moved:
            self.thinking, self.text = self.thinking + self.text, ""
        self.thinking += event.thinking
        self.text += event.text
        if self._stream:
            write(self._clean.feed(event.text))

    def _end(self) -> None:
        if self._stream and self.text:
            write(self._clean.flush() + "\n")
        if self._stream and self.thinking:
            narrate(
                f"phitui: the model thought before it answered ({len(self.thinking):,} characters; --json has them)"
            )

    def _narrate(self, progress: Progress) -> None:
        if progress.stage not in ("load", "connect"):  # a second's work that happens at every start
            self._narrator.show(progress)


def _report(asker: Asker, finished: Finished) -> dict[str, Any]:
    usage, times = finished.usage, finished.timings
    return {
        "text": asker.text,
        **({"thinking": asker.thinking} if asker.thinking else {}),
        "finish_reason": finished.reason,
        **({"shortfall": finished.shortfall} if finished.shortfall else {}),
        "usage": {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens},
        "timings": {
            "ttft_ms": _rounded(times.ttft_ms),
            "tpot_ms": _rounded(times.tpot_ms),
            "total_ms": _rounded(times.total_ms),
            "tokens_per_s": _rounded(times.tokens_per_s),
        },
    }


def _unfinished(asker: Asker) -> dict[str, Any]:
    """What came of an answer that a remote engine did not end: its counts are at the end."""
    times = dict.fromkeys(("ttft_ms", "tpot_ms", "total_ms", "tokens_per_s"))
    usage = {"prompt_tokens": None, "completion_tokens": None}
    thought = {"thinking": asker.thinking} if asker.thinking else {}
    return {"text": asker.text, **thought, "finish_reason": "error", "usage": usage, "timings": times}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
