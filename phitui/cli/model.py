"""`phitui model`: what is in the store, and how a model gets there."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from phitui.cli.output import Narrator
from phitui.config import Config, logs_dir, models_dir
from phitui.errors import ExitCode, UsageError
from phitui.jobs.models import prepare
from phitui.models.catalog import CATALOG, lookup
from phitui.models.messages import Convert, PrepareDemo, Pull, Request
from phitui.models.store import list_models


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="the models of the store")
    pull = actions.add_parser("pull", help="fetch a model and convert it")
    pull.add_argument("name", metavar="NAME", help="a name of the catalog (phi-3-mini, …) or organisation/model")
    convert = actions.add_parser("convert", help="convert a model that is on disk")
    convert.add_argument("source", metavar="SRC", type=Path, help="a folder as the Hub has them, or a .gguf file")
    convert.add_argument("-n", "--name", metavar="NAME", help="its name in the store")
    for action in (pull, convert):
        action.add_argument("--quantization", metavar="Q", default="int8", help="int8, float16, float32, …")


def run(config: Config, args: argparse.Namespace) -> int:
    """Do one action. Raises PhituiError."""
    del config
    if args.action == "list":
        return _list()
    folder = asyncio.run(_prepare(_request(args)))
    print(folder)
    return int(ExitCode.DONE)


def _list() -> int:
    for model in list_models(models_dir()):
        manifest = model.manifest
        if manifest is None:
            print(f"{model.name}\tdamaged\t{model.error}")
        else:
            size = f"{manifest.weight_bytes / 1e9:.2f} GB"
            print(f"{model.name}\t{manifest.title}\t{manifest.quantization}\t{size}\t{manifest.context_window} tokens")
    return int(ExitCode.DONE)


def _request(args: argparse.Namespace) -> Request:
    store = str(models_dir())
    if args.action == "convert":
        source: Path = args.source
        if not source.exists():
            raise UsageError(f"{source}: there is no such file or folder")
        return Convert(store, args.name or _store_name(source.resolve()), str(source.resolve()), args.quantization)
    entry = lookup(args.name)
    if entry is not None and entry.wheel is not None:
        return PrepareDemo(store)
    return Pull(store, args.name, args.quantization)


def _store_name(source: Path) -> str:
    """The catalog's name where the source is called as on the Hub, so that "auto" finds it; else its own name."""
    name = (source.name if source.is_dir() else source.stem).lower()
    known = (entry.name for entry in CATALOG if entry.hub.rsplit("/", 1)[-1].lower() == name)
    return next(known, name)


async def _prepare(request: Request) -> Path:
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel if task else loop.stop)
    try:
        return await prepare(request, logs_dir() / "prepare.log", Narrator().show)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
