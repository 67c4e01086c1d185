"""Pictures of what stands above or within a screen for a while: help, palette, lists, questions, the find bar."""

import frozen_models
import pytest
from frozen_console import ANSWER, FrozenConsole
from pictured import each_look
from support.resting import at_rest, painted_first
from support.waiting import until_shown as until
from textual.widgets import Input, OptionList

from phitui.config.layers import home
from phitui.storage.presets import FILE_NAME, Presets
from phitui.tui.widgets.attachment_line import AttachmentLine
from phitui.tui.widgets.completion import Completion
from phitui.tui.widgets.dialogs import Ask, Confirm, PullDialog
from phitui.tui.widgets.prompt import Prompt


async def on_help(pilot):
    await pilot.press("f1")


async def on_help_search(pilot):
    await pilot.press("f1", *"session")


async def on_whole_palette(pilot):
    await pilot.press("ctrl+p")
    await until(pilot, lambda: pilot.app.screen.query_one("CommandList", OptionList).option_count > 30)
    await at_rest(pilot)


async def on_palette(pilot):
    frozen_models.fill(pilot.app)
    await pilot.press("ctrl+p", *"mo")
    await until(pilot, lambda: pilot.app.screen.query_one("CommandList", OptionList).option_count > 3)
    await at_rest(pilot)


async def on_themes(pilot):
    pilot.app.choose_theme()


async def on_parts(pilot):
    await pilot.press("shift+tab", "c")


async def on_presets(pilot):
    for name, text in (("brief", "Answer in one sentence."), ("tutor", "Explain as to a child.\nAsk back.")):
        Presets(home() / FILE_NAME).keep(name, text)
    await pilot.press("f7")
    await until(pilot, lambda: pilot.app.screen.focused is not None)
    await pilot.press("ctrl+o")


async def on_engines(pilot):
    pilot.app.engines.open()
    await until(pilot, lambda: pilot.app.screen.query(OptionList))
    await until(pilot, lambda: "not there" in str(pilot.app.screen.query_one(OptionList).get_option("box").prompt))


async def on_batch(pilot):
    await pilot.press("f5", "a", *"questions.jsonl", "tab")


async def on_pull(pilot):
    frozen_models.fill(pilot.app)
    await pilot.press("f2", "down", "down", "down", "p")
    await until(pilot, lambda: isinstance(pilot.app.screen, PullDialog) and pilot.app.screen.query(Input))


async def on_ask(pilot):
    pilot.app.push_screen(Ask("Title of the session", "A story about a lighthouse keeper", 200))


async def on_confirm(pilot):
    pilot.app.push_screen(Confirm("Remove phi-3-mini and its 3.8 GB from the disk?", "remove it"))


async def on_find(pilot):
    await pilot.press("shift+tab", "slash", *"cache")
    await at_rest(pilot)


async def on_completion(pilot):
    await pilot.press(*"/m")
    await until(pilot, lambda: pilot.app.screen.query_one(Completion).shown)


async def on_attachment(pilot):
    file = home() / "build.log"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("one line of a log\n" * 40)
    prompting = pilot.app.console_screen.prompting
    await prompting.attach(str(file))
    assert pilot.app.screen.query_one(AttachmentLine).display
    pilot.app.screen.query_one(Prompt).insert("What went wrong?")


SHOWN = [on_help, on_help_search, on_palette, on_whole_palette, on_themes, on_parts, on_presets, on_engines, on_batch,
         on_pull, on_ask, on_confirm, on_find, on_completion, on_attachment]  # fmt: skip


@each_look
@pytest.mark.parametrize("shown", SHOWN, ids=lambda one: one.__name__)
def test_what_stands_above(snap_compare, shown, size, theme):
    async def fill(pilot):
        await painted_first(pilot)
        pilot.app.load()
        pilot.app.answer("What is a KV cache?", ANSWER)
        await at_rest(pilot)
        await shown(pilot)

    app = FrozenConsole(theme, engines={"box": {"url": "http://127.0.0.1:9"}})
    assert snap_compare(app, run_before=fill, terminal_size=size)
