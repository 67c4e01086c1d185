"""The hardware of other machines: asks their exporters, each at its own interval; readers never wait for one."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from phitui.config.remotes import HostSettings
from phitui.core.errors import PhituiError
from phitui.hardware.exporters.exporters import Exporter, Told
from phitui.hardware.exporters.exposition import NotMetrics
from phitui.hardware.snapshot import Device, Host, OtherHost

if TYPE_CHECKING:  # it brings httpx: only where a host is configured
    import httpx

    from phitui.engine.remote.endpoint import Endpoint

# Figures count as stale after so many intervals without an answer, and are shown no more after so many.
_STALE_INTERVALS = 3
_LOST_INTERVALS = 30
_LOST_S = 60.0
_STOP_PATIENCE_S = 0.15


class HostWatch:
    """Reads all hosts in one thread of its own, each in a task. `latest` can be asked from any thread.

    `interval_s` takes the place of the configured intervals. A host whose settings are wrong is lost, with the reason.
    """

    def __init__(
        self,
        hosts: Mapping[str, HostSettings],
        interval_s: float | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._hosts = [_Watched(name, settings, interval_s, environ) for name, settings in hosts.items()]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._all: asyncio.Future[list[None]] | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="phitui-hosts", daemon=True)

    def start(self) -> None:
        """Begin, where there is a host."""
        if self._hosts:
            self._thread.start()

    def latest(self) -> list[OtherHost]:
        """What is known of each host now, in the configuration's order."""
        now = time.monotonic()
        return [host.view(now) for host in self._hosts]

    def wait(self, readings: int) -> None:
        """Until each host has answered or failed so many times. Each try is bounded by the host's `timeout_s`."""
        for host in self._hosts:
            host.wait(readings)

    def stop(self) -> None:
        """End, within 0.2 s."""
        self._stopping = True
        loop = self._loop
        if loop is not None and not loop.is_closed():
            try:
                loop.call_soon_threadsafe(self._cancel)
            except RuntimeError:  # it has closed meanwhile
                return
        if self._thread.is_alive():
            self._thread.join(_STOP_PATIENCE_S)

    def _cancel(self) -> None:
        if self._all is not None:
            self._all.cancel()

    def _run(self) -> None:
        try:
            asyncio.run(self._watch())
        except asyncio.CancelledError:
            pass
        except Exception as error:  # noqa: BLE001 - it becomes the reason
            for host in self._hosts:
                host.failed(f"{type(error).__name__}: {error}")

    async def _watch(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._all = asyncio.gather(*(host.run() for host in self._hosts))
        if not self._stopping:
            await self._all
        else:
            self._all.cancel()


class _Watched:
    """One host: its newest figures, when they came, and what went wrong since."""

    def __init__(self, name: str, settings: HostSettings, interval_s: float | None, environ: Mapping[str, str]) -> None:
        self._name = name
        self._settings = settings
        self._interval_s = interval_s or settings.interval_s
        self._environ = environ
        self._turn = threading.Condition()
        self._told: Told | None = None
        self._told_at = 0.0
        self._reason = "not asked yet"
        self._tries = 0

    def view(self, now: float) -> OtherHost:
        with self._turn:
            told, age_s, reason = self._told, now - self._told_at, self._reason
        if told is None:
            nothing = _lost(Device("host", 0, "", host=self._name), reason, None)
            return OtherHost(self._name, "lost", [nothing], age_s=None, reason=reason)
        if age_s <= _STALE_INTERVALS * self._interval_s:
            return OtherHost(self._name, "fresh", told.devices, told.host, age_s)
        reason = reason or "no answer"
        if age_s <= max(_LOST_INTERVALS * self._interval_s, _LOST_S):
            devices = [replace(device, stale_s=age_s, stale_why=reason) for device in told.devices]
            return OtherHost(self._name, "stale", devices, told.host, age_s, reason)
        devices = [_lost(device, reason, age_s) for device in told.devices]
        return OtherHost(self._name, "lost", devices, Host(), age_s, reason)

    def wait(self, readings: int) -> None:
        longest_s = readings * (2 * self._settings.timeout_s + self._interval_s)
        with self._turn:
            self._turn.wait_for(lambda: self._tries >= readings, longest_s)

    def failed(self, reason: str) -> None:
        with self._turn:
            self._reason, self._tries = reason, self._tries + 1
            self._turn.notify_all()

    def _answered(self, told: Told) -> None:
        with self._turn:
            self._told, self._told_at, self._reason = told, time.monotonic(), ""
            self._tries += 1
            self._turn.notify_all()

    async def run(self) -> None:
        """Ask again and again. What goes wrong is told; nothing is raised."""
        try:
            from phitui.engine.remote.endpoint import exporter_of
            from phitui.engine.remote.transport import open_client

            endpoint = exporter_of(self._name, self._settings, self._environ)
            http = open_client(endpoint)
        except PhituiError as error:
            self.failed(error.message)
            self._tries = 1 << 30  # it will not change: nobody need wait for it
            return
        exporter = Exporter(self._name, self._settings.memory_gb_s)
        async with http:
            while True:
                begun = time.monotonic()
                await self._ask(http, endpoint, exporter)
                await asyncio.sleep(max(self._interval_s - (time.monotonic() - begun), 0.05))

    async def _ask(self, http: httpx.AsyncClient, endpoint: Endpoint, exporter: Exporter) -> None:
        try:
            self._answered(await scrape(http, endpoint, exporter))
        except PhituiError as error:
            self.failed(error.message)
        except Exception as error:  # noqa: BLE001 - one host's trouble is not another's
            self.failed(f"{endpoint.who}: {type(error).__name__}")


def _lost(device: Device, reason: str, age_s: float | None) -> Device:
    return replace(device.without_figures(reason), stale_s=age_s, stale_why=reason, lost=True)


async def scrape(http: httpx.AsyncClient, endpoint: Endpoint, exporter: Exporter) -> Told:
    """One reading, within the host's `timeout_s`. Raises PhituiError."""
    from phitui.engine.remote.faults import Fault, refusal
    from phitui.engine.remote.transport import get

    limit = endpoint.settings.connect_timeout_s
    try:
        status, headers, body = await asyncio.wait_for(get(http, endpoint, ""), limit)
        if status != 200:
            raise refusal(status, headers, body, endpoint).error
        return await asyncio.to_thread(exporter.read, body)
    except (TimeoutError, asyncio.TimeoutError):
        raise PhituiError(f"{endpoint.who}: no whole answer within {limit:g} s") from None
    except Fault as fault:
        raise fault.error from None
    except NotMetrics as error:
        raise PhituiError(f"{endpoint.who} sends {endpoint.told(str(error), 200)}") from None


async def ask_once(name: str, settings: HostSettings, environ: Mapping[str, str] = os.environ) -> Told | PhituiError:
    """What a host's exporter tells, or why it does not."""
    from phitui.engine.remote.endpoint import exporter_of
    from phitui.engine.remote.transport import open_client

    try:
        endpoint = exporter_of(name, settings, environ)
        async with open_client(endpoint) as http:
            return await scrape(http, endpoint, Exporter(name, settings.memory_gb_s))
    except PhituiError as error:
        return error
