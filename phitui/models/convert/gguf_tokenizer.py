"""The tokenizer in a GGUF file's metadata, as a tokenizer.json.

Two kinds: "gpt2" is byte-level BPE with its merges; "llama" is SentencePiece's BPE, whose merges follow from the
tokens' scores.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from phitui.core.errors import PhituiError
from phitui.models.chat.marks import is_turn_mark
from phitui.models.convert.fit import fitted, in_order
from phitui.models.convert.tokenizer import (
    FETCH_AGAIN,
    SPECIAL_NAMES,
    Vocabulary,
    checked_template,
    ends_of,
)

# Kinds of tokens in tokenizer.ggml.token_type.
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6
# Llama 3's splitting of text, from its tokenizer.json.
_LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# That of o200k_base, which Phi-4-mini has, from tiktoken.
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_ENDING = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_GPT4O_SPLIT = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_ENDING}|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_ENDING}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SPACE = "▁"
# SentencePiece's own limit is 16 characters; a damaged file's megabyte would take hours to cut.
_LONGEST = 500
# Phi-3's special tokens take the white space after them, but for these.
_KEEP_SPACE = ("<unk>", "<s>", "<|endoftext|>")


def from_gguf(metadata: dict[str, Any], where: Path, rows: int = 0) -> Vocabulary:
    """The vocabulary of a GGUF file, for a model with `rows` tokens (0: as many as the file lists). Raises PhituiError
    for unknown kinds of tokenizers, and damaged ones."""
    tokens = _strings(metadata, "tokenizer.ggml.tokens", where)
    if len(set(tokens)) != len(tokens):
        raise PhituiError(f"{where} has the same token twice in its vocabulary: it is damaged", FETCH_AGAIN)
    special = {}
    for name, key in zip(SPECIAL_NAMES, ("bos", "eos", "unknown", "padding"), strict=True):
        number = metadata.get(f"tokenizer.ggml.{key}_token_id")
        if isinstance(number, int) and 0 <= number < len(tokens):
            special[name] = tokens[number]
    turn_end = metadata.get("tokenizer.ggml.eot_token_id")
    ends = [special.get("eos_token", "")]
    if isinstance(turn_end, int) and 0 <= turn_end < len(tokens):
        ends.append(tokens[turn_end])
    made = build(metadata, tokens, {*ends, *special.values()}, where).to_str().encode()
    try:
        text, dropped = fitted(made, rows or len(tokens))
    except ValueError as error:
        raise PhituiError(f"{where}: {error}", FETCH_AGAIN) from error
    kept = {token: number for number, token in enumerate(tokens) if token not in dropped}
    return Vocabulary(
        tokens=in_order(kept, rows or len(tokens)),
        tokenizer_json=text,
        end_tokens=ends_of(ends, set(kept), where),
        special_tokens={name: token for name, token in special.items() if token in kept},
        chat_template=checked_template(_template(metadata), where),
        dropped=dropped,
    )


def _template(metadata: dict[str, Any]) -> object:
    """The chat template: the default one, else the first of those that have names."""
    names = metadata.get("tokenizer.chat_templates")
    first = names[0] if isinstance(names, list) and names else ""
    return metadata.get("tokenizer.chat_template") or metadata.get(f"tokenizer.chat_template.{first}") or ""


def _strings(metadata: dict[str, Any], key: str, where: Path) -> list[str]:
    values = metadata.get(key)
    if not isinstance(values, list) or not values or not isinstance(values[0], str):
        raise PhituiError(f"{where} has no {key}", "Use a GGUF file that carries its tokenizer.")
    return values


def build(metadata: dict[str, Any], tokens: list[str], named: set[str], where: Path) -> Tokenizer:
    """The tokenizer of such metadata. `named` are control tokens. Raises PhituiError as `from_gguf` does."""
    kind = metadata.get("tokenizer.ggml.model")
    builders = {"gpt2": _build_bpe, "llama": _build_sentencepiece}
    if not isinstance(kind, str) or kind not in builders:
        raise PhituiError(
            f"{where} has a tokenizer of the kind {str(kind)[:40]!r}",
            "phitui reads 'gpt2' and 'llama': convert the model's Hub folder instead.",
        )
    metadata = metadata | {"tokenizer.ggml.token_type": _kinds(metadata, tokens, named)}
    made = builders[kind](metadata, tokens, where)
    strips = kind == "llama" and metadata.get("general.architecture") == "phi3"
    for token, token_kind in zip(tokens, metadata.get("tokenizer.ggml.token_type") or [], strict=False):
        rstrip = strips and token not in _KEEP_SPACE
        if token_kind == _CONTROL or (token_kind == _UNKNOWN and kind == "llama"):
            made.add_special_tokens([AddedToken(token, special=True, normalized=False, rstrip=rstrip)])
        elif token_kind == _USER_DEFINED:
            made.add_tokens([AddedToken(token, normalized=False, rstrip=rstrip)])
    return made


def _kinds(metadata: dict[str, Any], tokens: list[str], named: set[str]) -> object:
    """The kinds of the tokens. Some files have the marks of turns as normal ones: control tokens are also those that
    the file names by id, and what looks like such a mark and is not put together from two others."""
    kinds = metadata.get("tokenizer.ggml.token_type")
    if not isinstance(kinds, list) or len(kinds) != len(tokens):
        return kinds
    known = set(tokens)

    def is_control(token: str, kind: int) -> bool:
        if kind != _NORMAL or not (token in named or is_turn_mark(token)):
            return False
        return token in named or not any(
            token[:cut] in known and token[cut:] in known for cut in range(1, min(len(token), _LONGEST))
        )

    return [_CONTROL if is_control(token, kind) else kind for token, kind in zip(tokens, kinds, strict=True)]


def _model(where: Path, tokens: list[str], merges: list[tuple[str, str]], **settings: Any) -> models.BPE:
    vocabulary = {token: number for number, token in enumerate(tokens)}
    try:
        return models.BPE(vocab=vocabulary, merges=merges, **settings)
    except Exception as error:  # tokenizers raises bare Exceptions
        raise PhituiError(f"{where} has a tokenizer that does not fit together: {error}", FETCH_AGAIN) from error


def _build_bpe(metadata: dict[str, Any], tokens: list[str], where: Path) -> Tokenizer:
    pairs = [merge.partition(" ") for merge in _strings(metadata, "tokenizer.ggml.merges", where)]
    merges = [(left, right) for left, _, right in pairs]
    splitter, ignore_merges = _splitter(metadata.get("tokenizer.ggml.pre"), where)
    made = Tokenizer(_model(where, tokens, merges, ignore_merges=ignore_merges))
    made.pre_tokenizer = splitter
    made.decoder = decoders.ByteLevel()
    return made


def _splitter(name: object, where: Path) -> tuple[Any, bool]:
    """How text is cut before the merges, by llama.cpp's name for it; whether whole words skip them."""
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    if name == "smollm":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), plain]), False
    if name == "gpt-2":
        return plain, False
    if name in ("llama-bpe", "llama3", "llama-v3"):
        split = pre_tokenizers.Split(Regex(_LLAMA3_SPLIT), behavior="isolated")
        return pre_tokenizers.Sequence([split, level]), True
    if name == "gpt-4o":
        split = pre_tokenizers.Split(Regex(_GPT4O_SPLIT), behavior="isolated")
        return pre_tokenizers.Sequence([split, level]), False
    raise PhituiError(
        f"{where} splits its text by {str(name)[:40]!r}, which phitui does not know",
        "Convert the model's Hub folder instead.",
    )


