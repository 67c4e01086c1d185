"""At what sizes, in what themes pictures are taken."""

import pytest

# A theme changes no layout, and a size no colour: each layout once, each theme once, and 256 colours once.
each_look = pytest.mark.parametrize(
    ("size", "theme"),
    [
        pytest.param((120, 40), "phitui-dark", id="120x40-phitui-dark"),
        pytest.param((80, 24), "phitui-light", id="80x24-phitui-light"),
        pytest.param((80, 24), "phitui-dark", marks=pytest.mark.colours_256, id="80x24-256-phitui-dark"),
    ],
)
each_size = pytest.mark.parametrize("size", [(120, 40), (80, 24)], ids=["120x40", "80x24"])
