"""A tuning of the server that the chat is asking: the chat leaves it alone meanwhile, and goes on after it."""

import asyncio

import pytest
from answering_server import answering
from support.benches import Bench
from support.waiting import until

from phitui.autotune.probes import Goal
from phitui.autotune.server_search import ServerGoal
from phitui.config.layers import load_config, user_config_file
from phitui.core.errors import UnavailableError, UsageError
from phitui.workbench.chat.chat import State
from phitui.workbench.lease import Use
from phitui.workbench.tune import tuner
from phitui.workbench.tune.apply import settings
from phitui.workbench.tune.form import TuneForm
from phitui.workbench.tune.setups import Limit

WISH = TuneForm(ServerGoal(24, 40, start=2, most=4, repeats=1), Limit(0.95), False, {})


class ServerBench(Bench):
    def __init__(self, url, name="box", config=None):
        overrides = {"engine": {"name": name}, "generation": {"max_tokens": 40}}
        overrides["engines"] = {name: {"url": url, "retries": 0}}
        super().__init__(config, **overrides)

    async def ended(self):
        await until(lambda: not self.tuner.busy)
        return self.tuner.run_state


async def test_it_is_tuned_kept_judged_and_forgotten_while_the_chats_engine_stays(llama):
    async with ServerBench(llama.url) as bench:
        loaded = bench.engine.loaded
        bench.tuner.start(WISH, "tiny")
        with pytest.raises(UnavailableError, match="a tuning is under way: a prompt to the server would be measured"):
            bench.chat.submit("hello")
        with pytest.raises(UsageError, match="under way already"):
            bench.tuner.start(WISH, "tiny")
        run_state = await bench.ended()
        assert (run_state.state, run_state.error) == ("done", "")
        assert [one.verdict for one in run_state.probes] == run_state.result.answer.probes
        answer = run_state.result.answer
        assert (run_state.latest.fit.fixed_s, run_state.latest.fit.request_s) == (answer.fixed_s, answer.request_s)
        assert bench.engine.loaded is loaded
        await until(lambda: bench.tuner.profiles)
        (found,) = bench.tuner.profiles
        assert (found.problem, found.tuning.c_best) == ("", answer.c_best)
        await bench.tuner.delete(found)
        await until(lambda: not bench.tuner.profiles)
        exchange = bench.chat.submit("hello")
        await until(lambda: exchange.state is State.DONE)


async def test_an_answer_on_its_way_stops_and_what_is_queued_waits_for_the_end():
    with answering(step_s=0.05) as (server, how):
        async with ServerBench(server.url) as bench:
            first, second = bench.chat.submit("tell me of a lighthouse"), bench.chat.submit("and then what")
            await until(lambda: first.text)
            bench.tuner.start(WISH, "m")
            await until(lambda: bench.tuner.run_state.running is not None)
            assert (first.state, first.reason) == (State.DONE, "cancelled")
            await until(lambda: len(bench.tuner.run_state.probes) > 1)
            assert second.state is State.QUEUED and "and then what" not in how.seen
            bench.tuner.cancel()
            await until(lambda: second.state is State.DONE)
            assert bench.tuner.run_state.state == "cancelled"


@pytest.mark.parametrize("moment", ["at once", "asking", "probing", "paused"])
async def test_cancelling_at_any_moment_leaves_the_chat_its_server(moment):
    with answering(step_s=0.02) as (server, how):
        async with ServerBench(server.url) as bench:
            bench.tuner.start(WISH, "m")
            if moment == "asking":
                await until(lambda: how.bodies)
            if moment in ("probing", "paused"):
                await until(lambda: bench.tuner.run_state.running is not None)
            if moment == "paused":
                bench.tuner.toggle_pause()
                await until(lambda: bench.tuner.run_state.running is None)
                done = len(bench.tuner.run_state.probes)
                await asyncio.sleep(0.5)
                assert bench.tuner.paused and len(bench.tuner.run_state.probes) == done
            bench.tuner.cancel()
            bench.tuner.cancel()  # an impatient second key
            assert (await bench.ended()).state == "cancelled"
            await until(lambda: how.now == 0)  # its connections are closed
            exchange = bench.chat.submit("hello")
            await until(lambda: exchange.state is State.DONE)


