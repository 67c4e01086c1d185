"""What each process may have imported. The import contract holds for the source, this for what really runs."""

import subprocess
import sys

import pytest
from terminal import environment

HEAVY = {"ctranslate2", "transformers", "tokenizers", "numpy", "gguf", "jinja2", "torch", "huggingface_hub"}

PRINT_MODULES = "import sys; print(' '.join(sorted({name.split('.')[0] for name in sys.modules})))"

CONSOLE = """
import asyncio
from phitui.cli.main import configuration
from phitui.cli.parser import parse
from phitui.tui.app.app import PhituiApp
async def main():
    app = PhituiApp(configuration(parse([])))
    async with app.run_test(size=(120, 40)) as pilot:
        while app.workbench.engine.loaded is None:
            await pilot.pause(0.05)
        await pilot.press(*"hi", "enter")
        while not any(e.state.over for e in app.screen.chat.exchanges):
            await pilot.pause(0.05)
        await pilot.pause(0.3)
        await pilot.press("f2")
        while not any(row.loaded for row in app.workbench.models.rows):
            await pilot.pause(0.05)
        await pilot.press("v")
        while app.workbench.models.work.busy:
            await pilot.pause(0.05)
asyncio.run(main())
"""


def modules(code, home):
    done = subprocess.run(
        [sys.executable, "-c", code + PRINT_MODULES],
        env=environment(home),
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_the_console_answers_without_a_heavy_library_in_its_process(home):
    loaded = modules(CONSOLE, home)
    assert "textual" in loaded
    assert loaded & (HEAVY | {"httpx"}) == set()


@pytest.mark.parametrize(
    "package",
    [
        "phitui.cli.ask",
        "phitui.cli.batch",
        "phitui.cli.model",
        "phitui.cli.tune",
        "phitui.cli.bench",
        "phitui.workbench.chat.chat",
        "phitui.workbench.batch.queue",
        "phitui.workbench.tune.local",
        "phitui.hardware.sampler",
    ],
)
def test_the_core_does_without_a_screen(package, home):
    loaded = modules(f"import {package}\n", home)
    assert loaded & (HEAVY | {"textual", "rich", "tomlkit", "pynvml", "httpx"}) == set()


def test_the_monitor_alone_has_no_engine_in_it(home):
    code = "import sys, phitui.cli.monitor, phitui.tui.app.monitor_app; print(' '.join(sys.modules))"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, env=environment(home), capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "textual" in loaded
    assert not {
        name for name in loaded if name.startswith(("phitui.engine", "phitui.workbench", "phitui.models", "tomlkit"))
    }