def _build_sentencepiece(metadata: dict[str, Any], tokens: list[str], where: Path) -> Tokenizer:
    """SentencePiece's BPE as the Hub's tokenizer.json has it: spaces as ▁, unknown characters as bytes."""
    scores = metadata.get("tokenizer.ggml.scores")
    if not isinstance(scores, list) or len(scores) != len(tokens) or not isinstance(scores[0], float):
        raise PhituiError(f"{where} has no tokenizer.ggml.scores that fit its tokens", FETCH_AGAIN)
    kinds = metadata.get("tokenizer.ggml.token_type")
    if not isinstance(kinds, list) or len(kinds) != len(tokens):
        raise PhituiError(f"{where} has no tokenizer.ggml.token_type that fits its tokens", FETCH_AGAIN)
    unknown = next((token for token, kind in zip(tokens, kinds, strict=True) if kind == _UNKNOWN), None)
    merges = _merges(tokens, scores, kinds)
    made = Tokenizer(_model(where, tokens, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))
    replace = normalizers.Replace(" ", _SPACE)
    prefix = metadata.get("tokenizer.ggml.add_space_prefix", True)
    made.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), replace]) if prefix else replace
    steps = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    made.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if prefix else steps)
    return made


def _merges(tokens: list[str], scores: list[float], kinds: list[int]) -> list[tuple[str, str]]:
    """Every way to put a token together from two others, best score first, ties as transformers breaks them."""
    numbers = {
        token: number
        for number, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind not in (_UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE)
    }
    found: list[tuple[float, int, int, str, str]] = []
    for token, number in numbers.items():
        if len(token) > _LONGEST:
            continue
        cuts = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        pairs = [(left, right) for left, right in cuts if left in numbers and right in numbers]
        pairs.sort(key=lambda pair: (numbers[pair[0]], numbers[pair[1]]))
        found += [(scores[number], len(left), len(right), left, right) for left, right in pairs]
    found.sort(key=lambda merge: merge[:3], reverse=True)
    return [(left, right) for *_, left, right in found]
