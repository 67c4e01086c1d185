"""Fixed models for pictures of the model screen: nothing is read from a store."""

from pathlib import Path

from phitui.core.ipc.messages import Progress
from phitui.models.catalog import DEMO, PHI3
from phitui.models.manifest import FileEntry, Manifest, Sizes
from phitui.workbench.models.inventory import ModelRow

STORE = Path("/home/anna/.local/share/phitui/models")
PHI3_MINI, PHI35_MINI = PHI3[0], PHI3[1]


def manifest(entry, sizes, weight_bytes, window, note=""):
    return Manifest(
        format=1,
        name=entry.name,
        title=entry.title,
        source=entry.hub,
        revision="0a67737cc96d2554230f90338b163bc6380a2a85",
        license=entry.license,
        architecture="phi3",
        sizes=sizes,
        quantization="int8",
        context_window=window,
        end_tokens=["<|endoftext|>", "<|end|>", "<|assistant|>"],
        special_tokens={},
        chat_template="",
        converter="phitui 0.1.0, ctranslate2 4.8.5",
        files={"model.bin": FileEntry(weight_bytes, "")},
        context_note=note,
    )


PHI3_SIZES = Sizes(32, 32, 32, 96, 3072, 8192, 32064)
ROWS = [
    ModelRow(
        PHI3_MINI.name,
        STORE / PHI3_MINI.name,
        manifest(PHI3_MINI, PHI3_SIZES, 3_825_598_976, 2047, "its sliding window"),
        entry=PHI3_MINI,
        loaded=True,
    ),
    ModelRow(
        PHI35_MINI.name,
        STORE / PHI35_MINI.name,
        entry=PHI35_MINI,
        error=f"{STORE / PHI35_MINI.name}/model.bin has 1000 bytes, not 3826000000: it is damaged. Pull it again.",
    ),
    ModelRow(PHI3[2].name, entry=PHI3[2], part_bytes=1_204_000_000),
    ModelRow(PHI3[3].name, entry=PHI3[3]),
    ModelRow(DEMO.name, entry=DEMO),
]
PULLING = Progress("fetch", "Fetching microsoft/Phi-4-mini-instruct", 2_310_000_000, 7_680_000_000, "bytes")


def fill(app, progress=None):
    """Give the desk of a console these models instead of those on the disk."""
    desk = app.workbench.models
    desk.store, desk.rows, desk.refresh = STORE, ROWS, lambda: None
    desk.work.progress = progress
