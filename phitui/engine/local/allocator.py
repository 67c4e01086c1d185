"""How the engine's process takes memory from the system on a CPU.

CTranslate2 appends to the KV cache by making each layer's tensor anew, a little larger, and freeing the old one. In
glibc's heap the freed ones are often too small for the next, so it fragments; blocks that are mapped each for
themselves leave no holes, but the kernel has to clear their pages, which huge pages make cheaper. So it is memory
against time, and the size from which blocks are mapped decides. Measured on SmolLM2 135M, two cores, prompts of 48 and
32 decode steps, as peak above rest / what is allocated, and tokens/s of the decode steps:

| blocks are mapped from | 2 workers, 52 rows | 2 workers, 80 rows | 1 worker × 2 threads, 52 rows |
|---|---|---|---|
| 1 MiB, small pages (64 rows of 64) | 0.99, a third of the speed | | |
| 4 MiB, end given back from 64 MiB on | 1.18, 305 | 1.03, 271 | 1.02, 135 |
| **8 MiB, end given back from 16 MiB on** | 1.13, 349 | 1.14, 330 | 1.11, 195 |
| glibc's own choice, huge pages | 1.12 | 1.12 | up to 1.33 where blocks have 12 MB and more |

The middle way is the one that can be predicted, too: 1.06 to 1.14 for most shapes and both ways to use two cores, where
the others jump between 1.0 and 1.45 from one batch size to the next. A heap's end that is kept up to 64 MiB is kept
for each worker's heap. Setting one of the two thresholds stops glibc from raising the other with what it sees, so both
are set: with the small default, the end is given back at every step, which costs a tenth of the time.

No setting of a heap bounds its holes. What a step allocates beside the cache depends on the CPU's kernels, and with it
where the holes are: on a Zen 4 with AVX512-VNNI, one worker of two threads with 24 rows of 64 + 32 tokens takes 1.87
times what is allocated (1.58 the next time, 1.17 in a program without the engine's callback). There a thread's heap,
64 MiB large, has no room for the next block, glibc drops the new one that it made for it (heap_trim in sysmalloc) and
turns to the main heap, whose freed blocks nobody then takes. With every block mapped it is 0.99 there, too, at half of
the throughput (1 worker, 26 rows: 150 tokens/s for 270; 2 workers, 80 rows: 305 for 489); one arena for both workers
takes a tenth more than two. So the search measures what it answers, and a fit of one batch size says little of another
on a CPU: whole runs of other sizes were within 5 % of it on most occasions, and 9 % off on some.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

_TUNABLES = (
    "glibc.malloc.hugetlb=1",  # ask for huge pages
    "glibc.malloc.mmap_threshold=8388608",
    "glibc.malloc.trim_threshold=16777216",
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
