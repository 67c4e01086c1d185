"""How the engine's process takes memory from the system on a CPU.

CTranslate2 appends to the KV cache by making each layer's tensor anew, a little larger, and freeing the old one. In
glibc's heap the freed ones are too small for the next, so it fragments: with its defaults, batches were measured to
peak at 1.13 to 1.63 times what they had allocated. Large blocks, each mapped for itself, leave no holes: 1.00 times.
The kernel has to clear their pages then. With huge pages, which glibc 2.35 and later ask for when told to, that is a
fifth more CPU time where the cache is large; with small ones it is twice the time, and the heap is the better choice.
Below 4 MiB blocks stay in the heap, where they are cheap and their holes small.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

_ONE_ARENA = ("glibc.malloc.arena_max=1",)
_MAPPED = (*_ONE_ARENA, "glibc.malloc.hugetlb=1", "glibc.malloc.mmap_threshold=4194304")
_FIRST_WITH_HUGE_PAGES = (2, 35)
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def allocator_environment(environ: Mapping[str, str] = os.environ, huge_pages: Path = _HUGE_PAGES) -> dict[str, str]:
    """What the engine's process has in its environment for this; nothing where the user has settings of their own for
    glibc's allocator, or there is no glibc."""
    if "GLIBC_TUNABLES" in environ or any(name.startswith("MALLOC_") for name in environ):
        return {}
    version = _glibc()
    if version is None:
        return {}
    chosen = _MAPPED if version >= _FIRST_WITH_HUGE_PAGES and _on_request(huge_pages) else _ONE_ARENA
    return {"GLIBC_TUNABLES": ":".join(chosen)}


def _glibc() -> tuple[int, int] | None:
    try:
        match = re.fullmatch(r"glibc (\d+)\.(\d+).*", os.confstr("CS_GNU_LIBC_VERSION") or "")
    except (ValueError, OSError, AttributeError):  # another C library, or not POSIX
        return None
    return (int(match[1]), int(match[2])) if match else None


def _on_request(file: Path) -> bool:
    """Whether the kernel gives huge pages to who asks for them: the file has its choice in brackets."""
    try:
        return "[never]" not in file.read_text()
    except OSError:
        return False
