"""Nothing that a model writes may vanish or be joined: on the screen while it streams and when it is laid out."""

import asyncio
import re

import pytest
from frozen_console import FrozenConsole
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from test_console_screen import ready, until

from phitui.engine.protocol.api import Delta, Finished, Timings, Usage
from phitui.tui.widgets.answer_markdown import AnswerMarkdown
from phitui.tui.widgets.answer_parser import AnswerParser
from phitui.tui.widgets.code_blocks import code_blocks

# In each {} is a word of its own. These are forms that Markdown drops, joins or makes something else of.
FORMS = [
    "Use Vec<{}>; if a<{} and {}>d.", "<ul>\n<li>{}</li>\n<li>{}</li>\n</ul>", "<{}>", "</{}>", "<!-- {} -->",
    "<{} {}=\"{}\">", "<script>\n{}\n</script>", "<details><summary>{}</summary>{}</details>", "map<std::{}>",
    "<?php {} ?>", "<![CDATA[{}]]>", "<http://{}.example>", "{}@{}.example",
    "{}\n{}\n{}", "{}  \n{}", "{}\\\n{}", "    {}\n    {}", "\t{}",
    "# {}", "## {} ##", "{}\n===", "{}\n---", "> {}\n> {}\n{}", "> > > {}",
    "- {}\n- {}\n  - {}\n    {}", "* {}\n\n  {}", "3. {}\n7. {}", "1986. {}", "2) {}\n1) {}", "- [ ] {}\n- [x] {}",
    "[{}](http://{}.example/{} \"{}\")", "![{}]({}.png)", "[{}]: http://{}.example", "[{}][{}]", "[](http://{}.example)",
    "[{}](<{} {}>)", "[^{}]: {}", "www.{}.example/{}",
    "*{}* **{}** ***{}*** _{}_ ~~{}~~ `{}`", "2*{}*4", "a**{}**b", "**{}", "`{}\n{}`", "``{} ` {}``", "${}_1$ \\({}\\)",
    "\\[{}\\]", "C:\\{}\\_{}", "\\*{}\\*", "&lt;{}&gt; &{}; &#{};",
    "```\n{}\n```", "```{}\n{}\n```", "```{} title={}\n{}\n```", "~~~{}\n{}\n~~~", "  ```\n  {}\n  ```",
    "| {} | {} |\n|---|---|\n| {} | {} |\n| {} | {} | {} |", "| {} | {} |\n|---|:-:|\n| {} |", "|{}|\n|---|",
    "| {} | {} |\n|---|---|\n| `{} | {}` | \\| {} |", "{} | {}\n---|---\n{} | {}\n{}",
    "***\n{}\n***", "{}\u200d{}", "漢字{}漢字", "\u202e{}\u202c", "[/{}] [b]{}[/b] [@click={}]x[/]", "{}\\",
    ": {}\n:: {}",
    "line " * 30 + "{}", "```\n" + "code " * 40 + "{}\n```", "{}\u00a0{}\u3000{}", "Term {}\n: {}",
    "{}\x0c{}", "```python\n{}",
]  # fmt: skip
BETWEEN = st.sampled_from(["\n\n", "\n", " ", "\n\n> ", "\n- ", "\n\n1. ", "\n\n\n"])
ANSWERS = st.lists(st.tuples(st.sampled_from(FORMS), BETWEEN), min_size=1, max_size=5)


def text_of(pieces, first=0):
    """The forms with words that no other place has: w0q, w1q, …"""
    text = "".join(form + between for form, between in pieces)
    parts = re.split(r"\{\}", text)
    return parts[0] + "".join(f"w{first + at}q{part}" for at, part in enumerate(parts[1:]))


def shown(app):
    return "\n".join(row.text.rstrip() for row in app.screen._compositor.render_strips())


def missing(app, text):
    """Words that are not on the screen, by themselves."""
    screen = shown(app)
    return [
        word for word in re.findall(r"w\d+q", text) if not re.search(rf"(?<![A-Za-z0-9]){word}(?![A-Za-z0-9])", screen)
    ]


def finish(app, reason="stop"):
    app.workbench.take(Finished(1, reason, Usage(24, 9), Timings(38.2, 11.1, 1090.0, 88.0)))


