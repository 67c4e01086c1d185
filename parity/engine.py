"""A converted folder in CTranslate2, asked by token ids."""

from __future__ import annotations

import json
from pathlib import Path

import ctranslate2
import numpy as np
from numpy.typing import NDArray

NEW_TOKENS = 64


class Engine:
    """A converted folder in CTranslate2 on the CPU."""

    def __init__(self, folder: Path, compute_type: str, threads: int = 1) -> None:
        self._tokens = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        self._generator = ctranslate2.Generator(str(folder), compute_type=compute_type, intra_threads=threads)

    def greedy(self, prompts: list[list[int]]) -> list[list[int]]:
        """64 tokens for each prompt, all in one batch, which is ragged."""
        results = self._generator.generate_batch(
            [self._strings(prompt) for prompt in prompts],
            max_length=NEW_TOKENS,
            sampling_topk=1,
            include_prompt_in_result=False,
            end_token=[],
        )
        return [result.sequences_ids[0] for result in results]

    def log_p(self, ids: list[int]) -> NDArray[np.float64]:
        """log p of every next token, (positions, vocabulary)."""
        found = self._generator.forward_batch([self._strings(ids)], return_log_probs=True)
        return np.array(found)[0].astype(np.float64)

    def _strings(self, ids: list[int]) -> list[str]:
        return [self._tokens[number] for number in ids]
