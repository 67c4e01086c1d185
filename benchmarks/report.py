"""What every benchmark shares: medians, the machine, and the result file."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
CACHE = Path(__file__).resolve().parent.parent / ".cache" / "bench"


def summary(values: Sequence[float], digits: int = 3) -> dict[str, float | int]:
    """N, median, minimum and maximum."""
    return {
        "n": len(values),
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
    }


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("phitui", "ctranslate2", "textual", "tokenizers")},
        "load_before": round(os.getloadavg()[0], 2),
    }


def publish(name: str, figures: dict[str, Any]) -> None:
    """Print the result as JSON and keep it in benchmarks/results/NAME.json."""
    result = {"benchmark": name, "date": datetime.now(timezone.utc).date().isoformat(), **figures}
    text = json.dumps(result, indent=2, ensure_ascii=False)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    print(text)
