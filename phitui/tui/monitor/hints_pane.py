"""The hints, worst first, as rows."""

from __future__ import annotations

import re

from phitui.hardware.analysis.hint_figures import of_device
from phitui.hardware.analysis.hints import Hint, hints
from phitui.hardware.snapshot import Device, Snapshot
from phitui.tui.charts.cells import BAD, MUTED, OK, PLAIN, WARN, Row, apart, fit, length, name
from phitui.tui.monitor.device_block import label

_INDENT = "    "
_ROLES = {"bad": BAD, "warn": WARN, "info": OK}

Said = list[tuple[Device, Hint]]


def hint_rows(said: Said, many: bool, width: int) -> list[Row]:
    """All hints in rows of `width` cells, as many as it takes. Where there are `many` devices each says of which it
    is."""
    if not said:
        return [fit([("  nothing holds the devices back, as far as their figures tell", MUTED)], width)]
    return [row for device, hint in said for row in _wrapped(_spans(device, hint, many), width)]


def hints_in(said: Said, many: bool, most: int, width: int) -> list[Row]:
    """The same in at most `most` rows: where they are too few each hint has one, cut with "…", and the last one counts
    the rest."""
    rows = hint_rows(said, many, width)
    if len(rows) <= most:
        return rows
    spans = [_spans(device, hint, many) for device, hint in said]
    if most == 1 and len(spans) > 1:  # the worst is worth more than how many there are
        more: Row = [(f" and {len(spans) - 1} more ", MUTED)]
        return [apart(_cut(spans[0], max(width - length(more), 0)), more, width)]
    return first_rows([_cut(row, width) for row in spans], most, width, ": a larger window shows all")


def first_rows(rows: list[Row], most: int, width: int, what: str = "") -> list[Row]:
    """At most `most` of the rows; where there are more, the last one counts the rest of them, `what` they are."""
    if len(rows) > most > 0:
        rows[most - 1 :] = [fit([(f"  and {len(rows) - most + 1} more{what}", MUTED)], width)]
    return rows[:most]


def device_hints(snapshot: Snapshot, limit: float) -> Said:
    """What the devices' own figures tell, without an engine. `limit` is the share of memory that counts as full."""
    return [(device, hint) for device in snapshot.devices for hint in hints(of_device(device, snapshot.host, limit))]


def host_hints(snapshot: Snapshot, limit: float) -> Said:
    """The same of the other machines; of one that does not answer that alone."""
    said: Said = []
    for other in snapshot.hosts:
        if other.state != "fresh":
            age = "" if other.age_s is None else f"figures of {other.age_s:.0f} s ago"
            said += [(other.devices[0], Hint("host", "warn", f"{other.state}: {other.reason}", age))]
            continue
        said += [(device, hint) for device in other.devices for hint in hints(of_device(device, other.host, limit))]
    return said


def worst_first(said: Said) -> Said:
    """The worst of all devices first."""
    return sorted(said, key=lambda pair: tuple(_ROLES).index(pair[1].level))


def _spans(device: Device, hint: Hint, many: bool) -> Row:
    row: Row = [("  ● ", _ROLES[hint.level])]
    if many:
        row.append((f"{label(device)}: ", MUTED))
    row.append((name(hint.text, 200), PLAIN))
    if hint.evidence:
        row.append((f" · {name(hint.evidence, 200)}", MUTED))
    return row


def _wrapped(row: Row, width: int) -> list[Row]:
    """Broken at spaces, below the text of the first line."""
    pieces = [(word, role) for text, role in row[1:] for word in re.split(r"(?<= )(?=\S)", text) if word]
    rows = [row[:1]]
    for word, role in pieces:
        if length([*rows[-1], (word.rstrip(), role)]) > width and len(rows[-1]) > 1:
            rows.append([(_INDENT, PLAIN)])
        rows[-1].append((word, role))
    return [_cut(each, width) for each in rows]


def _cut(row: Row, width: int) -> Row:
    if length(row) - (row[-1][0].endswith(" ")) <= width:
        return fit(row, width)
    return fit([*fit(row, width - 1), ("…", row[-1][1])], width)
