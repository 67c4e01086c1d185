"""`phitui batch`: files of prompts, one line of output for each."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from phitui.cli import loop
from phitui.cli.batch_report import BatchProgressLine, report, summary
from phitui.cli.batch_runner import BatchRunner
from phitui.cli.output import Narrator, write
from phitui.config.layers import Config, shown_path
from phitui.core.errors import ExitCode, PhituiError, UsageError
from phitui.core.ipc.messages import Progress
from phitui.workbench.batch.file import BatchFile, Order
from phitui.workbench.batch.job import Stopped

_MOST_ROWS = 65536

EXAMPLES = """  phitui batch questions.jsonl -o answers.jsonl
  phitui batch questions.jsonl -o answers.jsonl --resume    go on after a stop
A line of questions.jsonl: {"prompt": "What is a KV cache?"}
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "inputs",
        metavar="IN.jsonl",
        nargs="+",
        help="JSON Lines with prompts, or a .txt with one on each line; - is standard input",
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT.jsonl|DIR", required=True,
        help="where the answers go: a file, or a folder for several inputs; - is standard output",
    )  # fmt: skip
    parser.add_argument(
        "--batch-size", "--concurrency", dest="batch_size", metavar="N|auto", default="auto",
        help="the most rows to run at once, on a server the most requests (default: auto)",
    )  # fmt: skip
    parser.add_argument(
        "--max-tokens", metavar="N", type=int, help="tokens of an answer at most, for rows that set none"
    )
    parser.add_argument("--resume", action="store_true", help="continue an output that is not complete")
    parser.add_argument("--ordered", action="store_true", help="keep the order of the input (default: as they finish)")
    parser.add_argument(
        "--seed", metavar="N", type=int, help="draw the same tokens again; docs/guide/batches.md has the conditions"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object with the counts at the end")


def run(config: Config, args: argparse.Namespace) -> int:
    """Run the batch and return the exit code: FAILED where a row has no answer, or one of several files could not be
    run. Raises PhituiError."""
    rows = batch_size(args.batch_size)
    wanted = orders(args)
    return loop.run(_Command(config, rows).run(wanted, args.json))


def batch_size(text: str) -> int | None:
    """The rows of a batch; None for "auto". Raises UsageError."""
    if text == "auto":
        return None
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= _MOST_ROWS:
        raise UsageError(f"--batch-size: expected auto or a number from 1 to {_MOST_ROWS}, got {text[:40]!r}")
    return int(text)


def orders(args: argparse.Namespace) -> list[Order]:
    """What the command line asks for. Raises UsageError for what does not go together."""
    if args.max_tokens is not None and not 1 <= args.max_tokens <= 1_048_576:
        raise UsageError(f"--max-tokens: expected a number from 1 to 1048576, got {args.max_tokens}")
    if args.seed is not None and not 0 <= args.seed < 1 << 32:
        raise UsageError(f"--seed: expected a number from 0 to {(1 << 32) - 1}, got {args.seed}")
    if args.output == "-" and args.json:
        raise UsageError("--json and -o - would both write to standard output", "Leave one out")
    sources = [None if name == "-" else Path(name) for name in args.inputs]
    targets = _targets(sources, args.output)
    common = (args.resume, args.ordered, args.max_tokens, args.seed)
    return [Order(source, target, *common) for source, target in zip(sources, targets, strict=True)]


def _targets(sources: list[Path | None], output: str) -> list[Path | None]:
    if output == "-":
        if len(sources) > 1:
            raise UsageError("several inputs need a folder as the output", "Name one with -o")
        return [None]
    path = Path(output)
    if len(sources) == 1 and not path.is_dir():
        return [path]
    if not path.is_dir():
        raise UsageError(f"{shown_path(path)} is not a folder, and several inputs need one", "Create it first")
    if None in sources:
        raise UsageError("standard input has no name for a file in the folder", "Name the output file with -o")
    names = [source.name for source in sources if source is not None]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"two inputs are called {twice}", "Run them one after the other, into two folders")
    return [path / name for name in names]


class _Command:
    """The runner with what a person sees of it."""

    def __init__(self, config: Config, rows: int | None) -> None:
        self._config = config
        self._line = BatchProgressLine()
        self._narrator = Narrator()
        self._runner = BatchRunner(config, rows, self._line.tell, self._show, self._line.begin)

    async def run(self, wanted: list[Order], as_json: bool) -> int:
        task = asyncio.current_task()
        signals = 0

        def interrupted() -> None:
            nonlocal signals
            signals += 1
            if signals > 1 or not self._runner.stop():
                if task is not None:
                    task.cancel()
            else:
                self._line.tell("stopping; what is done is kept")

        with loop.signals_calling(interrupted, every=True):
            return await self._outcome(wanted, as_json)

    async def _outcome(self, wanted: list[Order], as_json: bool) -> int:
        files: list[BatchFile] = []
        try:
            for order in wanted:
                files.append(BatchFile(order, self._config, self._line.tell))
            code, error = await self._run(files)
        finally:
            self._line.end()
            for file in files:
                file.close()
        for line in summary(files):
            self._line.tell(line)
        if as_json:
            write(json.dumps(report(files), ensure_ascii=sys.stdout.isatty()) + "\n")
        if error is not None:
            raise error
        return int(code)

    async def _run(self, files: list[BatchFile]) -> tuple[ExitCode, PhituiError | None]:
        """The exit code; with the error of the engine, or of a file that was the only one."""
        painter = asyncio.create_task(self._line.keep_painting())
        try:
            await self._runner.run(files)
        except (Stopped, asyncio.CancelledError):
            return ExitCode.INTERRUPTED, None
        except PhituiError as error:
            return ExitCode.FAILED, error
        finally:
            painter.cancel()
        errors = [file.error for file in files if file.error is not None]
        if errors and len(files) == 1:
            return ExitCode.FAILED, errors[0]
        failed = errors or any(file.progress.failed for file in files)
        return ExitCode.FAILED if failed else ExitCode.DONE, None

    def _show(self, progress: Progress) -> None:
        if progress.stage != "load":
            self._narrator.show(progress)
