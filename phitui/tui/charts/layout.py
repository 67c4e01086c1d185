"""How the screen is divided, in rows."""

from __future__ import annotations

from typing import NamedTuple

_BLOCK = 3  # title, figures, bars
_FEWEST_GRAPH_ROWS = 2
_READABLE_GRAPH_ROWS = 4
# The graphs of all devices together have this share of the screen before a long list of processes gets the rest.
_GRAPHS_SHARE = 4
# What a step of the graphs to the left costs to repaint grows with their height, so it is shared.
_MOST_GRAPH_ROWS = 24
_FEWEST_PROCESS_ROWS = 4  # title, heads, two processes
_FEWEST_HINT_ROWS = 2
_MOST_HINT_ROWS = 6


class LayoutPlan(NamedTuple):
    """Rows of each part. `full` devices are blocks with graphs; of the others, `compact` have a row each."""

    full: int
    compact: int
    graph_rows: int
    fact_rows: int
    process_rows: int
    hint_rows: int


def plan(width: int, height: int, devices: int, processes: int, hints: int, *, whole: bool = False) -> LayoutPlan:
    """Divide `height` rows, those of the head and the keys taken off, among `devices` and the rest; `processes` and
    `hints` say how many rows of them there are. With `whole` hints get what they need before anything else grows.

    All devices are shown in full where they fit with small graphs; else each has a row, and the selected one is shown
    in full below where that fits.
    """
    facts = 1 if width >= 150 else 2
    smallest = _BLOCK + _FEWEST_GRAPH_ROWS + facts
    spare = height - _FEWEST_PROCESS_ROWS - _FEWEST_HINT_ROWS
    if devices * smallest <= spare:
        return _share(height, devices, 0, facts, (processes, hints), whole)
    compact = min(devices, max(spare - smallest, 0)) if spare - smallest >= 2 else max(spare, 1)
    full = 1 if spare - compact >= smallest else 0
    return _share(height - compact, full, compact, facts, (processes, hints), whole)


def _share(height: int, full: int, compact: int, facts: int, wanted: tuple[int, int], whole: bool) -> LayoutPlan:
    """Give graphs what makes them readable, then processes and hints what they need, then graphs the rest."""
    graph = _FEWEST_GRAPH_ROWS if full else 0
    table, hints = _FEWEST_PROCESS_ROWS, _FEWEST_HINT_ROWS
    most_table, most_hints = 2 + wanted[0], min(1 + wanted[1], _MOST_HINT_ROWS)
    spare = max(height - full * (_BLOCK + graph + facts) - hints - table, 0)
    if whole:
        hints = most_hints = min(1 + wanted[1], hints + spare)
        spare = max(height - full * (_BLOCK + graph + facts) - hints - table, 0)
    readable = max(_READABLE_GRAPH_ROWS, height // _GRAPHS_SHARE // max(full, 1))
    for most in (readable, _MOST_GRAPH_ROWS // max(full, 1)):
        if full:
            more = max(min(spare // full, most - graph), 0)
            graph, spare = graph + more, spare - full * more
        more = max(min(spare, most_table - table), 0)
        table, spare = table + more, spare - more
        more = max(min(spare, most_hints - hints), 0)
        hints, spare = hints + more, spare - more
    return LayoutPlan(full, compact, graph, facts, table + spare, hints)
