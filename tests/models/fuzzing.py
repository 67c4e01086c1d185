"""What the fuzz tests of files share: how files are damaged, and what may come of it."""

from __future__ import annotations

import copy
import json
import signal
import tracemalloc
from contextlib import contextmanager

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from phitui.core.errors import PhituiError

PEAK_BYTES = 64_000_000
SECONDS = 60  # for what hangs; the examples take milliseconds
_NUMBERS = st.one_of(st.integers(-2, 8), st.sampled_from([16, 2**31, 2**63, 2**64, 10**400]), st.floats())
_TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["../../etc/passwd", "/etc/passwd", "..", "", "\x00", "a/b", "x" * 5000, "\x1b[31m", "model.bin"]),
)
_SCALARS = st.one_of(_NUMBERS, _TEXTS, st.booleans(), st.none())
VALUES = st.one_of(
    _SCALARS, st.lists(_SCALARS, max_size=4), st.dictionaries(_TEXTS, _SCALARS, max_size=4), st.builds(lambda: [[[[]]]])
)


def fuzz(examples):
    """The same examples every time, so that a run in CI says something of the change that it is run on."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@st.composite
def damaged_json(draw, tree):
    """The JSON text of `tree` with one to three values replaced, taken out or added; now and then cut off."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, 3))):
        _change(draw, tree)
    text = json.dumps(tree).encode()
    return text[: draw(st.integers(0, len(text)))] if draw(st.integers(0, 9)) == 0 else text


def _change(draw, node):
    while isinstance(node, dict | list) and node:
        keys = list(node) if isinstance(node, dict) else range(min(len(node), 8))
        key = draw(st.sampled_from(keys))
        if isinstance(node[key], dict | list) and node[key] and draw(st.integers(0, 3)):
            node = node[key]
            continue
        action = draw(st.integers(0, 4))
        if action == 0:
            del node[key]
        elif action == 1 and isinstance(node, dict):
            node[draw(_TEXTS)] = node.pop(key)
        else:
            node[key] = draw(VALUES)
        return


@st.composite
def damaged_bytes(draw, data, upto):
    """`data` with some bytes before `upto` changed, or cut off there, or with more put in."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, upto - 1))
        new = draw(st.one_of(st.binary(min_size=1, max_size=1), st.sampled_from([b"\xff" * 8, b"\0" * 8])))
        changed[at : at + len(new)] = new
    kind = draw(st.integers(0, 5))
    if kind == 0:
        del changed[draw(st.integers(0, len(changed))) :]
    elif kind == 1:
        at = draw(st.integers(0, upto - 1))
        changed[at:at] = draw(st.binary(max_size=16))
    return bytes(changed)


@contextmanager
def one_line():
    """What runs in here ends well or with one clear line, in bounded time and memory."""

    def too_long(_number, _frame):
        raise AssertionError(f"took more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    tracemalloc.start()
    try:
        yield
    except PhituiError as error:
        assert "\n" not in str(error), str(error)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert peak < PEAK_BYTES
