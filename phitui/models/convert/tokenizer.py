"""Tokenizers and chat templates of Hub folders: a tokenizer.json, the vocabulary in order, and which tokens end.

Whatever a model came from, the converted folder has a tokenizer.json, so that the engine's process needs the
`tokenizers` library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from tokenizers import AddedToken, Tokenizer

from phitui.core.errors import PhituiError
from phitui.models.chat.template_process import TemplateProcess
from phitui.models.chat.tokenizer import ChatTokenizer
from phitui.models.convert.checkpoint import read_whole
from phitui.models.convert.fit import fitted, in_order
from phitui.models.convert.sentencepiece_model import gguf_metadata

# Tokens that end an answer in the chat formats of these models, beside the checkpoint's own.
_TURN_ENDS = ("<|end|>", "<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>")
SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "pad_token")
FETCH_AGAIN = "Fetch the model again."
NO_TEMPLATE_FIX = (
    "Choose its chat or instruct variant; or have a server run it, and ask that by completions "
    '(docs/guide/engines.md, route = "completions").'
)


@dataclass(frozen=True)
class Vocabulary:
    """`tokens` in the order of their ids, as many as the model has rows; `tokenizer_json` is the file's text.

    `special_tokens` are what the chat template asks for by name ("bos_token", …). `dropped` are tokens that the
    checkpoint's tokenizer has and the model has no weights for.
    """

    tokens: list[str]
    tokenizer_json: bytes
    end_tokens: list[str]
    special_tokens: dict[str, str]
    chat_template: str
    dropped: list[str]


def save(vocabulary: Vocabulary, path: Path) -> None:
    """Write tokenizer.json. Raises OSError."""
    path.write_bytes(vocabulary.tokenizer_json)


def from_folder(folder: Path, size: int, config: dict[str, Any]) -> Vocabulary:
    """The vocabulary of a Hub folder, for a model with `size` tokens and the settings `config`.

    Raises PhituiError where the folder has no tokenizer, or one that does not fit the model.
    """
    settings = read_json(folder / "tokenizer_config.json")
    text, ids, dropped = _fitted(folder, settings, size)
    tokens = in_order(ids, size)
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
        dropped=dropped,
    )


def check_chat(folder: Path) -> None:
    """Raise PhituiError for a Hub folder, its weights not there yet, whose tokenizer or chat template will not do."""
    config = read_json(folder / "config.json", required=True)
    size = config.get("vocab_size")
    if isinstance(size, int) and size > 0:  # else the settings' own check says so
        try_chat(from_folder(folder, size, config), folder)


def try_chat(vocabulary: Vocabulary, where: Path) -> None:
    """Make a prompt of a small chat, so that what will not do is said before the weights are converted. Raises
    PhituiError."""
    if not vocabulary.chat_template.strip():
        raise PhituiError(f"{where} has no chat template: the model completes texts and does not chat", NO_TEMPLATE_FIX)
    try:
        with TemplateProcess(vocabulary.chat_template, vocabulary.special_tokens) as template:
            made = template.try_question()
    except PhituiError as error:
        raise PhituiError(f"{where}: {error.message}", error.fix) from error
    lacking = [token for token in vocabulary.dropped if token in made]
    if lacking:
        raise PhituiError(
            f"{where}: the chat template writes {lacking[0]!r}, which the model has no weights for", FETCH_AGAIN
        )
    named = {*vocabulary.end_tokens, *vocabulary.special_tokens.values()}
    try:
        ids = ChatTokenizer(vocabulary.tokenizer_json, named).encode(made)
    except PhituiError as error:
        raise PhituiError(f"{where}: {error.message}", error.fix) from error
    if not ids or max(ids) >= len(vocabulary.tokens):
        raise PhituiError(f"{where} has a tokenizer that makes nothing of its chats that the model knows", FETCH_AGAIN)


def _tokenizer_json(folder: Path) -> bytes:
    path = folder / "tokenizer.json"
    try:
        return read_whole(path)
    except FileNotFoundError:
        return _from_sentencepiece(folder) or _made_by_transformers(folder)


def _from_sentencepiece(folder: Path) -> bytes:
    """tokenizer.json from a tokenizer.model of SentencePiece's BPE; nothing where there is none."""
    from phitui.models.convert.gguf_tokenizer import build  # which knows this module

    path = folder / "tokenizer.model"
    try:
        metadata = gguf_metadata(read_whole(path))
    except FileNotFoundError:
        return b""
    return (
        b"" if metadata is None else build(metadata, metadata["tokenizer.ggml.tokens"], set(), path).to_str().encode()
    )


def _made_by_transformers(folder: Path) -> bytes:
    """tokenizer.json from the older files (vocab.json …); transformers knows their kinds."""
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


def _fitted(folder: Path, settings: dict[str, Any], size: int) -> tuple[bytes, dict[str, int], list[str]]:
    """The tokenizer.json that fits the model, its tokens with their ids, and the tokens that are too many."""
    path = folder / "tokenizer.json"
    text = _tokenizer_json(folder)
    try:
        made = Tokenizer.from_str(text.decode())
        _add_listed(made, settings)
        text, dropped = fitted(made.to_str().encode(), size)
        return text, Tokenizer.from_str(text.decode()).get_vocab(with_added_tokens=True), dropped
    except ValueError as error:
        raise PhituiError(f"{path} does not fit the model of {size} tokens: {error}", FETCH_AGAIN) from error
    except Exception as error:  # tokenizers raises bare Exceptions
        raise PhituiError(f"{path} is damaged: {error}", FETCH_AGAIN) from error


def _add_listed(made: Tokenizer, settings: dict[str, Any]) -> None:
    """Add the tokens that only tokenizer_config.json lists, where their ids are the next ones, as transformers does."""
    listed = settings.get("added_tokens_decoder")
    entries = listed.items() if isinstance(listed, dict) else ()
    known = made.get_added_tokens_decoder()
    for key, entry in sorted((int(key), entry) for key, entry in entries if str(key).isdigit()):
        content = entry.get("content") if isinstance(entry, dict) else None
        if key in known or not isinstance(content, str) or not content:
            continue
        if made.token_to_id(content) == key or (made.token_to_id(content) is None and made.get_vocab_size() == key):
            flags = {name: entry.get(name) is True for name in ("single_word", "lstrip", "rstrip", "normalized")}
            made.add_tokens([AddedToken(content, special=entry.get("special") is True, **flags)])


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
        template = {item.get("name"): item.get("template") for item in template if isinstance(item, dict)}
    if isinstance(template, dict):
        only = next(iter(template.values())) if len(template) == 1 else ""
        template = template.get("default") or only
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
