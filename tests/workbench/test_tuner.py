"""A tuning in the console's place of the engine, with real engines on the tiny model."""

import asyncio
import json
import time

import psutil
import pytest

from phitui.autotune.probes import Goal
from phitui.config.layers import load_config, user_config_file
from phitui.core.errors import PhituiError, UnavailableError, UsageError
from phitui.engine.protocol.api import Loaded
from phitui.workbench.chat.chat import Chat, State
from phitui.workbench.engines import Engines
from phitui.workbench.start import engine_log, sampling, start_engine
from phitui.workbench.tune.apply import settings
from phitui.workbench.tune.form import Wish
from phitui.workbench.tune.setups import Limit
from phitui.workbench.tune.tuner import Hooks, TuningDesk

WISH = Wish(Goal(120, 16, start=4, decode_steps=4, most_probes=3), Limit(1.0, 200 * 10**6), False, {})


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


class Bench:
    """A chat with a real engine and a desk beside it, as the console has them."""

    def __init__(self, folder, **engine):
        settings = {"model": {"name": str(folder)}, "engine": {"device": "cpu", "threads": 1, **engine}}
        self.config = load_config(overrides={**settings, "generation": {"max_tokens": 4000}})
        self.said, self.watched, self.failures, self.most = [], [], [], 0
        self.client = Engines(engine_log(), self.take)
        self.chat = Chat(self.client, sampling(self.config.generation), "", lambda _: None)
        hooks = Hooks(self.changed, self.watched.append, self.failures.append, self.said.append, self.configured)
        self.desk = TuningDesk(self.client, self.config, self.chat, hooks)

    def take(self, event):
        self.chat.handle(event)

    def changed(self):
        self.most = max(self.most, len(workers()))

    def configured(self, config):
        self.config = config

    async def start(self):
        await start_engine(self.client, self.config, lambda _: None)
        await self.until(lambda: self.client.loaded is not None)

    async def until(self, condition, timeout_s=60):
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, "it did not come"
            await asyncio.sleep(0.01)

    async def close(self):
        await self.desk.close()
        await self.client.stop()


@pytest.fixture
async def bench(home, tiny_folder):
    made = Bench(tiny_folder)
    await made.start()
    yield made
    await made.close()
    assert workers() == []


async def back(bench):
    """The chat has its engine again."""
    await bench.until(lambda: not bench.desk.busy and bench.client.loaded is not None)


async def test_the_engine_is_handed_over_and_comes_back(bench):
    first = workers()
    bench.desk.start(WISH, "Tiny")
    with pytest.raises(UnavailableError, match="a tuning is under way"):
        bench.chat.submit("hello")
    with pytest.raises(UsageError, match="under way already"):
        bench.desk.start(WISH, "Tiny")
    await bench.until(lambda: bench.desk.course.state != "running")
    course = bench.desk.course
    assert (course.state, course.error) == ("done", "")
    assert course.probes == course.result.probes
    assert any(isinstance(event, Loaded) for event in bench.watched)
    await back(bench)
    assert bench.most == 1  # never two at once
    assert workers() != first and len(workers()) == 1
    exchange = bench.chat.submit("hello")
    await bench.until(lambda: exchange.tokens > 0)
    bench.chat.cancel()
    await bench.until(lambda: exchange.state is State.DONE)


async def test_an_answer_on_its_way_stops_and_what_is_queued_waits(home):
    bench = Bench(home / "models" / "smollm2-135m")
    await bench.start()
    first, second = bench.chat.submit("Tell me a very long story about a lighthouse."), bench.chat.submit("and then")
    await bench.until(lambda: first.tokens > 2)
    bench.desk.start(Wish(WISH.goal, Limit(1.0, 2 * 10**9), False, {}), "Demo")
    await bench.until(lambda: bench.desk.course.running is not None)
    assert (first.state, first.reason) == (State.DONE, "cancelled")
    assert second.state is State.QUEUED
    bench.desk.cancel()
    await back(bench)
    await bench.until(lambda: second.tokens > 0)
    await bench.close()


@pytest.mark.parametrize("moment", ["at once", "loading", "probing", "paused"])
async def test_cancelling_at_any_moment_brings_the_engine_back(bench, moment):
    bench.desk.start(WISH, "Tiny")
    if moment != "at once":
        await bench.until(lambda: bench.client.loaded is None and bench.desk.pid is not None)
    if moment in ("probing", "paused"):
        await bench.until(lambda: bench.desk.course.running is not None)
    if moment == "paused":
        bench.desk.toggle_pause()
        await bench.until(lambda: bench.desk.course.running is None)
    bench.desk.cancel()
    bench.desk.cancel()  # an impatient second key
    begun = time.monotonic()
    await bench.until(lambda: bench.desk.course.state == "cancelled")
    assert time.monotonic() - begun < 6
    await back(bench)
    assert bench.most <= 1
    assert bench.failures == []
    with pytest.raises(UsageError, match="nothing to cancel"):
        bench.desk.cancel()


