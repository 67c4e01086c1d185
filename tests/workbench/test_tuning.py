"""Tuning on the real engine with the tiny model: the answer's parts, an engine that is killed, and cancelling."""

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from support.benches import Bench

from phitui.autotune.probes import Goal, NothingFitsError
from phitui.config.layers import load_config
from phitui.core.errors import UsageError
from phitui.core.ipc.messages import Progress
from phitui.workbench.measure.probing import ProbingEngine
from phitui.workbench.start import what_to_load
from phitui.workbench.tune.apply import apply, settings
from phitui.workbench.tune.events import ProbeBegan, ProbeEnded
from phitui.workbench.tune.local import tune, two_sizes
from phitui.workbench.tune.setups import Limit, Setup

GOAL = Goal(200, 40, start=8, decode_steps=8, most_probes=4)
LIMIT = Limit(1.0, 250 * 10**6)


@pytest.fixture
def config(home, tiny_folder):
    return load_config(None, {"model": {"name": str(tiny_folder)}, "engine": {"threads": 1, "device": "cpu"}})


_THREE = (
    r"weights need [\d.]+ GiB, the row [\d.]+ GiB more.* [\d.]+ GiB is free for the engine, "
    r"[\d.]+ GiB is used by .+ \(process \d+\)"
)


def engines():
    """The engine processes of this one."""
    alive = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in alive if "phitui.engine.worker.worker" in " ".join(child.cmdline())]


async def test_the_answer_is_a_configuration(config):
    told = []
    result = await tune(config, GOAL, LIMIT, told.append, vary_compute_type=False)
    answer = result.answer
    assert 1 <= answer.b_best <= answer.b_max
    assert answer.kv_token_budget == answer.b_max * 240
    assert answer.limit_bytes <= 250 * 10**6
    assert result.present.setup == Setup(1, 1, "int8_float32")
    assert result.setup in [trial.setup for trial in result.trials]
    assert answer.tokens_per_s > 0
    began = [event for event in told if isinstance(event, ProbeBegan)]
    ended = [event for event in told if isinstance(event, ProbeEnded)]
    assert [event.number for event in began] == [event.number for event in ended] == list(range(1, len(ended) + 1))
    assert ended == result.probes
    assert all(event.probe.predicted_bytes <= 250 * 10**6 for event in began)
    told_most = [event.most for event in began]
    assert told_most == sorted(told_most, reverse=True) and told_most[-1] >= len(began)
    assert engines() == []


async def test_an_engine_that_is_killed_is_an_outcome(config):
    ended = []

    def tell(event):
        if isinstance(event, ProbeBegan) and event.number == 2:
            os.kill(engines()[0].pid, signal.SIGKILL)
        elif isinstance(event, ProbeEnded):
            ended.append(event.verdict)

    result = await tune(config, GOAL, LIMIT, tell, vary_compute_type=False)
    assert (ended[1].judged, ended[1].outcome.kind) == ("oom", "oom")
    assert "killed by SIGKILL" in ended[1].outcome.detail
    assert ended[2].judged == "ok"
    assert result.answer.b_max >= 1


