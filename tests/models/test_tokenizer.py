"""Tokenizers that are built from a GGUF file, and what is taken from a Hub folder."""

from __future__ import annotations

import json

import pytest
from tiny_gguf import spm_metadata, spm_tokenizer
from tiny_phi3 import make_tiny_phi3, make_tokenizer
from tokenizers import Tokenizer, models

from phitui.core.errors import PhituiError
from phitui.models.convert import gguf_tokenizer, tokenizer

TEXTS = [
    "The capital of France is Paris.",
    "  two  spaces,\ttabs\n\nand new lines ",
    "12345 + 67.89 = 12412.89",
    "Straße, naïve, Ελληνικά, русский, 中文, 日本語, العربية, हिन्दी",
    "🦊🏳️‍🌈 👩‍👩‍👧",
    "def f(x):\n    return x**2  # squared\n",
    "<|im_start|>user\nHi<|im_end|>\n",
]


def of(vocabulary):
    return Tokenizer.from_str(vocabulary.tokenizer_json.decode())


def gguf_metadata(pre="gpt-2", **changes):
    made = json.loads(make_tokenizer().to_str())
    ids = made["model"]["vocab"] | {added["content"]: added["id"] for added in made["added_tokens"]}
    special = {added["content"] for added in made["added_tokens"]}
    tokens = sorted(ids, key=ids.get)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3 if token in special else 1 for token in tokens],
        "tokenizer.ggml.merges": [" ".join(merge) for merge in made["model"]["merges"]],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": ids["<|end|>"],
        "tokenizer.chat_template": "{{ messages }}",
    } | changes


@pytest.mark.parametrize("text", TEXTS)
def test_the_built_tokenizer_equals_the_one_it_came_from(text, tmp_path):
    built = of(gguf_tokenizer.from_gguf(gguf_metadata(), tmp_path))
    assert built.encode(text, add_special_tokens=False).ids == make_tokenizer().encode(text).ids
    mixed = f"<|user|>{text}<|end|>"
    assert built.encode(mixed, add_special_tokens=False).ids == make_tokenizer().encode(mixed).ids


@pytest.mark.parametrize("text", TEXTS)
def test_the_demo_tokenizer_gives_texts_back(demo_folder, text):
    demo = Tokenizer.from_file(str(demo_folder / "tokenizer.json"))
    assert demo.decode(demo.encode(text, add_special_tokens=False).ids, skip_special_tokens=False) == text


def test_the_demo_tokenizer_takes_digits_one_by_one_and_special_tokens_whole(demo_folder):
    demo = Tokenizer.from_file(str(demo_folder / "tokenizer.json"))
    assert demo.encode("2024", add_special_tokens=False).tokens == ["2", "0", "2", "4"]
    encoded = demo.encode("<|im_start|>user", add_special_tokens=False)
    assert encoded.tokens == ["<|im_start|>", "user"] and encoded.ids[0] == 1


@pytest.mark.parametrize(
    "pre, text, pieces",
    [
        ("smollm", "a1234", ["a", "1", "2", "3", "4"]),
        ("llama-bpe", "a1234", ["a", "123", "4"]),
        ("gpt-2", "a1234", ["a", "1234"]),
        ("llama-bpe", "I'LL", ["I", "'LL"]),
        ("gpt-2", "I'LL", ["I", "'", "LL"]),
        ("gpt-4o", "HTTPServer's 1234", ["HTTPServer's", "Ġ", "123", "4"]),
        ("gpt-4o", "camelCase path/\n", ["camel", "Case", "Ġpath", "/Ċ"]),
    ],
)
def test_how_text_is_cut(tmp_path, pre, text, pieces):
    built = of(gguf_tokenizer.from_gguf(gguf_metadata(pre), tmp_path))
    assert [piece for piece, _ in built.pre_tokenizer.pre_tokenize_str(text)] == pieces


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"tokenizer.ggml.pre": "weird"}, "weird"),
        ({"tokenizer.ggml.model": "bert"}, "bert"),
        ({"tokenizer.ggml.model": "llama"}, "scores"),
        ({"tokenizer.ggml.tokens": None}, "tokens"),
        ({"tokenizer.ggml.tokens": [1, 2]}, "tokens"),
        ({"tokenizer.ggml.merges": ["never heard"]}, "fit together"),
        ({"tokenizer.chat_template": 7}, "chat template"),
        ({"tokenizer.ggml.tokens": ["a", "a"], "tokenizer.ggml.merges": ["a a"]}, "twice"),
    ],
)
def test_damaged_gguf_tokenizers(tmp_path, changes, says):
    with pytest.raises(PhituiError, match=says):
        gguf_tokenizer.from_gguf(gguf_metadata(**changes), tmp_path / "x.gguf")


