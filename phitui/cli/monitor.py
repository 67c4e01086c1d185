"""`phitui monitor`: what the devices do, on a screen, as text, or as JSON."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import sys
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from msgspec.structs import replace

from phitui.cli.output import abandon_stdout, write
from phitui.core.errors import ExitCode, PhituiError, UsageError
from phitui.hardware.feed import Newest, SnapshotFeed
from phitui.hardware.sampler import Sampler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phitui.config.layers import Config
    from phitui.hardware.recording import Recorder
    from phitui.hardware.snapshot import Snapshot
    from phitui.workbench.telemetry.hosts import HostWatch

_SHORTEST_S = 0.2
_LONGEST_S = 3600.0
# Shares and rates need a window: --once takes the second reading of two that lie so far apart.
_ONCE_WINDOW_S = 0.6
# A driver that nothing keeps awake needs seconds to start. One that needs longer than this hangs.
_ONCE_WAIT_S = 10.0
_STARTING_SWITCH_S = 0.001

EXAMPLES = """  phitui monitor            a screen; Ctrl-Q leaves it
  phitui monitor --once     one reading as text
  phitui monitor --json --interval 5 >> readings.jsonl
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--once", action="store_true", help="print one reading and end")
    parser.add_argument("--json", action="store_true", help="print JSON, one object a line: a stream without --once")
    parser.add_argument("--interval", metavar="S", type=float, help="seconds between two readings")
    parser.add_argument("--readonly", action="store_true", help="without the key that ends processes")
    parser.add_argument("--record", metavar="FILE", type=Path, help="append every reading to FILE as JSON Lines")
    parser.add_argument("--replay", metavar="FILE", type=Path, help="show a recording")
    parser.add_argument("--ascii", action="store_true", help="draw with ASCII characters alone")


def run(config: Config, args: argparse.Namespace) -> int:
    """Show or print, and return the exit code. Raises PhituiError."""
    interval_s = _interval(config, args)
    if args.replay is not None:
        return _replay(config, args)
    recorder = _recorder(args)
    try:
        if args.once:
            return _once(config, args, recorder)
        if args.json:
            return _stream(config, interval_s, recorder)
        return _screen(config, args, interval_s, recorder)
    finally:
        if recorder is not None:
            recorder.close()


def _interval(config: Config, args: argparse.Namespace) -> float:
    if args.interval is None:
        return config.hardware.interval_s
    if not _SHORTEST_S <= args.interval <= _LONGEST_S:
        raise UsageError(f"--interval: expected seconds from {_SHORTEST_S:g} to {_LONGEST_S:g}, got {args.interval:g}")
    return float(args.interval)


def _recorder(args: argparse.Namespace) -> Recorder | None:
    if args.record is None:
        return None
    from phitui.hardware.recording import Recorder

    return Recorder(args.record)


def _once(config: Config, args: argparse.Namespace, recorder: Recorder | None) -> int:
    found: SimpleQueue[Snapshot] = SimpleQueue()
    with _hosts(config, _ONCE_WINDOW_S) as watch:
        sampler = Sampler(_ONCE_WINDOW_S, found.put, first_wait_s=_ONCE_WAIT_S)
        sampler.start()
        try:
            found.get()
            snapshot = found.get()
        finally:
            sampler.stop()
        if watch is not None:
            watch.wait(2)
            snapshot = replace(snapshot, hosts=watch.latest())
    if recorder is not None:
        recorder.write(snapshot)
        _check(recorder)
    write(_as_json(snapshot) if args.json else _as_text(snapshot))
    return int(ExitCode.DONE)


def _stream(config: Config, interval_s: float, recorder: Recorder | None) -> int:
    """One line for each reading until Ctrl-C, or until the reader closes its end; a slow reader gets the newest only.
    Raises PhituiError where they cannot be recorded: a recording with holes is none."""
    found = Newest()

    def take(snapshot: Snapshot) -> None:
        if recorder is not None:
            recorder.write(snapshot)
        found.put(snapshot)

    with _hosts(config) as watch:
        sampler = Sampler(interval_s, take, others=watch.latest if watch else list)
        sampler.start()
        try:
            while True:
                snapshot = found.get()
                _check(recorder)
                write(_as_json(snapshot))
        except BrokenPipeError:  # as `head` does when it has what it wants: that is how a stream ends
            abandon_stdout()
            return int(ExitCode.DONE)
        finally:
            sampler.stop()


@contextlib.contextmanager
def _hosts(config: Config, interval_s: float | None = None) -> Iterator[HostWatch | None]:
    """The other machines, which are asked while the block runs; None where there are none."""
    if not config.hosts:
        yield None
        return
    from phitui.workbench.telemetry.hosts import HostWatch  # it brings the HTTP client

    watch = HostWatch(config.hosts, interval_s)
    watch.start()
    try:
        yield watch
    finally:
        watch.stop()


def _check(recorder: Recorder | None) -> None:
    """Raises PhituiError where the recorder could not write."""
    if recorder is not None and recorder.error:
        raise PhituiError(f"{recorder.path}: {recorder.error}")


def _as_json(snapshot: Snapshot) -> str:
    import msgspec

    return msgspec.json.encode(snapshot).decode() + "\n"


def _as_text(snapshot: Snapshot) -> str:
    from phitui.cli.monitor_text import table

    text = table(snapshot)
    encoding = sys.stdout.encoding or "ascii"
    return text.encode(encoding, "replace").decode(encoding)


def _screen(config: Config, args: argparse.Namespace, interval_s: float, recorder: Recorder | None) -> int:
    _need_terminal()
    feed = SnapshotFeed()

    def take(snapshot: Snapshot) -> None:
        if recorder is not None:
            recorder.write(snapshot)
        feed.put(snapshot)

    _import_sensors()
    # Threads wait for one another at each file that an import opens, by default for 5 ms.
    sys.setswitchinterval(_STARTING_SWITCH_S)
    with _hosts(config) as watch:
        sampler = Sampler(interval_s, take, others=watch.latest if watch else list)
        sampler.start()  # it reads while the screen is imported
        try:
            from phitui.tui.app.base_app import run_app
            from phitui.tui.app.monitor_app import MonitorApp

            trouble = (lambda: recorder.error or f"● {recorder.path.name}") if recorder is not None else str
            app = MonitorApp(config, feed, readonly=args.readonly, ascii_only=_ascii(config, args), trouble=trouble)
            return run_app(app, config)
        finally:
            sampler.stop()


def _import_sensors() -> None:
    """What the sampler's threads would import, while nothing else runs. One that is damaged they will tell of."""
    for name in ("phitui.hardware.host.cpu", "phitui.hardware.nvml.gpus", "psutil", "pynvml"):
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def _replay(config: Config, args: argparse.Namespace) -> int:
    if args.once or args.json or args.record is not None:
        raise UsageError("--replay shows a recording: it goes with none of --once, --json and --record")
    from phitui.hardware.recording import Recording

    recording = Recording(args.replay)
    _need_terminal()
    from phitui.tui.app.base_app import run_app
    from phitui.tui.app.replay_app import ReplayApp

    return run_app(ReplayApp(config, recording, ascii_only=_ascii(config, args)), config)


def _ascii(config: Config, args: argparse.Namespace) -> bool:
    from phitui.tui.terminal.display import graphs_in_ascii

    return args.ascii or graphs_in_ascii(config.monitor.symbols, config.console.symbols)


def _need_terminal() -> None:
    from phitui.cli.main import need_terminal

    need_terminal("the monitor", "Use phitui monitor --once or --json in scripts")
