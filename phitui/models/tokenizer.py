"""Tokenizers and chat templates of checkpoints: a tokenizer.json, the vocabulary in order, and which tokens
end.

Whatever a model came from, the converted folder has a tokenizer.json, so that the engine's process needs the
`tokenizers` library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from phitui.errors import PhituiError

# Tokens that end an answer in the chat formats of these models, beside the checkpoint's own.
_TURN_ENDS = ("<|end|>", "<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>")
_SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "pad_token")
# Kinds of tokens in GGUF's tokenizer.ggml.token_type.
_CONTROL, _USER_DEFINED = 3, 4
# Llama 3's splitting of text, from its tokenizer.json.
_LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_FETCH_AGAIN = "Fetch the model again."


@dataclass(frozen=True)
class Vocabulary:
    """`tokens` in the order of their ids, as many as the model has rows; `tokenizer_json` is the file's text.

    `special_tokens` are what the chat template asks for by name ("bos_token", …).
    """

    tokens: list[str]
    tokenizer_json: bytes
    end_tokens: list[str]
    special_tokens: dict[str, str]
    chat_template: str


def save(vocabulary: Vocabulary, path: Path) -> None:
    """Write tokenizer.json. Raises OSError."""
    path.write_bytes(vocabulary.tokenizer_json)


def from_gguf(metadata: dict[str, Any], where: Path) -> Vocabulary:
    """The vocabulary in a GGUF file's metadata. Raises PhituiError for unknown kinds of tokenizers."""
    tokens = _strings(metadata, "tokenizer.ggml.tokens", where)
    if metadata.get("tokenizer.ggml.model") != "gpt2":
        raise PhituiError(
            f"{where} has a tokenizer of the kind {str(metadata.get('tokenizer.ggml.model'))[:40]!r}",
            "phitui reads byte-level BPE ('gpt2'): convert the model's Hub folder instead.",
        )
    if len(set(tokens)) != len(tokens):
        raise PhituiError(f"{where} has the same token twice in its vocabulary: it is damaged", _FETCH_AGAIN)
    special = {}
    for name, key in zip(_SPECIAL_NAMES, ("bos", "eos", "unknown", "padding"), strict=True):
        number = metadata.get(f"tokenizer.ggml.{key}_token_id")
        if isinstance(number, int) and 0 <= number < len(tokens):
            special[name] = tokens[number]
    turn_end = metadata.get("tokenizer.ggml.eot_token_id")
    ends = [special.get("eos_token", "")]
    if isinstance(turn_end, int) and 0 <= turn_end < len(tokens):
        ends.append(tokens[turn_end])
    template = metadata.get("tokenizer.chat_template", "")
    return Vocabulary(
        tokens=tokens,
        tokenizer_json=_build_bpe(metadata, tokens, where).to_str().encode(),
        end_tokens=_end_tokens(ends, set(tokens), where),
        special_tokens=special,
        chat_template=_checked_template(template, where),
    )


def _strings(metadata: dict[str, Any], key: str, where: Path) -> list[str]:
    values = metadata.get(key)
    if not isinstance(values, list) or not values or not isinstance(values[0], str):
        raise PhituiError(f"{where} has no {key}", "Use a GGUF file that carries its tokenizer.")
    return values


def _build_bpe(metadata: dict[str, Any], tokens: list[str], where: Path) -> Tokenizer:
    pairs = [merge.partition(" ") for merge in _strings(metadata, "tokenizer.ggml.merges", where)]
    merges = [(left, right) for left, _, right in pairs]
    splitter, ignore_merges = _splitter(metadata.get("tokenizer.ggml.pre"), where)
    vocabulary = {token: number for number, token in enumerate(tokens)}
    try:
        made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=ignore_merges))
    except Exception as error:  # tokenizers raises bare Exceptions
        raise PhituiError(f"{where} has a tokenizer that does not fit together: {error}", _FETCH_AGAIN) from error
    made.pre_tokenizer = splitter
    made.decoder = decoders.ByteLevel()
    kinds = metadata.get("tokenizer.ggml.token_type") or []
    for token, kind in zip(tokens, kinds, strict=False):
        if kind == _CONTROL:
            made.add_special_tokens([AddedToken(token, special=True, normalized=False)])
        elif kind == _USER_DEFINED:
            made.add_tokens([AddedToken(token, normalized=False)])
    return made


def _splitter(name: object, where: Path) -> tuple[Any, bool]:
    """How text is cut before the merges, by llama.cpp's name for it; whether whole words skip them."""
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if name == "smollm":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), plain]), False
    if name == "gpt-2":
        return plain, False
    if name in ("llama-bpe", "llama3", "llama-v3"):
        split = pre_tokenizers.Split(Regex(_LLAMA3_SPLIT), behavior="isolated")
        level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        return pre_tokenizers.Sequence([split, level]), True
    raise PhituiError(
        f"{where} splits its text by {str(name)[:40]!r}, which phitui does not know",
        "Convert the model's Hub folder instead.",
    )


