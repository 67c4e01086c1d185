"""Pictures of the batch screen."""

from pathlib import Path

from frozen_console import FrozenConsole
from pictured import each_look
from support.resting import painted_first
from support.waiting import until_shown as until

from phitui.tui.screens.batches import cells
from phitui.workbench.batch.file import Order
from phitui.workbench.batch.progress import BatchProgress
from phitui.workbench.batch.queue import BatchEntry


def progress(**figures):
    """Ten seconds after its first row."""
    now = BatchProgress(clock=lambda: 10.0, **figures)
    now._begun = 0.0
    now._marks.append((9.0, 8000))
    return now


def order(name):
    return Order(Path(f"/data/{name}.jsonl"), Path(f"/data/{name}-answers.jsonl"), True)


def entries():
    reasons = ["row 17: the prompt has 5000 tokens, the context window 4096", "row 90: not JSON"]
    return [
        BatchEntry(order("reviews"), "complete", "200 rows in 41 s", progress=progress(rows=200, done=200)),
        BatchEntry(
            order("questions"), "running",
            progress=progress(rows=1000, done=412, failed=2, open=60, alive=26, reasons=reasons),
        ),
        BatchEntry(order("letters"), "queued", progress=BatchProgress(rows=50)),
        BatchEntry(order("broken"), "failed", error="/data/broken.jsonl: not one row could be read"),
    ]  # fmt: skip


def test_of_a_long_path_the_end_is_shown():
    name = cells(BatchEntry(order("a-folder/" * 6 + "questions"), "queued"))[0]
    assert len(name) == 40 and name.startswith("…") and name.endswith("/questions.jsonl")


@each_look
def test_files_in_every_state(snap_compare, size, theme):
    async def fill(pilot):
        await painted_first(pilot)
        pilot.app.load()
        pilot.app.workbench.batches.entries += entries()
        await pilot.press("f5")
        assert pilot.app.screen.query_one("DataTable").row_count == 4  # at once
        await pilot.press("down")
        await until(pilot, lambda: "questions-answers.jsonl" in str(pilot.app.screen.query_one("#about").content))
        await pilot.wait_for_scheduled_animations()

    assert snap_compare(FrozenConsole(theme), run_before=fill, terminal_size=size)
