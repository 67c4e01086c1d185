"""The tuner screen on a server: llama.cpp's real one, and one that answers as the tests want."""

import pytest
from answering_server import answering
from frozen_tuner import REMOTE, SERVER_KEPT, FrozenTuner, server_run_state_of
from llama_server import llama_server
from test_console_screen import ready, texts, until
from test_tuner_screen import notes, picture
from textual.widgets import Input

from phitui.config.layers import load_config, user_config_file
from phitui.core.errors import UsageError
from phitui.tui.app.app import PhituiApp
from phitui.tui.screens.tuner import TunerScreen
from phitui.tui.widgets.dialogs import Confirm
from phitui.tui.widgets.tuning_form import CheckBox, TuningForm
from phitui.workbench.chat.chat import State


def console(url, name="box"):
    engines = {name: {"url": url, "retries": 0}, "other": {"url": "http://127.0.0.1:9"}}
    overrides = {"engine": {"name": name}, "engines": engines, "generation": {"max_tokens": 12}}
    return PhituiApp(load_config(overrides={**overrides, "model": {"name": "tiny-phi3"}}))


def configured(url):
    """[engines.box] in the user's own file."""
    file = user_config_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'# mine\n[engines.box]\nurl = "{url}"  # under the desk\n')
    return file


async def opened(pilot):
    await until(pilot, lambda: pilot.app.workbench.engine.loaded is not None and not pilot.app.workbench.switching.busy)
    await pilot.press("f3")
    await until(pilot, lambda: isinstance(pilot.app.screen, TunerScreen))


async def form(pilot, **fields):
    await pilot.press("s")
    await until(pilot, lambda: isinstance(pilot.app.screen, TuningForm))
    for key, text in {"prompt": "24", "answer": "40", "start": "2", **fields}.items():
        pilot.app.screen.query_one(f"#{key}", Input).value = text


async def begun(pilot, **fields):
    await form(pilot, **fields)
    await pilot.press("enter")
    await until(pilot, lambda: pilot.app.workbench.tuner.run_state is not None)


async def ended(pilot):
    await until(pilot, lambda: not pilot.app.workbench.tuner.busy, 60)
    return pilot.app.workbench.tuner.run_state


@pytest.mark.parametrize("size", [(120, 40), (80, 24)], ids=["120x40", "80x24"])
async def test_from_the_form_to_the_answer_and_its_application(home, llama, size):
    file = configured(llama.url)
    app = console(llama.url)
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        assert "Tuner · tiny on box" in picture(app) and "no tuning has been kept yet" in picture(app)
        await begun(pilot, latency="60000")
        run_state = await ended(pilot)
        assert (run_state.state, run_state.error) == ("done", "")
        answer = run_state.result.answer
        await until(pilot, lambda: f"Send {answer.c_best} request" in picture(app))
        await pilot.press("tab", "end")
        assert " Note " in picture(app)  # what stands last
        await pilot.press("home")
        assert f"C_max  {answer.c_max} request" in picture(app) and f"C_slo  {answer.c_slo} request" in picture(app)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert f"engines.box.concurrency = {answer.c_best}." in texts(app, "#question")[0]
        await pilot.press("y")
        await until(pilot, lambda: "Written. Batches use it" in picture(app))
        text = file.read_text()
        assert text.startswith("# mine\n") and "# under the desk" in text
        assert load_config().engines["box"].concurrency == answer.c_best
        assert app.workbench.config.now.engines["box"].concurrency == answer.c_best
        await pilot.press("e")
        await until(pilot, lambda: "24+40 llama.cpp" in picture(app) and "valid" in picture(app))
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await until(pilot, lambda: "no tuning has been kept yet" in picture(app))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.console_screen)
        assert any(note.startswith("Tuned. ") and f"Send {answer.c_best} request" in note for note in notes(app))
        assert texts(app, "#model")[0].startswith("tiny · llama.cpp · box")
        assert app.workbench.engine.pid is None


async def test_it_goes_on_behind_the_chat_which_sends_nothing_and_keeps_its_engine(home, tmp_path):
    with answering(step_s=0.05) as (server, how):
        app = console(server.url)
        async with app.run_test(size=(120, 40)) as pilot:
            await opened(pilot)
            await begun(pilot)
            said = lambda: [note.message for note in app._notifications]  # noqa: E731
            await pilot.press("s")
            assert "a tuning is under way already. c cancels it." in picture(app)
            await pilot.press("escape")
            await until(pilot, lambda: texts(app, "#model")[0].startswith("tuning: "))
            assert "Tuning box: until it is over no prompt is taken" in " ".join(notes(app))
            await pilot.press(*"hello", "enter")
            await until(pilot, lambda: app._notifications)
            assert "a prompt to the server would be measured, too" in said()[0]
            assert app.console_screen.query_one("#prompt").text == "hello"
            with pytest.raises(UsageError, match="a tuning is under way: the engine stays as it is"):
                app.engines.switch("other")
            (tmp_path / "in.jsonl").write_text('{"prompt": "a row"}\n')
            app.batches.add(tmp_path / "in.jsonl")
            (entry,) = app.workbench.batches.entries
            assert (entry.state, entry.note) == ("queued", "a tuning is under way")
            await pilot.press("f3")
            await until(pilot, lambda: isinstance(app.screen, TunerScreen))
            await pilot.press("space")
            await until(pilot, lambda: " paused " in picture(app))
            assert "a row" not in how.seen and "hello" not in how.seen
            await pilot.press("space", "c")
            assert (await ended(pilot)).state == "cancelled"
            await until(pilot, lambda: entry.state == "complete")
            await pilot.press("escape", "enter")
            chat = app.console_screen.chat
            await until(pilot, lambda: chat.exchanges and chat.exchanges[0].state is State.DONE)


