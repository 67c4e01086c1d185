"""Text that grows: the same lines as if it had been wrapped at once, and only what changes is painted."""

from hypothesis import example, given, settings
from hypothesis import strategies as st
from textual.app import App

from phitui.tui.display import displayable
from phitui.tui.widgets.stream_text import StreamText

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
