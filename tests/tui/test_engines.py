"""The console on engines of other machines: llama.cpp's real server, and servers that fail."""

import threading
import time

from frozen_console import FrozenConsole
from raw_server import raw_server
from support.resting import at_rest
from support.waiting import until_shown as until
from textual.widgets import OptionList, Static

from phitui.config.layers import load_config
from phitui.tui.app.app import PhituiApp
from phitui.tui.widgets.engine_dialog import EngineDialog
from phitui.tui.widgets.gauges import GaugeLine
from phitui.tui.widgets.prompt import Prompt
from phitui.workbench.chat.chat import State


def texts(app, selector):
    return [str(widget.content) for widget in app.console_screen.query(selector).results(Static)]


def notes(app):
    return " ".join(texts(app, ".note"))


def app_on(*urls, start="box0", **engine):
    engines = {f"box{number}": {"url": url, "retries": 0} for number, url in enumerate(urls)}
    overrides = {"engine": {"name": start}, "engines": engines, "generation": {"max_tokens": 12}}
    return PhituiApp(load_config(overrides=overrides | {"model": {"name": "tiny-phi3"}}))


def good(connection):
    connection.head()
    connection.piece("all ")
    connection.piece("well", "stop")
    connection.usage(5, 3)
    connection.done()


def half(connection):
    connection.head()
    connection.piece("half an answer")
    connection.reset()


async def send(pilot, words="hello"):
    await pilot.press(*words, "enter")
    chat = pilot.app.console_screen.chat
    await until(pilot, lambda: chat.exchanges and chat.exchanges[-1].state.over)
    await at_rest(pilot)
    return chat.exchanges[-1]


async def test_llama_cpp_answers_in_the_console(home, llama):
    app = app_on(llama.url)
    async with app.run_test(size=(120, 40)) as pilot:
        exchange = await send(pilot)  # typed while it connects
        assert (exchange.state, exchange.usage.completion_tokens) == (State.DONE, 12)
        host = llama.url.removeprefix("http://")
        assert texts(app, "#model") == [f"tiny · llama.cpp · box0 at {host}"]
        assert texts(app, "#context")[0].endswith("of 2,048 tokens")
        assert f"12 tokens · {exchange.timings.decode_tokens_per_s:.1f} tok/s" in texts(app, ".facts")[0]
        assert f"prompt {exchange.usage.prompt_tokens} tokens" in texts(app, ".facts")[0]
        assert f"Engine's hardware: –, not read from {host}"[:20] in texts(app, "#elsewhere")[0]
        assert "ITL" in texts(app, "#last")[0] and "gaps, at this end" in texts(app, "#last")[0]
        assert app.workbench.engine.pid is None
        await pilot.press("f8")
        await until(pilot, lambda: "cannot be parked" in notes(app))


async def test_its_figures_have_room_in_the_one_line_of_a_narrow_terminal(home):
    with raw_server(good) as server:
        async with app_on(server.url).run_test(size=(80, 24)) as pilot:
            exchange = await send(pilot)
            assert exchange.state is State.DONE
            await until(pilot, lambda: "ITL " in str(pilot.app.console_screen.query_one(GaugeLine).content))


async def test_an_answer_that_breaks_off_is_kept_and_the_prompt_comes_back(home):
    calls = []

    def chat(connection):
        calls.append(connection)
        (half if len(calls) == 1 else good)(connection)

    with raw_server(chat) as server:
        app = app_on(server.url)
        async with app.run_test(size=(120, 40)) as pilot:
            first = await send(pilot)
            assert (first.state, first.text) == (State.BROKEN, "half an answer")
            assert "connection was lost" in texts(app, ".facts")[0] and "what came is kept" in texts(app, ".facts")[0]
            assert app.console_screen.query_one(Prompt).text == "hello"
            second = await send(pilot, "")
            assert (second.state, second.text) == (State.DONE, "all well")
            turns = [turn["content"] for turn in server.chats()[-1].json()["messages"]]
            assert turns == ["hello"]  # what broke off is no part of the chat


