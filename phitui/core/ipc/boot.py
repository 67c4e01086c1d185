"""How a child process of phitui's own is started: the same modules, and no keys."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

# The child sees the same modules as we do: in particular no file of the working directory that happens to be
# called numpy.py, which `python -m` would put first.
_BOOT = "import sys; sys.path[:] = {path!r}; "
_TIE = "from phitui.core.ipc.child import die_with; die_with({parent}); "
# Variables that hold what opens something: servers' API keys above all.
_SECRET = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_|$)", re.IGNORECASE)


def python(code: str, tied: bool = True) -> list[str]:
    """The command that runs `code` in a new Python; `tied` to the thread that starts it, with which it dies."""
    tie = _TIE.format(parent=os.getpid()) if tied else ""
    return [sys.executable, "-c", _BOOT.format(path=sys.path) + tie + code]


def python_main(module: str, tied: bool = True) -> list[str]:
    """As `python`, for `main()` of `module`."""
    return python(f"from {module} import main; main()", tied)


def without_secrets(environ: Mapping[str, str], needed: tuple[str, ...] = ()) -> dict[str, str]:
    """The environment without keys and tokens, but for those whose names begin with one of `needed`."""
    return {name: value for name, value in environ.items() if name.startswith(needed) or not _SECRET.search(name)}


def working_directory() -> str | None:
    """Ours, or the root where ours was deleted: libraries fail to load in a directory that is not there."""
    try:
        Path.cwd()
    except OSError:
        return "/"
    return None
