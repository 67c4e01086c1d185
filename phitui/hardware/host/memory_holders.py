"""Who holds the memory that the engine lacks."""

from __future__ import annotations

import os
from collections.abc import Collection

from phitui.core.text import one_line
from phitui.hardware.figures import Missing
from phitui.hardware.host.own_memory import processes_on


def largest_holder(device: str, device_uuid: str, but: Collection[int | None] = ()) -> str:
    """Who holds most of the RAM, or of the card, beside this process and those of the ids `but`, in words. On a card
    this asks the driver, and waits for it 2 s at most."""
    ours = {os.getpid(), *but}
    if device != "cuda":
        return _largest([(size, pid) for size, pid in _resident() if pid not in ours], "RAM")
    held = processes_on(device_uuid)
    if isinstance(held, Missing):
        return f"what else uses the card is not known: {held.reason}"
    return _largest([(size, pid) for pid, size in held.items() if size is not None and pid not in ours], "the card")


def _largest(held: list[tuple[int, int]], what: str) -> str:
    if not held:
        return f"no other program is seen to use {what}"
    size, pid = max(held)
    return f"{size / 2**30:.2f} GiB is used by {_name(pid)} (process {pid})"


def _resident() -> list[tuple[int, int]]:
    import psutil

    found = psutil.process_iter(["memory_info"])
    return [(int(one.info["memory_info"].rss), one.pid) for one in found if one.info["memory_info"] is not None]


def _name(pid: int) -> str:
    import psutil

    try:
        return one_line(psutil.Process(pid).name(), 40)
    except psutil.Error:
        return "a program that cannot be seen from here"
