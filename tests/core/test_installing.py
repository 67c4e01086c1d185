"""The commands that mend an installation are those of the tool that made it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from phitui.core.installing import add_command, pip_command, reinstall_command


@pytest.mark.parametrize(
    ("left", "reinstall", "add"),
    [
        ("pipx_metadata.json", "pipx reinstall phitui", "pipx inject phitui thing"),
        ("uv-receipt.toml", "uv tool upgrade --reinstall phitui", "-m pip install thing"),
        (".lock", "-m pip install --force-reinstall phitui", "-m pip install thing"),
    ],
)
def test_the_tool_that_made_this_installation(
    left: str, reinstall: str, add: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / left).touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert reinstall_command().endswith(reinstall)
    assert add_command("thing").endswith(add)


def test_pip_is_this_pythons() -> None:
    said = subprocess.run([*shlex.split(pip_command()), "--version"], capture_output=True, text=True, check=True)
    assert sys.prefix in said.stdout
