"""From an exporter's metrics to devices: which sample is which figure, and in what unit.

Sources of names and units: dcgm-exporter 4.6, etc/dcp-metrics-included.csv, and NVIDIA's field identifiers; nvitop
1.6, nvitop-exporter/nvitop_exporter/exporter.py; node_exporter 1.9, README and collector/ (cpu, meminfo, loadavg).
"""

from __future__ import annotations

from typing import NamedTuple

from phitui.hardware.exporters.exposition import MetricSample, NotMetrics, names, samples
from phitui.hardware.figures import WAITING, Missing, Sheet, clean
from phitui.hardware.snapshot import DEVICE_FIGURES, HOST_FIGURES, Bandwidth, Device, Host, Link, Memory

MIB = float(1 << 20)
MOST_DEVICES = 32
_NOT_TOLD = Missing("the exporter does not report it")


class MetricSource(NamedTuple):
    """A sample's name, and what its value is multiplied by to be in our unit."""

    name: str
    factor: float = 1.0


# Both kinds have one sample for each card. DCGM's DRAM_ACTIVE and the other PROF fields are ratios, its energy is in
# mJ, its PCIe rates are in B/s; nvitop's are in MiB/s.
_DCGM = {
    "util_pct": MetricSource("DCGM_FI_DEV_GPU_UTIL"),
    "memory_busy_pct": MetricSource("DCGM_FI_DEV_MEM_COPY_UTIL"),
    "vram.used_bytes": MetricSource("DCGM_FI_DEV_FB_USED", MIB),
    "vram.free_bytes": MetricSource("DCGM_FI_DEV_FB_FREE", MIB),
    "vram.reserved_bytes": MetricSource("DCGM_FI_DEV_FB_RESERVED", MIB),
    "vram.total_bytes": MetricSource("DCGM_FI_DEV_FB_TOTAL", MIB),
    "power_w": MetricSource("DCGM_FI_DEV_POWER_USAGE"),
    "power_limit_w": MetricSource("DCGM_FI_DEV_POWER_MGMT_LIMIT"),
    "temperature_c": MetricSource("DCGM_FI_DEV_GPU_TEMP"),
    "memory_temperature_c": MetricSource("DCGM_FI_DEV_MEMORY_TEMP"),
    "sm_clock_mhz": MetricSource("DCGM_FI_DEV_SM_CLOCK"),
    "mem_clock_mhz": MetricSource("DCGM_FI_DEV_MEM_CLOCK"),
    "fan_pct": MetricSource("DCGM_FI_DEV_FAN_SPEED"),
    "energy_j": MetricSource("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", 1e-3),
    "sm_active_pct": MetricSource("DCGM_FI_PROF_SM_ACTIVE", 100.0),
    "tensor_active_pct": MetricSource("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", 100.0),
    "link.tx_gb_s": MetricSource("DCGM_FI_PROF_PCIE_TX_BYTES", 1e-9),
    "link.rx_gb_s": MetricSource("DCGM_FI_PROF_PCIE_RX_BYTES", 1e-9),
}
_DRAM_ACTIVE = "DCGM_FI_PROF_DRAM_ACTIVE"
_NVITOP = {
    "util_pct": MetricSource("gpu_utilization_Percentage"),
    "memory_busy_pct": MetricSource("gpu_memory_utilization_Percentage"),
    "vram.used_bytes": MetricSource("gpu_memory_used_MiB", MIB),
    "vram.free_bytes": MetricSource("gpu_memory_free_MiB", MIB),
    "vram.total_bytes": MetricSource("gpu_memory_total_MiB", MIB),
    "power_w": MetricSource("gpu_power_usage_W"),
    "power_limit_w": MetricSource("gpu_power_limit_W"),
    "temperature_c": MetricSource("gpu_temperature_C"),
    "sm_clock_mhz": MetricSource("gpu_clock_sm_MHz"),
    "mem_clock_mhz": MetricSource("gpu_clock_memory_MHz"),
    "fan_pct": MetricSource("gpu_fan_speed_Percentage"),
    "link.tx_gb_s": MetricSource("gpu_pcie_tx_throughput_MiBps", MIB / 1e9),
    "link.rx_gb_s": MetricSource("gpu_pcie_rx_throughput_MiBps", MIB / 1e9),
}
_NVITOP_HOST = {
    "cpu_pct": MetricSource("host_cpu_percent_Percentage"),
    "load1": MetricSource("host_load_average_1m_Percentage"),  # a load, whatever its unit says
    "ram_total_bytes": MetricSource("host_virtual_memory_total_MiB", MIB),
    "ram_used_bytes": MetricSource("host_virtual_memory_used_MiB", MIB),
}
_NODE_HOST = {
    "load1": MetricSource("node_load1"),
    "ram_total_bytes": MetricSource("node_memory_MemTotal_bytes"),
    "ram_available_bytes": MetricSource("node_memory_MemAvailable_bytes"),
}
_CPU_SECONDS = "node_cpu_seconds_total"
_TABLES = (_DCGM, _NVITOP, _NVITOP_HOST, _NODE_HOST)
WANTED = frozenset({source.name for table in _TABLES for source in table.values()} | {_DRAM_ACTIVE, _CPU_SECONDS})


