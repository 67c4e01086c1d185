"""What `phitui batch` costs beside the engine: memory and CPU time of its own process for 100 000 rows.

The engine is the stand-in of tests/children. Once it answers at once: what is left is reading, sending, writing, the
journal and its syncs. Then it takes its time for each step of 256 rows, with fewer rows of the same kind (answers of 9
tokens at the mean): at the pace of the demo model as tuned on two cores, about 540 tokens/s, and at one that few cards
reach, 5120 tokens/s. `share_of_wall` is the console's CPU time ÷ the wall of such a run, both measured.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from demo_home import demo_home
from report import machine, publish
from terminal import environment

ROOT = Path(__file__).resolve().parent.parent
_CODE = """
import json, sys, time, phitui.engine.local.client as client
client.WORKER = "children.rows_child"
from phitui.cli.main import run
code = run(sys.argv[1:])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
print(json.dumps({"exit": code, "peak_rss_mib": int(peak) // 1024, "cpu_s": round(time.process_time(), 3)}))
"""
# Seconds of a step of the stand-in, and the share of the rows.
_PACES = {"540 tokens/s": (256 / 540, 0.05), "5120 tokens/s": (0.05, 0.2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=100_000, help="rows")
    rows = parser.parse_args().n
    home, about = demo_home(), machine()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "in.jsonl")
        write_rows(source, rows)
        size = source.stat().st_size
        figures = {
            name: measure(home, source, Path(folder, f"{name}.jsonl"), rows, options, 0.0)
            for name, options in (("as finished", []), ("ordered", ["--ordered"]))
        }
        for place, (pace, (step_s, share)) in enumerate(_PACES.items()):
            fewer, output = int(share * rows), Path(folder, f"{place}.jsonl")
            write_rows(source, fewer)
            figures[f"at most {pace}"] = {"rows": fewer, **measure(home, source, output, fewer, [], step_s)}
    publish("batch_console", {"machine": about, "rows": rows, "input_bytes": size, **figures})


def write_rows(path: Path, rows: int) -> None:
    """Prompts of 3 to 100 words, answers of 1 to 30 tokens."""
    draw = random.Random(1)
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            prompt = f"Question {number}: " + "word " * draw.randint(3, 100)
            file.write(json.dumps({"id": f"r{number}", "prompt": prompt, "max_tokens": draw.randint(1, 30)}) + "\n")


def measure(home: Path, source: Path, output: Path, rows: int, options: list[str], step_s: float) -> dict[str, Any]:
    """One run's figures. Raises CalledProcessError."""
    words = ["batch", str(source), "-o", str(output), "--batch-size", "256", *options]
    environ = {
        **environment(home),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        "ROWS_STEP_S": str(step_s),
        "ROWS_TOLD_S": "0.5",  # as the real engine
    }
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _CODE, *words], env=environ, check=True, stdout=subprocess.PIPE, text=True
    )
    wall = time.perf_counter() - begun
    found: dict[str, Any] = json.loads(done.stdout)
    per_row = found["cpu_s"] / rows
    shares = {"share_of_wall": round(found["cpu_s"] / wall, 5)} if step_s else {}
    return {**found, "wall_s": round(wall, 2), "cpu_us_per_row": round(per_row * 1e6, 1), **shares}


if __name__ == "__main__":
    main()
