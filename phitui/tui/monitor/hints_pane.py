"""The hints, worst first, as rows."""

from __future__ import annotations

from phitui.hardware.hints import Figures, Hint, hints
from phitui.hardware.snapshot import Device, Host, Snapshot
from phitui.tui.monitor.cells import BAD, MUTED, OK, PLAIN, WARN, Row, fit, name
from phitui.tui.monitor.device_block import label

_ROLES = {"bad": BAD, "warn": WARN, "info": OK}


Said = list[tuple[Device, Hint]]


def hint_rows(said: Said, many: bool, most: int, width: int) -> list[Row]:
    """At most `most` rows of `width` cells; where more is to be said, the last one counts the rest. Where there are
    `many` devices each row says of which it is."""
    if not said:
        return [fit([("  nothing holds the devices back, as far as their figures tell", MUTED)], width)][:most]
    rows = [_row(device, hint, many, width) for device, hint in said]
    if len(rows) > most > 0:
        rows[most - 1 :] = [fit([(f"  and {len(rows) - most + 1} more", MUTED)], width)]
    return rows[:most]


def device_hints(snapshot: Snapshot) -> Said:
    """What the devices' own figures tell, the worst of all devices first. An engine's figures are not in it."""
    found = [(device, hint) for device in snapshot.devices for hint in hints(figures(device, snapshot.host))]
    return sorted(found, key=lambda pair: tuple(_ROLES).index(pair[1].level))


def figures(device: Device, host: Host) -> Figures:
    """The device's part of what the rules look at."""
    total, reserved = device.vram.total_bytes, device.vram.reserved_bytes
    return Figures(
        on_gpu=device.kind == "gpu",
        util_pct=device.util_pct,
        throttle_reasons=tuple(device.throttle_reasons or ()),
        power_w=device.power_w,
        power_limit_w=device.power_limit_w,
        temperature_c=device.temperature_c,
        sm_clock_mhz=device.sm_clock_mhz,
        sm_clock_max_mhz=device.sm_clock_max_mhz,
        link_width=device.link.width,
        link_width_max=device.link.width_max,
        link_generation=device.link.generation,
        link_generation_max=device.link.generation_max,
        vram_used_bytes=device.vram.used_bytes,
        vram_usable_bytes=None if total is None else total - (reserved or 0),
        host_available_bytes=host.ram_available_bytes,
    )


def _row(device: Device, hint: Hint, many: bool, width: int) -> Row:
    row: Row = [("  ● ", _ROLES[hint.level])]
    if many:
        row.append((f"{label(device)}: ", MUTED))
    row.append((name(hint.text, 200), PLAIN))
    if hint.evidence:
        row.append((f" · {name(hint.evidence, 200)}", MUTED))
    return fit(row, width)
