"""Runs of `phitui batch` that are killed, and what has to be true of their output in the end."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from terminal import environment

from phitui.storage.journal import Synced, read_journal

TESTS = Path(__file__).resolve().parent.parent
# In CI a few; PHITUI_TEST_KILLS=50 in the environment for the number that is asked for before a release.
KILLS = int(os.environ.get("PHITUI_TEST_KILLS", "4"))
# For a whole run, which has rows in proportion to the kills.
PATIENCE_S = 75 * max(KILLS, 4)


class Batch:
    """One input with its output. `standin` runs it on tests/children/rows_child.py instead of the real engine."""

    def __init__(self, home, rows, standin=True, options=(), name="out", **extra):
        self.input = home.parent / f"{name}-in.jsonl"
        self.output = home.parent / f"{name}.jsonl"
        self.input.write_text("".join(json.dumps(row) + "\n" for row in rows))
        path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
        # Python leaves cut-off bytecode behind where a file may not grow.
        self.environ = {
            **environment(home),
            "PYTHONPATH": path,
            "PYTHONDONTWRITEBYTECODE": "1",
            "ROWS_STEP_S": "0.01",
            **extra,
        }
        self.module = "children.batch_command" if standin else "phitui"
        self.options = options

    def words(self, *more):
        return [
            sys.executable,
            "-m",
            self.module,
            "batch",
            str(self.input),
            "-o",
            str(self.output),
            *self.options,
            *more,
        ]

    def start(self, *more, **options):
        return subprocess.Popen(
            self.words(*more), env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
        )

    def run(self, *more, **options):
        done = subprocess.run(
            self.words(*more),
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            **options,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    @property
    def journal(self):
        return self.output.with_name(self.output.name + ".journal")

    def lines(self):
        return self.output.read_bytes().splitlines(keepends=True)

    def by_row(self):
        """The output's lines, sorted by row; each of the input's rows must be there once."""
        lines = sorted(self.lines(), key=lambda line: json.loads(line)["line"])
        numbers = [json.loads(line)["line"] for line in lines]
        assert numbers == sorted(set(numbers)), "a row is there twice"
        return lines

    def kill_engine_at_random(self, process, seed, within_s):
        """Kill the engine of a run KILLS times, each time at a random moment after rows have been written since the
        kill before; returns how often: fewer times where the run came to its end."""
        print(f"seed {seed}")
        draw = random.Random(seed)
        for killed in range(KILLS):
            if not self._grows(process):
                return killed
            time.sleep(draw.uniform(0, within_s))
            worker = worker_of(process)
            if worker is None or process.poll() is not None:
                return killed
            worker.kill()
            while process.poll() is None and worker_of(process) in (None, worker):
                time.sleep(0.002)
        return KILLS

    def kill_at_random(self, seed, within_s, number=signal.SIGKILL):
        """Kill the run, and each run that resumes it, KILLS times in all, each at a random moment after it has written
        its first rows; then let it come to its end. Returns how often: fewer times where it came there before."""
        print(f"seed {seed}")
        draw = random.Random(seed)
        killed = 0
        while killed < KILLS:
            process = self.start(*(["--resume"] if killed else []))
            if self._grows(process):
                time.sleep(draw.uniform(0, within_s))
            process.send_signal(number)
            _, told = process.communicate(timeout=PATIENCE_S)
            assert "Traceback" not in told, told
            if process.returncode != -number:
                break
            killed += 1
        done = self.run("--resume")
        assert done.returncode == 0, done.stderr
        assert not self.journal.exists()
        return killed

    def _grows(self, process):
        """Wait until the run writes a row; False where it ended first."""
        before = self.size
        while process.poll() is None:
            if self.size > before:
                return True
            before = min(before, self.size)  # what a kill has left behind is cut off
            time.sleep(0.002)
        return False

    def synced(self):
        """Bytes of the output that are on the disk, as the journal has them."""
        sizes = [record.size for record in read_journal(self.journal) if isinstance(record, Synced)]
        return sizes[-1] if sizes else 0

    @property
    def size(self):
        """Bytes of the output."""
        return self.output.stat().st_size if self.output.exists() else 0


def worker_of(process):
    """The engine's process of a command, None while there is none."""
    try:
        children = psutil.Process(process.pid).children()
    except psutil.NoSuchProcess:
        return None
    return children[0] if children else None


def questions(count, seed=1):
    """Rows with answers of unlike lengths."""
    draw = random.Random(seed)
    return [
        {"id": f"q{n}", "prompt": f"Question {n}: " + "word " * draw.randint(1, 40), "max_tokens": draw.randint(1, 24)}
        for n in range(count)
    ]
