"""A tuning of the server that the chat is asking: the chat leaves it alone meanwhile, and goes on after it."""

import asyncio
import time

import pytest
from answering_server import answering

from phitui.autotune.probes import Goal
from phitui.autotune.server_search import LoadGoal
from phitui.config.layers import load_config, user_config_file
from phitui.core.errors import UnavailableError, UsageError
from phitui.workbench.batch.queue import BatchDesk
from phitui.workbench.chat.chat import Chat, State
from phitui.workbench.engines import Engines
from phitui.workbench.start import engine_log, sampling, start_engine
from phitui.workbench.tune import tuner
from phitui.workbench.tune.apply import settings
from phitui.workbench.tune.form import LoadWish, Wish
from phitui.workbench.tune.setups import Limit
from phitui.workbench.tune.tuner import Hooks, TuningDesk

WISH = LoadWish(LoadGoal(24, 40, start=2, most=4, repeats=1), {})


class Bench:
    """A chat on a server and a desk beside it, as the console has them."""

    def __init__(self, url, name="box", config=None):
        overrides = {"engine": {"name": name}, "generation": {"max_tokens": 40}}
        overrides["engines"] = {name: {"url": url, "retries": 0}}
        self.config = config or load_config(overrides=overrides)
        self.said = []
        self.batches = None
        self.client = Engines(engine_log(), self.take)
        self.chat = Chat(self.client, sampling(self.config.generation), "", lambda _: None)
        nothing = lambda *_: None  # noqa: E731
        hooks = Hooks(nothing, nothing, nothing, self.said.append, self.configured)
        self.desk = TuningDesk(self.client, self.config, self.chat, hooks)

    def take(self, event):
        self.chat.handle(event)
        if self.batches is not None:
            self.batches.take(event)

    def configured(self, config):
        self.config = config

    async def __aenter__(self):
        await start_engine(self.client, self.config, lambda _: None)
        return self

    async def __aexit__(self, *_):
        await self.desk.close()
        await self.client.stop()

    async def until(self, condition, timeout_s=60):
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, "it did not come"
            await asyncio.sleep(0.01)

    async def ended(self):
        await self.until(lambda: not self.desk.busy)
        return self.desk.course


async def test_it_is_tuned_kept_judged_and_forgotten_while_the_chats_engine_stays(llama):
    async with Bench(llama.url) as bench:
        loaded = bench.client.loaded
        bench.desk.start(WISH, "tiny")
        with pytest.raises(UnavailableError, match="tuning of the server is under way: a prompt would be measured"):
            bench.chat.submit("hello")
        with pytest.raises(UsageError, match="under way already"):
            bench.desk.start(WISH, "tiny")
        course = await bench.ended()
        assert (course.state, course.error) == ("done", "")
        assert course.probes == course.result.answer.probes
        answer = course.result.answer
        assert (course.fit.fixed_s, course.fit.request_s) == (answer.fixed_s, answer.request_s)
        assert bench.client.loaded is loaded
        await bench.until(lambda: bench.desk.profiles)
        (found,) = bench.desk.profiles
        assert (found.problem, found.tuning.c_best) == ("", answer.c_best)
        await bench.desk.delete(found)
        await bench.until(lambda: not bench.desk.profiles)
        exchange = bench.chat.submit("hello")
        await bench.until(lambda: exchange.state is State.DONE)


async def test_an_answer_on_its_way_stops_and_what_is_queued_waits_for_the_end():
    with answering(step_s=0.05) as (server, how):
        async with Bench(server.url) as bench:
            first, second = bench.chat.submit("tell me of a lighthouse"), bench.chat.submit("and then what")
            await bench.until(lambda: first.text)
            bench.desk.start(WISH, "m")
            await bench.until(lambda: bench.desk.course.running is not None)
            assert (first.state, first.reason) == (State.DONE, "cancelled")
            await bench.until(lambda: len(bench.desk.course.probes) > 1)
            assert second.state is State.QUEUED and "and then what" not in how.seen
            bench.desk.cancel()
            await bench.until(lambda: second.state is State.DONE)
            assert bench.desk.course.state == "cancelled"


@pytest.mark.parametrize("moment", ["at once", "asking", "probing", "paused"])
async def test_cancelling_at_any_moment_leaves_the_chat_its_server(moment):
    with answering(step_s=0.02) as (server, how):
        async with Bench(server.url) as bench:
            bench.desk.start(WISH, "m")
            if moment == "asking":
                await bench.until(lambda: how.bodies)
            if moment in ("probing", "paused"):
                await bench.until(lambda: bench.desk.course.running is not None)
            if moment == "paused":
                bench.desk.toggle_pause()
                await bench.until(lambda: bench.desk.course.running is None)
                done = len(bench.desk.course.probes)
                await asyncio.sleep(0.5)
                assert bench.desk.paused and len(bench.desk.course.probes) == done
            bench.desk.cancel()
            bench.desk.cancel()  # an impatient second key
            assert (await bench.ended()).state == "cancelled"
            await bench.until(lambda: how.now == 0)  # its connections are closed
            exchange = bench.chat.submit("hello")
            await bench.until(lambda: exchange.state is State.DONE)


