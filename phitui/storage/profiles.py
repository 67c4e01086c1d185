"""profiles.json: what was measured on this machine, kept so that it is measured once."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from phitui.core.files import read_small, replace_file

FILE_NAME = "profiles.json"
_MOST_BYTES = 16_000_000


def read_profile(path: Path, key: str) -> Any:
    """What was stored under `key`; None where there is nothing, or nothing readable: it can be measured again."""
    return _read(path).get(key)


def write_profile(path: Path, key: str, value: Any) -> None:
    """Store `value` (JSON) under `key`. A place that cannot be written to is no error: only time is lost."""
    content = {**_read(path), key: value}
    data = json.dumps(content, indent=2, sort_keys=True).encode()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, data)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_small(path, _MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
