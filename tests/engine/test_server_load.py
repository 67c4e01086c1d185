"""What servers say of their load: llama.cpp's own server, and the others' texts as their documentation has them."""

import asyncio
import math
import time

import pytest
from raw_server import raw_server
from remote_engine import HI, RemoteEngine, connected

from phitui.core.errors import PhituiError
from phitui.engine.protocol.api import Finished, Sampling
from phitui.engine.remote.histogram import Histogram, histogram
from phitui.engine.remote.metrics import FIGURES, ServerLoad
from phitui.engine.remote.window import figures
from phitui.hardware.exporters.exposition import MetricSample
from phitui.workbench.telemetry.server_watch import ServerWatch

VLLM_MODELS = {"data": [{"id": "m", "owned_by": "vllm", "max_model_len": 4096}]}
VLLM = """# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 2.0
vllm:num_requests_waiting{engine="0",model_name="m"} 4.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.5
vllm:prefix_cache_queries_total{engine="0",model_name="m"} 1000.0
vllm:prefix_cache_hits_total{engine="0",model_name="m"} 400.0
vllm:prompt_tokens_total{engine="0",model_name="m"} 1200.0
vllm:generation_tokens_total{engine="0",model_name="m"} 5000.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.1",model_name="m"} 10.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.2",model_name="m"} 20.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="m"} 20.0
vllm:time_to_first_token_seconds_sum{engine="0",model_name="m"} 2.0
vllm:inter_token_latency_seconds_bucket{engine="0",le="0.01",model_name="m"} 90.0
vllm:inter_token_latency_seconds_bucket{engine="0",le="+Inf",model_name="m"} 100.0
"""
TGI = """tgi_queue_size 7
tgi_batch_current_size 12
tgi_request_generated_tokens_sum 640
tgi_request_input_length_sum 320
tgi_request_mean_time_per_token_duration_bucket{le="0.02"} 4
tgi_request_mean_time_per_token_duration_bucket{le="+Inf"} 5
"""
INFO = {"model_id": "m", "version": "3.3.6", "max_total_tokens": 4096}


async def load_of(models, metrics, **gets):
    def answer(connection):
        if isinstance(metrics, int):
            connection.reply(metrics)
        else:
            connection.reply(200, metrics.encode() if isinstance(metrics, str) else metrics, "text/plain")

    with raw_server(lambda c: None, {"/v1/models": models, "/metrics": answer, **gets}) as server:
        async with connected(server.url) as engine:
            return await engine.client.server_load()


async def test_vllm():
    load = await load_of(VLLM_MODELS, VLLM)
    assert (load.running, load.waiting, load.kv_use) == (5, 4, 0.5)  # engines added; the fullest cache
    assert (load.prompt_tokens, load.generated_tokens, load.prefix_queries, load.prefix_hits) == (1200, 5000, 1000, 400)
    assert load.ttft == Histogram((0.1, 0.2), (10, 20, 20)) and load.itl == Histogram((0.01,), (90, 100))
    assert load.missing == {}


async def test_vllm_of_before_by_its_older_names():
    text = VLLM.replace("kv_cache_usage", "gpu_cache_usage").replace("vllm:prefix_cache", "vllm:gpu_prefix_cache")
    load = await load_of(VLLM_MODELS, text.replace("inter_token_latency", "time_per_output_token"))
    assert (load.kv_use, load.prefix_hits, load.itl.total, load.missing) == (0.5, 400, 100, {})


async def test_tgi():
    load = await load_of({"data": []}, TGI, **{"/info": INFO})
    assert (load.running, load.waiting, load.generated_tokens, load.prompt_tokens) == (12, 7, 640, 320)
    assert load.itl == Histogram((0.02,), (4, 5))
    assert set(load.missing) == {"kv_use", "prefix", "ttft"}


