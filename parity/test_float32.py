"""Every kind of checkpoint, converted to float32, answers as transformers does."""

from __future__ import annotations

import pytest
from checkpoints import KINDS
from compare import assert_float32_parity, converted

from phitui.models.manifest import read_manifest


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_transformers(kind, prepared, figures, tmp_path):
    folder, reference = prepared(kind)
    assert (len(list(folder.glob("*.safetensors"))) > 1) == kind.endswith("-sharded")
    made = converted(folder, tmp_path / "made")
    # A kind that is right for fewer tokens than these sequences have would be compared where it is not.
    assert max(map(len, reference.sequences)) <= read_manifest(made).context_window == KINDS[kind].context_window
    figures("float32", kind, assert_float32_parity(reference, made))
