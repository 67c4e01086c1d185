"""What a server said while it was under a load."""

from typing import NamedTuple

import pytest

from phitui.workbench.measure.remote_load import _waiting


class Load(NamedTuple):
    waiting: int | None
    kv_use: float | None = None


@pytest.mark.parametrize(
    ("readings", "most"),
    [
        ([], None),
        ([(0.5, Load(0)), (1.5, Load(0))], 0),
        ([(0.5, Load(2)), (1.5, Load(0))], 2),
        ([(1.5, Load(0))], None),  # those that had waited had room by then
        ([(1.5, Load(1))], 1),
        ([(0.5, Load(None))], None),
    ],
)
def test_that_none_waits_counts_only_before_the_first_has_ended(readings, most):
    assert _waiting(readings, 1.0) == most