class Told(NamedTuple):
    """What an exporter tells: its `kinds` ("dcgm", "nvitop", "node") and the figures."""

    kinds: tuple[str, ...]
    devices: list[Device]
    host: Host


class Exporter:
    """Reads one exporter's texts, one after the other: the use of a CPU is a difference. `name` is the host's;
    `memory_gb_s` the peak of its cards' memory, 0 where it is not known."""

    def __init__(self, name: str, memory_gb_s: float = 0.0) -> None:
        self._name = name
        self._memory_gb_s = memory_gb_s
        self._cpu_before: tuple[float, float] | None = None

    def read(self, body: bytes) -> Told:
        """Raises NotMetrics where the text is none, or has none of the metrics that are known here."""
        found = samples(body, WANTED)
        kinds = tuple(kind for kind, known in _KINDS.items() if any(sample.name in known for sample in found))
        if not kinds:
            raise NotMetrics("no metrics of dcgm-exporter, nvitop-exporter or node_exporter" + _instead(body))
        cards = [*self._cards(found, _DCGM, "gpu", "modelName"), *self._cards(found, _NVITOP, "index", "devicename")]
        host = self._host(found, kinds)
        return Told(kinds, cards[:MOST_DEVICES] or [self._cpu(host)], host)

    def _cards(self, found: list[MetricSample], table: dict[str, MetricSource], index: str, title: str) -> list[Device]:
        """Two samples of the same card (dcgm-exporter has one for each container on it) are one figure: the first."""
        metrics = {source.name for source in table.values()}
        metrics |= {_DRAM_ACTIVE} if table is _DCGM else set()
        cards: dict[tuple[str, str], dict[str, MetricSample]] = {}
        for sample in found:
            if sample.name in metrics:
                slot = (sample.labels.get(index, "0"), sample.labels.get("GPU_I_ID", ""))
                cards.setdefault(slot, {}).setdefault(sample.name, sample)
        ordered = sorted(cards.items(), key=lambda item: (_number(item[0][0]), item[0]))
        return [self._card(slot[0], values, table, title) for slot, values in ordered[:MOST_DEVICES]]

    def _card(self, index: str, values: dict[str, MetricSample], table: dict[str, MetricSource], title: str) -> Device:
        sheet = Sheet()
        labels = next(iter(values.values())).labels
        for figure in DEVICE_FIGURES:
            if figure not in table:
                sheet.missing(figure, _NOT_TOLD.reason)
        got = {figure: _figure(sheet, figure, source, values) for figure, source in table.items()}
        memory = _memory(sheet, got)
        bandwidth = self._bandwidth(sheet, values)
        plain = {figure: value for figure, value in got.items() if "." not in figure}
        for clock in ("sm_clock_mhz", "mem_clock_mhz"):
            plain[clock] = _whole(plain[clock])
        return Device(
            "gpu",
            _number(index),
            clean(labels.get(title, "")) or "GPU",
            clean(labels.get("UUID") or labels.get("uuid") or "") or None,
            vram=memory,
            bandwidth=bandwidth,
            link=Link(tx_gb_s=got.get("link.tx_gb_s"), rx_gb_s=got.get("link.rx_gb_s")),
            mig=clean(labels.get("GPU_I_PROFILE", ""), 20),
            unavailable=sheet.unavailable,
            host=self._name,
            **plain,  # type: ignore[arg-type]  # the rest are figures by their names
        )

    def _bandwidth(self, sheet: Sheet, values: dict[str, MetricSample]) -> Bandwidth:
        """DRAM_ACTIVE is the share of cycles in which the memory's interface moved data: times the peak, the rate."""
        peak = self._memory_gb_s or None
        if peak is None:
            sheet.missing("bandwidth.peak_gb_s", f"no exporter tells it; hosts.{self._name}.memory_gb_s can")
        else:
            sheet.unavailable.pop("bandwidth.peak_gb_s", None)
        sample = values.get(_DRAM_ACTIVE)
        if sample is None or not 0 <= sample.value <= 1:
            sheet.missing("bandwidth.value_gb_s", f"the exporter does not report {_DRAM_ACTIVE}")
            return Bandwidth(None, peak)
        if peak is None:
            share = f"{100 * sample.value:.0f} % of its peak, which is not known"
            sheet.missing("bandwidth.value_gb_s", share)
            return Bandwidth()
        sheet.unavailable.pop("bandwidth.value_gb_s", None)
        return Bandwidth(sample.value * peak, peak, "measured")

    def _host(self, found: list[MetricSample], kinds: tuple[str, ...]) -> Host:
        sheet = Sheet()
        for figure in HOST_FIGURES:
            sheet.missing(figure, _NOT_TOLD.reason)
        values = {sample.name: sample for sample in reversed(found)}
        table = _NODE_HOST if "node" in kinds else _NVITOP_HOST
        got = {figure: _figure(sheet, figure, source, values) for figure, source in table.items()}
        if "node" in kinds:
            got["cpu_pct"], cpus = self._cpu_share(sheet, found)
        else:
            cpus = None
        total, used, available = (got.get(f"ram_{part}_bytes") for part in ("total", "used", "available"))
        if used is None and total is not None and available is not None and available <= total:
            used = total - available
            sheet.unavailable.pop("ram_used_bytes", None)
        if cpus:
            sheet.unavailable.pop("cpus", None)
        return Host(
            cpu_pct=got.get("cpu_pct"),
            cpus=cpus,
            load1=got.get("load1"),
            ram_total_bytes=_whole(total),
            ram_used_bytes=_whole(used),
            ram_available_bytes=_whole(available),
            unavailable=sheet.unavailable,
        )

    def _cpu_share(self, sheet: Sheet, found: list[MetricSample]) -> tuple[float | None, int | None]:
        """The share of all cores' time that was not idle since the reading before, and the number of cores."""
        seconds = [sample for sample in found if sample.name == _CPU_SECONDS and sample.value >= 0]
        total = sum(sample.value for sample in seconds)
        idle = sum(sample.value for sample in seconds if sample.labels.get("mode") in ("idle", "iowait"))
        cores = len({sample.labels.get("cpu", "") for sample in seconds}) or None
        before, self._cpu_before = self._cpu_before, (total, idle) if seconds else None
        if not seconds:
            return None, None
        if before is None or total <= before[0]:
            sheet.missing("cpu_pct", WAITING.reason)
            return None, cores
        share = 100 * (1 - (idle - before[1]) / (total - before[0]))
        sheet.unavailable.pop("cpu_pct", None)
        return sheet.real("cpu_pct", min(max(share, 0.0), 100.0)), cores

    def _cpu(self, host: Host) -> Device:
        """A machine without cards, as a device."""
        why = host.unavailable
        unavailable = dict.fromkeys(DEVICE_FIGURES, _NOT_TOLD.reason)
        ram = Memory(host.ram_total_bytes, host.ram_used_bytes, None, host.ram_available_bytes)
        known = {"util_pct": host.cpu_pct, "vram.total_bytes": ram.total_bytes}
        known |= {"vram.used_bytes": ram.used_bytes, "vram.free_bytes": ram.free_bytes}
        for figure, value in known.items():
            if value is not None:
                unavailable.pop(figure)
        if host.cpu_pct is None:
            unavailable["util_pct"] = why.get("cpu_pct", _NOT_TOLD.reason)
        return Device("cpu", 0, "CPU", util_pct=host.cpu_pct, vram=ram, unavailable=unavailable, host=self._name)


