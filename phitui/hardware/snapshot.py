"""What the machine did at one moment: the shape that the gauges, `monitor --json` and the recordings share.

Every figure is a number, or None with its reason in `unavailable`, keyed by the figure's name; those of the
memory are keyed "vram.total_bytes" and so on. A figure that is not known is never 0.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Memory(msgspec.Struct, frozen=True):
    """A device's own memory in bytes; on a device of kind "cpu", the machine's RAM.

    `reserved_bytes` is what the driver keeps for itself. Where it is None, `used_bytes` may count it.
    """

    total_bytes: int | None = None
    used_bytes: int | None = None
    reserved_bytes: int | None = None
    free_bytes: int | None = None


class Bandwidth(msgspec.Struct, frozen=True):
    """Traffic of the device's own memory, in GB/s (10⁹ bytes).

    `source` says what `value_gb_s` is: "measured" (the driver's counters), "modelled" (the bytes a decode step moves,
    times the steps per second), "busy" (the share of time the memory was busy, times the peak: an upper bound).
    """

    value_gb_s: float | None = None
    peak_gb_s: float | None = None
    source: Literal["measured", "modelled", "busy"] | None = None


class Link(msgspec.Struct, frozen=True):
    """The card's PCIe link: generation and lanes now and at most, and what goes over it, in GB/s."""

    generation: int | None = None
    generation_max: int | None = None
    width: int | None = None
    width_max: int | None = None
    tx_gb_s: float | None = None
    rx_gb_s: float | None = None


class Process(msgspec.Struct, frozen=True):
    """A process on a device. `kind`: "C" computes, "G" draws, "C+G" both; on a device of kind "cpu" always "C".

    - `used_bytes`: its share of the device's memory (on a CPU, of the RAM). `util_pct`: the share of time in which it
      had work on the multiprocessors, as the driver samples it.
    - Name, user, command, `cpu_pct` (100 is one core), `rss_bytes` and `started` (Unix, seconds) are the operating
      system's; None where it does not know the process.
    - `unavailable`: why a figure is None, as in Device.
    """

    pid: int
    kind: str
    used_bytes: int | None = None
    util_pct: float | None = None
    name: str | None = None
    user: str | None = None
    command: str | None = None
    cpu_pct: float | None = None
    rss_bytes: int | None = None
    started: float | None = None
    unavailable: dict[str, str] = {}

    def command_in(self, room: int) -> str | None:
        """The command, or the name alone where that is all that is known; without the folder of its program where that
        is longer than `room` characters. It is outside text."""
        command = self.command or self.name
        if command is None or len(command) <= room:
            return command
        program, space, arguments = command.partition(" ")
        return (program.rpartition("/")[2] or program) + space + arguments


class Device(msgspec.Struct, frozen=True):
    """One device that computes: kind "gpu", or "cpu" where there is no GPU.

    - `util_pct`: share of the time in which at least one kernel ran (GPU), of all cores' time not idle (CPU).
    - `memory_busy_pct`: share of the *time* in which device memory was read or written. Not bandwidth.
    - `power_w`: what the board draws (a 1 s average on Ampere and later); `power_limit_w`: the enforced cap.
    - `throttle_reasons`: why the clocks are what they are, in the driver's names ("SW_POWER_CAP", …).
    - `bandwidth`: of the device's memory; the driver measures it on Hopper and later only.
    - `sm_active_pct`, `tensor_active_pct`: share of the multiprocessors (of the tensor pipes) at work, measured.
    - `energy_j`: what the board has drawn since the driver was loaded. `power_instant_w`: not averaged.
    - `mig`: the name of the slice ("1g.10gb") where the device is a part of card `index`, which comes before it.
    - `shares_ram`: whether `vram` is the machine's RAM, because the device has no memory of its own.
    - `processes`: None where the driver does not list them. On a CPU those with the most resident memory.
    - `host`: the name of the other machine that it is in, "" for this one. There `stale_s` is the age of its figures in
      seconds where they are older than they should be, and `stale_why` the reason; `lost` says that they are so old
      that none is shown, or that there never were any.
    """

    kind: str
    index: int
    name: str
    uuid: str | None = None
    util_pct: float | None = None
    memory_busy_pct: float | None = None
    vram: Memory = Memory()
    power_w: float | None = None
    power_limit_w: float | None = None
    temperature_c: float | None = None
    sm_clock_mhz: int | None = None
    mem_clock_mhz: int | None = None
    fan_pct: float | None = None
    throttle_reasons: list[str] | None = None
    bandwidth: Bandwidth = Bandwidth()
    sm_active_pct: float | None = None
    tensor_active_pct: float | None = None
    power_instant_w: float | None = None
    energy_j: float | None = None
    memory_temperature_c: float | None = None
    sm_clock_max_mhz: int | None = None
    mem_clock_max_mhz: int | None = None
    bus_width_bits: int | None = None
    link: Link = Link()
    mig: str = ""
    shares_ram: bool = False
    processes: list[Process] | None = None
    unavailable: dict[str, str] = {}
    host: str = ""
    stale_s: float | None = None
    stale_why: str = ""
    lost: bool = False

    def without_figures(self, reason: str) -> Device:
        """The same device, known by name, with no figure and `reason` for every one of them."""
        unavailable = dict.fromkeys(DEVICE_FIGURES, reason)
        if self.uuid is None:
            unavailable["uuid"] = reason
        unavailable.update({key: self.unavailable[key] for key in ("name", "uuid") if key in self.unavailable})
        return Device(
            self.kind, self.index, self.name, self.uuid, mig=self.mig, unavailable=unavailable, host=self.host
        )