async def test_a_server_that_goes_away_is_one_line_and_the_desk_is_free():
    with answering(step_s=0.02) as (server, _):
        bench = await ServerBench(server.url).__aenter__()
        bench.tuner.start(WISH, "m")
        await until(lambda: bench.tuner.run_state.running is not None)
    run_state = await bench.ended()
    assert run_state.state == "failed" and "cannot be reached" in run_state.error and "\n" not in run_state.error
    bench.leases.check(Use.ANSWER)
    bench.tuner.check_start()
    await bench.__aexit__()


async def test_a_defect_ends_it_and_the_chat_goes_on(monkeypatch):
    async def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(tuner, "tune_server", broken)
    defects = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: defects.append(context["exception"]))
    with answering() as (server, _):
        async with ServerBench(server.url) as bench:
            bench.tuner.start(WISH, "m")
            assert (await bench.ended()).state == "failed"
            exchange = bench.chat.submit("hello")
            await until(lambda: exchange.state is State.DONE)
    assert [type(defect) for defect in defects] == [ZeroDivisionError]


async def test_leaving_in_mid_tuning_sends_the_server_nothing_more():
    with answering(step_s=0.05) as (server, how):
        async with ServerBench(server.url) as bench:
            bench.chat.submit("one"), bench.chat.submit("two of them")
            bench.tuner.start(WISH, "m")
            await until(lambda: bench.tuner.run_state.running is not None)
        await asyncio.sleep(0.2)
        assert "two of them" not in how.seen and not bench.tuner.busy


async def test_files_of_a_batch_begin_after_it(tmp_path):
    with answering(step_s=0.02) as (server, how):
        async with ServerBench(server.url) as bench:
            bench.tuner.start(WISH, "m")
            (tmp_path / "in.jsonl").write_text('{"prompt": "a row"}\n')
            entry = bench.batches.add(tmp_path / "in.jsonl")
            await asyncio.sleep(0.2)
            assert (entry.state, entry.note) == ("queued", "a tuning is under way") and "a row" not in how.seen
            bench.tuner.cancel()
            await until(lambda: entry.state == "complete")


async def test_a_wish_for_another_kind_of_engine_is_refused():
    with answering() as (server, _):
        async with ServerBench(server.url) as bench:
            with pytest.raises(UsageError, match="another engine answers now"):
                bench.tuner.start(TuneForm(Goal(8, 8), Limit(0.9), False, {}), "m")
            assert not bench.tuner.busy and bench.tuner.run_state is None


async def test_applying_writes_the_section_of_the_engine_and_keeps_comments():
    with answering(step_s=0.01) as (server, _):
        file = user_config_file()
        file.parent.mkdir(parents=True)
        file.write_text(f'# mine\n[engines.box]\nurl = "{server.url}"  # under the desk\nconcurrency = 3\n')
        config = load_config(overrides={"engine": {"name": "box"}})
        async with ServerBench("", config=config) as bench:
            bench.tuner.start(WISH, "m")
            chosen = settings((await bench.ended()).result)
            assert not bench.tuner.restarts(chosen)
            await bench.tuner.apply(chosen)
            best = bench.tuner.run_state.result.answer.c_best
            assert bench.settings.engines["box"].concurrency == load_config().engines["box"].concurrency == best
            text = file.read_text()
            assert text.startswith("# mine\n") and "# under the desk" in text and f"concurrency = {best}" in text
            assert settings(bench.tuner.profiles[0].tuning) == chosen


async def test_an_address_without_a_section_is_told_what_to_write(tmp_path, monkeypatch):
    with answering(step_s=0.01) as (server, _):
        host = server.url.removeprefix("http://")
        async with ServerBench(server.url, host) as bench:
            with pytest.raises(UsageError) as refused:
                await bench.tuner.apply({f"engines.{host}.concurrency": 4})
        assert f'Write [engines.NAME] with url = "{server.url}" and concurrency = 4 into' in str(refused.value)
        assert not user_config_file().exists()
        elsewhere = tmp_path / "other.toml"
        elsewhere.write_text(f'[engines.box]\nurl = "{server.url}"\n')
        config = load_config(elsewhere, overrides={"engine": {"name": "box"}})
        async with ServerBench("", config=config) as bench:
            with pytest.raises(
                UsageError, match=r"\[engines.box\] stands in .*other.toml.*Write concurrency = 4 there"
            ):
                await bench.tuner.apply({"engines.box.concurrency": 4})
