"""What `phitui doctor` looks at in the engines on other machines: whether they are there. No prompt is sent."""

from __future__ import annotations

import asyncio

from phitui.cli.doctor.report import Check
from phitui.config.layers import Config
from phitui.config.remotes import LOCAL
from phitui.core.errors import ExitCode, PhituiError
from phitui.core.text import one_line
from phitui.engine.protocol.api import Loaded


def engine_checks(config: Config) -> list[Check]:
    """One line for each [engines.NAME], asked side by side. One that a start does not use may be away."""
    if not config.engines and config.engine.name == LOCAL:
        return []
    from phitui.workbench.engines import is_there, remote_settings

    async def ask_all() -> list[Loaded | PhituiError]:
        return await asyncio.gather(*(is_there(name, settings) for name, settings in config.engines.items()))

    checks = [
        _check(name, found, name == config.engine.name)
        for name, found in zip(config.engines, asyncio.run(ask_all()), strict=True)
    ]
    try:
        if config.engine.name != LOCAL:
            remote_settings(config, config.engine.name)
    except PhituiError as error:
        checks.append(
            Check("engine.name", False, one_line(error.message, 300), one_line(error.fix, 300), error.exit_code)
        )
    return checks


def _check(name: str, found: Loaded | PhituiError, used: bool) -> Check:
    title = f"engine {one_line(name, 40)}"
    if isinstance(found, Loaded):
        return Check(title, True, one_line(f"{found.title}: {found.why}; {1000 * found.load_s:.0f} ms", 300))
    text, fix = one_line(found.message, 300), one_line(found.fix, 300)
    return Check(title, False if used else None, text, fix, ExitCode(found.exit_code) if used else ExitCode.FAILED)
