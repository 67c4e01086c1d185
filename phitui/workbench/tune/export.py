"""A tuning as files for others: its picture, and the table of its probes."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

from phitui.config.layers import shown_path
from phitui.core.errors import PhituiError, UsageError
from phitui.core.files import create_file, replace_file

_ENDINGS = (".svg", ".csv")


def export_name(model: str) -> str:
    """What the files are called where nobody says it, without the ending."""
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", model).strip("-.")[:60] or "model"
    return f"phitui-tuning-{plain}-{datetime.now():%Y%m%d-%H%M}"


def export_files(name: Path) -> tuple[Path, Path]:
    """The picture's and the table's file; `name` may have the ending of either."""
    if name.suffix in _ENDINGS:
        name = name.with_suffix("")
    if not name.name:
        raise UsageError(f"{shown_path(name)} is a folder", "Give a name for the files in it")
    picture, table = (name.with_name(name.name + ending) for ending in _ENDINGS)
    return picture, table


def taken(text: str) -> tuple[Path, list[Path]]:
    """The place that somebody has typed, and which of the files are there already. Raises UsageError."""
    try:
        name = Path(text).expanduser()
    except RuntimeError as error:  # "~somebody" whom the system does not know
        raise UsageError(str(error), "Give another name") from error
    return name, [path for path in export_files(name) if path.exists()]


def check_export(name: Path) -> None:
    """Raise UsageError where the files cannot be new ones there."""
    for path in export_files(name):
        if path.exists():
            raise UsageError(f"{shown_path(path)} is there already", "Give another name")
        if not path.parent.is_dir():
            raise UsageError(f"{shown_path(path.parent)} is not a folder", "Make it, or give another name")


def write_export(name: Path, svg: str, table: str, over: bool = False) -> str:
    """Write both, each whole or not at all and for this user alone; returns where they are, in words. Only with `over`
    in the place of others. Raises PhituiError."""
    paths = export_files(name)
    for path, text in zip(paths, (svg, table), strict=True):
        try:
            (replace_file if over else create_file)(path, text.encode("utf-8", "replace"))
        except FileExistsError as error:
            raise UsageError(f"{shown_path(path)} is there already", "Give another name") from error
        except OSError as error:
            raise PhituiError(f"{shown_path(path)}: cannot be written: {error.strerror}") from error
    return f"{shown_path(paths[0])} and {_ENDINGS[1]}"
