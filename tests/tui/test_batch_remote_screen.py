"""The batch screen on a server's engine, and a change of engine in the middle of a batch."""

import json

from answering_server import answering
from batch_runs import questions
from test_batch_screen import add, answers, entry, long_rows, table, write
from test_console_screen import ready, texts, until

from phitui.config.layers import load_config
from phitui.tui.app.app import PhituiApp
from phitui.tui.screens.console import ConsoleScreen
from phitui.tui.widgets.dialogs import Confirm
from phitui.workbench.chat.chat import State


def console(url, name="box"):
    settings = {
        "model": {"name": "tiny-phi3"},
        "engine": {"name": name, "threads": 1, "compute_type": "float32"},
        "engines": {"box": {"url": url, "retries": 1}},
        "generation": {"max_tokens": 8, "temperature": 0.0},
    }
    return PhituiApp(load_config(overrides=settings))


async def switch(pilot, name):
    models = pilot.app.workbench.models
    await until(pilot, lambda: any(row.name == name for row in models.rows))
    pilot.app.models.switch(next(row for row in models.rows if row.name == name))


async def test_llama_cpp_answers_a_file_while_the_chat_goes_on(home, tmp_path, llama):
    source = write(tmp_path / "in.jsonl", questions(40))
    async with console(llama.url).run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        await add(pilot, source)
        await until(pilot, lambda: entry(pilot).progress.done > 0)
        assert "2 rows at once, as many as the server takes" in entry(pilot).note
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConsoleScreen))
        await pilot.press(*"hi", "enter")
        chat = pilot.app.console_screen.chat
        await until(pilot, lambda: chat.exchanges and chat.exchanges[-1].state is State.DONE)
        await until(pilot, lambda: entry(pilot).state == "complete")
    lines = answers(tmp_path / "in-answers.jsonl")
    assert sorted(line["line"] for line in lines) == list(range(1, 41))
    assert all(line["usage"]["completion_tokens"] for line in lines)


async def test_a_server_that_goes_is_said_and_r_goes_on_with_it(home, tmp_path):
    source = write(tmp_path / "in.jsonl", [{"prompt": f"question w{n}"} for n in range(120)])
    with answering(step_s=0.1) as (server, how):
        async with console(server.url).run_test(size=(120, 40)) as pilot:
            await ready(pilot)
            await add(pilot, source)
            await until(pilot, lambda: entry(pilot).progress.done > 3)
            how.step_s = 0.0
            how.misbehave = lambda connection, *_: connection.reply(503, b'{"error": "restarting"}') or True
            await until(pilot, lambda: entry(pilot).state == "failed")
            await until(pilot, lambda: "answers 503: restarting" in texts(pilot.app, "#about")[0])
            await until(pilot, lambda: "--resume" in texts(pilot.app, "#about")[0])
            how.misbehave = None
            await pilot.press("r")
            await until(pilot, lambda: entry(pilot).state == "complete")
            assert table(pilot)[0][2:4] == ["120/120", "0"]
    lines = answers(tmp_path / "in-answers.jsonl")
    assert sorted(line["line"] for line in lines) == list(range(1, 121))


async def agreed(pilot):
    """It is asked before the batch is stopped; say yes."""
    await until(pilot, lambda: isinstance(pilot.app.screen, Confirm) and texts(pilot.app, "#question"))
    assert "is running: it stops, what is done is kept" in texts(pilot.app, "#question")[0]
    await pilot.press("y")


async def test_a_change_of_engine_stops_it_and_it_goes_on_after_the_change_back(home, tmp_path, llama):
    source = write(tmp_path / "in.jsonl", long_rows(40))
    async with console(llama.url, "ct2").run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        await add(pilot, source)
        await until(pilot, lambda: entry(pilot).progress.tokens > 0)
        pilot.app.engines.switch("box")
        await agreed(pilot)
        await until(pilot, lambda: entry(pilot).state == "stopped")
        await until(pilot, lambda: "r resumes it" in entry(pilot).note)
        await until(pilot, lambda: not pilot.app.workbench.engine.is_local)
        pilot.app.engines.switch("ct2")
        await until(
            pilot, lambda: pilot.app.workbench.engine.is_local and pilot.app.workbench.engine.loaded is not None
        )
        begun = len(answers(tmp_path / "in-answers.jsonl"))
        await pilot.press("r")
        await until(pilot, lambda: entry(pilot).state == "running" and entry(pilot).progress.tokens > 0)
        assert entry(pilot).progress.before == begun
    rows = [json.loads(line)["line"] for line in (tmp_path / "in-answers.jsonl").read_text().splitlines()]
    assert len(rows) == len(set(rows))


async def test_a_switch_of_the_model_keeps_the_rows(home, tmp_path):
    """The model screen's switch in the middle of a batch: its rows wait for the model that they were begun with."""
    lengths = [{**row, "max_tokens": 20 + 40 * place} for place, row in enumerate(questions(30))]
    source = write(tmp_path / "in.jsonl", lengths)
    async with console("http://127.0.0.1:1", "ct2").run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        await add(pilot, source)
        await until(pilot, lambda: entry(pilot).progress.done > 2)
        await switch(pilot, "smollm2-135m")
        await agreed(pilot)
        await until(pilot, lambda: entry(pilot).state == "stopped")
        done = len(answers(tmp_path / "in-answers.jsonl"))
        assert done > 2 and (tmp_path / "in-answers.jsonl.journal").exists()
        await until(pilot, lambda: pilot.app.workbench.engine.loaded is not None)
        await pilot.press("r")  # with the other model it is refused, and nothing of it is lost
        await until(pilot, lambda: "the model was tiny-phi3, now smollm2-135m" in entry(pilot).error)
        await switch(pilot, "tiny-phi3")
        await until(
            pilot,
            lambda: (
                pilot.app.workbench.engine.loaded is not None and pilot.app.workbench.engine.loaded.name == "tiny-phi3"
            ),
        )
        await pilot.press("r")
        await until(pilot, lambda: entry(pilot).state == "complete", 60)
        assert entry(pilot).progress.before == done
    assert sorted(line["line"] for line in answers(tmp_path / "in-answers.jsonl")) == list(range(1, 31))
