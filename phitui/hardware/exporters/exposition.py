"""Reads Prometheus' text format from an exporter that is not trusted.

The lines that are wanted are picked out by name first: an exporter may send thousands that nobody looks at, and what is
wrong in them is no concern of ours. Bounds are on bytes (by who fetches), length of a line, and number of samples.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import NamedTuple

_LONGEST_LINE = 8_192
_MOST_SAMPLES = 20_000
_MOST_LABELS = 64


class NotMetrics(Exception):
    """What was sent is no text in this format."""


class MetricSample(NamedTuple):
    """One line: `value` is finite."""

    name: str
    labels: dict[str, str]
    value: float


def name_of(line: str) -> str:
    """The metric's name at the beginning of a sample's line."""
    return line.split("{", 1)[0].split(None, 1)[0] if line[:1] not in ("", "#", "{", " ") else ""


def names(body: bytes) -> set[str]:
    """All metrics' names in a text."""
    return {name_of(line) for line in _text(body).split("\n")} - {""}


def samples(body: bytes, wanted: Collection[str]) -> list[MetricSample]:
    """The samples whose name is in `wanted`, in their order; those that are NaN or infinite are left out. Raises
    NotMetrics where the text is none, or one of these lines is wrong, too long, or one too many."""
    lines = [line for line in _text(body).split("\n") if name_of(line) in wanted]
    if len(lines) > _MOST_SAMPLES:
        raise NotMetrics(f"more than {_MOST_SAMPLES:,} samples")
    if any(len(line) > _LONGEST_LINE for line in lines):
        raise NotMetrics(f"a line of more than {_LONGEST_LINE:,} characters")
    if not lines:
        return []
    from prometheus_client.parser import text_string_to_metric_families  # 0.1 s that only this needs

    found = []
    try:
        for family in text_string_to_metric_families("\n".join(lines) + "\n"):
            for sample in family.samples:
                if math.isfinite(sample.value) and len(sample.labels) <= _MOST_LABELS:
                    found.append(MetricSample(sample.name, dict(sample.labels), float(sample.value)))
    except (ValueError, IndexError, KeyError, OverflowError, RecursionError) as error:
        raise NotMetrics("a line that is no sample") from error
    return found


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace").replace("\r\n", "\n")
