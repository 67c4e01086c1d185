"""Tuning on the real engine with the tiny model: the answer's parts, an engine that is killed, and cancelling."""

import asyncio
import os
import signal

import psutil
import pytest

from phitui.config import load_config
from phitui.errors import UsageError
from phitui.jobs.tune import tune
from phitui.jobs.tune_events import ProbeBegan, ProbeEnded
from phitui.jobs.tuning_model import Limit, Setup
from phitui.tuner.probes import Goal, NothingFitsError

GOAL = Goal(200, 40, start=8, decode_steps=8, most_probes=4)
LIMIT = Limit(1.0, 250 * 10**6)


@pytest.fixture
def config(home, tiny_folder):
    return load_config(None, {"model": {"name": str(tiny_folder)}, "engine": {"threads": 1, "device": "cpu"}})


def engines():
    """The engine processes of this one."""
    return [child for child in psutil.Process().children() if "phitui.engine.worker" in " ".join(child.cmdline())]


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
    assert [(event.setup, event.verdict) for event in ended] == result.probes
    assert all(event.probe.predicted_bytes <= 250 * 10**6 for event in began)
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


async def test_cancelling_ends_the_engine(config):
    begun = asyncio.Event()
    task = asyncio.create_task(tune(config, GOAL, LIMIT, lambda event: begun.set(), vary_compute_type=False))
    await asyncio.wait_for(begun.wait(), 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engines() == []


async def test_nothing_fits_names_who_has_the_memory(config):
    with pytest.raises(NothingFitsError, match=r"not even one row .* holds most RAM, [\d.]+ GB"):
        await tune(config, GOAL, Limit(1.0, 10**7), lambda event: None)
    assert engines() == []


async def test_lengths_beyond_the_window_are_refused_before_anything_is_loaded(config):
    told = []
    with pytest.raises(UsageError, match="the context window has 4096"):
        await tune(config, Goal(4000, 97), LIMIT, told.append)
    assert told == []