async def answered(pilot, text):
    """An answer that has streamed in two pieces; what was missing meanwhile."""
    app = pilot.app
    exchange = app.begin("p", text[: len(text) // 2])
    app.workbench.take(Delta(1, text[len(text) // 2 :], 40))
    await pilot.pause(0.15)
    on_the_way = missing(app, text)
    finish(app)
    await until(pilot, lambda: exchange.state.over)
    return on_the_way


async def laid_out(pilot, number):
    """So many answers are Markdown."""
    await until(pilot, lambda: len(pilot.app.screen.query(AnswerMarkdown)) == number)
    await pilot.pause(0.1)


async def begun(pilot):
    await ready(pilot)
    pilot.app.load()


@given(st.lists(ANSWERS, min_size=1, max_size=4))
@settings(max_examples=8, deadline=None, phases=[Phase.generate])  # shrinking would start hundreds of consoles
def test_every_word_of_any_answer_is_on_the_screen(answers):
    async def run():
        app = FrozenConsole()
        async with app.run_test(size=(80, 300)) as pilot:
            await begun(pilot)
            texts = [text_of(pieces, 1000 * at) for at, pieces in enumerate(answers)]
            for text in texts:
                assert await answered(pilot, text) == [], text
            await laid_out(pilot, len(texts))
            for text in texts:
                assert missing(app, text) == [], text

    asyncio.run(run())


@pytest.mark.parametrize("width", [120, 80])
async def test_each_form_is_on_the_screen(width):
    """Between paragraphs of its own: a form that spoils its neighbours would not be seen else."""
    app = FrozenConsole()
    async with app.run_test(size=(width, 700)) as pilot:
        await begun(pilot)
        pieces = [(form, f"\n\nEnd of {at}.\n\n") for at, form in enumerate(FORMS)]
        texts = [text_of(pieces[at : at + 12], 100 * at) for at in range(0, len(pieces), 12)]
        for text in texts:
            app.answer("p", text)
        await laid_out(pilot, len(texts))
        assert [missing(app, text) for text in texts] == [[]] * len(texts)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("First line\nsecond line\nthird line", ["First line", "second line", "third line"]),
        ("Use Vec<String>; if a<b and c>d.", ["Use Vec<String>; if a<b and c>d."]),
        ("map<std::string> and <http://a.b>", ["map<std::string> and <http://a.b>"]),
        ("so 2*3*4 = 24, a**b**c", ["so 2*3*4 = 24, a**b**c"]),
        ("3. three\n7. seven", [" 3. three", " 7. seven"]),
        ("[a](http://e.x) b", ["a (http://e.x) b"]),
        ("\\(x_1\\) and \\\\ and \\*", ["\\(x_1\\) and \\\\ and *"]),
        ("def f():\n  if a:\n    b()", ["def f():", "  if a:", "    b()"]),
        ("x    y\n\nz", ["x    y", "", "z"]),
        ("one\n\n## two\n\nthree", ["one", "", "", "two", "", "three"]),
        ("a `b\nc` d", ["a b", "c d"]),
        ("> > " * 9 + "deep", ["> > " * 9 + "deep"]),
        ("a\x0cb\x0bc\x85d", ["a", "b", "c", "d"]),
    ],
)
async def test_lines_are_as_they_were_written(text, lines):
    app = FrozenConsole()
    async with app.run_test(size=(80, 60)) as pilot:
        await begun(pilot)
        app.answer("p", text)
        await laid_out(pilot, 1)
        rows = [row.removeprefix("   ") for row in shown(app).split("\n")]
        start = rows.index(lines[0]) if lines[0] in rows else 0
        assert rows[start : start + len(lines)] == lines, shown(app)


def test_what_would_be_lost_stands_as_it_is():
    text = "> " * 30 + "deep *down*"
    tokens = AnswerParser().parse(text)
    assert "".join(child.content for child in tokens[1].children) == text


def test_code_can_be_copied_out_of_an_answer_that_is_shown_as_it_stands():
    text = "> " * 30 + "deep\n\n```c\nx\n```"
    assert [block.text for block in code_blocks(text)] == ["x\n"]
