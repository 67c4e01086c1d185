"""Every two acts that want the engine, in both orders, on the real engine: none corrupts the other."""

import asyncio
import itertools
import json

import psutil
import pytest
from answering_server import answering
from support.benches import Bench
from support.waiting import until
from tiny_phi3 import renamed_model

from phitui.autotune.probes import Goal
from phitui.config.layers import load_config
from phitui.core.errors import UsageError
from phitui.workbench.chat.chat import State
from phitui.workbench.tune.form import TuneForm
from phitui.workbench.tune.setups import Limit

ACTS = ("model", "engine", "tuning", "hand-back", "batch", "answer", "park")
WISH = TuneForm(Goal(120, 16, start=4, decode_steps=4, most_probes=3), Limit(1.0, 200 * 10**6), False, {})


def workers():
    found = []
    for child in psutil.Process().children():
        try:
            if "phitui.engine.worker.worker" in " ".join(child.cmdline()):
                found.append(child.pid)
        except psutil.Error:
            continue
    return found


class Acting(Bench):
    """Does each act through the door that every front uses. `expected` is what has to answer in the end."""

    def __init__(self, url, tmp_path):
        super().__init__(
            model={"name": "tiny-phi3"},
            engine={"device": "cpu", "threads": 1},
            engines={"box": {"url": url, "retries": 0}},
            generation={"max_tokens": 400},
        )
        self.tmp_path = tmp_path
        self.expected = "tiny-phi3"
        self.entry = self.exchange = None
        self.most = 0

    async def act(self, name):
        """Begin it, or have it refused by UsageError."""
        await getattr(self, "do_" + name.replace("-", "_"))()

    async def do_model(self):
        self.models.refresh()
        await until(lambda: self.models.rows)
        row = next(row for row in self.models.rows if row.name == "other-phi3")
        self.models.switch(row)
        self.expected = "other-phi3"

    async def do_engine(self):
        self.switch_engine("box")
        self.expected = "box"

    async def do_tuning(self):
        self.tuner.start(WISH, "Tiny")
        await until(lambda: self.tuner.run_state.running or not self.tuner.busy)

    async def do_hand_back(self):
        """A tuning that was cancelled: its engine is on the way back."""
        self.tuner.start(WISH, "Tiny")
        await until(lambda: self.tuner.pid or not self.tuner.busy)
        self.tuner.cancel()
        await until(lambda: not self.tuner.busy)

    async def do_batch(self):
        rows = [{"prompt": f"question {number}", "max_tokens": 400} for number in range(30)]
        path = self.tmp_path / f"in{len(self.batches.entries)}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.entry = self.batches.add(path)
        await until(lambda: self.entry.state != "reading")

    async def do_answer(self):
        self.exchange = self.chat.submit("hello")
        await asyncio.sleep(0.05)

    async def do_park(self):
        await self.park()

    async def count(self):
        while True:
            self.most = max(self.most, len(workers()))
            await asyncio.sleep(0.005)


@pytest.fixture
def two_models(home, tiny_folder):
    """A second one in the store, as quick to load as the first."""
    renamed_model(tiny_folder, home / "models", "other-phi3")


@pytest.mark.parametrize(("first", "second"), itertools.product(ACTS, ACTS))
async def test_two_acts(two_models, tmp_path, first, second):
    with answering(step_s=0.01) as (server, _):
        async with Acting(server.url, tmp_path) as bench:
            counting = asyncio.create_task(bench.count())
            await bench.act(first)
            refused = ""
            try:
                await bench.act(second)
            except Exception as error:
                assert isinstance(error, UsageError) or error.exit_code == 3, error
                refused = str(error)
            if bench.tuner.busy:
                bench.tuner.cancel()
            await until(lambda: not bench.tuner.busy and not bench.switching.busy)
            counting.cancel()
            check_first_counts(bench, first, second, refused)
            await what_answers_is_what_was_chosen(bench)
            await nothing_is_lost(bench)
            assert bench.most <= 1 and len(workers()) <= 1
            assert bench.heard.failures == []
    assert workers() == []


def check_first_counts(bench, first, second, refused):
    """What is refused is what cannot be at once."""
    alone = {"tuning"}
    if first in alone and second in ("model", "engine", "tuning", "hand-back", "answer", "park"):
        assert "a tuning is under way" in refused
    elif first == "batch" and second in ("tuning", "hand-back"):
        assert "a batch is running" in refused or bench.entry.state == "complete"
    elif second in ("model", "engine", "answer", "batch"):
        assert refused == "" or (first == second == "model" and "is loaded already" in refused)


async def what_answers_is_what_was_chosen(bench):
    loaded = bench.engine.loaded
    assert bench.expected == (loaded.remote.name if loaded.remote else loaded.name)
    if bench.exchange is not None:
        bench.chat.cancel()
        await until(lambda: not bench.chat.busy)
    exchange = bench.chat.submit("are you there?")
    await until(lambda: (exchange.tokens or 0) > 0 or exchange.state.over)
    bench.chat.cancel()
    await until(lambda: exchange.state.over)
    assert exchange.state is State.DONE and exchange.model == loaded.name
    # For later starts: what was chosen on the model screen, and only once it has loaded.
    if bench.expected == "other-phi3":
        await until(lambda: load_config(overrides={}).model.name == "other-phi3")
    else:
        assert load_config(overrides={}).model.name != "other-phi3"
    assert bench.settings.model.name == ("other-phi3" if bench.expected == "other-phi3" else "tiny-phi3")


async def nothing_is_lost(bench):
    """A file is complete, or stopped and can go on; an answer has its end."""
    if bench.exchange is not None:
        assert bench.exchange.state is State.DONE
    if bench.entry is None:
        return
    await until(lambda: bench.entry.state != "queued")  # it has its turn
    if bench.entry.busy:
        await until(lambda: bench.entry.state in ("running", "complete", "failed"))
        bench.batches.cancel(bench.entry)
        await until(lambda: not bench.entry.busy)
        assert bench.entry.state in ("stopped", "complete"), bench.entry.error
    elif bench.entry.state == "failed":  # begun with another model, as its journal says
        assert "the model was" in bench.entry.error
    elif bench.entry.state == "stopped":
        assert "r resumes it" in bench.entry.note
    else:
        assert bench.entry.state == "complete"