async def test_a_server_that_is_killed_is_one_line_and_the_screen_goes_on(home, llama, tmp_path):
    path = tmp_path / "tiny.gguf"
    path.symlink_to(llama.path)
    with llama_server(path) as server:
        app = console(server.url)
        async with app.run_test(size=(80, 24)) as pilot:
            await opened(pilot)
            await begun(pilot, answer="2000")
            await until(pilot, lambda: app.workbench.tuner.run_state.running is not None)
            server.process.kill()
            run_state = await ended(pilot)
            assert (
                run_state.state == "failed" and "\n" not in run_state.error and "box at 127.0.0.1:" in run_state.error
            )
            await until(pilot, lambda: picture(app).splitlines()[-2].strip().startswith(run_state.error[:60]))
            failed = f"The tuning failed: {run_state.error}"
            await until(pilot, lambda: [one for one in notes(app) if one.startswith("The tuning failed")] == [failed])
            await pilot.press("s")
            await until(pilot, lambda: isinstance(app.screen, TuningForm))
            assert app.screen.query_one("#answer", Input).value == "2000"  # as it was asked before
            await pilot.press("enter")
            await until(pilot, lambda: app.workbench.tuner.run_state is not run_state and not app.workbench.tuner.busy)
            await until(pilot, lambda: "cannot be reached" in picture(app))


async def test_an_address_without_a_section_is_told_what_to_write(home):
    with answering(step_s=0.01) as (server, _):
        app = console(server.url, server.url.removeprefix("http://"))
        async with app.run_test(size=(200, 40)) as pilot:
            await opened(pilot)
            await begun(pilot)
            best = (await ended(pilot)).result.answer.c_best
            await pilot.press("a")
            await until(pilot, lambda: "Write [engines.NAME] with url = " in picture(app))
            assert f'"{server.url}" and concurrency = {best} into ' in picture(app)
            assert isinstance(app.screen, TunerScreen)


async def test_another_engine_has_its_own_form_and_list(home):
    with answering(step_s=0.01) as (server, _):
        app = console(server.url)
        async with app.run_test(size=(120, 40)) as pilot:
            await opened(pilot)
            await begun(pilot)
            await ended(pilot)
            await pilot.press("e")
            await until(pilot, lambda: "24+40 " in picture(app))
            await pilot.press("escape")
            app.engines.switch("ct2")
            await until(pilot, lambda: app.workbench.engine.is_local and app.workbench.engine.loaded is not None)
            await pilot.press("f3")
            await until(pilot, lambda: " workers×threads " in picture(app))
            await until(pilot, lambda: "no tuning has been kept yet" in picture(app))
            await pilot.press("s")
            await until(pilot, lambda: isinstance(app.screen, TuningForm))
            assert app.screen.query(CheckBox) and app.screen.query_one("#start", Input).value == "26"


@pytest.mark.parametrize(
    ("field", "text", "says"),
    [
        ("answer", "4095", "are above the context window, 4,096"),
        ("limit", "6GB", "KV limit: a share from 0.01 to 1"),
        ("limit", "2", "KV limit: a share"),
        ("latency", "nan", "Latency limit: milliseconds above 0"),
        ("start", "0", "Start with: a number from 1 to 512"),
        ("start", "1000", "Start with: a number from 1 to 512"),
    ],
)
async def test_what_is_wrong_is_said_in_the_form(field, text, says):
    app = FrozenTuner(None, server=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await form(pilot, **{field: text})
        assert not app.screen.query(CheckBox)
        await pilot.press("enter")
        await until(pilot, lambda: texts(app, "#wrong") != [""])
        assert says in texts(app, "#wrong")[0]
        assert app.focused.id == field and app.workbench.tuner.run_state is None


async def test_the_form_makes_the_goal():
    app = FrozenTuner(None, server=True)
    begun = []
    app.workbench.tuner.start = lambda wish, title: begun.append((wish.goal, title))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await form(pilot, prompt="128", answer="64", limit="0.9", latency="50", start="16")
        await pilot.press("enter")
        await until(pilot, lambda: begun)
        goal, title = begun[0]
        assert (goal.prompt_tokens, goal.new_tokens, goal.start, goal.kv_limit, goal.slo_itl_s) == (
            128, 64, 16, 0.9, 0.05,
        )  # fmt: skip
        assert title == f"{REMOTE.model} on box"


async def test_a_stale_one_says_so_and_ascii_is_ascii():
    app = FrozenTuner(server_run_state_of(5), ascii_only=True, kept=SERVER_KEPT, server=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        for key in ("tab", "tab", "tab"):
            assert app.text.isascii() and "?" not in app.text
            await pilot.press(key)
        await pilot.press("e", "down")
        assert "stale: the server took 32" in app.text
