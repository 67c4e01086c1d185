"""A tuning in the console's place of the engine, with real engines on the tiny model."""

import asyncio
import json

import psutil
import pytest
from support.benches import Bench
from support.waiting import until

from phitui.autotune.probes import Goal
from phitui.config.layers import load_config, user_config_file
from phitui.core.errors import PhituiError, UnavailableError, UsageError
from phitui.workbench.chat.chat import State
from phitui.workbench.tune.apply import settings
from phitui.workbench.tune.form import TuneForm
from phitui.workbench.tune.setups import Limit

WISH = TuneForm(Goal(120, 16, start=4, decode_steps=4, most_probes=3), Limit(1.0, 200 * 10**6), False, {})


def workers():
    """The engine processes that live."""
    found = []
    for child in psutil.Process().children():
        try:
            if "phitui.engine.worker.worker" in " ".join(child.cmdline()):
                found.append(child.pid)
        except psutil.Error:
            continue
    return found


class TunerBench(Bench):
    """Counts the most engine processes that there were at once."""

    def __init__(self, folder, **engine):
        settings = {"model": {"name": str(folder)}, "engine": {"device": "cpu", "threads": 1, **engine}}
        super().__init__(**settings, generation={"max_tokens": 4000})
        self.most = 0
        self.heard.on_tuning = self.count

    def count(self):
        self.most = max(self.most, len(workers()))


@pytest.fixture
async def bench(home, tiny_folder):
    async with TunerBench(tiny_folder) as made:
        yield made
    assert workers() == []


async def back(bench):
    """The chat has its engine again."""
    await until(lambda: not bench.tuner.busy)
    await bench.ready()


async def test_the_engine_is_handed_over_and_comes_back(bench):
    first = workers()
    bench.tuner.start(WISH, "Tiny")
    with pytest.raises(UnavailableError, match="a tuning is under way"):
        bench.chat.submit("hello")
    with pytest.raises(UsageError, match="under way already"):
        bench.tuner.start(WISH, "Tiny")
    await until(lambda: bench.tuner.run_state.state != "running")
    run_state = bench.tuner.run_state
    assert (run_state.state, run_state.error) == ("done", "")
    assert run_state.probes == run_state.result.probes
    await back(bench)
    assert bench.telemetry.performance.probing is False
    assert bench.most == 1  # never two at once
    assert workers() != first and len(workers()) == 1
    exchange = bench.chat.submit("hello")
    await until(lambda: exchange.tokens > 0)
    bench.chat.cancel()
    await until(lambda: exchange.state is State.DONE)


async def test_an_answer_on_its_way_stops_and_what_is_queued_waits(home):
    bench = await TunerBench(home / "models" / "smollm2-135m").__aenter__()
    first, second = bench.chat.submit("Tell me a very long story about a lighthouse."), bench.chat.submit("and then")
    await until(lambda: first.tokens > 2)
    bench.tuner.start(TuneForm(WISH.goal, Limit(1.0, 2 * 10**9), False, {}), "Demo")
    await until(lambda: bench.tuner.run_state.running is not None)
    assert (first.state, first.reason) == (State.DONE, "cancelled")
    assert second.state is State.QUEUED
    bench.tuner.cancel()
    await back(bench)
    await until(lambda: second.tokens > 0)
    await bench.close()


@pytest.mark.parametrize("moment", ["at once", "loading", "probing", "paused"])
async def test_cancelling_at_any_moment_brings_the_engine_back(bench, moment):
    bench.tuner.start(WISH, "Tiny")
    if moment != "at once":
        await until(lambda: bench.engine.loaded is None and bench.tuner.pid is not None)
    if moment in ("probing", "paused"):
        await until(lambda: bench.tuner.run_state.running is not None)
    if moment == "paused":
        bench.tuner.toggle_pause()
        await until(lambda: bench.tuner.run_state.running is None)
    bench.tuner.cancel()
    bench.tuner.cancel()  # an impatient second key
    await until(lambda: bench.tuner.run_state.state == "cancelled")
    await back(bench)
    assert bench.most <= 1
    assert bench.heard.failures == []
    with pytest.raises(UsageError, match="nothing to cancel"):
        bench.tuner.cancel()


async def test_paused_no_other_probe_begins(bench):
    bench.tuner.start(WISH, "Tiny")
    await until(lambda: bench.tuner.run_state.running is not None)
    bench.tuner.toggle_pause()
    assert bench.tuner.paused
    await until(lambda: bench.tuner.run_state.running is None)
    done = len(bench.tuner.run_state.probes)
    assert done == 1  # the one that ran was made to its end
    await asyncio.sleep(0.5)
    assert bench.tuner.run_state.running is None and len(bench.tuner.run_state.probes) == done
    bench.tuner.toggle_pause()
    await until(lambda: len(bench.tuner.run_state.probes) > done)


async def test_a_tuning_that_fails_says_why_and_the_engine_comes_back(bench):
    bench.tuner.start(TuneForm(WISH.goal, Limit(1.0, 10**7), False, {}), "Tiny")
    await until(lambda: bench.tuner.run_state.state == "failed")
    assert "not even one row" in bench.tuner.run_state.error
    await back(bench)


