"""phitui tune: the fastest batch and configuration for this machine, or how many requests at once for a server; as a
table or one JSON object."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from phitui.autotune.probes import Goal
from phitui.autotune.server_search import ServerGoal, ServerKnowledge, ServerProbe, ServerVerdict
from phitui.cli import loop, tune_server, tune_table
from phitui.cli.output import Narrator, narrate, write
from phitui.config.layers import Config, shown_path
from phitui.config.remotes import LOCAL
from phitui.core.errors import ExitCode, PhituiError, UsageError
from phitui.core.text import counted, one_line
from phitui.engine.protocol.rows_api import DEFAULT_CONCURRENCY
from phitui.workbench.measure.preflight import Preflight
from phitui.workbench.tune.apply import apply, check_place, in_words, settings
from phitui.workbench.tune.events import (
    Earlier,
    LocalBegan,
    LocalEnded,
    ProbeBegan,
    ProbeEnded,
    ServerBegan,
    ServerEnded,
    ServerTuneResult,
    TuneEvent,
    TuneResult,
)
from phitui.workbench.tune.export import check_export, write_export
from phitui.workbench.tune.form import DEFAULT_NEW_TOKENS, DEFAULT_PROMPT_TOKENS, TuneForm
from phitui.workbench.tune.local import tune
from phitui.workbench.tune.records import table_csv
from phitui.workbench.tune.run_state import LocalRunState, RunState, ServerRunState
from phitui.workbench.tune.saved import keep
from phitui.workbench.tune.server import tune_server as tune_on_server
from phitui.workbench.tune.setups import Limit, parse_limit

_CELLS = 20  # of the bar

EXAMPLES = """  phitui tune --apply    and write what was found into config.toml
  phitui tune --prompt-tokens 512 --max-tokens 128
