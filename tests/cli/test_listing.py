"""How a table fits into a terminal, and when it is in bold."""

import io

import pytest
from rich.cells import cell_len

from phitui.cli.listing import _fitted, _table, write_table
from phitui.cli.output import styled

ROWS = [("id", "title"), ("7", "日本語のタイトル"), ("12", "a\tb\x1b[31m c")]


def test_columns_are_as_wide_as_what_is_seen_of_them():
    assert _table(ROWS, {0}, 80) == ["id  title", " 7  日本語のタイトル", "12  a b c"]


@pytest.mark.parametrize("width", range(12, 24))
def test_a_table_that_is_too_wide_is_cut(width):
    lines = _table(ROWS, {0}, width)
    assert max(map(cell_len, lines)) <= width
    assert lines[1].endswith("…") == (width < cell_len(" 7  日本語のタイトル"))
    assert lines[2] == "12  a b c"


@pytest.mark.parametrize(
    ("widths", "most", "fitted"),
    [
        ([2, 10], 14, [2, 10]),
        ([2, 30, 20], 40, [2, 17, 17]),
        ([2, 8, 20], 24, [2, 8, 10]),
        ([9, 9], 5, [6, 6]),  # no more than this is taken away
    ],
)
def test_the_widest_columns_give_way(widths, most, fitted):
    assert _fitted(widths, most) == fitted


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("environ", "is_terminal", "begins"),
    [
        ({"TERM": "xterm"}, True, "\x1b[1mid  title\x1b[0m\n"),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, "\x1b[1mid"),  # no-color.org: "and not an empty string"
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, "id"),
        ({"TERM": "dumb"}, True, "id"),
        ({"TERM": "xterm"}, False, "id"),
    ],
)
def test_styles_are_for_terminals_that_have_them(monkeypatch, environ, is_terminal, begins):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    out = Terminal() if is_terminal else io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    write_table(ROWS[0], ROWS[1:])
    assert out.getvalue().startswith(begins)
    assert styled("ok", "green") == ("\x1b[32mok\x1b[0m" if "\x1b" in begins else "ok")
