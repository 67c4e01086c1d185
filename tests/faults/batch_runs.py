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

TESTS = Path(__file__).resolve().parent.parent
# In CI a few; PHITUI_TEST_KILLS=50 in the environment for the number that is asked for before a release.
KILLS = int(os.environ.get("PHITUI_TEST_KILLS", "6"))
# For a whole run, which has rows in proportion to the kills.
PATIENCE_S = 50 * max(KILLS, 6)


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

    @property
    def written(self):
        """Bytes of output and journal: they grow while the engine works."""
        return sum(path.stat().st_size for path in (self.output, self.journal) if path.exists())

    def kill_engine_at_random(self, process, seed, within_s):
        """Kill the engine of a run KILLS times, each time at a random moment after it has got on; returns how often."""
        print(f"seed {seed}")
        draw, killed, before = random.Random(seed), 0, 0
        while process.poll() is None and killed < KILLS:
            if self.written == before or not self.written:
                time.sleep(0.01)
                continue
            time.sleep(draw.uniform(0, within_s))
            worker = worker_of(process)
            if worker is not None and process.poll() is None:
                worker.kill()
                killed += 1
                time.sleep(0.1)
                before = self.written
        return killed

    def kill_at_random(self, seed, within_s, number=signal.SIGKILL, pause=lambda: None):
        """Kill the run, and each run that resumes it, KILLS times in all; then let it come to its end. A run that is
        complete before its kill is no kill: those are not counted, and the number of them is returned."""
        print(f"seed {seed}")
        draw = random.Random(seed)
        killed = 0
        for attempt in range(3 * KILLS):
            process = self.start(*(["--resume"] if attempt else []))
            time.sleep(draw.uniform(0.2, within_s))
            gone = process.poll() is not None
            if not gone:
                process.send_signal(number)
            _, told = process.communicate(timeout=60)
            assert "Traceback" not in told, told
            if gone:
                assert process.returncode == 0, told
                break
            killed += 1
            pause()
            if killed == KILLS:
                break
        done = self.run("--resume")
        assert done.returncode == 0, done.stderr
        assert not self.journal.exists()
        return killed


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
