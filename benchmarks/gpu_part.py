"""One part of benchmarks/gpu.py in a process of its own: gpu_part.py NAME SETTINGS, of which the second is JSON."""

from __future__ import annotations

import json
import os
import sys
import traceback

import gpu_console_parts as console
import gpu_engine_parts as engine
from gpu_batch_part import batch
from gpu_common import Report, Settings
from gpu_peer import peer

PARTS = {
    "make": engine.make,
    "first_load": engine.first_load,
    "tune": console.tune,
    "bench": console.bench,
    "batch": batch,
    "oom": console.oom,
    "memory": engine.memory,
    "steps": engine.steps,
    "workers": engine.workers,
    "bandwidth": engine.bandwidth,
    "parking": engine.parking,
    "longrope": engine.longrope,
    "peer": peer,
}


def main() -> None:
    settings = Settings(**json.loads(sys.argv[2]))
    status = 0
    try:
        PARTS[sys.argv[1]](settings, Report(settings.result))
    except BaseException:  # noqa: BLE001 - its last line is the reason in the result
        traceback.print_exc()
        status = 1
    sys.stderr.flush()
    os._exit(status)  # not through destructors: a generator's can abort the process after a batch


if __name__ == "__main__":
    main()