async def test_paused_no_other_probe_begins(bench):
    bench.desk.start(WISH, "Tiny")
    await bench.until(lambda: bench.desk.course.running is not None)
    bench.desk.toggle_pause()
    assert bench.desk.paused
    await bench.until(lambda: bench.desk.course.running is None)
    done = len(bench.desk.course.probes)
    assert done == 1  # the one that ran was made to its end
    await asyncio.sleep(1.0)
    assert bench.desk.course.running is None and len(bench.desk.course.probes) == done
    bench.desk.toggle_pause()
    await bench.until(lambda: len(bench.desk.course.probes) > done)


async def test_a_tuning_that_fails_says_why_and_the_engine_comes_back(bench):
    bench.desk.start(Wish(WISH.goal, Limit(1.0, 10**7), False, {}), "Tiny")
    await bench.until(lambda: bench.desk.course.state == "failed")
    assert "not even one row" in bench.desk.course.error
    await back(bench)


async def test_an_error_of_phitui_itself_is_told_and_the_engine_comes_back(bench, monkeypatch):
    async def broken(*_):
        raise ValueError("nothing was measured")

    monkeypatch.setattr("phitui.workbench.tune.tuner.tune", broken)
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    bench.desk.start(WISH, "Tiny")
    await bench.until(lambda: bench.desk.course.state == "failed")
    assert "ValueError: nothing was measured" in bench.desk.course.error
    assert isinstance(told[0], ValueError)
    await back(bench)


async def test_applying_writes_keeps_comments_and_restarts_the_engine_with_it(bench):
    file = user_config_file()
    file.parent.mkdir(parents=True)
    file.write_text('# mine\n[engine]\nthreads = 1  # one is enough\n\n[theme]\nname = "nord"\n')
    bench.desk.start(WISH, "Tiny")
    await bench.until(lambda: bench.desk.course.state != "running")
    await back(bench)
    chosen = {**settings(bench.desk.course.result), "engine.workers": 2, "engine.compute_type": "float32"}
    assert bench.desk.restarts(chosen)
    await bench.desk.apply(chosen)
    await back(bench)
    loaded = bench.client.loaded
    assert (loaded.workers, loaded.threads, loaded.compute_type) == (2, chosen["engine.threads"], "float32")
    assert not bench.desk.restarts(chosen)
    text = file.read_text()
    assert "# mine" in text and 'name = "nord"' in text and "# one is enough" in text
    kept = load_config().engine
    assert (kept.workers, kept.compute_type, kept.batch) == (2, "float32", chosen["engine.batch"])
    assert kept.kv_tokens == chosen["engine.kv_tokens"]
    assert bench.config.engine.workers == 2
    pid = bench.client.pid
    await bench.desk.apply(chosen)  # nothing to start anew for
    assert bench.client.pid == pid and not bench.desk.busy


async def test_a_configuration_that_cannot_be_written_is_left_as_it_is(bench):
    file = user_config_file()
    file.parent.mkdir(parents=True)
    file.write_text("[engine]\nnonsense = 1\n")
    chosen = {"engine.workers": 2, "engine.threads": 1, "engine.compute_type": "float32", "engine.batch": 3}
    with pytest.raises(PhituiError, match="nonsense"):
        await bench.desk.apply({**chosen, "engine.kv_tokens": 9})
    assert file.read_text() == "[engine]\nnonsense = 1\n"
    assert bench.desk.config.engine.workers == 1


async def test_kept_tunings_are_listed_judged_and_forgotten(bench, home):
    bench.desk.start(WISH, "Tiny")
    await bench.until(lambda: bench.desk.profiles)
    await back(bench)
    (found,) = bench.desk.profiles
    assert found.problem == ""
    assert found.tuning.batch == bench.desk.course.result.answer.b_best
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
    bench.desk.refresh()
    await bench.until(lambda: len(bench.desk.profiles) == 5)
    problems = {profile.tuning.made: profile.problem for profile in bench.desk.profiles}
    assert problems["2020 old"] == "CTranslate2 changed"
    assert problems["2020 gone"] == "the model's weights changed"
    assert problems["2020 absent"] == "its model is not here"
    assert problems["2020 big"].startswith("it takes 1000000.00 GB")
    assert bench.desk.profiles[0].problem == ""
    await bench.desk.delete(next(one for one in bench.desk.profiles if one.tuning.made == "2020 old"))
    await bench.until(lambda: len(bench.desk.profiles) == 4)
    assert "2020 old" not in (home / "tunings.json").read_text()


async def test_leaving_ends_the_tuning_and_its_process(home, tiny_folder):
    bench = Bench(tiny_folder)
    await bench.start()
    bench.desk.start(WISH, "Tiny")
    await bench.until(lambda: bench.desk.course.running is not None)
    await bench.close()
    assert workers() == []
    assert bench.client.loaded is None


async def test_without_an_engine_a_tuning_brings_one(home):
    bench = Bench(home / "models" / "tiny-phi3")
    bench.desk.start(WISH, "")
    await bench.until(lambda: bench.desk.course.state == "done")
    await back(bench)
    assert bench.client.folder.endswith("tiny-phi3")
    await bench.close()


async def test_without_an_engine_or_a_model_there_is_a_reason(home):
    bench = Bench("phi-3-mini")
    bench.desk.start(WISH, "")
    await bench.until(lambda: bench.desk.course.state == "failed" and not bench.desk.busy)
    assert "phitui model pull" in bench.desk.course.error
    await bench.close()
