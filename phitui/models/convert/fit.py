"""A tokenizer.json made to fit a model: ids that the model has, and no text that is cut or filled up."""

from __future__ import annotations

from typing import Any

import msgspec

from phitui.models.chat.marks import is_mark


def fitted(text: bytes, size: int) -> tuple[bytes, list[str]]:
    """The tokenizer without the tokens from the id `size` on, and these tokens.

    Texts are to be encoded whole, whatever the file says of truncation and padding, which are for training. Raises
    ValueError where texts would have those tokens: then it is another model's tokenizer.
    """
    raw: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
    raw |= {"truncation": None, "padding": None}
    added, model = raw.get("added_tokens") or [], raw["model"]
    dropped = [token["content"] for token in added if token["id"] >= size]
    raw["added_tokens"] = [token for token in added if token["id"] < size]
    vocabulary = model.get("vocab") or {}
    if isinstance(vocabulary, dict):
        extra = [token for token, number in vocabulary.items() if number >= size]
        model["vocab"] = {token: number for token, number in vocabulary.items() if number < size}
    else:  # Unigram: pieces by id
        extra = [piece for piece, _ in vocabulary[size:]]
        model["vocab"] = vocabulary[:size]
    extra = [token for token in extra if token not in dropped]
    merges = (merge.split(" ", 1) if isinstance(merge, str) else merge for merge in model.get("merges") or [])
    if extra and (not all(map(is_mark, extra)) or set(extra) & {"".join(merge) for merge in merges}):
        raise ValueError(f"its tokenizer has {len(extra)} tokens more than the model")
    return msgspec.json.encode(raw), dropped + extra


def in_order(ids: dict[str, int], size: int) -> list[str]:
    """The tokens by id. Ids that no token has (models round their vocabulary up) get names of their own."""
    names = {number: token for token, number in ids.items()}
    tokens = []
    for number in range(size):
        name = names.get(number, f"<unused_{number}>")
        while number not in names and name in ids:
            name += "_"
        tokens.append(name)
    return tokens
