"""A Phi-3 with random weights, straight into a CTranslate2 folder by phitui's own converter: no checkpoint on disk.

Weights are cut out of one block of normal numbers, each tensor from a place of its own, and scaled so that a layer's
output is about as large as its input: how fast a card computes does not depend on them.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from checkpoint import Dims, config, shapes, write_texts
from numpy.typing import NDArray

from phitui.core.errors import PhituiError
from phitui.models.convert.convert import CheckpointSource, convert
from phitui.models.convert.hub_config import from_hub_config
from phitui.models.convert.tokenizer import from_folder
from phitui.models.manifest import Label, Manifest, read_manifest

_POOL = 1 << 23


class RandomCheckpoint:
    """As much of a checkpoint as the converter asks for. The same seed gives the same weights."""

    where = Path("random weights")

    def __init__(self, dims: Dims, seed: int = 0) -> None:
        self._shapes = dict(shapes(dims))
        self._pool: NDArray[np.float32] = np.random.default_rng(seed).standard_normal(_POOL, np.float32)

    def names(self) -> Collection[str]:
        return self._shapes.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        shape = self._shapes[name]
        if len(shape) == 1:
            return np.ones(stop - start, np.float32)
        count = (stop - start) * shape[1]
        first = (zlib.crc32(name.encode()) + start * shape[1]) % (_POOL - count)
        values: NDArray[np.float32] = self._pool[first : first + count] * np.float32(shape[1] ** -0.5)
        return values.reshape(stop - start, shape[1])

    def will_read(self, name: str, start: int, stop: int) -> None:
        """There is nothing to fetch."""


def make_model(folder: Path, dims: Dims, quantization: str = "int8", context: int = 0, **settings: Any) -> Manifest:
    """Make the model, or take the one that is there. `settings` go over config.json's; unlike Phi-3 Mini 4k's the
    attention has no sliding window, so that all 4096 positions can be used."""
    try:
        return read_manifest(folder)
    except PhituiError:
        pass
    values = {**config(dims), "sliding_window": None, **settings}
    with tempfile.TemporaryDirectory() as made:
        texts = Path(made)
        write_texts(texts, values)
        weights = RandomCheckpoint(dims)
        source = CheckpointSource(
            weights,
            from_hub_config(values, texts / "config.json", set(weights.names()), context),
            from_folder(texts, dims.vocabulary, values),
            Label(folder.name, f"Random Phi-3 of {dims.layers} layers"),
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    return convert(source, folder, quantization, lambda _: None)
