"""profiles.json: what was measured on this machine, kept so that it is measured once."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from phitui.core.files import put_aside, read_small, replace_file

FILE_NAME = "profiles.json"
_MOST_BYTES = 16_000_000


def read_profile(path: Path, key: str) -> Any:
    """What was stored under `key`; None where there is nothing, or nothing readable: it can be measured again."""
    return (_read(path) or {}).get(key)


def write_profile(path: Path, key: str, value: Any) -> None:
    """Store `value` (JSON) under `key`; a file that is damaged is put aside. A place that cannot be written to is no
    error: only time is lost."""
    content = _read(path)
    data = json.dumps({**(content or {}), key: value}, indent=2, sort_keys=True).encode()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            put_aside(path)
        replace_file(path, data)


def _read(path: Path) -> dict[str, Any] | None:
    """None where the file is damaged."""
    try:
        content = json.loads(read_small(path, _MOST_BYTES))
    except OSError:
        return {}
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
