"""Text that grows: the same lines as if it had been wrapped at once, and only what changes is painted."""

from hypothesis import example, given, settings
from hypothesis import strategies as st
from textual.app import App
from textual.geometry import Offset, Region
from textual.selection import Selection

from phitui.tui.terminal.display import displayable
from phitui.tui.widgets.stream_text import StreamText
from phitui.tui.widgets.wrapped import place_of

CHUNKS = st.lists(st.text(alphabet="ab \n\tλ漢👩\u200d🚀-.", max_size=12), max_size=25)


class One(App):
    """A screen with one growing text."""

    def compose(self):
        yield StreamText(classes="")


@settings(max_examples=80, deadline=None)
@given(chunks=CHUNKS, width=st.integers(1, 30))
def test_grown_text_has_the_lines_of_the_whole(chunks, width):
    grown, raw = StreamText(""), ""
    for chunk in chunks:
        raw += chunk
        grown._text = displayable(raw)
        grown.get_content_height(None, None, width)
    whole = StreamText("")
    whole._text = displayable(raw)
    assert grown.get_content_height(None, None, width) == whole.get_content_height(None, None, width)
    assert grown._lines == whole._lines


async def test_a_word_at_the_end_paints_one_line():
    app = One()
    async with app.run_test(size=(40, 20)) as pilot:
        text = app.query_one(StreamText)
        text.show("first line\nsecond line\nthird")
        await pilot.pause()
        assert text.size.height == 3
        painted = []
        text.refresh = lambda *regions, layout=False, **_: painted.append((regions, layout))
        text.show("first line\nsecond line\nthird line")
        assert [(region.y, region.height) for region in painted[0][0]] == [(2, 1)]
        assert not painted[0][1]


async def test_a_line_is_painted_from_its_beginning_where_there_is_padding():
    app = One()
    async with app.run_test(size=(40, 20)) as pilot:
        text = app.query_one(StreamText)
        text.styles.padding = (1, 3)
        text.show("first line\n")
        await pilot.pause()
        text._exchange_repaint_regions()
        text.show("first line\nIn")
        assert text._exchange_repaint_regions() == {Region(3, 2, 34, 1)}


async def test_what_is_shown_is_what_was_given():
    app = One()
    async with app.run_test(size=(12, 10)) as pilot:
        text = app.query_one(StreamText)
        for end in range(1, 60):
            text.show("The quick brown fox [b]jumps[/b]\nover it, 漢字 too, and on"[:end])
            await pilot.pause()
        rows = [text.render_line(y).text.rstrip() for y in range(text.size.height)]
        assert rows == ["The quick", "brown fox", "[b]jumps[/b]", "over it,", "漢字 too,", "and on"]
        assert all(text.render_line(y).cell_length == 12 for y in range(text.size.height))


async def test_a_long_text_that_grows_takes_lines_in_advance():
    """So that the screen is laid out, and all that is above moves, once in so many lines."""
    app = One()
    async with app.run_test(size=(40, 40)) as pilot:
        text = app.query_one(StreamText)
        text._scroll_lines = 4
        heights, layouts = [], []
        refresh, asked = text.refresh, []
        text.refresh = lambda *regions, layout=False, **more: (
            asked.append(layout),
            refresh(*regions, layout=layout, **more),
        )
        for count in range(1, 18):
            text.show("\n".join(f"line {number}" for number in range(count)), grows=True)
            await pilot.pause()
            heights.append(text.size.height)
            layouts.append(any(asked))
            asked.clear()
            rows = [text.render_line(y).text.rstrip() for y in range(text.size.height)]
            assert rows == [f"line {number}" for number in range(count)] + [""] * (text.size.height - count)
        assert heights == [1, 2, 3, 4, 5, 6, 7, 8, 12, 12, 12, 12, 16, 16, 16, 16, 20]
        assert layouts == [False] + [True] * 8 + [False] * 3 + [True] + [False] * 3 + [True]
        text.show(text.text)
        await pilot.pause()
        assert text.size.height == 17


