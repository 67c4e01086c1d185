"""defects.log: what a person who reports a defect of phitui can send along."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

from phitui.core.files import open_private

FILE_NAME = "defects.log"


def describe_defect(error: BaseException, logs: Path | None) -> str:
    """Append the traceback of `error` to the log in `logs` (0600; None: nowhere); returns the one line that a person
    sees."""
    what = f"a defect: {type(error).__name__}: {error}"
    if logs is None:
        return f"{what}. Please report it"
    path = logs / FILE_NAME
    try:
        logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(open_private(path, os.O_WRONLY | os.O_APPEND), "a", encoding="utf-8") as log:
            traceback.print_exception(error, file=log)
    except OSError:
        return f"{what}. Please report it"
    return f"{what}. Please report it with {path}"
