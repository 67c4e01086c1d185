"""At what sizes, in what themes pictures are taken."""

import pytest

# A theme changes no layout, and a size no colour: each layout once, each theme once.
each_look = pytest.mark.parametrize(
    ("size", "theme"),
    [((120, 40), "phitui-dark"), ((80, 24), "phitui-light")],
    ids=["120x40-phitui-dark", "80x24-phitui-light"],
)
each_size = pytest.mark.parametrize("size", [(120, 40), (80, 24)], ids=["120x40", "80x24"])
