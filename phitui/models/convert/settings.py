"""A model's settings as its files have them: untrusted, each checked as it is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phitui.core.errors import PhituiError
from phitui.models.manifest import Sizes

# No model of these kinds comes near; a damaged file can.
_LARGEST = {"layers": 1000, "vocabulary": 2_000_000, "model_dim": 100_000, "ff_dim": 1_000_000}


@dataclass(frozen=True)
class Settings:
    """A model's settings, untrusted: each is checked as it is read."""

    values: dict[str, Any]
    where: Path
    prefix: str = ""
    _fix: str = field(default="Fetch the model again.", repr=False)

    def get(self, key: str) -> object:
        """A setting as it is; None where it is missing."""
        return self.values.get(self.prefix + key)

    def integer(self, key: str, default: int | None = None) -> int:
        value = self.values.get(self.prefix + key)
        if value is None:
            value = default
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 2**31:
            raise self.wrong(key, value, "a positive whole number")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self.values.get(self.prefix + key)
        if value is None:
            value = default
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e30:
            raise self.wrong(key, value, "a positive number")
        return float(value)

    def flag(self, key: str, default: bool = False) -> bool:
        return bool(self.values.get(self.prefix + key, default))

    def wrong(self, key: str, value: object, wanted: str) -> PhituiError:
        shown = "nothing" if value is None else repr(value)[:60]
        return PhituiError(f"{self.where}: {self.prefix}{key} is {shown}, expected {wanted}", self._fix)

    def unsupported(self, what: str) -> PhituiError:
        return PhituiError(f"{self.where}: {what}, which phitui cannot convert", "Choose another model.")


def check_sizes(sizes: Sizes, settings: Settings) -> None:
    """Raise PhituiError for sizes that no such model has."""
    for key, limit in _LARGEST.items():
        if getattr(sizes, key) > limit:
            raise settings.unsupported(f"{key} is {getattr(sizes, key)}")
    if sizes.heads % sizes.kv_heads or sizes.head_dim % 2 or sizes.heads * sizes.head_dim > _LARGEST["model_dim"]:
        raise settings.unsupported(
            f"there are {sizes.heads} heads of {sizes.head_dim} on {sizes.kv_heads} key-value heads"
        )
