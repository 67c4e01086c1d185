"""Several answers side by side, driven by keys."""

import pytest
from frozen_console import FrozenConsole
from support.resting import at_rest, painted_first
from support.waiting import until_shown as until

from phitui.engine.protocol.api import Delta, Finished, Started, Timings, Usage
from phitui.tui.screens.several import AnswerColumn, SeveralScreen
from phitui.tui.terminal.display import Pace
from phitui.tui.widgets.dialogs import Confirm
from phitui.tui.widgets.exchange import facts
from phitui.tui.widgets.transcript import Transcript
from phitui.workbench.chat.exchanges import Exchange, State

TIMINGS = Timings(38.2, 11.1, 1090.0, 88.0)


async def begun(pilot, app):
    await painted_first(pilot)
    app.load()
    app.answer("Name a river.", "The Nile.")
    app.console_screen.query_one(Transcript).focus()
    await at_rest(pilot)


def shown(app):
    return "\n".join(row.text.rstrip() for row in app.screen._compositor.render_strips())


def feed(app, *texts):
    app.console_screen.chat._request_id = 1
    for number, text in enumerate(texts):
        app.workbench.take(Started(1 + number, 24))
        app.workbench.take(Delta(1 + number, text, 3))


async def test_one_of_them_is_chosen_and_the_others_are_kept():
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await begun(pilot, app)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, SeveralScreen))
        feed(app, "The Congo.", "The \x1b[2JRhine.", "The Po.")
        await until(pilot, lambda: all(f"The {name}." in shown(app) for name in ("Congo", "Rhine", "Po")))
        tops = {column.region.y for column in app.screen.query(AnswerColumn)}
        assert len(tops) == 1  # side by side
        app.workbench.take(Finished(2, "stop", Usage(24, 3), TIMINGS))
        await until(pilot, lambda: "3 tokens ·" in shown(app) and "answering" in shown(app))
        await pilot.press("right", "enter")
        await until(pilot, lambda: app.screen is app.console_screen)
        chat = app.console_screen.chat
        assert [one.text for one in chat.roots] == ["The Nile.", "The Congo.", "The \x1b[2JRhine.", "The Po."]
        assert chat.exchanges == [chat.roots[2]]
        await until(pilot, lambda: "‹ 3/4 ›" in shown(app))
        await pilot.press("v")
        await until(pilot, lambda: isinstance(app.screen, SeveralScreen) and len(app.screen.query(AnswerColumn)) == 4)


async def test_escape_stops_them_all_and_then_leaves_and_narrow_terminals_stack_them():
    app = FrozenConsole()
    cancelled = []
    async with app.run_test(size=(80, 24)) as pilot:
        await begun(pilot, app)

        async def cancel(number):
            cancelled.append(number)

        app.workbench.engine.cancel = cancel
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, SeveralScreen))
        feed(app, "a", "b", "c")
        await until(pilot, lambda: len({column.region.y for column in app.screen.query(AnswerColumn)}) == 3)
        await pilot.press("escape")
        await until(pilot, lambda: cancelled == [1])
        for number in (1, 2, 3):
            app.workbench.take(Finished(number, "cancelled", Usage(24, 3), TIMINGS))
        await until(pilot, lambda: shown(app).count("stopped") == 3)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.console_screen)


async def test_escape_takes_back_those_that_are_queued_behind_another_answer():
    app = FrozenConsole()
    cancelled = []
    async with app.run_test(size=(120, 40)) as pilot:
        await begun(pilot, app)

        async def cancel(number):
            cancelled.append(number)

        app.workbench.engine.cancel = cancel
        first = app.begin("Tell me a long story.", "Once")
        await pilot.press("up", "a")
        await until(pilot, lambda: isinstance(app.screen, SeveralScreen))
        await pilot.press("escape")
        await until(pilot, lambda: shown(app).count("no answer · stopped") == 3)
        assert not cancelled and not first.state.over
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.console_screen)
        app.workbench.take(Finished(1, "stop", Usage(24, 3), TIMINGS))
        assert not app.console_screen.chat.busy


@pytest.mark.parametrize(("keys", "named"), [({}, "a makes"), ({"transcript.several": "t"}, "t makes")])
async def test_where_there_is_one_answer_the_key_in_force_is_told(keys, named):
    app = FrozenConsole(keys=keys)
    async with app.run_test(size=(120, 40)) as pilot:
        await begun(pilot, app)
        await pilot.press("v")
        await until(pilot, lambda: any(f"{named} three more" in one.message for one in app._notifications))


async def test_more_answers_than_there_is_room_for_are_scrolled_to():
    app = FrozenConsole()
    async with app.run_test(size=(80, 24)) as pilot:
        await begun(pilot, app)
        app.console_screen.branching.several(app.console_screen.chat.roots[0], 8)
        await until(pilot, lambda: isinstance(app.screen, SeveralScreen))
        feed(app, *(f"Answer number {number}." for number in range(1, 9)))
        await until(pilot, lambda: all(f"Answer number {number}." in shown(app) for number in (1, 2, 3)))
        await pilot.press("left")
        await until(pilot, lambda: all(f"Answer number {number}." in shown(app) for number in (6, 7, 8)))


async def test_where_all_would_be_the_same_another_way_to_draw_is_asked_for():
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await begun(pilot, app)
        app.parameters.set_parameter("temperature", "0")
        for key, answers in (("escape", 1), ("y", 4)):
            await pilot.press("a")
            await until(pilot, lambda: isinstance(app.screen, Confirm) and "would be the same" in shown(app))
            assert "all 3 answers" in shown(app) and "temperature 0.7 this once" in shown(app)
            await pilot.press(key)
            await until(pilot, lambda: not isinstance(app.screen, Confirm))
            assert len(app.console_screen.chat.roots) == answers
        chat = app.console_screen.chat
        assert [one.sampling.temperature for one in chat.roots[1:]] == [0.7] * 3 and chat.sampling.temperature == 0
        app.parameters.set_parameter("temperature", "1")
        app.parameters.set_parameter("top_k", "1")
        app.console_screen.branching.several(chat.roots[0], 2)
        await until(pilot, lambda: isinstance(app.screen, Confirm) and "top-k is 1" in shown(app))
        assert "top-k 50 this once" in shown(app)


async def test_a_screen_that_is_left_as_it_opens_is_no_defect():
    """Before its columns are there, by keys that come in one burst."""
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await painted_first(pilot)
        app.load()
        exchange = app.answer("q", "an answer")
        screen = SeveralScreen([exchange, exchange], Pace(12, 4), lambda exchanges: None)
        screen.compose = list
        app.push_screen(screen)
        await pilot.pause()
        await pilot.press("right", "up", "pagedown", "left")
        await pilot.resize_terminal(80, 24)
        await pilot.press("escape")
        await pilot.pause()
        assert app.screen is app.console_screen


@pytest.mark.parametrize(("tokens", "words"), [(1, "1 token ·"), (2, "2 tokens ·"), (None, "– tokens ·")])
def test_one_token_is_one_token(tokens, words):
    assert words in facts(Exchange(1, "q", State.ANSWERING, "text", tokens=tokens))
