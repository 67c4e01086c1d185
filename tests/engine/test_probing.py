"""Probes of the tuner on the real engine: shapes, times, memory, running out of it, and leaving at any moment."""

import pytest
import pytest_asyncio
from test_engine import GREEDY, PARIS, running

from phitui.engine.protocol.api import Probed, Rejected, Room
from phitui.engine.worker.probing import TokenMark, by_row

MIB = 1024**2
# One loop for those that share engines.
shared = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tiny(tmp_path_factory, tiny_folder):
    async with running(tmp_path_factory.mktemp("engine"), tiny_folder) as engine:
        yield engine


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def two_workers(tmp_path_factory, tiny_folder):
    async with running(tmp_path_factory.mktemp("engine"), tiny_folder, workers=2) as engine:
        yield engine


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo(tmp_path_factory, demo_folder):
    async with running(tmp_path_factory.mktemp("engine"), demo_folder) as engine:
        yield engine


async def probe(engine, *shape, bound_bytes=0):
    number = await engine.client.probe(*shape, bound_bytes=bound_bytes)
    return await engine.wait(lambda e: isinstance(e, Probed | Rejected) and e.id == number)


async def warm(engine, positions=8):
    number = await engine.client.warm_up(positions)
    return await engine.wait(lambda e: isinstance(e, Room | Rejected) and e.id == number)


@shared
async def test_a_probe_has_times_and_memory(tiny):
    room = await warm(tiny)
    assert 10 * MIB < room.rest_bytes < room.usable_bytes
    made = await probe(tiny, 4, 20, 12)
    assert made.kind == "ok"
    assert made.peak_bytes >= room.rest_bytes - MIB
    assert made.usable_bytes > made.peak_bytes
    assert 0 < made.step_s <= made.step_p95_s
    # Prefill with the first token, and eleven steps more, are the whole call.
    assert made.prefill_s + 6 * made.step_s < made.seconds
    assert made.prefill_s < made.seconds


@shared
async def test_one_token_has_no_steps_but_a_time(tiny):
    made = await probe(tiny, 2, 5, 1)
    assert (made.kind, made.step_p95_s) == ("ok", None)
    assert made.step_s == pytest.approx(made.prefill_s)


async def test_memory_grows_with_the_batch_as_predicted(tmp_path, demo_folder, monkeypatch):
    """The growth from 2 to 8 rows is the model's, whose terms are CTranslate2's own allocations. Here the kernel maps
    each block by itself: the holes of glibc's heap, which differ from CPU to CPU, are none of them."""
    from phitui.autotune.memory import Shape
    from phitui.engine.worker.memory_model import memory_model
    from phitui.models.manifest import read_manifest

    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=65536")
    model = memory_model(read_manifest(demo_folder), "int8_float32", workers=1, device="cuda")  # no heap in it
    async with running(tmp_path, demo_folder, threads=2) as engine:
        await warm(engine)
        peaks = {batch: (await probe(engine, batch, 48, 16)).peak_bytes for batch in (2, 8)}
    predicted = model.peak(Shape(8, 48, 16)) - model.peak(Shape(2, 48, 16))
    assert 0.96 <= (peaks[8] - peaks[2]) / predicted <= 1.02


@shared
async def test_rows_are_split_over_the_workers(two_workers):
    assert two_workers.client.loaded.workers == 2
    assert "float32" in two_workers.client.loaded.compute_types
    assert isinstance(await warm(two_workers), Room)
    for batch in (1, 2, 5):
        made = await probe(two_workers, batch, 20, 12)
        assert (made.kind, made.step_s > 0) == ("ok", True)


@shared
async def test_shapes_that_cannot_be_are_refused_and_the_engine_goes_on(tiny):
    refused = await probe(tiny, 2, 4000, 1000)
    assert "5000 tokens do not fit: the context window has 4096" in refused.failure.message
    assert isinstance(await probe(tiny, 0, 8, 8), Rejected)
    assert (await probe(tiny, 1, 8, 8)).kind == "ok"


@shared
async def test_memory_runs_out_and_the_engine_goes_on(demo):
    """A real failure to allocate: the process is held to 40 MiB more than it has."""
    room = await warm(demo)
    pid = demo.client.pid
    made = await probe(demo, 24, 120, 8, bound_bytes=room.rest_bytes + 40 * MIB)
    assert made.kind == "oom"
    assert made.peak_bytes is None
    assert "the engine goes on" in made.detail
    assert demo.client.pid == pid
    assert (await probe(demo, 2, 16, 4)).kind == "ok"
    text, _ = await demo.ask(PARIS, GREEDY)
    assert "Paris" in text


@shared
async def test_a_probe_can_be_cancelled(demo):
    running_one = await demo.client.probe(2, 8, 1500)
    waiting = await demo.client.probe(2, 8, 1500)
    await demo.client.cancel(waiting)
    await demo.client.cancel(running_one)
    for number in (running_one, waiting):
        made = await demo.wait(lambda e, number=number: isinstance(e, Probed) and e.id == number)
        assert made.kind == "cancelled"
    assert (await probe(demo, 1, 8, 8)).kind == "ok"


def test_tokens_are_told_apart_by_their_rows():
    marks = [
        TokenMark(3, 0, 11.5),
        TokenMark(0, 0, 11.0),
        TokenMark(0, 1, 12.0),
        TokenMark(3, 1, 12.6),
        TokenMark(0, 2, 13.0),
    ]
    rows = by_row(marks, 10.0)
    assert list(rows) == [0, 3]
    assert rows[0] == [1.0, 2.0, 3.0]
    assert rows[3] == pytest.approx([1.5, 2.6])


@shared
async def test_every_token_of_every_row_has_its_time(two_workers):
    number = await two_workers.client.probe(5, 20, 12, every_token=True)
    made = await two_workers.wait(lambda e: isinstance(e, Probed) and e.id == number)
    assert [len(row) for row in made.token_s] == [12] * 5
    for row in made.token_s:
        assert row == sorted(row)
        assert 0 < row[0] < row[-1] <= made.seconds
    assert made.prefill_s == max(made.token_s[0][0], made.token_s[3][0])  # the first rows of the two shares
