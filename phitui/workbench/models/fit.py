"""Whether a model that is not here yet would run on this machine, and how fast it could at most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from phitui.hardware.analysis.roofline import DecodeLoad, ceiling_tokens_per_s
from phitui.hardware.figures import short_name
from phitui.models.known_sizes import Known
from phitui.workbench.telemetry.performance import DeviceView

# The chat that it is judged by, in tokens: what Phi-3 Mini 4K has.
CHAT_TOKENS = 4096


class Room(NamedTuple):
    """The device that would compute: its memory in bytes, what others hold of it (None where that is not known), and
    the peak of its memory in GB/s (None where that is not known)."""

    name: str
    is_gpu: bool
    total_bytes: int
    others_bytes: int | None = None
    peak_gb_s: float | None = None


class Fit(NamedTuple):
    """What a model needs in this room: bytes of weights, of KV cache for `CHAT_TOKENS` tokens and of both as fp16 is
    computed; `tokens_per_s` is what the memory cannot exceed for one chat, None where its peak is not known."""

    weights: int
    kv_bytes: int
    half_weights: int
    weight_step: int
    tokens_per_s: float | None

    @property
    def needs(self) -> int:
        """Weights and KV cache together. Working memory, some hundred MB, comes to it."""
        return self.weights + self.kv_bytes


def room_of(views: Sequence[DeviceView]) -> Room | None:
    """Where a model would run: the device that the engine computes on, else the first. None where its memory is not
    known."""
    view = next((view for view in views if view.engine), views[0] if views else None)
    if view is None or view.memory.usable_bytes is None:
        return None
    others = view.memory.bytes_of("others", "unknown")
    name = f"the {short_name(view.device.name)}" if view.device.kind == "gpu" else "the RAM"
    return Room(name, view.device.kind == "gpu", view.memory.usable_bytes, others, view.traffic.peak_gb_s)


def fit(known: Known, room: Room) -> Fit:
    """The model in int8, as phitui stores it unless it is told otherwise."""
    made = known.footprint("int8_float16" if room.is_gpu else "int8_float32")
    fastest = None
    if room.peak_gb_s:
        fastest = ceiling_tokens_per_s(DecodeLoad(made.weight_step, made.kv_token, 1, 0.0), room.peak_gb_s)
    half = known.footprint("float16").weights
    return Fit(made.weights, made.kv_token * CHAT_TOKENS, half, made.weight_step, fastest)
