"""GGUF files, converted to float32, answer as transformers does with the weights it dequantizes from them."""

from __future__ import annotations

import checkpoints
import pytest
import torch
from compare import Reference, assert_float32_parity, converted
from gguf_files import write_gguf
from transformers import AutoModelForCausalLM

# Rows are multiples of the K-blocks' 256 elements. Llama's queries and keys are permuted in its files.
CONFIGS = {
    "llama": checkpoints.llama(4, 2, 64, 512),
    "llama-tied": checkpoints.llama(8, 8, 32, 256, tie_word_embeddings=True),
    "phi3": checkpoints.phi3(4, 2, 64, 512),
}
CASES = [
    *(("llama", kind) for kind in ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q4_K", "Q6_K")),
    *(("phi3", kind) for kind in ("F32", "F16", "Q8_0", "Q4_0", "Q4_K", "Q6_K")),
    ("llama-tied", "Q8_0"),
]
# Instead of seed 0 where that leads to a near tie in the reference (compare.NEAR_TIE).
SEEDS = {("llama", "F16"): 1, ("llama", "Q8_0"): 1, ("phi3", "F32"): 2, ("phi3", "Q8_0"): 2}


@pytest.mark.parametrize("name, kind", CASES)
def test_answers_are_those_of_the_dequantized_weights(name, kind, figures, tmp_path):
    seed = SEEDS.get((name, kind), 0)
    path = write_gguf(tmp_path / "tiny.gguf", checkpoints.random_model(CONFIGS[name], seed), kind, seed)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=path.name, dtype=torch.float32)
    reference = Reference(model, checkpoints.prompts(seed))
    figures("gguf", f"{name} {kind}", assert_float32_parity(reference, converted(path, tmp_path / "made")))