_KINDS = {
    "dcgm": {source.name for source in _DCGM.values()} | {_DRAM_ACTIVE},
    "nvitop": {source.name for table in (_NVITOP, _NVITOP_HOST) for source in table.values()},
    "node": {source.name for source in _NODE_HOST.values()} | {_CPU_SECONDS},
}


def _figure(sheet: Sheet, figure: str, source: MetricSource, values: dict[str, MetricSample]) -> float | None:
    sample = values.get(source.name)
    answer = Missing(f"the exporter does not report {source.name}") if sample is None else sample.value * source.factor
    value = sheet.real(figure, answer)
    if value is not None:
        sheet.unavailable.pop(figure, None)
    return value


def _memory(sheet: Sheet, got: dict[str, float | None]) -> Memory:
    """Where the total is not told it is the sum of the parts."""
    used, free, total = (got.get(f"vram.{part}_bytes") for part in ("used", "free", "total"))
    reserved = got.get("vram.reserved_bytes")
    if total is None and used is not None and free is not None:
        total = used + free + (reserved or 0)
        if total > 0:
            sheet.unavailable.pop("vram.total_bytes", None)
        else:
            total = None
    if total is not None and used is not None and used > total:
        sheet.missing("vram.used_bytes", "more is used than there is")
        used = None
    return Memory(_whole(total), _whole(used), _whole(reserved), _whole(free))


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _number(text: str) -> int:
    """The card's number; nvitop's slices are "0:1"."""
    head = text.split(":", 1)[0]
    return int(head) if head.isascii() and head.isdecimal() and len(head) < 5 else 0


def _instead(body: bytes) -> str:
    found = sorted(names(body))
    return f", but {clean(found[0], 40)} and others" if found else ""
