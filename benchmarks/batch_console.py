"""What `phitui batch` costs beside the engine: memory and CPU time of its own process for 100 000 rows.

The engine is the stand-in of tests/children, which answers at once: what is left is reading, sending, writing, the
journal and its syncs. The CPU time for a row is then set against the time that a row takes in a real run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from demo_home import demo_home
from report import machine, publish
from terminal import environment

ROOT = Path(__file__).resolve().parent.parent
_CODE = """
import json, sys, time, phitui.engine.client as client
client.WORKER = "children.rows_child"
from phitui.cli.main import run
code = run(sys.argv[1:])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
print(json.dumps({"exit": code, "peak_rss_mib": int(peak) // 1024, "cpu_s": time.process_time()}))
"""
# A card that makes 1000 tokens/s of answers of 100 tokens: what a row takes there, in seconds.
_ROW_S = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=100_000, help="rows")
    rows = parser.parse_args().n
    home, about = demo_home(), machine()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "in.jsonl")
        write_rows(source, rows)
        figures = {
            name: measure(home, source, Path(folder, f"{number}.jsonl"), rows, options)
            for number, (name, options) in enumerate({"as finished": [], "ordered": ["--ordered"]}.items())
        }
        size = source.stat().st_size
    publish("batch_console", {"machine": about, "rows": rows, "input_bytes": size, **figures})


def write_rows(path: Path, rows: int) -> None:
    """Prompts of 3 to 100 words, answers of 1 to 30 tokens."""
    draw = random.Random(1)
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            prompt = f"Question {number}: " + "word " * draw.randint(3, 100)
            file.write(json.dumps({"id": f"r{number}", "prompt": prompt, "max_tokens": draw.randint(1, 30)}) + "\n")


def measure(home: Path, source: Path, output: Path, rows: int, options: list[str]) -> dict[str, Any]:
    """One run's figures. Raises CalledProcessError."""
    words = ["batch", str(source), "-o", str(output), "--batch-size", "256", *options]
    environ = {**environment(home), "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    done = subprocess.run(
        [sys.executable, "-c", _CODE, *words], env=environ, check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    per_row = found["cpu_s"] / rows
    share = per_row / _ROW_S
    return {**found, "cpu_us_per_row": round(per_row * 1e6, 1), "share_at_10_rows_per_s": round(share, 5)}


if __name__ == "__main__":
    main()
