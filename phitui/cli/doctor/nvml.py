"""`phitui doctor --nvml`: each question to the driver and its answer, for a report about a card."""

from __future__ import annotations

import json

import msgspec

from phitui.cli.output import write
from phitui.core.errors import ExitCode
from phitui.core.text import one_line
from phitui.hardware.nvml.dump import Call, Dump, dump_nvml

_LONGEST_VALUE = 160


def run(as_json: bool) -> int:
    """Print the dump and return the exit code: 0, or 3 where no card answers."""
    dump = dump_nvml()
    if as_json:
        write(msgspec.json.encode(dump).decode() + "\n")
    else:
        write(as_text(dump) + "\n")
    answers = any(call.device and call.code == 0 for call in dump.calls)
    return int(ExitCode.DONE if answers else ExitCode.UNAVAILABLE)


def as_text(dump: Dump) -> str:
    """One line for each call: device, function and arguments, code and its name, time, value."""
    lines = [f"nvidia-ml-py {dump.nvidia_ml_py or '–'}, {len(dump.calls)} calls"]
    lines += [_line(call) for call in dump.calls]
    if dump.hung:
        lines.append(f"Not finished within {dump.limit_s:g} s: given up.")
    return "\n".join(lines)


def _line(call: Call) -> str:
    question = f"{call.function}({', '.join(map(str, call.arguments))})"
    took = "–" if call.us is None else f"{call.us:.0f}"
    code = "–" if call.code is None else f"{call.code} {call.code_name}"
    told = "has not come back" if call.us is None else call.error or _value(call.value)
    return one_line(f"{call.device or 'driver'}: {question}: {code}, {took} µs: {told}", 400)


def _value(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return one_line(text, _LONGEST_VALUE)
