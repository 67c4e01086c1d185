"""Tokenizers and chat templates of Hub folders: a tokenizer.json, the vocabulary in order, and which tokens end.

Whatever a model came from, the converted folder has a tokenizer.json, so that the engine's process needs the
`tokenizers` library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from tokenizers import Tokenizer

from phitui.core.errors import PhituiError
from phitui.models.convert.checkpoint import read_whole

# Tokens that end an answer in the chat formats of these models, beside the checkpoint's own.
_TURN_ENDS = ("<|end|>", "<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>")
SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "pad_token")
FETCH_AGAIN = "Fetch the model again."


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


def from_folder(folder: Path, size: int, config: dict[str, Any]) -> Vocabulary:
    """The vocabulary of a Hub folder, for a model with `size` tokens and the settings `config`.

    Raises PhituiError where the folder has no tokenizer, or one that does not fit the model.
    """
    settings = read_json(folder / "tokenizer_config.json")
    text = _tokenizer_json(folder)
    try:
        ids = Tokenizer.from_str(text.decode()).get_vocab(with_added_tokens=True)
    except Exception as error:  # tokenizers raises bare Exceptions
        raise PhituiError(f"{folder / 'tokenizer.json'} is damaged: {error}", FETCH_AGAIN) from error
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
        end_tokens=ends_of(ends, set(ids), folder),
        special_tokens=special,
        chat_template=_folder_template(folder, settings),
    )


def _tokenizer_json(folder: Path) -> bytes:
    path = folder / "tokenizer.json"
    try:
        return read_whole(path)
    except FileNotFoundError:
        return _made_by_transformers(folder)


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
            FETCH_AGAIN,
        )
    names = {number: token for token, number in ids.items()}
    return [names.get(number, f"<unused_{number}>") for number in range(size)]


def _special_tokens(settings: dict[str, Any], fallback: dict[str, Any], ids: dict[str, int]) -> dict[str, str]:
    found = {}
    for name in SPECIAL_NAMES:
        value = settings.get(name) or fallback.get(name)
        if isinstance(value, dict):  # {"content": "</s>", "lstrip": …}
            value = value.get("content")
        if isinstance(value, str) and value in ids:
            found[name] = value
    return found


def ends_of(candidates: list[str], vocabulary: set[str], where: Path) -> list[str]:
    """Those of the candidates that are tokens, and the usual ends of a turn. Raises PhituiError for none."""
    ends = [token for token in dict.fromkeys((*candidates, *_TURN_ENDS)) if token in vocabulary]
    if not ends:
        raise PhituiError(f"{where} names no token that ends an answer", "Choose another model.")
    return ends


def _folder_template(folder: Path, settings: dict[str, Any]) -> str:
    path = folder / "chat_template.jinja"
    try:
        return checked_template(read_whole(path).decode(), path)
    except FileNotFoundError:
        pass
    except UnicodeDecodeError as error:
        raise PhituiError(f"cannot read {path}: {error}", FETCH_AGAIN) from error
    template = settings.get("chat_template") or ""
    if isinstance(template, list):  # several, by name
        named = {item.get("name"): item.get("template") for item in template if isinstance(item, dict)}
        template = named.get("default", "")
    return checked_template(template, folder)


def checked_template(template: object, where: Path) -> str:
    """Raises PhituiError for a template that is no text."""
    if not isinstance(template, str):
        raise PhituiError(f"{where} has a chat template that is no text", FETCH_AGAIN)
    return template


def read_json(path: Path, required: bool = False) -> dict[str, Any]:
    """A JSON object; {} where an optional file is missing. Raises PhituiError for what is damaged."""
    try:
        return msgspec.json.decode(read_whole(path), type=dict[str, Any])
    except FileNotFoundError as error:
        if not required:
            return {}
        raise PhituiError(f"{path.parent} has no {path.name}", "Give a .gguf file or a whole model folder.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PhituiError(f"{path} is damaged: {error}", FETCH_AGAIN) from error
