"""How the engine's process takes memory from the system on a CPU.

CTranslate2 appends to the KV cache by making each layer's tensor anew, a little larger, and freeing the old one. In
glibc's heap the freed ones are too small for the next, so it fragments: with its defaults, batches were measured to
peak at 1.13 to 1.63 times what they had allocated. Blocks that are mapped each for themselves leave no holes, but the
kernel has to clear their pages. Measured on SmolLM2 135M, CPU time and peak above rest:

- 40 rows of 182 tokens: 28 s and 1374 MiB with the defaults, 37 s and 1016 MiB with blocks from 4 MiB on mapped in huge
  pages, of 985 MiB that were allocated. With small pages the time doubles: then the heap is the better choice.
- 26 rows of 78 tokens, whose blocks are smaller and stay in the heap: 9.6 s with the defaults, 9.2 s. Setting one
  threshold stops glibc from raising the other, above which it gives the heap's end back at every step: so that is set
  too; without it, 10.8 s.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

_TUNABLES = (
    "glibc.malloc.hugetlb=1",  # ask for huge pages
    "glibc.malloc.mmap_threshold=4194304",
    "glibc.malloc.trim_threshold=67108864",
)
_FIRST_WITH_HUGE_PAGES = (2, 35)
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def allocator_environment(environ: Mapping[str, str] = os.environ, huge_pages: Path = _HUGE_PAGES) -> dict[str, str]:
    """What the engine's process has in its environment for this; nothing where the user has settings of their own for
    glibc's allocator, or there are no huge pages."""
    if "GLIBC_TUNABLES" in environ or any(name.startswith("MALLOC_") for name in environ):
        return {}
    if _glibc() < _FIRST_WITH_HUGE_PAGES or not _on_request(huge_pages):
        return {}
    return {"GLIBC_TUNABLES": ":".join(_TUNABLES)}


def _glibc() -> tuple[int, int]:
    """Its version; (0, 0) where there is another C library."""
    try:
        match = re.fullmatch(r"glibc (\d+)\.(\d+).*", os.confstr("CS_GNU_LIBC_VERSION") or "")
    except (ValueError, OSError, AttributeError):  # another C library, or not POSIX
        return 0, 0
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _on_request(file: Path) -> bool:
    """Whether the kernel gives huge pages to who asks for them: the file has its choice in brackets."""
    try:
        return "[never]" not in file.read_text()
    except OSError:
        return False