def test_no_token_that_ends(tmp_path):
    metadata = gguf_metadata()  # the special tokens get names that mean nothing
    metadata["tokenizer.ggml.tokens"] = [
        t.replace("|", "!") if len(t) > 1 else t for t in metadata["tokenizer.ggml.tokens"]
    ]
    del metadata["tokenizer.ggml.eos_token_id"]
    with pytest.raises(PhituiError, match="ends an answer"):
        gguf_tokenizer.from_gguf(metadata, tmp_path)


def folder_vocabulary(folder, **config):
    return tokenizer.from_folder(folder, 512, config)


def test_end_tokens_come_from_every_place_that_names_them(tmp_path):
    folder = make_tiny_phi3(tmp_path)
    assistant = make_tokenizer().token_to_id("<|assistant|>")
    vocabulary = folder_vocabulary(folder, eos_token_id=assistant)
    assert vocabulary.end_tokens == ["<|endoftext|>", "<|end|>", "<|assistant|>"]


def test_ids_without_a_token_get_names_of_their_own(tmp_path):
    vocabulary = folder_vocabulary(make_tiny_phi3(tmp_path))
    assert len(set(vocabulary.tokens)) == 512
    assert vocabulary.tokens[-1] == "<unused_511>"


def test_a_template_in_its_own_file_comes_first(tmp_path):
    folder = make_tiny_phi3(tmp_path)
    assert "<|assistant|>" in folder_vocabulary(folder).chat_template
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert folder_vocabulary(folder).chat_template == "{{ messages }}"


def test_the_default_of_several_templates(tmp_path):
    folder = make_tiny_phi3(tmp_path)
    templates = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "yes"}]
    settings = json.loads((folder / "tokenizer_config.json").read_text()) | {"chat_template": templates}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert folder_vocabulary(folder).chat_template == "yes"


def test_older_tokenizer_files_go_through_transformers(tmp_path):
    """vocab.json and merges.txt as GPT-2 has them, and no tokenizer.json."""
    folder = make_tiny_phi3(tmp_path)
    made = make_tokenizer()
    (folder / "tokenizer.json").unlink()
    assert isinstance(made.model, models.BPE)
    made.model.save(str(folder))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "GPT2Tokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "llama"}
    (folder / "config.json").write_text(json.dumps(config))
    vocabulary = folder_vocabulary(folder)
    text = "What is the capital of France?"
    assert of(vocabulary).encode(text, add_special_tokens=False).tokens == made.encode(text).tokens


@pytest.mark.parametrize("text", [*TEXTS, "the capital of the tabs", "<|user|>\nHi there<|end|>\n<|user|> x"])
def test_sentencepiece_from_its_scores(text, tmp_path):
    """Every way to build a token is a merge there, only the trained ones here: the ids are the same all the same."""
    made = spm_tokenizer(TEXTS)
    built = of(gguf_tokenizer.from_gguf(spm_metadata(made), tmp_path))
    expected = made.encode(text, add_special_tokens=False)
    found = built.encode(text, add_special_tokens=False)
    assert found.ids == expected.ids
    assert built.decode(found.ids, skip_special_tokens=False) == made.decode(expected.ids, skip_special_tokens=False)


def test_only_phi3_takes_the_white_space_after_special_tokens(tmp_path):
    made = spm_tokenizer(TEXTS)
    user, end = (made.token_to_id(token) for token in ("<|user|>", "<|end|>"))
    ids = {}
    for architecture in ("phi3", "llama"):
        built = of(gguf_tokenizer.from_gguf(spm_metadata(made, architecture), tmp_path))
        ids[architecture] = built.encode("<|user|>\n<|end|>", add_special_tokens=False).ids
    assert ids["phi3"] == [user, end]
    assert ids["llama"][0] == user and ids["llama"][-1] == end and len(ids["llama"]) > 2


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"tokenizer.ggml.scores": [1.0]}, "scores"),
        ({"tokenizer.ggml.scores": "x"}, "scores"),
        ({"tokenizer.ggml.token_type": None}, "token_type"),
    ],
)
def test_damaged_sentencepiece(tmp_path, changes, says):
    with pytest.raises(PhituiError, match=says):
        gguf_tokenizer.from_gguf(spm_metadata(spm_tokenizer(TEXTS)) | changes, tmp_path / "x.gguf")
