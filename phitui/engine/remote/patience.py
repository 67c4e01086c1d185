"""How long a request waits before it is sent again, and how that is told."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

from phitui.config.remotes import RemoteSettings
from phitui.engine.remote.faults import Fault

# Back-off before the n-th try: 0.5 s · 2^n, half of it by chance, so that many clients do not come back together.
_BACKOFF_S = 0.5
_LONGEST_WAIT_S = 30.0
# How often a server is asked whether its model is in memory by now.
_LOADING_POLL_S = 2.0


async def wait_for_try(fault: Fault, number: int, left: int, tell: Callable[[str], None]) -> None:
    """Wait before the try `number`, after which there are `left` more."""
    wait_s = _BACKOFF_S * 2 ** (number - 1) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
    wait_s = min(max(wait_s, fault.after_s or 0.0), _LONGEST_WAIT_S)
    tell(f"{fault.error.message.rstrip('.')}. Again in {wait_s:.1f} s; {left} more {'try' if left == 1 else 'tries'}")
    await asyncio.sleep(wait_s)


def waits_for_model(fault: Fault, since: float, settings: RemoteSettings) -> bool:
    """Whether the server's model is still being loaded and is waited for: as long as for a first token."""
    return fault.loading and time.monotonic() - since < settings.first_token_timeout_s


async def wait_while_loading(fault: Fault, tell: Callable[[str], None]) -> None:
    """Wait until the server is asked once more whether its model is there."""
    wait_s = min(max(_LOADING_POLL_S, fault.after_s or 0.0), _LONGEST_WAIT_S)
    tell(f"{fault.error.message.rstrip('.')}. Trying again in {wait_s:.0f} s")
    await asyncio.sleep(wait_s)
