"""The monitor with fixed snapshots: nothing runs behind it, so a picture of it is always the same."""

import math

import msgspec

from phitui.config.layers import load_config
from phitui.hardware.feed import SnapshotFeed
from phitui.hardware.snapshot import Bandwidth, Device, Host, Link, Memory, Process, Snapshot
from phitui.tui.app.monitor_app import MonitorApp

GIB = 1024**3
BEGUN = 1_760_000_000.0
HOST = Host(
    cpu_pct=42.0, cpus=16, load1=3.25, ram_total_bytes=64 * GIB, ram_used_bytes=20 * GIB, ram_available_bytes=44 * GIB,
    unavailable={"temperature_c": "this machine shows no CPU sensor"},
)  # fmt: skip
PROCESSES = [
    Process(
        4242, "C", 5 * GIB, 91.0, "phitui", "ada", "python -m phitui", 38.0, 2 * GIB, BEGUN - 5000.0,
    ),
    Process(77, "G", GIB // 8, 2.0, "Xorg", "root", "/usr/lib/xorg/Xorg :0", 1.0, GIB // 8, BEGUN - 900_000.0),
    Process(
        31337, "C", 17 * GIB, 3.0, unavailable={"name": "no such process here", "started": "no such process here"}
    ),
]  # fmt: skip
CARD = Device(
    kind="gpu", index=0, name="NVIDIA GeForce RTX 4090", uuid="GPU-a", util_pct=97.0, memory_busy_pct=61.0,
    vram=Memory(24 * GIB, 22 * GIB, GIB // 2, 3 * GIB // 2), power_w=447.0, power_limit_w=450.0, temperature_c=84.0,
    sm_clock_mhz=2610, mem_clock_mhz=10251, fan_pct=62.0, throttle_reasons=["SW_POWER_CAP"],
    bandwidth=Bandwidth(615.0, 1008.0, "busy"), energy_j=123_456_789.0, sm_clock_max_mhz=3105,
    link=Link(4, 4, 8, 16, 0.01, 1.25), processes=PROCESSES,
    unavailable={
        "memory_temperature_c": "this card does not report it",
        "sm_active_pct": "this card has no such counters",
        "tensor_active_pct": "this card has no such counters",
    },
)  # fmt: skip
LOST = Device("gpu", 1, "NVIDIA GeForce RTX 4090", "GPU-b").without_figures(
    "the GPU is lost: it fell off the bus or was taken away"
)
CPU = Device("cpu", 0, "AMD EPYC", util_pct=42.0, vram=Memory(64 * GIB, 20 * GIB, None, 44 * GIB), processes=PROCESSES)


def snapshots(*devices, count=150, reason=""):
    """`count` seconds of these devices, with waves in their figures, the last one as they are."""
    unavailable = {"gpu": reason} if reason else {}
    for second in range(count):
        share = 1.0 if second == count - 1 else 0.5 + 0.45 * math.sin(second / 11)
        yield Snapshot(
            BEGUN + second, HOST, [_at(device, share) for device in devices], unavailable, "550.54.14", "12.4"
        )


def _at(device, share):
    if device.util_pct is None:
        return device
    used, power, rate = device.vram.used_bytes, device.power_w, device.bandwidth.value_gb_s
    return msgspec.structs.replace(
        device,
        util_pct=device.util_pct * share,
        vram=msgspec.structs.replace(device.vram, used_bytes=int(used * share)),
        power_w=power and power * share,
        bandwidth=msgspec.structs.replace(device.bandwidth, value_gb_s=rate and rate * share),
    )


class FrozenMonitor(MonitorApp):
    """Takes all its snapshots before the first frame."""

    def __init__(self, shown, theme="phitui-dark", readonly=False, ascii_only=False, keys=None):
        self.feed = SnapshotFeed()
        config = load_config(overrides={"theme": {"name": theme}, "keys": keys or {}})
        super().__init__(config, self.feed, readonly=readonly, ascii_only=ascii_only)
        self.monitor.picture.place = "workstation"
        self._shown = list(shown)

    def prepare(self):
        super().prepare()
        for snapshot in self._shown:
            self._take(snapshot)

    @property
    def text(self):
        """What the screen shows, without colours."""
        return self.monitor._canvas.text()