def from_folder(folder: Path, size: int, config: dict[str, Any]) -> Vocabulary:
    """The vocabulary of a Hub folder, for a model with `size` tokens and the settings `config`.

    Raises PhituiError where the folder has no tokenizer, or one that does not fit the model.
    """
    settings = read_json(folder / "tokenizer_config.json")
    text = _tokenizer_json(folder)
    try:
        ids = Tokenizer.from_str(text.decode()).get_vocab(with_added_tokens=True)
    except Exception as error:  # tokenizers raises bare Exceptions
        raise PhituiError(f"{folder / 'tokenizer.json'} is damaged: {error}", _FETCH_AGAIN) from error
    tokens = _in_order(ids, size, folder)
    generation = read_json(folder / "generation_config.json")
    special = _special_tokens(settings, read_json(folder / "special_tokens_map.json"), ids)
    ends = [special.get("eos_token", "")]
    for numbers in (generation.get("eos_token_id"), config.get("eos_token_id")):
        listed = numbers if isinstance(numbers, list) else [numbers]
        ends += [tokens[number] for number in listed if isinstance(number, int) and 0 <= number < size]
    return Vocabulary(
        tokens=tokens,
        tokenizer_json=text,
        end_tokens=_end_tokens(ends, set(ids), folder),
        special_tokens=special,
        chat_template=_folder_template(folder, settings),
    )


def _tokenizer_json(folder: Path) -> bytes:
    path = folder / "tokenizer.json"
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return _made_by_transformers(folder)
    except OSError as error:
        raise PhituiError(f"cannot read {path}: {error.strerror}") from error


def _made_by_transformers(folder: Path) -> bytes:
    """tokenizer.json from the older files (tokenizer.model, vocab.json …); transformers knows their kinds."""
    from transformers import AutoTokenizer  # seconds of import, for folders that need it

    try:
        made = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False, use_fast=True)
        return bytes(made.backend_tokenizer.to_str().encode())
    except Exception as error:  # whatever its many loaders raise
        reason = " ".join(str(error).split()) or repr(error)
        raise PhituiError(
            f"{folder} has no tokenizer that can be read: {reason[:300]}",
            "Fetch the model again with its tokenizer.json.",
        ) from error


def _in_order(ids: dict[str, int], size: int, folder: Path) -> list[str]:
    """The tokens by id. Ids that no token has (models round their vocabulary up) get names of their own."""
    if ids and max(ids.values()) >= size:
        raise PhituiError(
            f"{folder}: the tokenizer has the id {max(ids.values())}, the model has {size} tokens",
            _FETCH_AGAIN,
        )
    names = {number: token for token, number in ids.items()}
    return [names.get(number, f"<unused_{number}>") for number in range(size)]


def _special_tokens(settings: dict[str, Any], fallback: dict[str, Any], ids: dict[str, int]) -> dict[str, str]:
    found = {}
    for name in _SPECIAL_NAMES:
        value = settings.get(name) or fallback.get(name)
        if isinstance(value, dict):  # {"content": "</s>", "lstrip": …}
            value = value.get("content")
        if isinstance(value, str) and value in ids:
            found[name] = value
    return found


def _end_tokens(candidates: list[str], vocabulary: set[str], where: Path) -> list[str]:
    ends = [token for token in dict.fromkeys((*candidates, *_TURN_ENDS)) if token in vocabulary]
    if not ends:
        raise PhituiError(f"{where} names no token that ends an answer", "Choose another model.")
    return ends


def _folder_template(folder: Path, settings: dict[str, Any]) -> str:
    path = folder / "chat_template.jinja"
    try:
        return _checked_template(path.read_text("utf-8"), path)
    except FileNotFoundError:
        pass
    except (OSError, UnicodeDecodeError) as error:
        raise PhituiError(f"cannot read {path}: {error}", _FETCH_AGAIN) from error
    template = settings.get("chat_template") or ""
    if isinstance(template, list):  # several, by name
        named = {item.get("name"): item.get("template") for item in template if isinstance(item, dict)}
        template = named.get("default", "")
    return _checked_template(template, folder)


def _checked_template(template: object, where: Path) -> str:
    if not isinstance(template, str):
        raise PhituiError(f"{where} has a chat template that is no text", _FETCH_AGAIN)
    return template


def read_json(path: Path, required: bool = False) -> dict[str, Any]:
    """A JSON object; {} where an optional file is missing. Raises PhituiError for what is damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except FileNotFoundError as error:
        if not required:
            return {}
        raise PhituiError(f"{path.parent} has no {path.name}", "Give a .gguf file or a whole model folder.") from error
    except OSError as error:
        raise PhituiError(f"cannot read {path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PhituiError(f"{path} is damaged: {error}", _FETCH_AGAIN) from error
