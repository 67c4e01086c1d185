"""Stop strings in text that comes in pieces."""

from hypothesis import given
from hypothesis import strategies as st

from phitui.engine.worker.stops import StopFinder

letters = st.text("abé", max_size=12)


def in_pieces(pieces, stops):
    finder = StopFinder(stops)
    text = "".join(finder.feed(piece) for piece in pieces)
    return text + finder.flush(), finder.found


@given(st.lists(letters, max_size=8), st.lists(st.text("abé", min_size=1, max_size=4), max_size=3))
def test_the_answer_ends_before_the_first_stop_string_however_it_was_cut(pieces, stops):
    whole = "".join(pieces)
    text, found = in_pieces(pieces, stops)
    assert found == any(stop in whole for stop in stops)
    if not found:
        assert text == whole
        return
    # Of strings that end later than another begins only those are seen that were complete by then.
    assert whole.startswith(text)
    assert any(whole[len(text) :].startswith(stop) for stop in stops)
    assert not any(stop in text for stop in stops)


def test_text_is_held_back_only_as_long_as_it_could_begin_one():
    finder = StopFinder(["###", "END"])
    assert finder.feed("one #") == "one "
    assert finder.feed("two E") == "#two "
    assert finder.feed("N") == ""
    assert finder.feed("T") == "ENT"
    assert not finder.found
    assert finder.feed("x##") == "x"
    assert (finder.feed("# and more"), finder.found) == ("", True)
    assert finder.feed("later") == ""


def test_an_empty_stop_string_stops_nothing():
    assert in_pieces(["abc"], [""]) == ("abc", False)