async def test_an_error_of_phitui_itself_is_told_and_the_engine_comes_back(bench, monkeypatch):
    async def broken(*_):
        raise ValueError("nothing was measured")

    monkeypatch.setattr("phitui.workbench.tune.tuner.tune", broken)
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    bench.tuner.start(WISH, "Tiny")
    await until(lambda: bench.tuner.run_state.state == "failed")
    assert "ValueError: nothing was measured" in bench.tuner.run_state.error
    assert isinstance(told[0], ValueError)
    await back(bench)


async def test_applying_writes_keeps_comments_and_restarts_the_engine_with_it(bench):
    file = user_config_file()
    file.parent.mkdir(parents=True)
    file.write_text('# mine\n[engine]\nthreads = 1  # one is enough\n\n[theme]\nname = "nord"\n')
    bench.tuner.start(WISH, "Tiny")
    await until(lambda: bench.tuner.run_state.state != "running")
    await back(bench)
    chosen = {**settings(bench.tuner.run_state.result), "engine.workers": 2, "engine.compute_type": "float32"}
    assert bench.tuner.restarts(chosen)
    await bench.tuner.apply(chosen)
    await back(bench)
    loaded = bench.engine.loaded
    assert (loaded.workers, loaded.threads, loaded.compute_type) == (2, chosen["engine.threads"], "float32")
    assert not bench.tuner.restarts(chosen)
    text = file.read_text()
    assert "# mine" in text and 'name = "nord"' in text and "# one is enough" in text
    kept = load_config().engine
    assert (kept.workers, kept.compute_type, kept.batch) == (2, "float32", chosen["engine.batch"])
    assert kept.kv_tokens == chosen["engine.kv_tokens"]
    assert bench.settings.engine.workers == 2
    pid = bench.engine.pid
    await bench.tuner.apply(chosen)  # nothing to start anew for
    assert bench.engine.pid == pid and not bench.tuner.busy


async def test_a_configuration_that_cannot_be_written_is_left_as_it_is(bench):
    file = user_config_file()
    file.parent.mkdir(parents=True)
    file.write_text("[engine]\nnonsense = 1\n")
    chosen = {"engine.workers": 2, "engine.threads": 1, "engine.compute_type": "float32", "engine.batch": 3}
    with pytest.raises(PhituiError, match="nonsense"):
        await bench.tuner.apply({**chosen, "engine.kv_tokens": 9})
    assert file.read_text() == "[engine]\nnonsense = 1\n"
    assert bench.settings.engine.workers == 1


async def test_kept_tunings_are_listed_judged_and_forgotten(bench, home):
    bench.tuner.start(WISH, "Tiny")
    await until(lambda: bench.tuner.profiles)
    await back(bench)
    (found,) = bench.tuner.profiles
    assert found.problem == ""
    assert found.tuning.batch == bench.tuner.run_state.result.answer.b_best
    content = json.loads((home / "tunings.json").read_text())
    for name, key, value in (("old", "engine", "4.0.0"), ("gone", "model", "f" * 64)):
        other = json.loads(json.dumps(content["tunings"][0]))
        other["conditions"][key], other["made"] = value, f"2020 {name}"
        content["tunings"].append(other)
    big = json.loads(json.dumps(content["tunings"][0]))
    big["peak_bytes"], big["made"], big["conditions"]["bucket"] = 10**15, "2020 big", 512
    absent = json.loads(json.dumps(content["tunings"][0]))
    absent["model_name"], absent["made"] = "not-here", "2020 absent"
    content["tunings"] += [big, absent]
    (home / "tunings.json").write_text(json.dumps(content))
    bench.tuner.refresh()
    await until(lambda: len(bench.tuner.profiles) == 5)
    problems = {profile.tuning.made: profile.problem for profile in bench.tuner.profiles}
    assert problems["2020 old"] == "CTranslate2 changed"
    assert problems["2020 gone"] == "the model's weights changed"
    assert problems["2020 absent"] == "its model is not here"
    assert problems["2020 big"].startswith("it takes 931322.57 GiB")
    assert bench.tuner.profiles[0].problem == ""
    await bench.tuner.delete(next(one for one in bench.tuner.profiles if one.tuning.made == "2020 old"))
    await until(lambda: len(bench.tuner.profiles) == 4)
    assert "2020 old" not in (home / "tunings.json").read_text()


async def test_leaving_ends_the_tuning_and_its_process(home, tiny_folder):
    bench = await TunerBench(tiny_folder).__aenter__()
    bench.tuner.start(WISH, "Tiny")
    await until(lambda: bench.tuner.run_state.running is not None)
    await bench.close()
    assert workers() == []
    assert bench.engine.loaded is None


async def test_without_an_engine_a_tuning_brings_one(home):
    bench = TunerBench(home / "models" / "tiny-phi3")
    bench.tuner.start(WISH, "")
    await until(lambda: bench.tuner.run_state.state == "done")
    await back(bench)
    assert bench.engine.folder.endswith("tiny-phi3")
    await bench.close()


async def test_without_an_engine_or_a_model_there_is_a_reason(home):
    bench = TunerBench("phi-3-mini")
    bench.tuner.start(WISH, "")
    await until(lambda: bench.tuner.run_state.state == "failed" and not bench.tuner.busy)
    assert "phitui model pull" in bench.tuner.run_state.error
    await bench.close()
