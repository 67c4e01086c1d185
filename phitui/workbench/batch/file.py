"""One input file and its output: opens both, goes on where an earlier run stopped, and says what came of it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from phitui.config.layers import Config, shown_path
from phitui.core.errors import PhituiError, UsageError
from phitui.core.files import open_regular
from phitui.core.text import counted
from phitui.engine.protocol.api import Event, Loaded, Sampling
from phitui.engine.protocol.capabilities import supported_parameters
from phitui.engine.protocol.interface import RowsEngine
from phitui.models.manifest import Manifest
from phitui.storage.journal import VERSION, Counts, Header
from phitui.workbench.batch.answer import Origin
from phitui.workbench.batch.job import WINDOW_BYTES, WINDOW_ROWS, BatchJob, BatchPlan
from phitui.workbench.batch.lines import Identity, Input
from phitui.workbench.batch.open_rows import OpenRows
from phitui.workbench.batch.output import Output, journal_path
from phitui.workbench.batch.progress import BatchProgress
from phitui.workbench.batch.request import Defaults
from phitui.workbench.batch.source import RowSource
from phitui.workbench.start import sampling

# Far above any line of an output.
_LONGEST_BYTES = 256 * 1024 * 1024
# The window holds this many of the largest batches, so that the engine has something to sort.
_BATCHES_AHEAD = 8


class Order(NamedTuple):
    """What is asked for. `source` None: standard input; `target` None: standard output. `max_tokens` holds for rows
    that name none."""

    source: Path | None
    target: Path | None
    resume: bool = False
    ordered: bool = False
    max_tokens: int | None = None
    seed: int | None = None


class BatchFile:
    """One order, from opening the files to the last line."""

    def __init__(self, order: Order, config: Config, tell: Callable[[str], None]) -> None:
        """Opens the input. Raises UsageError where that, or the output, is not as it has to be."""
        self.order = order
        self.progress = BatchProgress()
        self.counts = Counts()
        self._config = config
        self._tell = tell
        self.error: PhituiError | None = None
        self._job: BatchJob | None = None
        self._stopping = False
        self._input = Input(order.source)
        try:
            self._check()
        except BaseException:
            self._input.close()
            raise
        self._identity: Identity | None = None

    @property
    def name(self) -> str:
        return self._input.name

    def _check(self) -> None:
        target = self.order.target
        if target is None or _is_stream(target):
            if self.order.resume:
                raise UsageError("--resume needs an output file", "Name one with -o")
            return
        if self._input.same_as(target):
            raise UsageError(f"{shown_path(target)} is the input", "Choose another output")
        if not target.parent.is_dir():
            raise UsageError(f"{shown_path(target.parent)}: no such folder", "Create it first")
        if self.order.resume and not self._input.is_file:
            raise UsageError(f"--resume: {self.name} cannot be read twice", "Put the rows into a file")
        if target.exists() and not self.order.resume:
            unfinished = journal_path(target).exists()
            advice = "Continue it with --resume, or remove it" if unfinished else "Choose another output, or remove it"
            raise UsageError(f"{shown_path(target)} is there already", advice)

    async def scan(self) -> bool:
        """Read a file once for what it is known by. Whether there is anything to do: with `resume`, an output that is
        whole already is left as it is."""
        if self._input.is_file:
            self._identity = await asyncio.to_thread(self._input.scan)
            self.progress.rows = self._identity.rows
        target = self.order.target
        if not self.order.resume or target is None or not target.exists() or journal_path(target).exists():
            return True
        return not await asyncio.to_thread(self._is_whole, target)

    def _is_whole(self, target: Path) -> bool:
        """Whether an output without a journal has a line for each row, as a batch that came to its end leaves it."""
        counts = _count_lines(target)
        if counts is not None and self._identity is not None and counts.rows == self._identity.rows:
            self.counts = counts
            self.progress.done = self.progress.before = counts.rows
            self.progress.failed = counts.failed
            self.progress.ended = "complete"
            return True
        if target.stat().st_size == 0:  # a kill came between making it and its journal
            target.unlink()
            return False
        raise UsageError(
            f"--resume: {shown_path(target)} has no journal and not a line for each row of {self.name}",
            "It is another batch's, or was changed: choose another output, or remove it",
        )

    async def run(self, engine: RowsEngine, manifest: Manifest | None, loaded: Loaded, plan: BatchPlan) -> None:
        """Run what is left on a loaded engine; `manifest` is None of a remote one's model. Raises Stopped, UsageError
        where the batch is another than the one that is to be resumed, and PhituiError."""
        defaults = self._defaults(loaded)
        output = await asyncio.to_thread(self._open, self._header(manifest, loaded, defaults))
        if output is None:
            self._tell("complete by now: another phitui has come to its end")
            return
        header = output.header
        self._begin_from(output)
        source = RowSource(self._input.lines(), defaults, output.done, self._input.is_text)
        origin = Origin(loaded.name, header.created, header.input_sha256)
        most = max(WINDOW_ROWS, _BATCHES_AHEAD * plan.batch)
        book = OpenRows(origin, self.order.ordered, output.kept, most, WINDOW_BYTES)
        limit = self._config.engine.restart_limit
        self._job = BatchJob(
            engine, output, source, book, plan, loaded, self.progress, self.order.seed, limit, self._tell
        )
        if self._stopping:
            self._job.stop()
        try:
            await self._job.run()
            output.finish()
            if source.unused:
                self._tell(f"fields that were ignored: {', '.join(sorted(source.unused))[:200]}")
        finally:
            self._job = None
            self.counts = output.counts
            output.close()
            self._input.close()

    def on_event(self, event: Event) -> None:
        """An event of the engine."""
        if self._job is not None:
            self._job.on_event(event)

    @property
    def running(self) -> bool:
        return self._job is not None

    def stop(self) -> None:
        """End it and keep what is done: `run` raises `Stopped`, also one that has not come to its rows yet."""
        self._stopping = True
        if self._job is not None:
            self._job.stop()

    def fail(self, error: PhituiError) -> None:
        """It cannot be run, or not to its end."""
        self.error = error
        if not self.progress.ended:
            self.progress.end("failed")

    def close(self) -> None:
        """It will not be run."""
        self._input.close()

    def _defaults(self, loaded: Loaded) -> Defaults:
        draw = sampling(self._config.generation)
        nothing = {"top_k": 0, "repetition_penalty": 1.0}
        lacks = [name for name in nothing if name not in supported_parameters(loaded)]
        if lacks:
            self._tell(f"the server does not take {' and '.join(lacks)}: these settings are not sent")
            draw = msgspec.structs.replace(draw, **{name: nothing[name] for name in lacks})
        if self.order.seed is not None and loaded.remote is not None and "seed" not in supported_parameters(loaded):
            self._tell("a server of this kind may take no seed: none is sent, and the answers cannot be repeated")
        if self.order.max_tokens is not None:
            draw = msgspec.structs.replace(draw, max_tokens=self.order.max_tokens)
        return Defaults(draw, self._config.generation.system)

    def _header(self, manifest: Manifest | None, loaded: Loaded, defaults: Defaults) -> Header:
        weights = manifest.files.get("model.bin") if manifest is not None else None
        found = self._identity or Identity(0, "", 0)
        return Header(
            version=VERSION,
            input_bytes=found.size,
            input_sha256=found.sha256,
            rows=found.rows,
            model=loaded.name,
            model_sha256=weights.sha256 if weights else "",
            compute_type=loaded.compute_type or "a server's",
            settings=_settings(defaults.sampling, defaults.system, self.order),
            created=int(time.time()),
        )

    def _open(self, header: Header) -> Output | None:
        """The output to write to; None where another process has completed it since the scan."""
        target = self.order.target
        if target is None:
            return Output.stream(1, header)
        if _is_stream(target):
            return Output.stream(os.open(target, os.O_WRONLY), header)
        if self.order.resume and journal_path(target).exists():
            return Output.resume(target, header)
        if self.order.resume and target.exists() and self._is_whole(target):
            return None
        return Output.create(target, header, journaled=self._input.is_file)

    def _begin_from(self, output: Output) -> None:
        progress, counts = self.progress, output.counts
        progress.done = progress.before = counts.rows
        progress.failed = counts.failed
        if counts.rows or output.kept.made:
            rows = f"{counted(counts.rows, 'row')} done, {len(output.kept.made)} begun"
            again = f"; {output.rejected} that did not reach the disk: run again" if output.rejected else ""
            self._tell(f"going on: {rows}{again}")


def _settings(draw: Sampling, system: str, order: Order) -> dict[str, Any]:
    """All that a row's answer depends on besides input and model, and the order of the output."""
    return {
        "max_tokens": draw.max_tokens,
        "temperature": draw.temperature,
        "top_k": draw.top_k,
        "top_p": draw.top_p,
        "repetition_penalty": draw.repetition_penalty,
        "stop": list(draw.stop),
        "system": system,
        "seed": order.seed,
        "ordered": order.ordered,
    }


def _is_stream(path: Path) -> bool:
    """Whether it is there and no file: a pipe or a device, which nothing can be taken up in again."""
    return path.exists() and not path.is_file()


class _Told(msgspec.Struct):
    """What an output line says of how it went, in either form."""

    error: object


def _count_lines(path: Path) -> Counts | None:
    """The rows of an output without a journal; None where a line is none of a batch's. Tokens are not counted."""
    counts, decode = Counts(), msgspec.json.Decoder(_Told).decode
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            while line := file.readline(_LONGEST_BYTES):
                counts.rows += 1
                counts.failed += decode(line).error is not None
                if not line.endswith(b"\n"):
                    return None
    except OSError as error:
        raise PhituiError(f"{shown_path(path)}: cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return counts
