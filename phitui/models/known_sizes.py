"""The sizes of the catalog's models, so that what they need is known before anything is fetched.

From the `config.json` of each on the Hub; `tied`: the output layer is the embeddings' matrix. The tests compare what
follows from them with the parameters that their makers state.
"""

from __future__ import annotations

from typing import NamedTuple

from phitui.models.footprint import Footprint, sized
from phitui.models.manifest import Sizes


class Known(NamedTuple):
    """One model's sizes."""

    sizes: Sizes
    tied: bool = False

    @property
    def download_bytes(self) -> int:
        """The weights on the Hub, two bytes for each; tokenizer and settings, some MB, come to it."""
        return self.footprint("float16").weights

    def footprint(self, compute_type: str) -> Footprint:
        """What it weighs once it is converted and runs in `compute_type`, one of `PRECISIONS`."""
        return sized(self.sizes, self.tied, compute_type)


_PHI3_MINI = Known(Sizes(32, 32, 32, 96, 3072, 8192, 32_064))
_KNOWN = {
    "phi-3-mini": _PHI3_MINI,
    "phi-3.5-mini": _PHI3_MINI,
    "phi-3-mini-128k": _PHI3_MINI,
    "phi-4-mini": Known(Sizes(32, 24, 8, 128, 3072, 8192, 200_064), tied=True),
}


def known_sizes(name: str) -> Known | None:
    """Of the catalog's model of this name; None where they are not known."""
    return _KNOWN.get(name)
