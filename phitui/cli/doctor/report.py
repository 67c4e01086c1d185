"""The lines of `phitui doctor`, for a person and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from phitui.cli.output import styled
from phitui.core.errors import ExitCode, PhituiError
from phitui.core.text import one_line

_MARKS = {True: "ok ", False: "not", None: "–  "}


@dataclass(frozen=True)
class Check:
    """One line: `ok` is None where the thing is not needed or cannot be known, `fix` what to do about it.

    `code` is the exit code that a False stands for.
    """

    name: str
    ok: bool | None
    text: str
    fix: str = ""
    code: ExitCode = ExitCode.FAILED


def checked(name: str, check: Callable[[], Check]) -> Check:
    """The check's line; a check that fails itself becomes a line that says so, and the others go on."""
    try:
        return check()
    except PhituiError as error:
        return Check(name, False, one_line(error.message, 300), one_line(error.fix, 300))
    except OSError as error:
        return Check(name, False, one_line(f"{error.filename}: {error.strerror}", 300), "Check its permissions")
    except Exception as error:  # noqa: BLE001 - a doctor must not fall ill with the patient
        text = f"this check failed: {type(error).__name__}: {error}"
        return Check(name, False, one_line(text, 300), "Please report this as a defect of phitui")


def as_text(checks: Sequence[Check]) -> str:
    """One line for each check; below those that are not ok, and where there is a hint, what to do."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        mark = _MARKS[check.ok]
        if check.ok is not None:
            mark = styled(mark, "green" if check.ok else "red")
        lines.append(f"{mark} {check.name:<{width}}  {check.text}")
        if check.fix:
            lines.append(f"{'':<{4 + width}}  → {check.fix}")
    return "\n".join(lines)


def as_json(checks: Sequence[Check]) -> str:
    """{"checks": [{"name", "ok": true|false|null, "text", "fix"}]}"""
    rows = [{key: value for key, value in asdict(check).items() if key != "code"} for check in checks]
    return json.dumps({"checks": rows}, ensure_ascii=False)


def exit_code(checks: Sequence[Check]) -> ExitCode:
    """0 where nothing is wrong; 3 where the engine or hardware that is needed is not available; else 1."""
    codes = {check.code for check in checks if check.ok is False}
    if ExitCode.UNAVAILABLE in codes:
        return ExitCode.UNAVAILABLE
    return ExitCode.FAILED if codes else ExitCode.DONE
