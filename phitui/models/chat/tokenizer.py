"""A model's tokenizer, for chats: text is text, and a control token is only what the chat template has put there.

In the tokenizer that is made here, control tokens have secret names, so that no text is ever taken for one. All else
(how text is cut, merged and normalized, and what white space a token takes) is as in the model's tokenizer.json.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from phitui.core.errors import PhituiError, UsageError
from phitui.models.chat.marks import Marks, is_mark, is_turn_mark


@contextmanager
def _told(what: str, fix: str, kind: type[PhituiError] = PhituiError) -> Iterator[None]:
    """What tokenizers raises as one line. That is a plain Exception, a file may have any form, and where its Rust code
    panics a BaseException comes out of it that would end the engine."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise kind(f"{what}: {' '.join(str(error).split())[:300] or type(error).__name__}", fix) from error


class ChatTokenizer:
    """The tokenizer of a tokenizer.json. `named` are control tokens that the model names ("eos_token", …)."""

    def __init__(self, text: bytes, named: Collection[str]) -> None:
        """Raises PhituiError for what is no tokenizer."""
        with _told("the model has a tokenizer that is damaged", "Fetch the model again."):
            raw: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
            promote_marks(raw, named)
            tokens = control_tokens(raw, named)
            secret = secrets.token_hex(8)
            self._names = {token: f"\ue000{secret}{number}\ue001" for number, token in enumerate(tokens)}
            rename(raw, self._names)
            self._tokenizer: Tokenizer = Tokenizer.from_str(msgspec.json.encode(raw).decode())
        self.marks = Marks(tokens)
        self._tokens = {name: token for token, name in self._names.items()}
        self._name = re.compile(f"\ue000{secret}[0-9]+\ue001")

    def encode(self, text: str) -> list[int]:
        """The ids of a text that has no control tokens, but for those that `with_controls` has put there. Raises
        UsageError for a text that the tokenizer makes nothing of."""
        with _told("the model's tokenizer makes nothing of this text", "Choose another model.", UsageError):
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def with_controls(self, text: str) -> str:
        """The text for `encode` in which the control tokens in `text` are meant as such."""
        made, end = [], 0
        for place, token in self.marks.find(text):
            made += [text[end:place], self._names[token]]
            end = place + len(token)
        return "".join((*made, text[end:]))

    def token(self, number: int) -> str | None:
        """The token with this id, as the vocabulary has it."""
        name: str | None = self._tokenizer.id_to_token(number)
        return None if name is None else self._tokens.get(name, name)

    def number(self, token: str) -> int | None:
        """The id of a token."""
        number: int | None = self._tokenizer.token_to_id(self._names.get(token, token))
        return number

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, without special tokens. Raises PhituiError where the tokenizer makes none of them."""
        with _told("the model's tokenizer makes no text of its tokens", "Choose another model."):
            return self._shown(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def step(self, stream: DecodeStream, number: int) -> str:
        """The text that one more id completes. Raises PhituiError as `decode`."""
        with _told("the model's tokenizer makes no text of its tokens", "Choose another model."):
            return self._shown(stream.step(self._tokenizer, number) or "")

    def _shown(self, text: str) -> str:
        return self._name.sub(lambda found: self._tokens[found[0]], text) if "\ue000" in text else text


def control_tokens(raw: dict[str, Any], named: Collection[str]) -> list[str]:
    """The control tokens of a tokenizer.json: what it says is special, what the model names, and what looks like a
    mark. White space alone is text, whatever the file says."""
    wanted = set(named)
    return [
        added["content"]
        for added in raw.get("added_tokens") or []
        if added["content"].strip()
        and (added.get("special") or added["content"] in wanted or is_mark(added["content"]))
    ]


def promote_marks(raw: dict[str, Any], named: Collection[str]) -> None:
    """Add what is a mark in the vocabulary alone to the added tokens: nothing merges to it, so that the tokenizer would
    make pieces of it in a template, too."""
    vocabulary = _vocabulary(raw)
    added = raw["added_tokens"] = list(raw.get("added_tokens") or [])
    known = {token["content"] for token in added}
    candidates = [token for token in vocabulary if token.startswith("<") and is_turn_mark(token)]
    found = [token for token in (*candidates, *named) if token in vocabulary and token not in known]
    merged = _merged(raw, found) if found else set()
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    for token in dict.fromkeys(found):
        if token not in merged:
            added.append({"id": vocabulary[token], "content": token, "special": True, **flags})


def rename(raw: dict[str, Any], names: dict[str, str]) -> None:
    """Give tokens other names, everywhere in a tokenizer.json. Nothing merges to them, and no text is cut or padded."""
    raw |= {"truncation": None, "padding": None, "post_processor": None}
    for added in raw["added_tokens"]:
        if added["content"] in names:
            added |= {"content": names[added["content"]], "normalized": False, "single_word": False}
    model = raw["model"]
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, dict):
        for token in names.keys() & vocabulary.keys():
            vocabulary[names[token]] = vocabulary.pop(token)
    elif vocabulary:  # Unigram: pieces with their scores
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in vocabulary]
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    if model.get("merges"):
        model["merges"] = _merges_without(model["merges"], names)


def _vocabulary(raw: dict[str, Any]) -> dict[str, int]:
    vocabulary = raw["model"].get("vocab") or {}
    if isinstance(vocabulary, dict):
        return vocabulary
    return {piece: number for number, (piece, _) in enumerate(vocabulary)}


def _merged(raw: dict[str, Any], tokens: Collection[str]) -> set[str]:
    """Those of the tokens that a merge makes. Older files have a merge as one string, newer ones as two."""
    merges = raw["model"].get("merges") or []
    pairs = {merge if isinstance(merge, str) else " ".join(merge) for merge in merges}
    return {token for token in tokens if any(f"{token[:cut]} {token[cut:]}" in pairs for cut in range(1, len(token)))}


def _merges_without(merges: list[Any], names: Collection[str]) -> list[Any]:
    def is_free(merge: Any) -> bool:
        left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
        return left not in names and right not in names and left + right not in names

    return list(filter(is_free, merges))
