"""Words in a long chat: found in bounded steps, and not looked for again where nothing has changed."""

from phitui.tui.widgets.finding import MOST, STEP_CHARS, Search
from phitui.workbench.chat.exchanges import Exchange, State


def chat(count, text="alpha beta gamma delta " * 40):
    return [Exchange(n, f"prompt {n}", State.DONE, text) for n in range(count)]


def run(search, exchanges):
    """Search to the end; returns in how many steps."""
    return 1 + sum(1 for _ in search.work(exchanges))


def test_a_long_chat_is_looked_through_in_steps_of_bounded_work():
    exchanges = chat(2000)
    longest = max(len(one.prompt) + len(one.text) for one in exchanges)
    search = Search("prompt 7")
    before, steps = 0, 0
    for _ in search.work(exchanges):
        assert search.searched_chars - before <= STEP_CHARS + longest
        before, steps = search.searched_chars, steps + 1
    assert steps == search.searched_chars // (STEP_CHARS + longest)
    assert [match.exchange.number for match in search.matches(exchanges)][:3] == [7, 70, 71]


def test_what_has_not_changed_is_not_looked_through_again():
    exchanges = chat(500)
    search = Search("delta")
    run(search, exchanges[:100])
    done = search.searched_chars
    assert run(search, exchanges[:100]) == 1 and search.searched_chars == done
    new = Exchange(1000, "delta", State.ANSWERING, "del")
    path = [*exchanges[:100], new]
    run(search, path)
    assert search.searched_chars == done + 8
    new.text += "ta"
    run(search, path)
    assert search.searched_chars == done + 18
    assert [match.in_answer for match in search.matches(path)[-2:]] == [False, True]


def test_the_next_letter_looks_only_where_the_words_before_were_found():
    exchanges = [*chat(300), *chat(5, "a needle")]
    search = Search("ne")
    run(search, exchanges)
    search = search.narrowed("nee")
    run(search, exchanges)
    assert search.searched_chars == sum(len(one.prompt) + 8 for one in exchanges[-5:])
    assert len(search.matches(exchanges)) == 5
    assert search.narrowed("other")._found == {}


def test_a_letter_that_is_everywhere_ends_early_with_the_newest():
    exchanges = chat(2000)
    search = Search("a")
    run(search, exchanges)
    found = search.matches(exchanges)
    assert search.full and MOST <= len(found) < 2 * MOST
    assert found[-1].exchange is exchanges[-1]
    assert search.searched_chars < sum(len(one.text) for one in exchanges) / 10


def test_nothing_is_found_for_nothing():
    search = Search("  ")
    assert run(search, chat(3)) == 1 and search.matches(chat(3)) == [] and search.searched_chars == 0


def test_what_stands_before_a_match_begins_with_a_word():
    text = "They said that antidisestablishmentarianism was everywhere, needle"
    exchange = Exchange(1, "p", State.DONE, text)
    search = Search("needle")
    run(search, [exchange])
    before, found, _ = search.matches([exchange])[0].around()
    assert (before, found) == ("was everywhere, ", "needle")
    unbroken = Exchange(1, "p", State.DONE, "字" * 100 + "needle")
    search = Search("needle")
    run(search, [unbroken])
    assert search.matches([unbroken])[0].around()[0] == "字" * 40
