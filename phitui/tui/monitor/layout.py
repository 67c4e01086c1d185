"""How the screen is divided, in rows."""

from __future__ import annotations

from typing import NamedTuple

_BLOCK = 3  # title, figures, bars
_FEWEST_GRAPH_ROWS = 2
_MOST_GRAPH_ROWS = 10
_FEWEST_PROCESS_ROWS = 4  # title, heads, two processes
_FEWEST_HINT_ROWS = 2
_MOST_HINT_ROWS = 6


class Plan(NamedTuple):
    """Rows of each part. `full` devices are blocks with graphs; of the others, `compact` have a row each."""

    full: int
    compact: int
    graph_rows: int
    fact_rows: int
    process_rows: int
    hint_rows: int


def plan(width: int, height: int, devices: int, processes: int) -> Plan:
    """Divide `height` rows, those of the head and the keys taken off, among `devices` and the rest.

    All devices are shown in full where they fit with small graphs; else each has a row, and the selected one is shown
    in full below where that fits.
    """
    facts = 1 if width >= 150 else 2
    smallest = _BLOCK + _FEWEST_GRAPH_ROWS + facts
    spare = height - _FEWEST_PROCESS_ROWS - _FEWEST_HINT_ROWS
    if devices * smallest <= spare:
        return _share(height, devices, 0, facts, processes)
    compact = min(devices, max(spare - smallest, 0)) if spare - smallest >= 2 else max(spare, 1)
    full = 1 if spare - compact >= smallest else 0
    return _share(height - compact, full, compact, facts, processes)


def _share(height: int, full: int, compact: int, facts: int, processes: int) -> Plan:
    """Give graphs what makes them readable, then processes and hints what they need, then graphs the rest."""
    graph = _FEWEST_GRAPH_ROWS if full else 0
    hints, table = _FEWEST_HINT_ROWS, _FEWEST_PROCESS_ROWS
    spare = height - full * (_BLOCK + graph + facts) - hints - table
    for wanted, ceiling in ((4, 6), (_MOST_GRAPH_ROWS, _MOST_HINT_ROWS)):
        more = min(spare // full, wanted - graph) if full else 0
        graph, spare = graph + max(more, 0), spare - full * max(more, 0)
        more = max(min(spare, 2 + processes - table), 0)
        table, spare = table + more, spare - more
        more = max(min(spare, ceiling - hints), 0)
        hints, spare = hints + more, spare - more
    return Plan(full, compact, graph, facts, max(table + spare, 0), max(hints, 0))