async def cancelled(config, at):
    """Tune, and cancel as soon as `at` says so of an event; returns how many events came after it."""
    begun, told = asyncio.Event(), []

    def tell(event):
        told.append(event)
        if not begun.is_set() and at(event, told):
            begun.set()

    task = asyncio.create_task(tune(config, GOAL, LIMIT, tell, vary_compute_type=False))
    await asyncio.wait_for(begun.wait(), 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engines() == []


@pytest.mark.parametrize(
    "at",
    [
        lambda event, told: isinstance(event, Progress) and event.stage == "load",
        lambda event, told: isinstance(event, ProbeBegan) and event.number == 1,
        lambda event, told: isinstance(event, ProbeEnded) and event.number == 2,
        # between two configurations: the first engine is being started out
        lambda event, told: isinstance(event, ProbeBegan) and event.of.setup.workers != 1,
        lambda event, told: isinstance(event, ProbeBegan) and event.probe.again,
    ],
    ids=["loading", "first-probe", "second-probe", "other-configuration", "repetition"],
)
async def test_cancelling_ends_the_engine_in_every_phase(config, at):
    await cancelled(config, at)


async def test_cancelling_while_an_engine_ends(config):
    """Ctrl-C in the moment in which one engine goes and another comes: neither stays, and the cancel is not lost."""
    stopping = asyncio.Event()
    engine = ProbingEngine(Path("/dev/null"), lambda progress: None)
    load = await what_to_load(config, lambda progress: None)
    await engine.load(load)

    async def again():
        stopping.set()
        await engine.load(load)

    task = asyncio.create_task(again())
    await stopping.wait()
    await asyncio.sleep(0)  # it is in `stop` now
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engines() == []


async def test_nothing_fits_names_who_has_the_memory(config):
    with pytest.raises(NothingFitsError, match=_THREE):
        await tune(config, GOAL, Limit(1.0, 10**7), lambda event: None)
    assert engines() == []


async def test_memory_that_another_program_takes_half_way_is_counted(config):
    """A real program takes 3 GB of RAM after the second probe: what the engine may hold is less from then on."""
    ended, child = [], []

    def tell(event):
        if isinstance(event, ProbeEnded):
            ended.append(event)
            if event.number == 2:
                words = "import sys; block = b'x' * (3 * 10**9); print(len(block), flush=True); sys.stdin.read()"
                child.append(subprocess.Popen([sys.executable, "-c", words], stdin=-1, stdout=-1))
                child[0].stdout.readline()

    try:
        # So few rows do not fill the RAM of any machine.
        result = await tune(config, replace(GOAL, most=64), Limit(0.9), tell, vary_compute_type=False)
    finally:
        for process in child:
            process.kill()
            process.communicate()
    before, after = ended[1].verdict.outcome.limit_bytes, ended[2].verdict.outcome.limit_bytes
    assert before - after > 0.5 * 0.9 * 3e9  # other programs of this machine come and go meanwhile
    assert result.answer.limit_bytes < before
    assert result.answer.b_max >= 1
    assert engines() == []


async def test_what_decides_is_repeated(config):
    result = await tune(config, GOAL, LIMIT, lambda event: None, vary_compute_type=False)
    assert result.answer.measurements >= 3
    assert result.answer.spread is not None
    others = [result.faster(trial) for trial in result.trials if trial.setup != result.present.setup]
    assert others and all(span is None or 0 <= span[0] <= span[1] <= result.answer.b_max for span in others)


async def test_what_is_applied_is_how_a_console_starts(config, tiny_folder, tmp_path):
    """`tune --apply` writes the answer; the next start's engine, as the console starts it, is that configuration."""
    result = await tune(config, GOAL, LIMIT, lambda event: None, vary_compute_type=False)
    apply(settings(replace(result, setup=Setup(2, 1, "float32"))))  # one that no default is
    later = load_config(None, {"model": {"name": str(tiny_folder)}})
    assert (later.engine.batch, later.engine.kv_tokens) == (result.answer.b_best, result.answer.kv_token_budget)
    async with Bench(later) as bench:
        loaded = bench.engine.loaded
        assert (loaded.workers, loaded.threads, loaded.compute_type) == (2, 1, "float32")


def test_configurations_are_compared_at_two_sizes():
    assert two_sizes(64, 26) == [64, 26]
    assert two_sizes(26, 26) == [26, 6]
    assert two_sizes(1, 1) == [1]


async def test_lengths_beyond_the_window_are_refused_before_anything_is_loaded(config):
    told = []
    with pytest.raises(UsageError, match="the context window has 4096"):
        await tune(config, Goal(4000, 97), LIMIT, told.append)
    assert told == []
