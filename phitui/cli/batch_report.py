"""What is told of a batch: a line of progress, and the summary at the end."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from phitui.cli.output import StatusLine, narrate
from phitui.config.layers import shown_path
from phitui.core.text import one_line
from phitui.workbench.batch.file import BatchFile
from phitui.workbench.batch.progress import clock

_PAINT_S = 0.5
_LINE_S = 10.0
_REASONS = 5


class BatchProgressLine:
    """Progress on stderr: one line that is painted anew on a terminal, else a line every 10 s."""

    def __init__(self) -> None:
        self._file: BatchFile | None = None
        self._line = StatusLine()
        self._told = 0.0

    def begin(self, file: BatchFile) -> None:
        """From now on the progress is this file's."""
        self._file = file
        self._told = time.monotonic()

    def tell(self, line: str) -> None:
        """One line that stays."""
        self.end()
        narrate(one_line(line, 1000))

    def end(self) -> None:
        """What was painted goes."""
        self._line.clear()

    async def keep_painting(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(_PAINT_S)
            if self._file is not None and self._file.running:
                self._paint(self._file)

    def _paint(self, file: BatchFile) -> None:
        if self._line.is_seen:
            self._line.draw(progress_line(file))
        elif time.monotonic() - self._told >= _LINE_S:
            self._told = time.monotonic()
            narrate(progress_line(file))


def progress_line(file: BatchFile) -> str:
    """Rows, rate, time left, rows in flight and failures of a file that is being run."""
    now = file.progress
    of = f"/{now.rows} rows, {100 * now.done // max(now.rows, 1)} %" if now.rows is not None else " rows"
    per_s, eta_s = now.tokens_per_s, now.eta_s
    rate = "–" if per_s is None else f"{per_s:.1f}"
    left = "–" if eta_s is None else clock(eta_s)
    failed = f", {now.failed} failed" if now.failed else ""
    return f"{now.done}{of}, {rate} tokens/s, {left} left, {now.alive} in flight{failed} ({one_line(file.name, 40)})"


def summary(files: list[BatchFile]) -> list[str]:
    """What came of the files, in lines for a person."""
    lines = []
    for file in files:
        now = file.progress
        if not now.ended:
            lines.append(f"{file.name}: not begun")
            continue
        whole = "" if now.rows is None else f" of {now.rows}"
        rate = "" if now.mean_tokens_per_s is None else f", {now.mean_tokens_per_s:.1f} tokens/s"
        lines.append(
            f"{file.name}: {now.ended}, {now.done}{whole} rows ({now.failed} failed); in this run "
            f"{'–' if now.uncounted else now.tokens} tokens in {clock(now.seconds)}{rate}"
        )
        lines += [f"  {one_line(reason, 300)}" for reason in now.reasons[:_REASONS]]
        if file.error is not None and len(files) > 1:
            lines.append(f"  {one_line(str(file.error), 500)}")
        if now.ended == "stopped" and file.order.target is not None:
            lines.append("  the same command with --resume goes on")
    return lines


def report(files: list[BatchFile]) -> dict[str, Any]:
    """The summary as one object. What is not known is null."""
    return {"files": [_report(file) for file in files]}


def _report(file: BatchFile) -> dict[str, Any]:
    now, counts, rate = file.progress, file.counts, file.progress.mean_tokens_per_s
    return {
        "input": None if file.order.source is None else shown_path(file.order.source),
        "output": None if file.order.target is None else shown_path(file.order.target),
        "state": now.ended or "not begun",
        "error": None if file.error is None else str(file.error),
        "rows": now.rows,
        "done": now.done,
        "failed": now.failed,
        "done_before": now.before,
        "usage": {
            "prompt_tokens": None if counts.uncounted else counts.prompt_tokens,
            "completion_tokens": None if counts.uncounted else counts.completion_tokens,
        },
        "this_run": {
            "tokens": None if now.uncounted else now.tokens,
            "seconds": round(now.seconds, 3),
            "tokens_per_s": None if rate is None else round(rate, 3),
            "engine_deaths": now.deaths,
        },
    }
