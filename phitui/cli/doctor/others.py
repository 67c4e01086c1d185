"""What `phitui doctor` looks at on other machines: whether engines and exporters are there. No prompt is sent."""

from __future__ import annotations

import asyncio
import time

from phitui.cli import loop
from phitui.cli.doctor.report import Check
from phitui.config.layers import Config
from phitui.config.remotes import LOCAL
from phitui.core.errors import ExitCode, PhituiError
from phitui.core.text import one_line
from phitui.engine.protocol.api import Loaded
from phitui.hardware.exporters.exporters import Told


def engine_checks(config: Config) -> list[Check]:
    """One line for each [engines.NAME], asked side by side. One that a start does not use may be away."""
    if not config.engines and config.engine.name == LOCAL:
        return []
    from phitui.workbench.engines import is_there, remote_settings

    async def ask_all() -> list[Loaded | PhituiError]:
        return await asyncio.gather(*(is_there(name, settings) for name, settings in config.engines.items()))

    checks = [
        _engine_check(name, found, name == config.engine.name)
        for name, found in zip(config.engines, loop.run(ask_all()), strict=True)
    ]
    try:
        if config.engine.name != LOCAL:
            remote_settings(config, config.engine.name)
    except PhituiError as error:
        checks.append(
            Check("engine.name", False, one_line(error.message, 300), one_line(error.fix, 300), error.exit_code)
        )
    return checks


def _engine_check(name: str, found: Loaded | PhituiError, used: bool) -> Check:
    title = f"engine {one_line(name, 40)}"
    if isinstance(found, Loaded):
        return Check(title, True, one_line(f"{found.title}: {found.why}; {1000 * found.load_s:.0f} ms", 300))
    text, fix = one_line(found.message, 300), one_line(found.fix, 300)
    return Check(title, False if used else None, text, fix, ExitCode(found.exit_code) if used else ExitCode.FAILED)


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

    found = loop.run(ask_all())
    return [_host_check(name, told, seconds) for name, (told, seconds) in zip(config.hosts, found, strict=True)]


def _host_check(name: str, told: Told | PhituiError, seconds: float) -> Check:
    title = f"host {one_line(name, 40)}"
    if isinstance(told, PhituiError):
        return Check(title, None, one_line(told.message, 300), one_line(told.fix, 300), ExitCode.FAILED)
    cards = [device.name for device in told.devices if device.kind == "gpu"]
    what = f"{len(cards)} × {cards[0]}" if cards else "no GPU"
    return Check(title, True, one_line(f"{' and '.join(told.kinds)}: {what}; {1000 * seconds:.0f} ms", 300))
