"""What a model thinks before it answers: seen, folded, counted, kept, and left out of the next prompt."""

import pytest
from frozen_console import FrozenConsole
from test_answer_text import begun, missing, shown
from test_console_screen import until

from phitui.engine.protocol.api import Delta, Finished, Timings, Turn, Usage
from phitui.tui.console.copying import answer_of
from phitui.tui.screens.several import SeveralScreen
from phitui.workbench.chat.exchanges import State

THOUGHT, ANSWER = "w1q [bold]w2q\nw3q <i>w4q\n", "The answer is 4."


def end(app, reason="stop", shortfall="", failed=False, thinking_tokens=None):
    usage = Usage(24, 96, thinking_tokens)
    app.workbench.take(Finished(1, reason, usage, Timings(38.2, 11.1, 1090.0, 88.0), [], shortfall, failed))


async def thought(pilot, answer=ANSWER, **ending):
    """An answer after some thinking; what is seen of that meanwhile is looked at."""
    app = pilot.app
    exchange = app.begin("p", "")
    app.workbench.take(Delta(1, "", 5, thinking=THOUGHT[:9]))
    app.workbench.take(Delta(1, "", 12, thinking=THOUGHT[9:]))
    await until(pilot, lambda: "thinking · 12 tokens" in shown(app))
    assert missing(app, THOUGHT) == [] and "▾ thinking" in shown(app)
    if answer:
        app.workbench.take(Delta(1, answer, 20))
        await until(pilot, lambda: "answering · 20 tokens" in shown(app))
    end(app, **ending)
    await until(pilot, lambda: exchange.state.over)
    await pilot.pause(0.2)
    return exchange


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_folded_counted_and_unfolded(size):
    app = FrozenConsole()
    async with app.run_test(size=size) as pilot:
        await begun(pilot)
        exchange = await thought(pilot)
        assert "▸ thought · 12 tokens" in shown(app) and "w1q" not in shown(app) and ANSWER in shown(app)
        assert app.console_screen.chat.turns("next")[-3:] == [
            Turn("user", "p"), Turn("assistant", ANSWER), Turn("user", "next"),
        ]  # fmt: skip
        assert app.console_screen.chat.context_tokens == 24 + 20 - 12
        assert answer_of(exchange) == ANSWER
        await pilot.press("shift+tab", "t")
        await pilot.pause(0.2)
        assert missing(app, THOUGHT) == [] and "▾ thought" in shown(app)
        await pilot.press("t")
        await pilot.pause(0.2)
        assert "w1q" not in shown(app)
        await pilot.click(".head")
        await pilot.pause(0.2)
        assert missing(app, THOUGHT) == []


async def test_a_server_that_counts_it_and_one_that_counts_nothing():
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await begun(pilot)
        await thought(pilot, thinking_tokens=77)
        assert "▸ thought · 77 tokens" in shown(app)
        exchange = app.begin("q", "")
        app.workbench.take(Delta(1, "", None, thinking=THOUGHT))
        app.workbench.take(Delta(1, ANSWER, None))
        end(app)
        await until(pilot, lambda: exchange.state.over)
        await pilot.pause(0.2)
        assert f"▸ thought · {len(THOUGHT)} characters" in shown(app)


async def test_thinking_whose_end_alone_is_marked():
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await begun(pilot)
        exchange = app.begin("p", THOUGHT, 12)
        await until(pilot, lambda: "w4q" in shown(app))
        app.workbench.take(Delta(1, ANSWER, 20, moved=True))
        end(app)
        await until(pilot, lambda: exchange.state.over)
        await pilot.pause(0.3)
        assert (exchange.thinking, exchange.text) == (THOUGHT, ANSWER)
        assert "w1q" not in shown(app) and "▸ thought" in shown(app) and ANSWER in shown(app)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("length", "Only thinking, no answer: the limit of 96 tokens was reached before one began. Raise max_tokens"),
        ("stop", "Only thinking, no answer: the model ended after its thinking. Ask again"),
        ("content_filter", "The server's content filter held the answer back. Ask in other words"),
    ],
)
async def test_only_thinking_stays_in_view_and_says_so(reason, said):
    app = FrozenConsole()
    async with app.run_test(size=(160, 40)) as pilot:
        await begun(pilot)
        exchange = await thought(pilot, "", reason=reason, shortfall=said, failed=True)
        assert missing(app, THOUGHT) == [] and said in shown(app)
        assert app.console_screen.query(".facts.bad")
        assert answer_of(exchange) == THOUGHT.strip()
        assert app.console_screen.chat.turns("next") == [Turn("user", "next")]


@pytest.mark.parametrize("text", ["", "Half an ans"])
async def test_a_filter_is_told_with_what_came(text):
    app = FrozenConsole()
    said = "The server's content filter cut the answer off. Ask in other words"
    async with app.run_test(size=(160, 40)) as pilot:
        await begun(pilot)
        exchange = app.begin("p", text)
        end(app, "content_filter", said, True)
        await until(pilot, lambda: exchange.state is State.DONE)
        await pilot.pause(0.3)
        assert text in shown(app) and said in shown(app)


async def test_answers_side_by_side():
    app = FrozenConsole()
    async with app.run_test(size=(120, 40)) as pilot:
        await begun(pilot)
        exchange = await thought(pilot)
        only = app.begin("q", "")
        app.workbench.take(Delta(1, "", 5, thinking="w8q w9q"))
        end(app, "length")
        await pilot.pause(0.2)
        app.push_screen(SeveralScreen([exchange, only], app.console_screen._pace, lambda exchanges: None))
        await until(pilot, lambda: "▸ thought" in shown(app))
        assert ANSWER in shown(app) and missing(app, "w8q w9q") == [] and "w1q" not in shown(app)
