"""AWQ: weights in 4 bits, in groups with a scale and a zero each, as AutoAWQ packs them and CTranslate2 runs them.

CTranslate2's CUDA kernels read AutoAWQ's own layouts, so the integers are kept as they are; what is fused in the one
and apart in the other is cut along the axis of a layer's outputs. Eight integers are in one int32. For I inputs, O
outputs and groups of G inputs (src/ops/awq in its source):

    gemm   qweight (I, O/8)   qzeros (I/G, O/8)   scales (I/G, O)      outputs interleaved 0 2 4 6 1 3 5 7
    gemv   qweight (O, I/8)   qzeros (O, I/G/8)   scales (O, I/G)      inputs in order
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ctranslate2.specs import common_spec
from ctranslate2.specs.model_spec import Variable
from numpy.typing import NDArray

from phitui.core.errors import PhituiError, UsageError
from phitui.models.convert.checkpoint import SafetensorsCheckpoint
from phitui.models.convert.quantize import DEFAULT, Linear, check_quantization, store
from phitui.models.convert.settings import Settings
from phitui.models.manifest import AWQ, AWQ_PREFIX

BITS = 4
_PACKED = 32 // BITS
_LAYOUTS = {"gemm": common_spec.Quantization.AWQ_GEMM, "gemv": common_spec.Quantization.AWQ_GEMV}
_GROUPS = (64, 128)
# Multiples of outputs and inputs that the kernels need: gemm's tiles are 64 outputs wide and its outputs must fill
# groups; gemv takes 1024 inputs at a time, and finds its groups by a width that is padded otherwise.
_GEMM_OUTPUTS, _GEMV_OUTPUTS, _GEMV_INPUTS = 64, 64, 1024


@dataclass(frozen=True)
class Awq:
    """How a checkpoint's linear layers are packed: `layout` is "gemm" or "gemv", `group` counts inputs."""

    layout: str
    group: int

    @property
    def name(self) -> str:
        """What the manifest calls it."""
        return AWQ_PREFIX + self.layout

    @property
    def kind(self) -> common_spec.Quantization:
        return _LAYOUTS[self.layout]

    @property
    def bytes_per_weight(self) -> float:
        """Of a linear layer: its 4 bits, and its share of a group's scale (16 bits) and zero (4)."""
        return BITS / 8 + (2 + BITS / 8) / self.group

    @property
    def axis(self) -> int:
        """The axis of the outputs, in all three tensors."""
        return 1 if self.layout == "gemm" else 0

    def shapes(self, outputs: int, inputs: int) -> dict[str, tuple[int, int]]:
        """The shapes of a linear layer's tensors, by the ends of their names."""
        groups = inputs // self.group
        if self.layout == "gemm":
            packed = outputs // _PACKED
            return {"qweight": (inputs, packed), "qzeros": (groups, packed), "scales": (groups, outputs)}
        return {
            "qweight": (outputs, inputs // _PACKED),
            "qzeros": (outputs, groups // _PACKED),
            "scales": (outputs, groups),
        }

    def fits(self, outputs: int, inputs: int) -> bool:
        """Whether CTranslate2's kernels compute a layer of this size rightly."""
        if self.layout == "gemm":
            return outputs % _GEMM_OUTPUTS == 0 and outputs % self.group == 0 and inputs % self.group == 0
        return outputs % _GEMV_OUTPUTS == 0 and inputs % _GEMV_INPUTS == 0


def scheme(settings: Settings) -> Awq | None:
    """The packing that config.json's quantization_config describes; None where there is none.

    Raises PhituiError for any other quantization than AWQ in 4 bits with zeros.
    """
    stated = settings.values.get("quantization_config")
    if not stated:
        return None
    said = stated if isinstance(stated, dict) else {}
    method = str(said.get("quant_method"))[:20]
    if method != "awq":
        raise settings.unsupported(f"the weights are quantized already ({method})")
    layout, group, bits = str(said.get("version", "gemm")).lower(), said.get("group_size"), said.get("bits")
    plain = said.get("backend", "autoawq") == "autoawq" and said.get("zero_point", True) is True
    if layout not in _LAYOUTS or bits != BITS or group not in _GROUPS or not plain:
        wanted = f"AWQ of {BITS} bits with zeros, in groups of 64 or 128, version gemm or gemv"
        raise settings.unsupported(f"the weights are quantized already, and not as {wanted}")
    return Awq(layout, int(group))


def settled(awq: Awq | None, asked: str, where: Path) -> str:
    """How the weights will be stored: what was asked for, or what fits the checkpoint where nothing was ("").

    Raises UsageError for a name that is not known, and for what would requantize weights, or quantize them to AWQ.
    """
    if awq is None:
        check_quantization(asked or DEFAULT)
        return asked or DEFAULT
    if asked not in ("", AWQ, awq.name):
        raise UsageError(
            f"{where} has AWQ int4 weights, which cannot be stored as {asked[:40]!r}",
            "Leave --quantization out, or take the model's unquantized checkpoint.",
        )
    return awq.name


def tensor_names(weight: str) -> list[str]:
    """The names of the tensors that are in the place of `weight` ("….weight")."""
    return [weight.removesuffix("weight") + end for end in ("qweight", "qzeros", "scales")]


class Packed(Variable):  # type: ignore[misc]  # ctranslate2 ships no types
    """One of a linear layer's three tensors; it is read when it is written."""

    def __init__(
        self, source: SafetensorsCheckpoint, awq: Awq, linear: Linear, end: str, done: Callable[[], None] = lambda: None
    ) -> None:
        """`end` is "qweight", "qzeros" or "scales". Raises PhituiError where a tensor is missing or misshapen."""
        self._source, self._awq, self._linear, self._end, self._done = source, awq, linear, end, done
        for name, outputs in linear.outputs.items():
            if not awq.fits(outputs, linear.inputs) or not awq.fits(linear.wanted, linear.inputs):
                raise PhituiError(
                    f"{source.where}: the layer {name!r} has {linear.inputs} inputs and {outputs} outputs, "
                    f"which CTranslate2 cannot compute as AWQ {awq.layout}",
                    "Choose another model.",
                )
            self._check(_tensor(name, end), awq.shapes(outputs, linear.inputs)[end])

    def _check(self, name: str, wanted: tuple[int, int]) -> None:
        shape = self._source.shape(name)
        if shape != wanted:
            raise PhituiError(
                f"{self._source.where}: the tensor {name!r} has the shape {list(shape)}, not {list(wanted)}",
                "Weights and settings do not belong together: fetch the model again.",
            )

    @property
    def shape(self) -> list[int]:
        return list(self._awq.shapes(self._linear.wanted, self._linear.inputs)[self._end])

    @property
    def dtype(self) -> str:
        return "float16" if self._end == "scales" else "int32"

    def num_bytes(self) -> int:
        return self.shape[0] * self.shape[1] * (2 if self._end == "scales" else 4)

    def numpy(self) -> NDArray[np.generic]:
        """The tensor as it is stored. Raises PhituiError for what cannot be read, and scales that are not finite."""
        parts = [self._part(_tensor(name, self._end)) for name in self._linear.outputs]
        whole = np.concatenate(parts, self._awq.axis) if len(parts) > 1 else parts[0]
        # Outputs are packed in two tensors of gemm's.
        unit = _PACKED if self._awq.axis == 1 and self._end != "scales" else 1
        first, count = self._linear.first // unit, self._linear.wanted // unit
        cut = whole[:, first : first + count] if self._awq.axis == 1 else whole[first : first + count]
        if self._end != "scales":
            return cut
        values = cut.astype(np.float32)
        if self._linear.scales is not None:
            values *= self._linear.scales if self._awq.axis == 1 else self._linear.scales[:, np.newaxis]
        return store(values, "float16", self._source, _tensor(next(iter(self._linear.outputs)), self._end))

    def _part(self, name: str) -> NDArray[np.generic]:
        if self._end == "scales":
            return self._source.rows(name, 0, self._source.shape(name)[0])
        return self._source.integers(name)

    def to_bytes(self) -> bytes:
        data = self.numpy().tobytes()
        self._done()
        return data

    def _to(self, dtype: str) -> Packed:
        raise NotImplementedError("AWQ's tensors have their types from the start")

    def _equal(self, other: object) -> bool:
        return self is other


def _tensor(weight: str, end: str) -> str:
    return weight.removesuffix("weight") + end