async def test_a_line_that_is_gone_is_painted_over():
    """A word at the end of one line grows, and goes to the next; a smaller text stands for the one before."""
    app = One()
    async with app.run_test(size=(40, 40)) as pilot:
        text = app.query_one(StreamText)
        text._scroll_lines = 4
        text.show("\n" * 10 + "gone", grows=True)
        await pilot.pause()
        painted = []
        text.refresh = lambda *regions, layout=False, **_: painted.append((regions, layout))
        text.show("\n" * 9, grows=True)
        assert [(region.y, region.height) for region in painted[0][0]] == [(10, 1)]


WORDS = st.sampled_from(
    ["word", "a", "  ", " ", "\n", "\t", "漢字", "e\u0301", "👩\u200d🚀", "x" * 90, "שלום", "- ", "``` "]
)


@example(["word " + "x" * 98, "\t"], 5)  # a tab behind what was settled in the middle of a paragraph
@example(["a\tword " + "x" * 98, "\t"], 5)
@given(st.lists(st.lists(WORDS, min_size=1, max_size=40).map(" ".join), min_size=1, max_size=12), st.integers(2, 60))
def test_a_paragraph_of_many_lines_grows_as_the_whole(chunks, width):
    grown, text = StreamText(""), ""
    for chunk in chunks:
        text += chunk
        grown._text = displayable(text)
        grown.get_content_height(None, None, width)
        whole = StreamText("")
        whole._text = displayable(text)
        whole.get_content_height(None, None, width)
        assert grown._lines == whole._lines


def test_a_paragraph_without_end_is_not_wrapped_again_and_again():
    """As an open code fence of one line, or a model that knows no line ends."""
    stream = StreamText("")
    stream._text = "word " * 5000
    stream.get_content_height(None, None, 80)
    assert len(stream._text) - len(stream._settled) < 200


TEXT = "The quick\tbrown fox jumps over it,\n\n    indented  code\n漢字 too, and 👩\u200d🚀 on and on"


async def select(pilot, start, end):
    """With the mouse, from one cell to another; returns what is selected."""
    await pilot.mouse_down(offset=start)
    await pilot.hover(offset=end)
    await pilot.mouse_up(offset=end)
    await pilot.pause()
    return pilot.app.screen.get_selected_text()


async def test_what_is_selected_with_the_mouse_is_copied_as_it_was_written():
    app = One()
    async with app.run_test(size=(14, 20)) as pilot:
        text = app.query_one(StreamText)
        text.show(TEXT)
        await pilot.pause()
        rows = [text.render_line(y).text.rstrip() for y in range(text.size.height)]
        assert rows[:2] == ["The quick", "brown fox"]
        assert await select(pilot, (4, 0), (4, 1)) == "quick\tbrown"
        assert any(segment.style.bgcolor != text.rich_style.bgcolor for segment in text.render_line(0))
        last = rows.index("    indented")
        assert await select(pilot, (6, 1), (7, last)) == "fox jumps over it,\n\n    inde"
        assert await select(pilot, (0, 0), (13, len(rows) - 1)) == TEXT
        app.screen.clear_selection()
        assert app.screen.get_selected_text() is None


async def test_a_selection_while_the_text_grows_and_cuts_no_emoji():
    app = One()
    async with app.run_test(size=(30, 20)) as pilot:
        text = app.query_one(StreamText)
        text.show("one 👩\u200d🚀 two")
        await pilot.pause()
        for column in range(14):
            app.screen.selections = {text: Selection(Offset(0, 0), Offset(column, 0))}
            await pilot.pause()
            assert not any(segment.text.startswith("\u200d") for segment in text.render_line(0))
        text.show("one 👩\u200d🚀 two\nthree")
        await pilot.pause()
        assert app.screen.get_selected_text() == "one 👩\u200d🚀 two"


@settings(max_examples=150, deadline=None)
@given(raw=st.text(alphabet="ab \n\t漢-", max_size=60), width=st.integers(2, 20))
def test_each_row_is_found_in_the_text_again(raw, width):
    text = StreamText("")
    text._text = displayable(raw)
    text.get_content_height(None, None, width)
    assert text.get_selection(Selection(None, None))[0] == text._text
    at = 0
    for y, row in enumerate(text._lines):
        first = place_of(text._text, text._lines, y, 0)
        last = place_of(text._text, text._lines, y, len(row))
        assert at <= first <= last
        assert "".join(text._text[first:last].split()) == "".join(row.split())
        at = last
