"""`phitui model`: what is in the store, and how a model gets there and out again."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Any

from phitui.cli import listing, loop
from phitui.cli.output import Narrator, narrate, write
from phitui.cli.parser import actions_of
from phitui.config.layers import Config, logs_dir, models_dir
from phitui.core.errors import ExitCode, UsageError
from phitui.core.ipc.messages import Progress
from phitui.models.catalog import CATALOG, lookup, meant
from phitui.models.install import download_folder, is_name, remove
from phitui.models.manifest import MANIFEST_NAME, verify
from phitui.models.messages import LEAST_CONTEXT, MOST_CONTEXT, Convert, PrepareDemo, Pull, Request
from phitui.models.store import StoredModel, find, list_models, resolve
from phitui.workbench.prepare import prepare

EXAMPLES = """  phitui model pull phi-3-mini    fetch it from the Hugging Face Hub, convert it
  phitui model convert --name mine model.gguf
  phitui model list
"""
_HEADER = ("name", "title", "precision", "size", "context window")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = actions_of(parser)
    add("list", "the models of the store").add_argument("--json", action="store_true", help="print one JSON array")
    pull = add("pull", "fetch a model and convert it")
    pull.add_argument(
        "name",
        metavar="NAME",
        help="a name that phitui knows (phi-3-mini, …), or organisation/model",
    )
    convert = add("convert", "convert a model that is on disk")
    convert.add_argument("source", metavar="SRC", type=Path, help="a model folder as the Hub has them, or a .gguf file")
    place = convert.add_mutually_exclusive_group()
    place.add_argument("-n", "--name", metavar="NAME", help="its name in the store")
    place.add_argument("-o", "--output", metavar="DIR", type=Path, help="make this folder, instead of one in the store")
    for action in (pull, convert):
        action.add_argument("--quantization", metavar="Q", default="", help="int8 (the default), float16, float32, …")
        action.add_argument(
            "--context",
            metavar="N",
            type=_tokens,
            default=0,
            help="the context window in tokens; a long one may need LongRoPE's long factors",
        )
    verify = add("verify", "check that a model's files are complete and unchanged")
    verify.add_argument("name", metavar="NAME", help="a model of the store, or a converted folder")
    remove = add("rm", "remove a model from the store")
    remove.add_argument("name", metavar="NAME", help="a model of the store")


def _tokens(text: str) -> int:
    """A wish for a context window. Raises ArgumentTypeError, which argparse makes a line of wrong usage."""
    if not (text.isascii() and text.isdecimal() and LEAST_CONTEXT <= int(text[:12]) <= MOST_CONTEXT):
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r} is not a number of tokens; give a whole number from {LEAST_CONTEXT} on"
        )
    return int(text)


def run(config: Config, args: argparse.Namespace) -> int:
    """Do one action. Raises PhituiError."""
    del config
    if args.action == "list":
        return _list(args.json)
    if args.action == "verify":
        return _verify(args.name)
    if args.action == "rm":
        return _remove(args.name)
    folder = loop.run(prepare(_request(args), logs_dir() / "prepare.log", Narrator().show))
    write(f"{folder}\n")
    return int(ExitCode.DONE)


def _list(as_json: bool) -> int:
    models = list_models(models_dir())
    if as_json:
        listing.write_json([_facts(model) for model in models])
    elif not models:
        narrate("There are no models yet. To fetch one: phitui model pull phi-3-mini")
    elif listing.is_for_a_person():
        listing.write_table(_HEADER, [[*_fields(model), "", "", ""][: len(_HEADER)] for model in models], right=(3, 4))
        for model in models:
            if model.error:
                narrate(f"phitui: {model.error}")
    else:
        listing.write_lines([[*_fields(model), *filter(None, [model.error])] for model in models])
    return int(ExitCode.DONE)


def _fields(model: StoredModel) -> list[str]:
    """What a row says of a model."""
    manifest = model.manifest
    if manifest is None:
        return [model.name, "damaged"]
    size = f"{manifest.total_bytes / 1e9:.2f} GB"
    return [model.name, manifest.title, manifest.quantization, size, f"{manifest.context_window} tokens"]


def _facts(model: StoredModel) -> dict[str, Any]:
    """A model in JSON: None is what a damaged one does not tell."""
    manifest = model.manifest
    return {
        "name": model.name,
        "title": manifest and manifest.title,
        "quantization": manifest and manifest.quantization,
        "size_bytes": manifest and manifest.total_bytes,
        "context_window_tokens": manifest and manifest.context_window,
        "source": manifest and manifest.source,
        "license": manifest and manifest.license,
        "folder": str(model.folder),
        "error": model.error or None,
    }


def _verify(name: str) -> int:
    folder = _stored(name)
    narrator = Narrator()

    def tell(done: int, total: int) -> None:
        narrator.show(Progress("verify", f"Checking {folder.name}", done, total, "bytes"))

    manifest = verify(folder, tell)
    write(f"{folder.name}\tok\t{len(manifest.files)} files\t{manifest.total_bytes} bytes\n")
    return int(ExitCode.DONE)


def _remove(name: str) -> int:
    folder, entry = find(models_dir(), name), lookup(name)
    stored = folder.name if folder else entry.name if entry else name
    # A download that was never finished can be removed, too.
    if folder is None and not (is_name(stored) and download_folder(models_dir(), stored).is_dir()):
        raise _not_there(name)
    remove(models_dir(), stored)
    return int(ExitCode.DONE)


def _stored(name: str) -> Path:
    """The folder of a model that is on this disk. Raises UsageError for one that is not."""
    folder = resolve(models_dir(), name).folder
    if folder is None:
        raise _not_there(name)
    return folder


def _not_there(name: str) -> UsageError:
    near = meant(name, [model.name for model in list_models(models_dir())])
    fix = f"{near} phitui model list shows what is there.".lstrip()
    return UsageError(f"there is no model {name[:200]!r} in the store", fix)


def _request(args: argparse.Namespace) -> Request:
    store = models_dir()
    if args.action == "convert":
        source: Path = args.source
        if not os.path.exists(source):  # noqa: PTH110 - Path.exists raises for a name that is too long
            raise UsageError(f"{source}: there is no such file or folder", "Give a .gguf file or a model folder.")
        if args.output is not None:
            place = _free_place(args.output)
            store, name = place.parent, place.name
        else:
            name = args.name or _store_name(source.resolve())
        return Convert(str(store), name, str(source.resolve()), args.quantization, args.context)
    entry = lookup(args.name)
    if entry is not None and entry.wheel is not None:
        return PrepareDemo(str(store), args.quantization, args.context)
    return Pull(str(store), args.name, args.quantization, args.context)


def _free_place(output: Path) -> Path:
    """Where a model folder may go: nothing but another converted model is replaced."""
    place = output.expanduser().resolve()
    if place.exists() and not (place / MANIFEST_NAME).is_file():
        raise UsageError(f"{place} is there and is not a converted model", "Name a folder that does not exist yet.")
    return place


def _store_name(source: Path) -> str:
    """The catalog's name where the source is called as on the Hub, so that "auto" finds it; else its own name."""
    # The parts of a GGUF file are one model.
    name = (source.name if source.is_dir() else re.sub(r"-\d{5}-of-\d{5}$", "", source.stem)).lower()
    known = (entry.name for entry in CATALOG if entry.hub.rsplit("/", 1)[-1].lower() == name)
    return next(known, name)
