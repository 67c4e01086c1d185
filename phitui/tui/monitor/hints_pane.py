"""The hints, worst first, as rows."""

from __future__ import annotations

from phitui.hardware.analysis.hint_figures import of_device
from phitui.hardware.analysis.hints import Hint, hints
from phitui.hardware.snapshot import Device, Snapshot
from phitui.tui.charts.cells import BAD, MUTED, OK, PLAIN, WARN, Row, fit, name
from phitui.tui.monitor.device_block import label

_ROLES = {"bad": BAD, "warn": WARN, "info": OK}

Said = list[tuple[Device, Hint]]


def hint_rows(said: Said, many: bool, most: int, width: int) -> list[Row]:
    """At most `most` rows of `width` cells; where more is to be said, the last one counts the rest. Where there are
    `many` devices each row says of which it is."""
    if not said:
        return [fit([("  nothing holds the devices back, as far as their figures tell", MUTED)], width)][:most]
    return first_rows([_row(device, hint, many, width) for device, hint in said], most, width)


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


def _row(device: Device, hint: Hint, many: bool, width: int) -> Row:
    row: Row = [("  ● ", _ROLES[hint.level])]
    if many:
        row.append((f"{label(device)}: ", MUTED))
    row.append((name(hint.text, 200), PLAIN))
    if hint.evidence:
        row.append((f" · {name(hint.evidence, 200)}", MUTED))
    return fit(row, width)