"""


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
    parser.add_argument(
        "--export", metavar="NAME", type=Path, help="also write the picture as NAME.svg and the probes as NAME.csv"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(config: Config, args: argparse.Namespace) -> int:
    """Tune and return the exit code. Raises PhituiError."""
    if args.apply and config.engine.name != LOCAL:
        check_place({f"engines.{config.engine.name}.concurrency": "C*"}, config)
    if args.export is not None:
        check_export(args.export)
    limit = limit_of(config, args)
    form = TuneForm(goal_of(config, args, limit), limit, "compute_type" not in vars(args), {})
    teller = _Teller(ServerRunState(form, "") if isinstance(form.goal, ServerGoal) else LocalRunState(form, ""))
    result = loop.run(_tune(config, form, teller))
    write(_shown(result, args.json))
    try:
        if problem := keep(result):
            narrate(f"phitui: {problem}")
    except PhituiError as error:
        narrate(f"phitui: {error}")
    if args.export is not None:
        _export(config, args.export, teller.run_state, result)
    if args.apply:
        chosen = settings(result)
        narrate(f"written to {shown_path(apply(chosen))}: {in_words(chosen)}")
    return int(ExitCode.DONE)


def limit_of(config: Config, args: argparse.Namespace) -> Limit:
    """Of the usable memory; of a server a share of its KV cache. Raises UsageError."""
    limit = Limit(config.tuner.limit) if args.limit is None else parse_limit(args.limit)
    if limit.most_bytes and config.engine.name != LOCAL:
        raise UsageError("--limit: of a server a share of its KV cache, as 0.9: its memory is not read")
    return limit


def goal_of(config: Config, args: argparse.Namespace, limit: Limit) -> Goal | ServerGoal:
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
    slo_itl_s = None if latency is None else latency / 1000
    if config.engine.name == LOCAL:
        return Goal(prompt, new, start=args.start or config.engine.batch, slo_itl_s=slo_itl_s)
    start = args.start or DEFAULT_CONCURRENCY
    return ServerGoal(prompt, new, start=start, kv_limit=limit.share, slo_itl_s=slo_itl_s)


def _shown(result: TuneResult | ServerTuneResult, as_json: bool) -> str:
    if not as_json:
        return tune_server.table(result) if isinstance(result, ServerTuneResult) else tune_table.table(result)
    found = tune_server.report(result) if isinstance(result, ServerTuneResult) else tune_table.report(result)
    return json.dumps(found, ensure_ascii=sys.stdout.isatty()) + "\n"


def _export(config: Config, name: Path, run_state: RunState, result: TuneResult | ServerTuneResult) -> None:
    from phitui.tui.app.picture_app import tuning_svg  # Textual, which nothing else here needs
    from phitui.tui.tuner.picture import TunerPicture

    run_state.title = result.remote.model if isinstance(result, ServerTuneResult) else result.loaded.title
    run_state.end("done", result)  # type: ignore[arg-type]  # a tuning and its result are of one kind
    picture = TunerPicture(run_state=run_state)
    svg, table = tuning_svg(config, picture), table_csv(picture.view.records)
    narrate(f"written: {write_export(name, svg, table)}")


async def _tune(config: Config, form: TuneForm, teller: _Teller) -> TuneResult | ServerTuneResult:
    goal = form.goal
    try:
        if isinstance(goal, ServerGoal):
            return await tune_on_server(config, goal, teller.hear)
        return await tune(config, goal, form.limit, teller.hear, form.vary_compute_type)
    finally:
        teller.line.clear()


class _Teller(Narrator):
    """What is under way, on stderr: a bar where somebody watches, and a line for each probe."""

    def __init__(self, run_state: RunState) -> None:
        super().__init__()
        self.run_state = run_state

    def hear(self, event: TuneEvent) -> None:
        self.run_state.note(event)  # type: ignore[arg-type]  # a tuning and what it tells are of one kind
        if isinstance(event, ProbeBegan):
            done, most = event.number - 1, max(event.most, 1)
            what = f"{done} of at most {most}; probe {event.number}: {_running(event)}"
            self.line.draw(f"{_bar(done / most)} {what}")
        elif isinstance(event, ProbeEnded):
            self.tell(f"probe {event.number}: {_went(event)}")
        elif isinstance(event, Earlier):
            self.tell(event.found or f"phitui: {event.problem}")
        elif isinstance(event, Preflight):
            self.tell(event.text)
        elif event.stage != "load":
            self.show(event)


def _bar(share: float) -> str:
    """E.g. "[#####...............]"."""
    full = round(max(0.0, min(share, 1.0)) * _CELLS)
    return f"[{'#' * full}{'.' * (_CELLS - full)}]"


def _running(event: LocalBegan | ServerBegan) -> str:
    """What the bar says of a probe."""
    of, probe = event.of, event.probe
    if isinstance(of, ServerKnowledge) or isinstance(probe, ServerProbe):
        return f"{probe.size} at once"
    memory = f"{probe.predicted_bytes / 1e9:.2f} of {of.know.limit_bytes / 1e9:.2f} GB predicted"
    return f"{counted(probe.size, 'row')}, {memory}; {of.setup}"


def _went(event: LocalEnded | ServerEnded) -> str:
    """What came of it."""
    of, verdict = event.of, event.verdict
    size, detail = verdict.probe.size, one_line(verdict.outcome.detail, 300)
    if isinstance(of, ServerKnowledge) or isinstance(verdict, ServerVerdict):
        waiting = verdict.outcome.waiting if isinstance(verdict, ServerVerdict) else None
        parts = [detail if verdict.rate is None else f"{verdict.rate:,.1f} output tok/s"]
        return f"{size} at once: {', '.join([*parts, *([f'{waiting} waiting'] if waiting else [])])}"
    parts = [verdict.judged] + ([f"{verdict.rate:,.0f} tok/s"] if verdict.rate else [])
    parts += [] if verdict.outcome.peak_bytes is None else [f"{verdict.outcome.peak_bytes / 1e9:.3f} GB"]
    return f"{of.setup}: {counted(size, 'row')}: {', '.join(filter(None, [*parts, detail]))}"