async def test_others_have_none_and_say_so():
    load = await load_of({"data": [{"id": "m"}]}, 404)
    assert set(load.missing) == set(FIGURES) and "not a server whose metrics are known" in load.missing["running"]
    load = await load_of({"data": [{"id": "m"}]}, 404, **{"/api/version": {"version": "0.9"}})
    assert load.missing["kv_use"] == "Ollama has no metrics"


@pytest.mark.parametrize(
    ("metrics", "why"),
    [
        (404, "the server answers 404 to /metrics"),
        (b"\xff\x00" * 100, "the server has no vllm:num_requests_running"),
        ("vllm:num_requests_running{ 5\n", "a line that is no sample"),
        ("vllm:num_requests_running NaN\n", "the server has no vllm:num_requests_running"),
        ("vllm:num_requests_running -1\n", "the server has no vllm:num_requests_running"),
        (b"x" * 4_100_000, "more than 4,000,000 bytes"),
    ],
)
async def test_what_cannot_be_is_not_known(metrics, why):
    load = await load_of(VLLM_MODELS, metrics)
    assert load.running is None and why in load.missing["running"]


async def test_llama_cpp_counts_what_was_asked(llama):
    async with connected(llama.url) as engine:
        before = await engine.client.server_load()
        _, end = await engine.ask()
        after = await engine.client.server_load()
    assert (after.running, after.waiting, after.kv_use) == (0, 0, 0)
    assert after.generated_tokens - before.generated_tokens == end.usage.completion_tokens
    assert after.prefix_queries - before.prefix_queries == end.usage.prompt_tokens
    assert set(after.missing) == {"ttft", "itl"}


async def test_llama_cpp_at_work_tells_its_slots_and_who_waits(llama):
    long = Sampling(1900, 0.0, 0, 1.0, 1.0)
    async with connected(llama.url) as engine:
        numbers = [await engine.client.generate(HI, long) for _ in range(4)]
        most = ServerLoad(0, 0, 0, 0.0)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            while sum(isinstance(event, Finished) for event in engine.events) > len(numbers) - 4:
                numbers.append(await engine.client.generate(HI, long))  # one that has ended leaves room for another
            load = await engine.client.server_load()
            most = ServerLoad(
                0,
                max(most.running, load.running),
                max(most.waiting, load.waiting),
                max(most.kv_use, load.kv_use),
            )
            if most.running == 2 and most.waiting and most.kv_use:
                break
            await asyncio.sleep(0.002)
        for number in numbers:
            await engine.client.cancel(number)
    assert most.running == 2 and most.waiting >= 1 and 0 < most.kv_use <= 1  # it has two slots


async def test_percentiles_by_hand():
    came = Histogram((0.1, 0.2, 0.4), (10, 30, 40, 40)).since(Histogram((0.1, 0.2, 0.4), (10, 20, 20, 20)))
    assert came.counts == (0, 10, 20, 20)
    assert came.percentile_s(0.5) == pytest.approx(0.2) and came.percentile_s(0.25) == pytest.approx(0.15)
    assert came.percentile_s(0.9) == pytest.approx(0.36)
    assert Histogram((0.1,), (1, 2)).percentile_s(0.9) is None  # above the last bound nothing is known
    assert Histogram((0.1,), (0, 0)).percentile_s(0.5) is None
    began_anew = Histogram((0.1,), (1, 1)).since(Histogram((0.1,), (5, 5)))
    assert began_anew.counts == (1, 1)


@pytest.mark.parametrize(
    "buckets", [[("0.1", 3), ("+Inf", 2)], [("0.1", 3)], [("x", 1), ("+Inf", 2)], [("nan", 1), ("+Inf", 2)], []]
)
async def test_what_is_no_histogram(buckets):
    assert histogram([MetricSample("b", {"le": le}, count) for le, count in buckets]) is None


