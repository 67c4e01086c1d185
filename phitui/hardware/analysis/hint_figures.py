"""What the rules of the hints look at."""

from __future__ import annotations

import msgspec

from phitui.hardware.snapshot import Device, Host


class Figures(msgspec.Struct, frozen=True):
    """What the rules look at; None is not known. Shares are 0 to 1.

    - `mbu`, `rows`, `weight_bytes`, `kv_bytes` (of all rows), `engine_kv_bytes` (what the engine moves of it in a
      step): of the decode in the newest window; `decode_share`: of the engine's time in it.
    - `peak_name`: what the MBU is a share of ("1008 GB/s", "the measured memory rate").
    - `idle_share`: of the last minute in which the engine had nothing to do, None where it had nothing all the time;
      `queued`: prompts that wait. `tokenize_share`: of the engine's working time in the last minute.
    - `throttle_reasons`: the driver's names. `others_name`: the largest process of others on the card, and
      how many more there are. `shares_ram`: the card's memory is the machine's.
    - `load1`: the machine's load average of one minute, in threads.
    - `parking_bytes`: weights that parking would move to host memory, None where it would move none.
    """

    on_gpu: bool = False
    mbu: float | None = None
    peak_name: str = "peak"
    rows: int | None = None
    weight_bytes: int | None = None
    kv_bytes: float | None = None
    engine_kv_bytes: float | None = None
    decode_share: float | None = None
    tokenize_share: float | None = None
    idle_share: float | None = None
    queued: int | None = None
    util_pct: float | None = None
    throttle_reasons: tuple[str, ...] = ()
    power_w: float | None = None
    power_limit_w: float | None = None
    temperature_c: float | None = None
    sm_clock_mhz: float | None = None
    sm_clock_max_mhz: float | None = None
    link_width: int | None = None
    link_width_max: int | None = None
    link_generation: int | None = None
    link_generation_max: int | None = None
    vram_used_bytes: int | None = None
    vram_usable_bytes: int | None = None
    shares_ram: bool = False
    limit: float = 0.95
    others_bytes: int | None = None
    others_name: str = ""
    load1: float | None = None
    cores: int | None = None
    host_available_bytes: int | None = None
    parking_bytes: int | None = None


def of_device(device: Device, host: Host, limit: float) -> Figures:
    """What is known of a device without an engine; `limit` is the share of usable memory that counts as full."""
    total, reserved = device.vram.total_bytes, device.vram.reserved_bytes
    return Figures(
        on_gpu=device.kind == "gpu",
        util_pct=device.util_pct,
        throttle_reasons=tuple(device.throttle_reasons or ()),
        power_w=device.power_w,
        power_limit_w=device.power_limit_w,
        temperature_c=device.temperature_c,
        sm_clock_mhz=device.sm_clock_mhz,
        sm_clock_max_mhz=device.sm_clock_max_mhz,
        link_width=device.link.width,
        link_width_max=device.link.width_max,
        link_generation=device.link.generation,
        link_generation_max=device.link.generation_max,
        vram_used_bytes=device.vram.used_bytes,
        vram_usable_bytes=None if total is None else total - (reserved or 0),
        shares_ram=device.shares_ram,
        limit=limit,
        load1=host.load1,
        cores=host.cpus,
        host_available_bytes=host.ram_available_bytes,
    )
