"""How an answer is laid out as Markdown: columns, code's ground, the width of prose."""

import os

import pytest
from textual.app import App
from textual.color import Color
from textual.widgets import Static
from textual.widgets.markdown import MarkdownFence

from phitui.tui.terminal.fixed_colours import nearest
from phitui.tui.themes import load_theme, theme_names
from phitui.tui.widgets.answer_markdown import AnswerMarkdown

TABLE = "| what | where | how | much |\n|---|:--|:-:|--:|\n| one | a | b | 7 |\n| longer name | c | d | 12345.6 |\n"
CODE = """```python
# a comment
@decorated
def f(x: int) -> str:
    \"\"\"What it is.\"\"\"
    return self.x[1:2] + "a string" * 0x10 if x is not None else f"{x!r} \\n"
class A(B): pass
```
"""
THEMES = theme_names(os.environ)


class Answer(App):
    def __init__(self, text, theme="phitui-dark"):
        super().__init__()
        self.text = text
        self.register_theme(load_theme(theme))
        self.theme = theme

    def compose(self):
        yield AnswerMarkdown(self.text)


def lines(app):
    strips = app.screen._compositor.render_strips(app.size)
    return [strip.text for strip in strips]


async def test_columns_are_aligned_as_the_table_says():
    async with Answer(TABLE).run_test(size=(80, 20)) as pilot:
        await pilot.pause()
        ends = {
            text: line.index(text) + len(text)
            for line in lines(pilot.app)
            for text in ("much", " 7", "12345.6")
            if text in line
        }
        assert len(set(ends.values())) == 1 and len(ends) == 3
        begins = {
            line.index(text) for line in lines(pilot.app) for text in ("what", "one", "longer name") if text in line
        }
        assert len(begins) == 1
        middle = [cell.styles.text_align for cell in pilot.app.query(Static) if str(cell.content) in ("how", "b", "d")]
        assert middle == ["center"] * 3


async def test_a_row_with_too_few_cells_keeps_its_columns():
    async with Answer("|a|b|\n|-|-:|\n|x|\n|y|2|\n").run_test(size=(40, 20)) as pilot:
        await pilot.pause()
        text = lines(pilot.app)
        assert next(line.index("b") for line in text if "b" in line) == next(
            line.index("2") for line in text if "2" in line
        )


def contrast(one, other):
    def luminance(rgb):
        parts = [value / 255 / 12.92 if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4 for value in rgb]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def in_256(rgb):
    return tuple(nearest(*rgb).get_truecolor())


@pytest.mark.parametrize("theme", THEMES)
async def test_code_is_set_off_from_the_screen_and_can_be_read(theme):
    async with Answer(CODE, theme).run_test(size=(80, 20)) as pilot:
        await pilot.pause()
        fence = pilot.app.query_one(MarkdownFence)
        if theme == "terminal":  # its sixteen colours have no second ground: a line beside it
            assert all(
                line.lstrip().startswith("▌") for line in lines(pilot.app) if "return" in line or "class" in line
            )
            return
        ground, screen = fence.background_colors[1].rgb, pilot.app.screen.styles.background.rgb
        assert contrast(ground, screen) >= 1.2
        assert in_256(ground) != in_256(screen)
        strips = pilot.app.screen._compositor.render_strips(pilot.app.size)
        inside = [part for strip in strips for part in strip if part.text.strip() and part.style.bgcolor is not None]
        colours = {
            (tuple(part.style.color.get_truecolor()), tuple(part.style.bgcolor.get_truecolor())) for part in inside
        }
        assert len(colours) > 4
        for text, behind in colours:
            assert contrast(text, behind) >= 4.5, Color(*text).hex
            assert contrast(in_256(text), in_256(behind)) >= 4.5, Color(*text).hex


@pytest.mark.parametrize("columns", [80, 200])
async def test_prose_has_at_most_100_columns_and_code_all_of_them(columns):
    prose = "word " * 80
    text = f"# {prose}\n\n{prose}\n\n- {prose}\n\n> {prose}\n\n```\n{'x' * 300}\n```\n"
    async with Answer(text).run_test(size=(columns, 40)) as pilot:
        await pilot.pause()
        found = [line.strip(" •▌") for line in lines(pilot.app)]
        most = max(len(line) for line in found if "word" in line)
        assert (most <= columns - 4) if columns == 80 else 90 < most <= 100
        code = [line for line in found if "xxx" in line]
        assert len(code[0]) > min(columns - 12, 180) and sum(line.count("x") for line in code) == 300  # all is there
        assert len(pilot.app.query("MarkdownParagraph")) == 3
