"""Collections of garbage do not look at what the imports made."""

import gc

from test_console_screen import ready, until

from phitui.config.layers import load_config
from phitui.tui.app.app import PhituiApp


async def test_they_begin_after_the_first_frame_and_leave_the_imports_out():
    gc.unfreeze()
    gc.disable()  # as phitui.__main__ does
    try:
        async with PhituiApp(load_config(overrides={"model": {"name": "not-there"}})).run_test() as pilot:
            await ready(pilot)
            await until(pilot, gc.isenabled)
            assert gc.get_freeze_count() > 10_000
    finally:
        gc.enable()