class Reading(msgspec.Struct, frozen=True):
    """All GPUs at one moment; with none, the reason why. The versions of the driver and of the newest CUDA it runs."""

    devices: list[Device]
    reason: str = ""
    driver: str | None = None
    cuda: str | None = None
    unavailable: dict[str, str] = {}


class Host(msgspec.Struct, frozen=True):
    """The machine that phitui runs on.

    - `cpu_pct`: share of all cores' time that was not idle since the snapshot before.
    - `cpus`: logical CPUs that this process may use, by affinity and cgroup quota. `load1`: load average of one minute.
    - `cpu_quota`: how many CPUs' time the cgroups around this process allow; None where they set no limit.
    - RAM: the machine's, within the cgroup limits around this process. Used is total less available.
    - `rss_bytes`: resident memory of phitui's own processes, by the names they were given.
    """

    cpu_pct: float | None = None
    cpus: int | None = None
    cpu_quota: float | None = None
    load1: float | None = None
    ram_total_bytes: int | None = None
    ram_used_bytes: int | None = None
    ram_available_bytes: int | None = None
    temperature_c: float | None = None
    rss_bytes: dict[str, int | None] = {}
    unavailable: dict[str, str] = {}


class OtherHost(msgspec.Struct, frozen=True):
    """Another machine, [hosts.NAME], as its exporter tells it.

    - `state`: "fresh"; "stale" where the newest figures are older than three intervals, "lost" where they are so old
      that none is shown, or there never were any; `reason` says why. `age_s`: age of the newest figures in seconds.
    - `devices`: its GPUs, or one device of kind "cpu". One of kind "host" stands for a machine that has told nothing.
    - `host`: the machine's own figures, where it tells them.
    """

    name: str
    state: Literal["fresh", "stale", "lost"]
    devices: list[Device]
    host: Host = Host()
    age_s: float | None = None
    reason: str = ""


class Snapshot(msgspec.Struct, frozen=True):
    """The machine at `time` (Unix, seconds): the GPUs, or one device of kind "cpu" where there are none.

    `unavailable["gpu"]` then says why there is no GPU. `driver` and `cuda` are versions, as "550.54.14" and "12.4".
    `hosts` are the other machines of the configuration.
    """

    time: float
    host: Host
    devices: list[Device]
    unavailable: dict[str, str] = {}
    driver: str | None = None
    cuda: str | None = None
    hosts: list[OtherHost] = []

    def all_devices(self) -> list[Device]:
        """This machine's devices and then those of the others."""
        return [*self.devices, *(device for host in self.hosts for device in host.devices)]

    def host_of(self, device: Device) -> Host:
        """The machine that the device is in."""
        return next((other.host for other in self.hosts if other.name == device.host), self.host)


# What has a reason where it is None: names of figures, and of those within a figure "vram.total_bytes" and so on.
MEMORY_FIGURES = Memory.__struct_fields__
PROCESS_FIGURES = tuple(name for name in Process.__struct_fields__ if name not in ("pid", "kind", "unavailable"))
HOST_FIGURES = tuple(name for name in Host.__struct_fields__ if name not in ("rss_bytes", "unavailable"))
_PARTS = {"vram": MEMORY_FIGURES, "bandwidth": ("value_gb_s", "peak_gb_s"), "link": Link.__struct_fields__}
_IDENTITY = ("kind", "index", "name", "uuid", "mig", "shares_ram", "host")
_STATE = ("unavailable", "stale_s", "stale_why", "lost")
DEVICE_FIGURES = tuple(
    f"{name}.{part}" if part else name
    for name in Device.__struct_fields__
    if name not in _IDENTITY + _STATE
    for part in _PARTS.get(name, ("",))
)
