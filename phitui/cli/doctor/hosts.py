"""What `phitui doctor` looks at in the other machines whose hardware is shown: whether their exporters answer."""

from __future__ import annotations

import asyncio
import time

from phitui.cli.doctor.report import Check
from phitui.config.layers import Config
from phitui.core.errors import ExitCode, PhituiError
from phitui.core.text import one_line
from phitui.hardware.exporters.exporters import Told


def host_checks(config: Config) -> list[Check]:
    """One line for each [hosts.NAME], asked side by side. Nothing else needs one that is away."""
    if not config.hosts:
        return []
    from phitui.workbench.telemetry.hosts import ask_once

    async def timed(name: str) -> tuple[Told | PhituiError, float]:
        begun = time.monotonic()
        return await ask_once(name, config.hosts[name]), time.monotonic() - begun

    async def ask_all() -> list[tuple[Told | PhituiError, float]]:
        return await asyncio.gather(*(timed(name) for name in config.hosts))

    found = asyncio.run(ask_all())
    return [_check(name, told, seconds) for name, (told, seconds) in zip(config.hosts, found, strict=True)]


def _check(name: str, told: Told | PhituiError, seconds: float) -> Check:
    title = f"host {one_line(name, 40)}"
    if isinstance(told, PhituiError):
        return Check(title, None, one_line(told.message, 300), one_line(told.fix, 300), ExitCode.FAILED)
    cards = [device.name for device in told.devices if device.kind == "gpu"]
    what = f"{len(cards)} × {cards[0]}" if cards else "no GPU"
    return Check(title, True, one_line(f"{' and '.join(told.kinds)}: {what}; {1000 * seconds:.0f} ms", 300))
