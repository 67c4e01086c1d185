"""The measures: greedy tokens and log probabilities of one model in transformers and in CTranslate2."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from engine import NEW_TOKENS, Engine
from numpy.typing import NDArray
from transformers import GenerationConfig, PreTrainedModel

from phitui.models.convert.convert import Label, convert, open_source

# What the float32 comparison may differ by, in log p (natural logarithm), over all positions and all tokens.
TOLERANCE = 1e-3
# Where the reference's two likeliest tokens are closer, the last bits of a sum would choose the token.
NEAR_TIE = 1e-4
PROMPTS = 16


class Reference:
    """A model in transformers, float32 on the CPU, and its greedy answers to 16 prompts of token ids."""

    def __init__(self, model: PreTrainedModel, prompts: list[list[int]]) -> None:
        assert model.dtype == torch.float32
        self.model = model.eval()
        # No end token: all 64 tokens are compared.
        self.model.generation_config = GenerationConfig(do_sample=False, max_new_tokens=NEW_TOKENS, pad_token_id=0)
        self.prompts = prompts
        self.answers = self._greedy()

    def _greedy(self) -> list[list[int]]:
        """`generate` itself, with its cache; shorter prompts are padded at their left."""
        longest = max(map(len, self.prompts))
        ids = torch.zeros((len(self.prompts), longest), dtype=torch.long)
        for row, prompt in enumerate(self.prompts):
            ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(self.prompts):
            mask[row, longest - len(prompt) :] = 1
        with torch.inference_mode():
            return self.model.generate(ids, attention_mask=mask)[:, longest:].tolist()

    @property
    def sequences(self) -> list[list[int]]:
        """Each prompt with its answer."""
        return [prompt + answer for prompt, answer in zip(self.prompts, self.answers, strict=True)]

    def log_p(self, ids: list[int]) -> NDArray[np.float64]:
        """log p of every next token, (positions, vocabulary)."""
        return log_p(self.model, ids)


def log_p(model: PreTrainedModel, ids: list[int]) -> NDArray[np.float64]:
    """log p of every next token, (positions, vocabulary)."""
    with torch.inference_mode():
        logits = model(torch.tensor([ids])).logits[0]
    return logits.double().log_softmax(dim=-1).numpy()


def converted(source: Path, folder: Path, quantization: str = "float32") -> Path:
    """A Hub folder or a GGUF file as phitui converts it."""
    convert(open_source(source, Label("parity")), folder, quantization, lambda progress: None)
    return folder


@dataclass
class Likeness:
    """How like one set of log probabilities is to another, over all positions of all sequences.

    `largest` is max |Δ log p| over positions and vocabulary. `kl` is the mean of KL(reference || other) in nats,
    `agree` the share of positions where both have the same likeliest token.
    """

    largest: float = 0.0
    kl: float = 0.0
    agree: float = 0.0
    positions: int = 0

    def add(self, reference: NDArray[np.float64], other: NDArray[np.float64]) -> None:
        assert reference.shape == other.shape
        count = len(reference)
        kl = (np.exp(reference) * (reference - other)).sum(axis=-1).mean()
        agree = (reference.argmax(axis=-1) == other.argmax(axis=-1)).mean()
        share = count / (self.positions + count)
        self.largest = max(self.largest, float(np.abs(reference - other).max()))
        self.kl += share * (float(kl) - self.kl)
        self.agree += share * (float(agree) - self.agree)
        self.positions += count


def assert_float32_parity(reference: Reference, folder: Path, *, chosen: bool = True) -> dict[str, float | int]:
    """The issue's measure: 16 × 64 greedy tokens equal and max |Δ log p| ≤ 1e-3. Returns the figures.

    `chosen`: weights and prompts are made from a seed, which must not lead to a near tie.
    """
    engine = Engine(folder, "float32", torch.get_num_threads())
    likeness, smallest_gap, widest = Likeness(), np.inf, 0.0
    for prompt, sequence in zip(reference.prompts, reference.sequences, strict=True):
        expected = reference.log_p(sequence)
        likeness.add(expected, engine.log_p(sequence))
        decided = expected[len(prompt) - 1 : -1]
        # The padded batch of `generate` and the plain forward pass are the same model.
        assert decided.argmax(axis=-1).tolist() == sequence[len(prompt) :]
        second, first = np.partition(decided, -2, axis=-1)[:, -2:].T
        smallest_gap = min(smallest_gap, float((first - second).min()))
        widest = max(widest, float(np.ptp(decided, axis=-1).max()))
    answers = engine.greedy(reference.prompts)
    equal = sum(ours == theirs for ours, theirs in zip(answers, reference.answers, strict=True))
    assert widest > 5, "a flat distribution would agree with anything"
    assert not chosen or smallest_gap >= NEAR_TIE, f"a near tie ({smallest_gap:.1e}): choose another seed"
    assert likeness.largest <= TOLERANCE
    assert len(answers) == PROMPTS and all(len(answer) == NEW_TOKENS for answer in answers)
    assert equal == PROMPTS, f"{equal} of {PROMPTS} answers are equal; the smallest gap is {smallest_gap:.1e}"
    return {
        "prompts_equal": equal,
        "tokens_each": NEW_TOKENS,
        "max_delta_log_p": float(f"{likeness.largest:.2g}"),
        "positions": likeness.positions,
        "smallest_gap_of_the_two_likeliest": float(f"{smallest_gap:.2g}"),
    }
