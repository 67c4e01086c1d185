"""The commands that change this installation, by the tool that made it: pip, pipx or uv."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path


def reinstall_command() -> str:
    """What a user types to install phitui and all that it needs again."""
    if _made_by("pipx_metadata.json"):
        return "pipx reinstall phitui"
    if _made_by("uv-receipt.toml"):
        return "uv tool upgrade --reinstall phitui"
    return f"{pip_command()} install --force-reinstall phitui"


def add_command(package: str) -> str:
    """What a user types to install `package` beside phitui. pip is one of phitui's own requirements, so it is there."""
    if _made_by("pipx_metadata.json"):
        return f"pipx inject phitui {package}"
    return f"{pip_command()} install {package}"


def _made_by(file: str) -> bool:
    """Whether the tool that leaves `file` at the root of its environments has made this one."""
    return (Path(sys.prefix) / file).is_file()


def pip_command() -> str:
    """pip of this installation, as a user types it."""
    # With its path: another pip may be the first on PATH, and would install elsewhere.
    return f"{shlex.quote(sys.executable)} -m pip"
