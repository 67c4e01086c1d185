"""What the engine's clock, the model's bytes and the sensors say together: the figures behind the gauges."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from phitui.core.ipc.messages import Failure, Progress
from phitui.engine.protocol.api import (
    BatchEnded,
    BatchState,
    BrokeOff,
    Died,
    Event,
    Finished,
    Loaded,
    Parked,
    Pulse,
    Rejected,
    RowsMade,
    Started,
    Woken,
)
from phitui.hardware.analysis import hints
from phitui.hardware.analysis.energy import EnergyMeter, EnergySample, PerToken
from phitui.hardware.analysis.hint_figures import Figures, of_device
from phitui.hardware.analysis.memory_parts import EngineMemory, MemoryParts, memory_parts, others_of
from phitui.hardware.figures import same_uuid
from phitui.hardware.history import device_key
from phitui.hardware.snapshot import Bandwidth, Device, Snapshot
from phitui.models.footprint import Footprint
from phitui.workbench.telemetry.pulses import Decode, Pulses
from phitui.workbench.telemetry.traffic import Traffic, device_traffic, engine_traffic, load

if TYPE_CHECKING:  # it brings what only measuring needs
    from phitui.hardware.host.copy_rate import MemoryRate


# The engine's name among the processes whose memory the sampler reads.
ENGINE = "engine"


class DeviceView(msgspec.Struct, frozen=True):
    """What is known of one device. `engine` says whether ours computes on it; `decode` is None while nothing is decoded
    there; `joules_per_token` is that of the newest second, and so a rough one: power over output tokens per second."""

    device: Device
    traffic: Traffic
    memory: MemoryParts
    hints: tuple[hints.Hint, ...]
    engine: bool = False
    decode: Decode | None = None
    joules_per_token: float | None = None


def with_traffic(snapshot: Snapshot, views: list[DeviceView]) -> Snapshot:
    """The snapshot with the bandwidth that `views` have for each device: the modelled one where nothing is measured."""
    devices = [
        replace(
            view.device,
            bandwidth=Bandwidth(view.traffic.value_gb_s, view.traffic.peak_gb_s, view.traffic.source),
            unavailable=_reasons(view),
        )
        for view in views
    ]
    return replace(snapshot, devices=devices)


def _reasons(view: DeviceView) -> dict[str, str]:
    traffic = view.traffic
    reasons = {key: why for key, why in view.device.unavailable.items() if not key.startswith("bandwidth.")}
    if traffic.value_gb_s is None:
        reasons["bandwidth.value_gb_s"] = reasons["bandwidth.source"] = traffic.reason
    if traffic.peak_gb_s is None:
        reasons["bandwidth.peak_gb_s"] = traffic.peak_reason
    return reasons


def engine_device(snapshot: Snapshot, kind: str, pid: int | None, uuid: str = "") -> Device | None:
    """The device that an engine computes on: under "cuda" the GPU with this UUID (bare, as `Loaded.device_uuid`), else
    that which lists its process `pid`, else the first that it can be; under "cpu" the machine, where the snapshot lists
    it. Of a card that is divided, the slice: CUDA computes on nothing else of it.
    """
    devices = [device for device in snapshot.devices if device.kind == {"cuda": "gpu", "cpu": "cpu"}.get(kind)]
    divided = {device.index for device in devices if device.mig}
    devices = [device for device in devices if device.mig or device.index not in divided]
    named = (device for device in devices if same_uuid(device.uuid, uuid))
    with_it = (device for device in devices if any(each.pid == pid for each in device.processes or ()))
    possible = (device for device in devices if not (uuid and device.uuid))  # a known UUID is another one by now
    return next(chain(named, with_it, possible), None)


class Performance:
    """Takes in the engine's events and the snapshots; tells what they mean together.

    `limit` is the share of usable memory that the tuner would fill, `pid` gives the engine's process, `clock` seconds
    that never go back. `memory_rate` is set by whoever measures it.
    """

    def __init__(
        self, limit: float, pid: Callable[[], int | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._pid = pid
        self._clock = clock
        self._loaded: Loaded | None = None
        self._parked = False
        self._pulses = Pulses()
        self._answering: set[int] = set()  # answers on their way; several are made in one batch
        self._batches: set[int] = set()  # batches of rows that have some to answer
        self._answer_tokens: int | None = 0  # of those of the batch that are complete
        self._prompt_tokens: int | None = None
        self._answer_begun = 0.0
        self._unread: tuple[float, float, int] | None = None  # begin, end and tokens of an answer without its energy
        self._energy = EnergyMeter()
        self._metered = ""  # the device of these samples
        self.answer_energy: PerToken | None = None
        self.memory_rate: MemoryRate | None = None
        self.probing = False  # the engine is the tuner's: its batches bring neither pulses nor answers

    def note_event(self, event: Event) -> None:
        """Take an event of the engine; most of them say nothing here."""
        now = self._clock()
        if isinstance(event, Pulse):
            self._pulses.note(now, event)
        elif isinstance(event, Started):
            if not self._answering:
                self._answer_begun, self._answer_tokens, self._prompt_tokens = now, 0, event.prompt_tokens
            self._answering.add(event.id)
        elif isinstance(event, Finished | Rejected | BrokeOff):
            self._note_end(now, event)
        elif isinstance(event, BatchState | RowsMade | BatchEnded):
            self._note_batch(event)
        elif isinstance(event, Loaded):
            self._forget()  # an engine that was ended for another model has not told what became of its answer
            self._loaded, self._parked = event, False
            self._pulses.begin(now)
        elif isinstance(event, Parked | Woken):
            self._parked = isinstance(event, Parked)
        elif isinstance(event, Died | Failure):
            self._forget()
        elif isinstance(event, Progress) and event.stage == "load":
            self._forget()  # the one before has ended

    def _forget(self) -> None:
        if self._unread is not None:  # its reading will not come
            self.answer_energy = None
        self._loaded = self._unread = None
        self._answering.clear()
        self._batches.clear()

    def _note_batch(self, event: BatchState | RowsMade | BatchEnded) -> None:
        """An open batch works while it has rows: it may wait for more."""
        if isinstance(event, RowsMade) or (isinstance(event, BatchState) and event.alive + event.waiting):
            self._batches.add(event.id)
        else:
            self._batches.discard(event.id)

    def _note_end(self, now: float, event: Finished | Rejected | BrokeOff) -> None:
        self._batches.discard(event.id)
        if event.id not in self._answering:
            return
        self._answering.discard(event.id)
        made = event.usage.completion_tokens if isinstance(event, Finished) else None
        both = self._answer_tokens, made
        self._answer_tokens = None if both[0] is None or made is None else both[0] + made
        if not self._answering and isinstance(event, Finished):
            self._end_answer(now, self._answer_tokens)

    def _end_answer(self, now: float, tokens: int | None) -> None:
        """Its energy is known when the sensors have been read once more."""
        self.answer_energy = None
        if self._loaded is not None and self._loaded.device == "cuda" and tokens is not None:
            self._unread = (self._answer_begun, now, tokens)
            self.answer_energy = PerToken(None, None, None, False, "with the next reading")

    def note_snapshot(self, snapshot: Snapshot) -> None:
        """Add the power readings of the engine's device to its energy count."""
        device = self._engine_device(snapshot)
        if device is None or device.kind != "gpu":  # a CPU's energy is not read
            return
        if device_key(device) != self._metered:  # another card's counter has nothing to do with this one's
            self._metered, self._energy = device_key(device), EnergyMeter()
        power = device.power_w if device.power_instant_w is None else device.power_instant_w
        reason = device.unavailable.get("power_w", "")
        self._energy.note(EnergySample(self._clock(), device.energy_j, power, self.working, reason))
        if self._unread is not None and self._energy.covers(self._unread[1]):
            self.answer_energy = self._energy.per_token(*self._unread)
            self._unread = None

    @property
    def working(self) -> bool:
        """Whether the engine has a prompt in hand, or rows of a batch, or the tuner's."""
        return bool(self._answering or self._batches) or self.probing

    @property
    def wants_memory_rate(self) -> bool:
        """Whether the machine's memory should be measured: the engine computes on the CPU and has nothing to do."""
        return self._on_cpu and self.memory_rate is None and not self.working and not self._parked

    def views(self, snapshot: Snapshot) -> list[DeviceView]:
        """All devices of the snapshot, and the machine where the engine computes on it beside a GPU."""
        own = self._engine_device(snapshot)
        views = [self._view(snapshot, device, device is own) for device in snapshot.devices]
        return [*views, self.host_view(snapshot)] if own is None and self._on_cpu else views

    def host_view(self, snapshot: Snapshot) -> DeviceView:
        """The machine as a device, for a snapshot that does not list it because there is a GPU."""
        from phitui.hardware.host.cpu import cpu_device  # not before the first frame

        return self._view(snapshot, cpu_device(snapshot.host), self._on_cpu)

    @property
    def _on_cpu(self) -> bool:
        return self._loaded is not None and self._loaded.device == "cpu"

    def _engine_device(self, snapshot: Snapshot) -> Device | None:
        """The device that the engine computes on."""
        if self._loaded is None:
            return None
        return engine_device(snapshot, self._loaded.device, self._pid(), self._loaded.device_uuid)

    def _view(self, snapshot: Snapshot, device: Device, own: bool) -> DeviceView:
        memory = self._memory(device, snapshot, own)
        if not own:
            traffic = device_traffic(device)
            said = hints.hints(of_device(device, snapshot.host, self._limit))
            return DeviceView(device, traffic, memory, tuple(said))
        decode = self._pulses.decode(self._clock())
        traffic = engine_traffic(device, self._footprint, decode, self.memory_rate)
        joules = None
        if decode is not None and device.power_w is not None:
            joules = device.power_w / decode.tokens_per_s
        figures = self._figures(device, snapshot, decode, traffic, memory)
        return DeviceView(device, traffic, memory, tuple(hints.hints(figures)), True, decode, joules)

    @property
    def _footprint(self) -> Footprint | None:
        return self._loaded.footprint if self._loaded is not None else None

    def _memory(self, device: Device, snapshot: Snapshot, own: bool) -> MemoryParts:
        why, pid = device.unavailable, self._pid()
        reason = why.get("vram.used_bytes") or why.get("vram.total_bytes", "")
        engine = None
        if own:
            on_card = next((each.used_bytes for each in device.processes or () if each.pid == pid), None)
            resident = snapshot.host.rss_bytes.get(ENGINE)
            process = resident if device.kind == "cpu" else on_card
            engine = EngineMemory(process, self._weights(), self._kv_bytes())
        return memory_parts(device.vram, engine, self._limit, others_of(device, pid), reason)

    def _weights(self) -> int | None:
        if self._parked:
            return 0
        return self._footprint.weights if self._footprint is not None else None

    def _kv_bytes(self) -> int | None:
        """The cache that is in use: CTranslate2 keeps none between answers. A probe does not tell of its own, nor does
        a batch before its first step."""
        if self.probing:
            return None
        if not self.working:
            return 0
        if self._footprint is None:
            return None
        decode = self._pulses.decode(self._clock())
        read = self._prompt_tokens if self._answering else None
        rows, tokens = (decode.rows, decode.context_tokens) if decode else (1, read)
        if tokens is None:
            return None
        return int(self._footprint.kv_token * rows * tokens)

    def _figures(
        self, device: Device, snapshot: Snapshot, decode: Decode | None, traffic: Traffic, memory: MemoryParts
    ) -> Figures:
        now = self._clock()
        others = next((part for part in memory.parts if part.kind == "others"), None)
        figures = replace(
            of_device(device, snapshot.host, self._limit),
            others_bytes=others.bytes if others else None,
            others_name=others.name if others else "",
            idle_share=self._pulses.idle_share(now),
            tokenize_share=self._pulses.tokenize_share(now),
            queued=self._pulses.queued,
            parking_bytes=self._weights() if device.kind == "gpu" else None,
        )
        if decode is None or self._footprint is None:
            return figures
        what = load(self._footprint, decode)
        return replace(
            figures,
            mbu=traffic.mbu,
            peak_name="peak" if device.kind == "gpu" else "the measured memory rate",
            rows=decode.rows,
            weight_bytes=what.weight_step_bytes,
            kv_bytes=what.kv_bytes,
            engine_kv_bytes=what.engine_bytes - what.weight_step_bytes,
            decode_share=decode.share,
        )
