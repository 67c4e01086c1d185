"""Files that ship with phitui: config.toml and themes/.

They stand at the top of the source tree; a wheel carries them in phitui/data.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def resource(name: str) -> Path:
    """The path of a shipped file or folder. Raises FileNotFoundError where the installation lacks it."""
    for base in (_PACKAGE / "data", _PACKAGE.parent):
        if (base / name).exists():
            return base / name
    raise FileNotFoundError(f"{name} is missing from the installation in {_PACKAGE}")
