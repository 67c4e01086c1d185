"""Memory traffic of a device with its source named, against the peak. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec.structs import replace

from phitui.hardware.analysis import roofline
from phitui.hardware.snapshot import Device
from phitui.models.footprint import Footprint
from phitui.workbench.telemetry.pulses import Decode

if TYPE_CHECKING:  # it brings what only measuring needs
    from phitui.hardware.host.copy_rate import MemoryRate


class Traffic(msgspec.Struct, frozen=True):
    """GB/s (10⁹ bytes) of a device's memory.

    - `value_gb_s` is what `source` says: measured by the driver, modelled from the engine's clock (useful bytes), or
      busy (an upper bound from the time the memory was busy). None: `reason` says why.
    - `useful_gb_s` and `engine_gb_s` are modelled while the engine decodes here, whatever the source of the value.
    - `mbu` is useful over peak, 0 to 1; `ceiling_tokens_per_s` is what this memory cannot exceed for this model, at the
      batch and length of now, or at one row and an empty cache while nothing is decoded.
    - `peak_reason`: why there is no peak.
    """

    value_gb_s: float | None = None
    source: Literal["measured", "modelled", "busy"] | None = None
    reason: str = ""
    peak_gb_s: float | None = None
    peak_reason: str = ""
    useful_gb_s: float | None = None
    engine_gb_s: float | None = None
    mbu: float | None = None
    ceiling_tokens_per_s: float | None = None


def device_traffic(device: Device) -> Traffic:
    """The traffic of a device that no engine of ours computes on: what the driver says."""
    said, why = device.bandwidth, device.unavailable
    return Traffic(
        value_gb_s=said.value_gb_s,
        source=said.source if said.value_gb_s is not None else None,
        reason="" if said.value_gb_s is not None else why.get("bandwidth.value_gb_s", "the driver does not measure it"),
        peak_gb_s=said.peak_gb_s,
        peak_reason=""
        if said.peak_gb_s is not None
        else why.get("bandwidth.peak_gb_s", "the card's peak is not known"),
    )


def engine_traffic(
    device: Device, footprint: Footprint | None, decode: Decode | None, rate: MemoryRate | None
) -> Traffic:
    """The traffic of the device that the engine computes on: measured where the driver measures, else modelled while
    the engine decodes, else busy. `rate` is the machine's memory, for a device of kind "cpu"."""
    traffic = device_traffic(device)
    if device.kind == "cpu":
        peak, peak_reason = cpu_peak(rate, footprint)
        traffic = replace(traffic, peak_gb_s=peak, peak_reason=peak_reason)
    if footprint is None:
        reason = "this model's bytes per step are not known"
        return traffic if traffic.value_gb_s is not None else replace(traffic, reason=reason)
    traffic = _with_model(traffic, footprint, decode)
    if traffic.source == "measured":
        return traffic
    if traffic.useful_gb_s is not None:
        return replace(traffic, value_gb_s=traffic.useful_gb_s, source="modelled", reason="")
    return traffic if traffic.value_gb_s is not None else replace(traffic, reason="modelled while it decodes")


def load(footprint: Footprint, decode: Decode | None) -> roofline.DecodeLoad:
    """What decodes now; without it one row with an empty cache, for which the ceiling of a row is highest. Each of the
    batches that run side by side reads the weights for itself."""
    if decode is None:
        return roofline.DecodeLoad(footprint.weight_step, footprint.kv_token, 1, 0.0)
    weights = round(footprint.weight_step * decode.waves)
    return roofline.DecodeLoad(weights, footprint.kv_token, decode.rows, decode.context_tokens)


def _with_model(traffic: Traffic, footprint: Footprint, decode: Decode | None) -> Traffic:
    what, peak = load(footprint, decode), traffic.peak_gb_s
    ceiling = roofline.ceiling_tokens_per_s(what, peak) if peak else None
    if decode is None:
        return replace(traffic, ceiling_tokens_per_s=ceiling)
    return replace(
        traffic,
        useful_gb_s=roofline.useful_gb_s(what, decode.steps_per_s),
        engine_gb_s=roofline.engine_gb_s(what, decode.steps_per_s),
        mbu=roofline.mbu(what, decode.steps_per_s, peak) if peak else None,
        ceiling_tokens_per_s=ceiling,
    )


def cpu_peak(rate: MemoryRate | None, footprint: Footprint | None) -> tuple[float | None, str]:
    """The peak of the machine's memory in GB/s, or None and why there is none."""
    if rate is None:
        return None, "measured while the engine is idle"
    if footprint is not None and footprint.weight_step < rate.cache_bytes:
        return None, "the weights fit into the processor's cache"
    return rate.peak_gb_s, ""
