"""Completes paths."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from phitui.core.text import sanitize
from phitui.tui.widgets.completion import Suggestion

_MOST_NAMES = 5000


def paths(typed: str) -> Iterable[Suggestion]:
    """What is in the folder that is typed, as far as it begins so; folders end with a slash. Hidden ones when the name
    begins with a dot."""
    folder, _, begun = typed.rpartition("/")
    prefix = f"{folder}/" if "/" in typed else ""
    try:
        with os.scandir(Path(prefix or ".").expanduser()) as entries:
            found = [entry for entry, _ in zip(entries, range(_MOST_NAMES), strict=False)]
        kept = [
            one for one in found if one.name.startswith(begun) and one.name.startswith(".") <= begun.startswith(".")
        ]
        rows = [(one.is_dir(), one) for one in kept if sanitize(one.name) == one.name and one.name.isprintable()]
        rows.sort(key=lambda row: (not row[0], row[1].name))
        return [Suggestion(f"{prefix}{one.name}{'/' if is_dir else ''}", _about(one, is_dir)) for is_dir, one in rows]
    except (OSError, RuntimeError, ValueError):
        return []


def _about(entry: os.DirEntry[str], is_dir: bool) -> str:
    try:
        return "" if is_dir else f"{entry.stat().st_size:,} bytes"
    except OSError:
        return ""
