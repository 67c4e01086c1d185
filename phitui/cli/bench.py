"""phitui bench: throughput and latencies at several batch sizes, as Markdown or JSON; and two results compared."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import msgspec

from phitui.cli import loop
from phitui.cli.bench_table import comparison, report
from phitui.cli.output import Narrator, narrate, write
from phitui.config.layers import Config, shown_path
from phitui.config.remotes import LOCAL
from phitui.core.errors import ExitCode, PhituiError, UsageError
from phitui.workbench.bench.bench import BenchPlan, bench, no_figures
from phitui.workbench.bench.compare import compare
from phitui.workbench.bench.result import BenchResult, encode, read_result, write_result

DEFAULT_BATCHES = (1, 8)
DEFAULT_PROMPT_TOKENS = 256
DEFAULT_NEW_TOKENS = 128
DEFAULT_REPEAT = 3
_LARGEST_BATCH = 65536
_MOST_SIZES = 64
_MOST_RUNS = 1000

EXAMPLES = """  phitui bench -o before.json            measure, and keep the result
  phitui bench --compare before.json     measure again, and compare
  phitui bench --batch-sizes 1,8,32 --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--batch-sizes", "--concurrency", dest="batch_sizes", metavar="B,B,…",
        help="batch sizes to measure, on a server requests at once, as 1,8,26 (default: 1, 8 and engine.batch)",
    )  # fmt: skip
    parser.add_argument(
        "--prompt-tokens", metavar="N", type=int, help=f"tokens of each prompt (default {DEFAULT_PROMPT_TOKENS})"
    )
    parser.add_argument(
        "--max-tokens",
        metavar="N",
        type=int,
        help=f"tokens of each answer, none of which ends earlier (default {DEFAULT_NEW_TOKENS})",
    )
    parser.add_argument("--repeat", metavar="N", type=int, help=f"runs of each batch size (default {DEFAULT_REPEAT})")
    parser.add_argument(
        "--compare",
        metavar="FILE",
        nargs="+",
        type=Path,
        help="OLD.json [NEW.json]: compare two saved results, or OLD with a new measurement made in the same way",
    )
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="save the result as JSON as well")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(config: Config, args: argparse.Namespace) -> int:
    """Bench or compare, and return the exit code. Raises PhituiError."""
    saved = [read_result(path) for path in _to_compare(args)]
    if len(saved) == 2:
        return _compare(saved[0], saved[1], args.json)
    plan = plan_of(config, args, saved[0] if saved else None)
    check_output(args.output)
    result = loop.run(_bench(config, plan))
    unsaved = _save(args.output, result)
    if not (saved and args.json):
        write(_as_json(result) if args.json else report(result) + "\n" * bool(saved))
    error = unsaved or no_figures(result)
    if error is not None:
        raise error
    if result.interrupted:
        return int(ExitCode.INTERRUPTED)
    return _compare(saved[0], result, args.json) if saved else int(ExitCode.DONE)


def _save(path: Path | None, result: BenchResult) -> PhituiError | None:
    """Save it where that was asked for; returns what went wrong, which must not keep it from being printed."""
    if path is None:
        return None
    try:
        write_result(path, result)
    except PhituiError as error:
        return error
    narrate(f"saved: {shown_path(path)}")
    return None


def _to_compare(args: argparse.Namespace) -> list[Path]:
    paths: list[Path] = args.compare or []
    if len(paths) > 2:
        raise UsageError(f"--compare takes one or two files, got {len(paths)}")
    if len(paths) == 2:
        given = ("batch_sizes", "prompt_tokens", "max_tokens", "repeat", "output")
        wrong = next((name for name in given if getattr(args, name) is not None), None)
        if wrong:
            raise UsageError(f"--compare with two files measures nothing: --{wrong.replace('_', '-')} has no use there")
    return paths


def plan_of(config: Config, args: argparse.Namespace, like: BenchResult | None = None) -> BenchPlan:
    """What is asked for; what is not said is taken from the result `like`, where there is one. Raises UsageError."""
    for name, most in (("prompt_tokens", 10**7), ("max_tokens", 10**7), ("repeat", _MOST_RUNS)):
        value = getattr(args, name)
        if value is not None and not 1 <= value <= most:
            raise UsageError(f"--{name.replace('_', '-')}: expected a number from 1 to {most}, got {value}")
    batches: tuple[int, ...] = (*DEFAULT_BATCHES, config.engine.batch)
    work = (DEFAULT_PROMPT_TOKENS, DEFAULT_NEW_TOKENS, DEFAULT_REPEAT)
    known = {one.batch for one in like.results if one.runs} if like is not None else set()
    if like is not None:
        batches = tuple(known)
        work = (like.workload.prompt_tokens, like.workload.max_tokens, like.workload.repeat)
    if args.batch_sizes is not None:
        batches = parse_batches(args.batch_sizes)
    if like is not None and known.isdisjoint(batches):
        raise UsageError(f"there is nothing to compare: the old result has figures for {sorted(known)} rows")
    return BenchPlan(
        batches=tuple(sorted(set(batches))),
        prompt_tokens=args.prompt_tokens or work[0],
        max_tokens=args.max_tokens or work[1],
        repeat=args.repeat or work[2],
    )


def parse_batches(text: str) -> tuple[int, ...]:
    """Batch sizes as "1,8,26". Raises UsageError."""
    words = [word.strip() for word in text.split(",")]
    if len(words) <= _MOST_SIZES and all(word.isascii() and word.isdigit() and len(word) < 10 for word in words):
        sizes = tuple(map(int, words))
        if all(1 <= size <= _LARGEST_BATCH for size in sizes):
            return sizes
    raise UsageError(
        f"--batch-sizes: expected up to {_MOST_SIZES} numbers from 1 to {_LARGEST_BATCH}, as 1,8,26, got {text[:40]!r}"
    )


def check_output(path: Path | None) -> None:
    """Raises UsageError where a result could not be saved: better now than after minutes."""
    if path is None:
        return
    if path.exists() and not path.is_file():
        raise UsageError(f"--output: {path} is not a file")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise UsageError(f"--output: nothing can be written into {path.parent}")


def _compare(old: BenchResult, new: BenchResult, as_json: bool) -> int:
    found = compare(old, new)
    write(_as_json(found) if as_json else comparison(found))
    return int(ExitCode.DONE)


def _as_json(value: object) -> str:
    text = encode(value).decode()
    if not sys.stdout.isatty():
        return text
    import json  # a terminal must not obey what is in a model's name

    return json.dumps(msgspec.to_builtins(value)) + "\n"


async def _bench(config: Config, plan: BenchPlan) -> BenchResult:
    measure = bench
    if config.engine.name != LOCAL:
        from phitui.workbench.bench.server import bench_server as measure
    return await measure(config, plan, Narrator().show)
