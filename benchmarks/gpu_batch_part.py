"""The part of benchmarks/gpu.py that runs batches of rows, as benchmarks/batch.py does on a CPU."""

from __future__ import annotations

import asyncio

from batch import equal_part, rows_part
from batch_arms import BareArm, PhituiArm
from gpu_common import Report, Settings
from msgspec.structs import replace

# Rows, rows of a batch, and the median of the tokens that a row makes.
_SIZES = (400, 26, 16.0)
_SMALL = (40, 4, 8.0)


def batch(settings: Settings, report: Report) -> None:
    """Rows of unlike and of like lengths: phitui ÷ CTranslate2's own order, and ÷ the order of the file."""
    asyncio.run(_batch(settings, report))


async def _batch(settings: Settings, report: Report) -> None:
    count, size, makes = _SMALL if settings.small else _SIZES
    load = settings.load()
    ours = PhituiArm(load)
    loaded = await ours.start()
    report.tell(workers=load.workers, compute_type=loaded.compute_type)
    try:
        cost = await ours.cost()
        report.tell(cost={name: float(f"{getattr(cost, name):.4g}") for name in cost.__struct_fields__})
        with BareArm(replace(load, device=loaded.device, compute_type=loaded.compute_type)) as bare:
            report.tell(rows=await rows_part(ours, bare, cost, count, size, 1, makes, endless=False))
            report.tell(equal=await equal_part(ours, bare, cost, size, 2), notes=ours.notes)
    finally:
        await ours.stop()
