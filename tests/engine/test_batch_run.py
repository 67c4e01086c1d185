"""The engine's side of a batch in this process, where its waves can be counted."""

import queue

import pytest

from phitui.engine.protocol.api import BatchEnded, Load, OpenBatch, Row, RowDone, Sampling, Turn
from phitui.engine.worker.batching.batch_run import BatchRun
from phitui.engine.worker.batching.budget import Budget
from phitui.engine.worker.batching.prefixes import Prefixes
from phitui.engine.worker.loading import load_model
from phitui.engine.worker.meter import meter
from phitui.engine.worker.recovery import wait_idle


@pytest.fixture(scope="module", params=[1, 2], ids=["1 worker", "2 workers"])
def model(request, tiny_folder, tmp_path_factory):
    profiles = str(tmp_path_factory.mktemp("run") / "profiles.json")
    loaded = load_model(Load(str(tiny_folder), "cpu", "float32", 1, profiles, 0.0, request.param), lambda _: None)
    yield loaded
    wait_idle(loaded.generator)


class Run:
    """A batch that is ticked until it ends: its waves as keys of rows, and whether any ran beside another."""

    def __init__(self, model, rows, **options):
        request = OpenBatch(1, **options)
        nudged, self.events, self.waves, self.beside = queue.SimpleQueue(), [], [], []

        def budget():
            return Budget(model, meter("cpu"), request.kv_tokens)

        run = BatchRun(model, request, self.events.append, lambda: nudged.put(None), budget, Prefixes())
        run.add(rows, last=True)
        seen = []
        while not run.over:
            run.tick()
            for wave in run.waves:
                if wave not in seen:
                    seen.append(wave)
                    self.waves.append([row.key for row in wave.rows])
            if run.waves:
                self.beside.append([[row.key for row in wave.rows] for wave in run.waves])
        assert isinstance(self.events[-1], BatchEnded)
        self.done = {event.key for event in self.events if isinstance(event, RowDone)}


def row(key, words, makes):
    return Row(key, [Turn("user", "fox " * words)], Sampling(makes, 0.0, 0, 1.0, 1.0))


def test_a_row_that_is_too_large_for_the_budget_runs_alone_and_the_others_stay_together(model):
    rows = [row(key, 900 if key == 0 else 3, 20) for key in range(40)]
    made = Run(model, rows, batch=20 * model.loaded.workers, kv_tokens=500 * model.loaded.workers)
    assert made.done == set(range(40))
    assert [0] in made.waves
    assert len(made.waves) < 10
    assert not [waves for waves in made.beside if [0] in waves and len(waves) > 1]