async def test_stop_in_mid_answer(home):
    def endless(connection):
        connection.head()
        for _ in range(3000):
            connection.piece("word ")
            time.sleep(0.01)

    with raw_server(endless) as server:
        app = app_on(server.url)
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.press(*"hello", "enter")
            chat = app.console_screen.chat
            await until(pilot, lambda: texts(app, ".facts") and "answering · – tokens" in texts(app, ".facts")[0])
            await pilot.press("escape")
            await until(pilot, lambda: chat.exchanges[0].state.over)
            await at_rest(pilot)
            assert chat.exchanges[0].reason == "cancelled"
            assert texts(app, ".facts")[0].startswith("– tokens") and " · stopped · " in texts(app, ".facts")[0]


async def test_a_server_that_answers_while_the_list_closes_is_no_error():
    closed = threading.Event()

    def late(connection):
        closed.wait(60)
        connection.reply(404)

    with raw_server(late, {"/v1/models": late}) as server:
        app = FrozenConsole(engines={"box": {"url": server.url}})
        async with app.run_test(size=(120, 40)) as pilot:
            app.engines.open()
            await until(pilot, lambda: app.screen.query(OptionList))
            dialog = app.screen
            await dialog.query("#box").remove()  # as on its way out: its parts go before it does
            closed.set()
            await until(pilot, lambda: all(task.done() for task in dialog._asking))
            assert [task.exception() for task in dialog._asking] == [None]


async def test_a_server_that_is_not_there_leaves_the_console_usable(home):
    with raw_server(good) as gone:
        away = gone.url
    with raw_server(good) as server:
        app = app_on(away, server.url)
        async with app.run_test(size=(120, 40)) as pilot:
            await until(pilot, lambda: "cannot be reached" in notes(app))
            assert texts(app, "#model") == ["no engine"]
            app.engines.switch("box1")
            await until(pilot, lambda: app.workbench.engine.loaded is not None)
            assert (await send(pilot)).text == "all well"


async def test_the_picker_lists_them_with_their_state_and_changes(home):
    with raw_server(good) as gone:
        away = gone.url
    with raw_server(good) as server:
        app = app_on(server.url, away, start="ct2")
        async with app.run_test(size=(120, 40)) as pilot:
            await until(pilot, lambda: app.workbench.engine.loaded is not None)
            local = await send(pilot)
            assert local.state is State.DONE
            worker = app.workbench.engine.pid
            names = [command.title for command in app.get_system_commands(app.screen)]
            assert {f"Engine: box0 ({server.url})", f"Engine: box1 ({away})"} <= set(names) and len(names) > 2
            assert not any("ct2" in name for name in names)
            app.engines.open()
            await until(pilot, lambda: isinstance(app.screen, EngineDialog) and app.screen.query(OptionList))
            options = app.screen.query_one(OptionList)

            def lines():
                return [str(options.get_option_at_index(i).prompt) for i in range(options.option_count)]

            await until(pilot, lambda: "asking" not in " ".join(lines()))
            assert lines()[0].startswith("● ct2")
            assert "m · OpenAI-style" in lines()[1] and "not there" in lines()[2]
            await pilot.press("down", "enter")
            await until(pilot, lambda: app.workbench.engine.name == "box0" and app.workbench.engine.loaded is not None)
            assert app.workbench.engine.pid is None and worker is not None
            remote = await send(pilot)
            assert remote.text == "all well"
            turns = [turn["role"] for turn in server.chats()[-1].json()["messages"]]
            assert turns == ["user", "assistant", "user"]  # the chat goes on
            assert "answers through box0" in notes(app)


async def test_a_change_to_one_that_is_away_keeps_the_one_before_and_back_to_this_machine(home):
    with raw_server(good) as gone:
        away = gone.url
    with raw_server(good) as server:
        app = app_on(server.url, away)
        async with app.run_test(size=(120, 40)) as pilot:
            await until(pilot, lambda: app.workbench.engine.loaded is not None)
            app.engines.switch("box1")
            await until(pilot, lambda: "box0 stays" in notes(app))
            assert (await send(pilot)).text == "all well"
            app.engines.switch("ct2")
            await until(
                pilot, lambda: app.workbench.engine.loaded is not None and app.workbench.engine.loaded.remote is None
            )
            assert app.workbench.engine.pid is not None
            assert (await send(pilot)).state is State.DONE
            assert texts(app, "#elsewhere") == [""]
