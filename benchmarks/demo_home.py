"""A PHITUI_HOME of the benchmarks' own with the demo model in it, made by phitui itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

from report import CACHE
from terminal import command, environment


def demo_home() -> Path:
    """Fetch and convert the demo model once; measure its thread count once. Raises CalledProcessError."""
    home = CACHE / "home"
    home.mkdir(parents=True, exist_ok=True)
    subprocess.run(command("ask", "Say hi."), env=environment(home), check=True, stdout=subprocess.DEVNULL)
    return home
