"""A long chat: only what is near the view are widgets, and the view does not jump."""

import random

from frozen_console import FrozenConsole
from support.resting import at_rest, painted_first
from support.waiting import until_shown as until
from textual import events

from phitui.engine.protocol.api import Delta
from phitui.tui.widgets.exchange import ExchangeView
from phitui.tui.widgets.transcript import Transcript
from phitui.workbench.chat.exchanges import Exchange, State


def long_chat(chat, count):
    """Put `count` exchanges of different heights into the chat."""
    draw = random.Random(1)
    parent, roots = None, []
    for i in range(count):
        text = "\n\n".join(f"answer {i} " + "word " * draw.randint(1, 60) for _ in range(draw.randint(1, 4)))
        exchange = Exchange(chat.number(), f"prompt {i}", State.DONE, text, parent=parent)
        (parent.children if parent else roots).append(exchange)
        parent = exchange
    chat.adopt(roots, parent, "")


async def opened(pilot, app, count, markdown=False):
    """Plain text alone unless `markdown`: it comes when it comes, and changes how high an answer is."""
    await painted_first(pilot)
    app.console_screen.query_one(Transcript)._markdown = markdown
    app.load()
    long_chat(app.console_screen.chat, count)
    app.console_screen.show_chat()
    await at_rest(pilot)
    return app.console_screen.query_one(Transcript)


def rows(app):
    transcript = app.console_screen.query_one(Transcript)
    region = transcript.region
    strips = app.screen._compositor.render_strips()[region.y : region.bottom]
    return [strip.text[: region.width - 1].rstrip() for strip in strips]


def prompts(app):
    return [int(row.split()[-1]) for row in rows(app) if "▌ prompt " in row]


async def test_a_long_chat_has_few_widgets_and_opens_at_its_end():
    app = FrozenConsole()
    async with app.run_test(size=(100, 30)) as pilot:
        transcript = await opened(pilot, app, 2000)
        assert len(app.screen.query(ExchangeView)) < 25
        assert transcript.scroll_y == transcript.max_scroll_y > 5000
        assert prompts(app)[-1] == 1999


async def test_every_exchange_comes_by_once_when_it_is_scrolled_through():
    app = FrozenConsole()
    async with app.run_test(size=(100, 30)) as pilot:
        transcript = await opened(pilot, app, 60)
        seen = []
        for _ in range(200):
            for number in reversed(prompts(app)):
                if number not in seen:
                    seen.append(number)
            if transcript.scroll_y <= 0:
                break
            transcript.page(-1)
            await at_rest(pilot)
        assert seen == list(range(59, -1, -1))
        assert rows(app)[0].startswith(" ▌ prompt 0")
        await pilot.press("shift+tab", "G")
        await at_rest(pilot)
        assert prompts(app)[-1] == 59


async def test_the_first_in_view_keeps_its_place_while_all_around_it_becomes_markdown():
    app = FrozenConsole()
    async with app.run_test(size=(100, 30)) as pilot:
        transcript = await opened(pilot, app, 300, markdown=True)
        draw = random.Random(2)
        for _ in range(4):
            transcript.scroll_to(y=draw.randrange(transcript.max_scroll_y), animate=False)
            await pilot.pause(0.02)
            await until(pilot, lambda: any(rows(app)) and transcript.items_in_view())
            before = [(i, row) for i, row in enumerate(rows(app)[:14]) if "▌ prompt " in row]
            await at_rest(pilot)
            assert app.screen.query("Markdown")
            if before:
                place, row = before[0]
                assert rows(app)[place] == row


async def test_a_step_of_one_line_moves_by_one_line():
    app = FrozenConsole()
    async with app.run_test(size=(100, 30)) as pilot:
        transcript = await opened(pilot, app, 300)
        for _ in range(100):
            before = rows(app)
            transcript.scroll_relative(y=-1, animate=False)
            await until(pilot, lambda before=before: rows(app) != before)
            assert rows(app)[1:] == before[:-1]


async def test_an_answer_streams_on_while_the_view_is_far_away():
    app = FrozenConsole()
    async with app.run_test(size=(100, 30)) as pilot:
        transcript = await opened(pilot, app, 300)
        exchange = app.begin("now", "begun ")
        await at_rest(pilot)
        assert prompts(app)[-1:] == [299] or "now" in "".join(rows(app))
        transcript.scroll_to(y=100, animate=False)
        await at_rest(pilot)
        place = rows(app)
        for number in range(30):
            app.workbench.take(Delta(1, f"more {number}\n", number))
            await pilot.pause(0.02)
        await at_rest(pilot)
        assert rows(app) == place
        assert transcript.view_of(exchange) is None
        transcript.action_last()
        await at_rest(pilot)
        assert any("more 29" in row for row in rows(app))


async def test_another_width_keeps_the_place():
    app = FrozenConsole()
    async with app.run_test(size=(120, 30)) as pilot:
        transcript = await opened(pilot, app, 300)
        transcript.scroll_to(y=transcript.max_scroll_y // 2, animate=False)
        await at_rest(pilot)
        top = transcript.items_in_view()[0]
        await pilot.resize_terminal(80, 24)
        await at_rest(pilot)
        assert top in transcript.items_in_view()


async def test_the_mark_stays_while_the_terminal_has_lost_the_focus():
    app = FrozenConsole()
    async with app.run_test(size=(100, 30)) as pilot:
        transcript = await opened(pilot, app, 6)
        transcript.focus()
        await pilot.press("up", "up")
        marked = transcript.marked
        assert marked is transcript.exchanges[-3]
        app.post_message(events.AppBlur())
        await pilot.pause()
        assert not transcript.has_focus and len(transcript.query(".-marked")) == 1
        app.post_message(events.AppFocus())
        await pilot.pause()
        assert transcript.has_focus and transcript.marked is marked
        await pilot.press("f9")
        assert len(transcript.query(".-marked")) == 0


async def test_what_keys_mean_is_in_view_wherever_one_scrolls():
    app = FrozenConsole()
    async with app.run_test(size=(100, 30)) as pilot:
        transcript = await opened(pilot, app, 200)
        transcript.focus()
        for key in ("ctrl+u", "k", "ctrl+b", "ctrl+b", "g", "j", "ctrl+d", "ctrl+f", "G", "up", "ctrl+u", "slash"):
            await pilot.press(key)
            await at_rest(pilot)
            in_view = transcript.items_in_view()
            assert transcript.has_focus == (key != "slash")
            if transcript.has_focus:
                assert transcript.marked in in_view, key
                (view,) = transcript.query(".-marked")
                assert view.exchange is transcript.marked


async def test_a_transcript_with_the_focus_looks_different_also_when_it_is_empty():
    app = FrozenConsole()
    async with app.run_test(size=(60, 20)) as pilot:
        transcript = await opened(pilot, app, 0)
        transcript._items.clear()
        await at_rest(pilot)
        before = rows(app)
        await pilot.press("f9")
        await at_rest(pilot)
        assert transcript.has_focus
        assert all(old == new or new.startswith("▏") for old, new in zip(before, rows(app), strict=True))
        assert sum(row.startswith("▏") for row in rows(app)) == transcript.size.height
