"""A common beginning of many prompts is read once: CTranslate2's `static_prompt`."""

from __future__ import annotations

from collections.abc import Sequence

# Shorter ones are read as quickly as they are copied.
_LEAST = 16
# So many tokens must stand behind it in every prompt: with one alone, CTranslate2 would report longer prompts as made.
_BEHIND = 2
# CTranslate2 keeps every prefix until the model is unloaded: so many tokens of them at most, over all batches, and no
# more than this share of a batch's budget.
_MOST_TOKENS = 4096
_MOST_SHARE = 0.1


class Prefixes:
    """The prefixes that this process's model keeps."""

    def __init__(self) -> None:
        self._kept: set[tuple[str, ...]] = set()

    def forget(self) -> None:
        """The model was unloaded: none is kept."""
        self._kept.clear()

    def choose(self, prompts: Sequence[Sequence[str]], kv_tokens: int) -> list[str]:
        """The prefix to keep for these prompts; none where it is short, or would keep too much memory."""
        if len(prompts) < 2:
            return []
        prefix = common(prompts)
        new = sum(map(len, self._kept)) + (0 if tuple(prefix) in self._kept else len(prefix))
        share = int(_MOST_SHARE * kv_tokens) if kv_tokens else _MOST_TOKENS
        if len(prefix) < _LEAST or new > min(_MOST_TOKENS, share):
            return []
        self._kept.add(tuple(prefix))
        return prefix


def common(prompts: Sequence[Sequence[str]]) -> list[str]:
    """What all begin with, short of the last tokens of the shortest."""
    ordered = sorted(map(tuple, prompts))
    first, last = ordered[0], ordered[-1]
    most = max(min(map(len, prompts)) - _BEHIND, 0)
    length = next((i for i in range(most) if first[i] != last[i]), most)
    return list(first[:length])
