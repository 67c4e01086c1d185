"""phitui tune: the fastest batch and configuration for this machine, as a table or one JSON object."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from phitui.autotune.probes import Goal
from phitui.cli.output import Narrator, narrate, write
from phitui.cli.probe_bar import ProbeBar
from phitui.cli.signals import cancel_on_signals
from phitui.cli.tune_table import report, table
from phitui.config.layers import Config, shown_path
from phitui.config.remotes import LOCAL
from phitui.core.errors import ExitCode, PhituiError, UsageError
from phitui.workbench.measure.preflight import Preflight
from phitui.workbench.tune.apply import apply, in_words, settings
from phitui.workbench.tune.events import Earlier, ProbeBegan, ProbeEnded, TuneEvent, TuneResult
from phitui.workbench.tune.form import DEFAULT_NEW_TOKENS, DEFAULT_PROMPT_TOKENS
from phitui.workbench.tune.local import tune
from phitui.workbench.tune.saved import remember
from phitui.workbench.tune.setups import Limit, parse_limit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    lengths = parser.add_mutually_exclusive_group()
    lengths.add_argument("--context", metavar="N", type=int, help="tokens of a row in all, prompt and answer")
    lengths.add_argument(
        "--prompt-tokens", metavar="N", type=int, help=f"tokens of a prompt (default {DEFAULT_PROMPT_TOKENS})"
    )
    parser.add_argument(
        "--max-tokens", metavar="N", type=int, help=f"tokens of an answer (default {DEFAULT_NEW_TOKENS})"
    )
    parser.add_argument(
        "--limit",
        metavar="SHARE|SIZE",
        help="how much of the usable memory (of a server's KV cache) may be taken, as 0.95 or 6GB",
    )
    parser.add_argument("--slo-itl-ms", metavar="X", type=float, help="also the largest batch that keeps this latency")
    parser.add_argument("--start", metavar="B", type=int, help="the batch, or requests at once, to begin with")
    parser.add_argument("--apply", action="store_true", help="write what was found into your config.toml")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(config: Config, args: argparse.Namespace) -> int:
    """Tune and return the exit code. Raises PhituiError."""
    if config.engine.name != LOCAL:
        from phitui.cli.tune_server import run_on_server

        return run_on_server(config, goal_of(config, args), args)
    goal = goal_of(config, args)
    limit = Limit(config.tuner.limit) if args.limit is None else parse_limit(args.limit)
    result = asyncio.run(_tune(config, goal, limit, vary_compute_type="compute_type" not in vars(args)))
    write(json.dumps(report(result), ensure_ascii=sys.stdout.isatty()) + "\n" if args.json else table(result))
    try:
        if problem := remember(result):
            narrate(f"phitui: {problem}")
    except PhituiError as error:
        narrate(f"phitui: {error}")
    if args.apply:
        _apply(result)
    return int(ExitCode.DONE)


def goal_of(config: Config, args: argparse.Namespace) -> Goal:
    """What is asked for on the command line. Raises UsageError for what cannot be."""
    for name in ("context", "prompt_tokens", "max_tokens", "start"):
        value = getattr(args, name)
        if value is not None and not 1 <= value <= 10**7:
            raise UsageError(f"--{name.replace('_', '-')}: expected a number above 0, got {value}")
    latency = args.slo_itl_ms
    if latency is not None and not 0 < latency < 10**7:
        raise UsageError(f"--slo-itl-ms: expected milliseconds above 0, got {latency}")
    new = args.max_tokens or DEFAULT_NEW_TOKENS
    prompt = args.prompt_tokens or DEFAULT_PROMPT_TOKENS
    if args.context is not None:
        new = args.max_tokens or min(DEFAULT_NEW_TOKENS, max(1, args.context // 2))
        prompt = args.context - new
        if prompt < 1:
            raise UsageError(f"--context {args.context} leaves no prompt before {new} tokens of answer")
    return Goal(
        prompt_tokens=prompt,
        new_tokens=new,
        start=args.start or config.engine.batch,
        slo_itl_s=None if latency is None else latency / 1000,
    )


async def _tune(config: Config, goal: Goal, limit: Limit, vary_compute_type: bool) -> TuneResult:
    cancel_on_signals()
    teller = _Teller()
    try:
        return await tune(config, goal, limit, teller.tell, vary_compute_type)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        teller.clear()


class _Teller:
    """What is under way, on stderr: a bar where somebody watches, and a line for each probe."""

    def __init__(self) -> None:
        self._narrator = Narrator()
        self._bar = ProbeBar()

    def tell(self, event: TuneEvent) -> None:
        if isinstance(event, ProbeBegan):
            self._began(event)
        elif isinstance(event, ProbeEnded):
            self._ended(event)
        elif isinstance(event, Earlier):
            narrate(_earlier(event))
        elif isinstance(event, Preflight):
            narrate(event.text)
        elif event.stage != "load":
            self._narrator.show(event)

    def _began(self, event: ProbeBegan) -> None:
        rows = event.probe.shape.batch
        memory = f"{event.probe.predicted_bytes / 1e9:.2f} of {event.limit_bytes / 1e9:.2f} GB predicted"
        self._bar.draw(event.number, event.most, f"{rows} row{'s' * (rows != 1)}, {memory}; {event.setup}")

    def clear(self) -> None:
        """Take an unfinished line away."""
        self._bar.clear()

    def _ended(self, event: ProbeEnded) -> None:
        self.clear()
        verdict = event.verdict
        shape, outcome = verdict.probe.shape, verdict.outcome
        parts = [f"{shape.batch} row{'s' * (shape.batch != 1)}: {verdict.judged}"]
        if outcome.step_s:
            parts.append(f"{shape.batch / outcome.step_s:.0f} tok/s")
        if outcome.peak_bytes is not None:
            parts.append(f"{outcome.peak_bytes / 1e9:.3f} GB")
        if outcome.detail:
            parts.append(outcome.detail)
        narrate(f"probe {event.number}: {event.setup}: {', '.join(parts)}")


def _earlier(event: Earlier) -> str:
    found = event.tuning
    if found is None:
        return f"phitui: {event.problem}"
    state = f"stale: {event.problem}" if event.problem else "it still holds"
    return (
        f"found before, {found.made}: {found.batch} rows, {found.workers} × {found.threads} threads, "
        f"{found.conditions.compute_type}, {found.tokens_per_s:.0f} output tok/s ({state})"
    )


def _apply(result: TuneResult) -> None:
    """Write the configuration into the user's config.toml. Raises PhituiError."""
    chosen = settings(result)
    path = apply(chosen)
    narrate(f"written to {shown_path(path)}: {in_words(chosen)}")
