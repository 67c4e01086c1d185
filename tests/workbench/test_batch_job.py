"""One input on an engine that says what the test has it say."""

import asyncio
import json

import pytest

from phitui.config.layers import load_config
from phitui.core.errors import PhituiError
from phitui.engine.protocol.api import BatchEnded, Died, Loaded, RowDone, RowsMade
from phitui.engine.protocol.rows_api import RowUsage
from phitui.workbench.batch.file import BatchFile, Order
from phitui.workbench.batch.job import BatchPlan

HERE = Loaded("here", "Here", "cpu", "float32", 1, 4096, 1, 0.0, "")
OTHER = Loaded("other", "Other", "cpu", "float32", 1, 4096, 1, 0.0, "")


class Engine:
    """Answers the first rows that it is sent by `events`, all at once; those after them by nothing."""

    loaded = HERE

    def __init__(self, events):
        self.events, self.file, self.opened = events, None, []

    async def open_batch(self, batch):
        self.opened.append(batch)
        return len(self.opened)

    async def add_rows(self, batch_id, rows, last=False):
        events, self.events = self.events, lambda rows: []
        for event in events(rows):
            self.file.on_event(event)

    async def cancel(self, request_id):
        pass


def done_by(batch):
    return lambda row: RowDone(batch, row.key, "yes", "stop", RowUsage(1, 2), [5, 6], 0.1)


done = done_by(1)


async def test_an_engine_that_dies_once_more_while_it_loads_is_waited_for(home, tmp_path):
    def events(rows):
        engine.events = lambda rows: [*map(done_by(2), rows), BatchEnded(2, "done")]
        return [Died("gone", [1], True), Died("gone again", [], True), HERE]

    engine, file = await of_four_rows(tmp_path, events)
    await asyncio.wait_for(file.run(engine, None, HERE, BatchPlan(4, 0, None, "")), 30)
    assert (file.progress.ended, file.progress.deaths, file.counts.rows) == ("complete", 2, 4)


async def fails_with(tmp_path, events):
    """Run it to its error; the file, and what it wrote."""
    engine, file = await of_four_rows(tmp_path, events)
    with pytest.raises(PhituiError) as error:
        await file.run(engine, None, HERE, BatchPlan(4, 0, None, ""))
    return file, str(error.value), [json.loads(line) for line in file.order.target.read_text().splitlines()]


async def of_four_rows(tmp_path, events):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps({"prompt": f"row {number}"}) + "\n" for number in range(4)))
    engine = Engine(events)
    engine.file = file = BatchFile(Order(source, target), load_config(), lambda line: None)
    await file.scan()
    return engine, file


async def test_one_that_somebody_else_brought_to_its_end_since_it_was_looked_at_is_complete(home, tmp_path):
    await fails_with(tmp_path, lambda rows: [done(rows[0]), OTHER])
    order = Order(tmp_path / "in.jsonl", tmp_path / "out.jsonl", resume=True)
    told = []
    late = BatchFile(order, load_config(), told.append)
    assert await late.scan()  # there is a journal, and rows are left
    engine = Engine(lambda rows: [*map(done, rows), BatchEnded(1, "done")])
    engine.file = other = BatchFile(order, load_config(), lambda line: None)
    assert await other.scan()
    await asyncio.wait_for(other.run(engine, None, HERE, BatchPlan(4, 0, None, "")), 30)
    await asyncio.wait_for(late.run(engine, None, HERE, BatchPlan(4, 0, None, "")), 30)
    assert told == ["complete by now: another phitui has come to its end"]
    assert (late.progress.ended, late.counts.rows) == ("complete", 4)


async def test_rows_that_were_done_before_an_error_are_kept(home, tmp_path):
    """In one step: a row is done, and the engine has another model."""
    file, error, lines = await fails_with(tmp_path, lambda rows: [done(rows[0]), done(rows[1]), OTHER])
    assert "another model now (other)" in error
    assert [line["line"] for line in lines] == [1, 2]
    assert (file.counts.rows, file.progress.done) == (2, 2)


async def test_tokens_that_came_before_a_death_are_in_the_journal(home, tmp_path):
    from phitui.storage.journal import MadeRecord, read_journal

    def events(rows):
        return [done(rows[0]), RowsMade(1, [(rows[1].key, [7, 8])]), Died("gone", [1], False)]

    _, error, lines = await fails_with(tmp_path, events)
    assert "the engine keeps dying (gone)" in error
    assert [line["line"] for line in lines] == [1]
    kept = [record for record in read_journal(tmp_path / "out.jsonl.journal") if isinstance(record, MadeRecord)]
    assert [record.ids for record in kept] == [[7, 8]]


async def test_a_model_that_changed_before_the_first_row_was_sent_ends_it(home, tmp_path, monkeypatch):
    monkeypatch.setattr(Engine, "loaded", OTHER)
    _, error, lines = await fails_with(tmp_path, lambda rows: [])
    assert "another model now (other)" in error
    assert lines == []
