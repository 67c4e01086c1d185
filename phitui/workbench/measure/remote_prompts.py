"""Prompts for measurements of a server: so many tokens each, and no two that begin alike. Pure.

A server keeps what it has read of earlier prompts and does not compute a common beginning again. Each of these begins
with words drawn by chance, other ones in each run: the template's own beginning is all that they share.
"""

from __future__ import annotations

import random

# Short English words, of which most tokenizers make a token each.
_WORDS = (
    "time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world", "school", "state",
    "family", "student", "group", "country", "problem", "hand", "part", "place", "case", "week", "company",
    "system", "program", "question", "work", "number", "night", "point", "home", "water", "room", "mother",
    "area", "money", "story", "fact", "month", "lot", "right", "study", "book", "eye", "job", "word", "business",
    "issue", "side", "kind", "head", "house", "service", "friend", "father", "power", "hour", "game", "line",
    "end", "member", "law", "car", "city", "name", "president", "team", "minute", "idea", "kid", "body", "back",
    "parent", "face", "level", "office", "door", "health", "person", "art", "war", "history", "party", "result",
    "change", "morning", "reason", "research", "girl", "guy", "moment", "air", "teacher", "force",
)  # fmt: skip
# How many words make this many tokens, before a server has counted some.
_WORDS_PER_TOKEN = 0.9
FEW_WORDS = 8


def prompt(run: str, number: int, words: int) -> str:
    """The `number`-th prompt of a run."""
    return " ".join(random.Random(f"{run}/{number}").choices(_WORDS, k=max(1, words)))  # noqa: S311 - no secret


def first_guess(tokens: int) -> int:
    """Words that may make so many tokens."""
    return max(FEW_WORDS + 1, round(tokens * _WORDS_PER_TOKEN))


def words_for(tokens: int, few: tuple[int, int], many: tuple[int, int]) -> int:
    """The words that make `tokens` with the template's own, by two counts (words, tokens) of a server."""
    slope = (many[1] - few[1]) / max(many[0] - few[0], 1)
    return max(1, round(many[0] + (tokens - many[1]) / slope)) if slope > 0 else many[0]