async def test_a_server_that_goes_away_is_one_line_and_the_desk_is_free():
    with answering(step_s=0.02) as (server, _):
        bench = await Bench(server.url).__aenter__()
        bench.desk.start(WISH, "m")
        await bench.until(lambda: bench.desk.course.running is not None)
    course = await bench.ended()
    assert course.state == "failed" and "cannot be reached" in course.error and "\n" not in course.error
    assert bench.chat.refusal is None
    bench.desk.check_start()
    await bench.__aexit__()


async def test_a_defect_ends_it_and_the_chat_goes_on(monkeypatch):
    async def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(tuner, "tune_server", broken)
    defects = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: defects.append(context["exception"]))
    with answering() as (server, _):
        async with Bench(server.url) as bench:
            bench.desk.start(WISH, "m")
            assert (await bench.ended()).state == "failed"
            exchange = bench.chat.submit("hello")
            await bench.until(lambda: exchange.state is State.DONE)
    assert [type(defect) for defect in defects] == [ZeroDivisionError]


async def test_leaving_in_mid_tuning_sends_the_server_nothing_more():
    with answering(step_s=0.05) as (server, how):
        async with Bench(server.url) as bench:
            bench.chat.submit("one"), bench.chat.submit("two of them")
            bench.desk.start(WISH, "m")
            await bench.until(lambda: bench.desk.course.running is not None)
        await asyncio.sleep(0.2)
        assert "two of them" not in how.seen and not bench.desk.busy


async def test_files_of_a_batch_begin_after_it(tmp_path):
    with answering() as (server, how):
        async with Bench(server.url) as bench:
            batches = bench.batches = BatchDesk(bench.client, bench.config, lambda _: None)
            batches.hold("a tuning is under way")
            (tmp_path / "in.jsonl").write_text('{"prompt": "a row"}\n')
            entry = batches.add(tmp_path / "in.jsonl")
            await asyncio.sleep(0.2)
            assert (entry.state, entry.note) == ("queued", "a tuning is under way") and "a row" not in how.seen
            batches.hold("")
            await bench.until(lambda: entry.state == "complete")
            await batches.close()


async def test_a_wish_for_another_kind_of_engine_is_refused():
    with answering() as (server, _):
        async with Bench(server.url) as bench:
            with pytest.raises(UsageError, match="another engine answers now"):
                bench.desk.start(Wish(Goal(8, 8), Limit(0.9), False, {}), "m")
            assert not bench.desk.busy and bench.desk.course is None


async def test_applying_writes_the_section_of_the_engine_and_keeps_comments():
    with answering(step_s=0.01) as (server, _):
        file = user_config_file()
        file.parent.mkdir(parents=True)
        file.write_text(f'# mine\n[engines.box]\nurl = "{server.url}"  # under the desk\nconcurrency = 3\n')
        config = load_config(overrides={"engine": {"name": "box"}})
        async with Bench("", config=config) as bench:
            bench.desk.start(WISH, "m")
            chosen = settings((await bench.ended()).result)
            assert not bench.desk.restarts(chosen)
            await bench.desk.apply(chosen)
            best = bench.desk.course.result.answer.c_best
            assert bench.config.engines["box"].concurrency == load_config().engines["box"].concurrency == best
            text = file.read_text()
            assert text.startswith("# mine\n") and "# under the desk" in text and f"concurrency = {best}" in text
            assert settings(bench.desk.profiles[0].tuning) == chosen


async def test_an_address_without_a_section_is_told_what_to_write(tmp_path, monkeypatch):
    with answering(step_s=0.01) as (server, _):
        host = server.url.removeprefix("http://")
        async with Bench(server.url, host) as bench:
            with pytest.raises(UsageError) as refused:
                await bench.desk.apply({f"engines.{host}.concurrency": 4})
        assert f'Write [engines.NAME] with url = "{server.url}" and concurrency = 4 into' in str(refused.value)
        assert not user_config_file().exists()
        elsewhere = tmp_path / "other.toml"
        elsewhere.write_text(f'[engines.box]\nurl = "{server.url}"\n')
        config = load_config(elsewhere, overrides={"engine": {"name": "box"}})
        async with Bench("", config=config) as bench:
            with pytest.raises(
                UsageError, match=r"\[engines.box\] stands in .*other.toml.*Write concurrency = 4 there"
            ):
                await bench.desk.apply({"engines.box.concurrency": 4})
