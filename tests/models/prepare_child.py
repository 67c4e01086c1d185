"""Runs the real preparing process for the tests and keeps what it says."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil

from phitui.core.ipc.messages import Failure, Progress
from phitui.core.ipc.parent import Child
from phitui.models.messages import Prepared, Reply


async def start(request, log: Path, **environment: str) -> Child:
    child = await Child.start("phitui.models.prepare", Reply, log, ("HF_", "PIP_"), environment)
    await child.send(request)
    return child


async def run(request, log: Path, **environment: str) -> list[Progress | Prepared | Failure]:
    """All messages of one request. Fails where the process ends otherwise than it should."""
    child = await start(request, log, **environment)
    messages = [message async for message in child.messages()]
    assert await child.stop() == 0, await child.epitaph()
    return messages


async def failure(request, log, **environment):
    """The Failure of a request that cannot be done; nothing may be left in the store."""
    messages = await run(request, log, **environment)
    assert isinstance(messages[-1], Failure), messages[-1]
    text = str(messages[-1].error())
    assert "\n" not in text and "Traceback" not in text
    return messages[-1], text


async def until(child: Child, matches) -> list[Progress]:
    """The messages up to one that `matches`."""
    seen = []
    async for message in child.messages():
        seen.append(message)
        if matches(message):
            return seen
    raise AssertionError(f"did not come; there were {seen}")


async def gone(processes: list[psutil.Process], within_s: float = 8.0) -> bool:
    """Whether the processes end in time."""
    for _ in range(int(within_s / 0.05)):
        if not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes):
            return True
        await asyncio.sleep(0.05)
    return False


def descendants(child: Child) -> list[psutil.Process]:
    process = psutil.Process(child.pid)
    return [process, *process.children(recursive=True)]


def hidden(models_dir: Path) -> list[str]:
    """What is in the store beside models and locks."""
    return [path.name for path in models_dir.iterdir() if path.name.startswith((".partial-", ".old-"))]