async def test_a_window_by_hand():
    def load(at, tokens, hits, counts):
        times = Histogram((0.1, 0.2), counts)
        return ServerLoad(at, 1, 0, 0.5, 0, tokens, 2 * hits, hits, times, times)

    found = figures([load(0, 0, 0, (0, 0, 0)), load(5, 100, 50, (5, 10, 10)), load(10, 300, 100, (10, 20, 20))])
    assert found.tokens_per_s == 40  # of the last five seconds
    assert found.prefix_share == 0.5 and found.ttft_s == pytest.approx((0.1, 0.18))
    assert found.missing == {}
    quiet = figures([load(0, 5, 5, (1, 1, 1)), load(8, 5, 5, (1, 1, 1))])
    assert quiet.tokens_per_s == 0 and quiet.ttft_s is None and quiet.missing["ttft"] == "no request in the last 8 s"
    assert not any(math.isnan(value) for value in (quiet.kv_use, quiet.tokens_per_s))


def reading(at, tokens, counts):
    times = Histogram((0.1, 0.2), counts)
    return ServerLoad(at, 1, 0, 0.5, 0, tokens, 2 * tokens, tokens, times, times)


def failed(at):
    return ServerLoad(at, missing=dict.fromkeys(FIGURES, "no answer within 2 s"))


async def test_one_reading_that_failed_does_not_end_the_window():
    for loads in (
        [reading(0, 100, (0, 0, 0)), failed(1), reading(2, 200, (5, 10, 10))],
        [failed(0), reading(1, 100, (0, 0, 0)), reading(2, 200, (5, 10, 10))],
    ):
        watch = ServerWatch(None, 1.0)
        for load in loads:
            watch._keep(load, watch._of)
        found = figures(watch._loads)
        assert found.ttft_s == found.itl_s == pytest.approx((0.1, 0.18)) and found.prefix_share == 0.5
        assert found.tokens_per_s in (50, 100) and found.missing == {}


async def test_while_readings_fail_their_reason_is_told_and_a_new_start_is_known_behind_them():
    watch = ServerWatch(None, 1.0)
    for load in (reading(0, 100, (0, 0, 0)), failed(1)):
        watch._keep(load, watch._of)
    assert figures(watch._loads).missing["ttft"] == "no answer within 2 s"
    watch._keep(reading(2, 5, (1, 1, 1)), watch._of)
    assert [load.generated_tokens for load in watch._loads] == [5]
    assert figures(watch._loads).missing["ttft"] == "known from the second reading on"


async def test_a_server_that_is_gone_is_a_reason():
    with raw_server(lambda c: None, {"/v1/models": VLLM_MODELS}) as server:
        engine = RemoteEngine(server.url)
        await engine.client.connect()
        assert (await engine.client.server_load()).missing["running"] == "the server answers 404 to /metrics"
    load = await engine.client.server_load()
    assert "cannot be reached" in load.missing["running"] or "lost" in load.missing["running"]
    await engine.client.stop()


async def test_a_client_that_is_stopped_meanwhile_raises_nothing():
    """As in a change of engine: the question is on its way, or is about to be."""

    def slow(connection):
        time.sleep(0.03)
        connection.reply(200, VLLM.encode(), "text/plain")

    with raw_server(lambda c: time.sleep(0.03), {"/v1/models": VLLM_MODELS, "/metrics": slow}) as server:
        for delay_s in (None, 0, 0.002, 0.01):
            engine = RemoteEngine(server.url)
            await engine.client.connect()
            load, count = (
                asyncio.create_task(asked) for asked in (engine.client.server_load(), engine.client.count(HI))
            )
            if delay_s is not None:
                await asyncio.sleep(delay_s)
            await engine.client.stop()
            if delay_s is None:  # neither was begun
                with pytest.raises(PhituiError, match="not connected"):
                    await load
                with pytest.raises(PhituiError, match="not connected"):
                    await count
            else:
                assert set((await load).missing) in (set(), set(FIGURES))  # all of it came before the end, or nothing
                assert not (await count).exact
