"""Token ids and rendered chats are those of transformers' own tokenizer, for texts of many kinds."""

from __future__ import annotations

import json

import pytest
from many_texts import texts
from tiny_gguf import spm_metadata, spm_tokenizer
from tiny_phi3 import PHI3_TOKENS, make_tiny_phi3, make_tokenizer, tiny_phi3_model
from tokenizers import AddedToken, Tokenizer
from transformers import AutoTokenizer

from phitui.engine.protocol.api import Turn
from phitui.engine.worker.prompt import ChatPrompt
from phitui.models.convert import gguf_tokenizer
from phitui.models.manifest import read_manifest

KNOWN = ["The quick brown fox", "jumps over the lazy dog", "return x and print the text", "the capital of the users"]


@pytest.fixture(scope="module", params=["plain", "rstrip", "sentencepiece"])
def both(request, tmp_path_factory):
    """The same folder as transformers and as phitui reads it; see the tokenizers below."""
    tmp = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        if request.param != "plain":
            made = {"rstrip": stripping, "sentencepiece": sentencepiece}[request.param]
            patch.setattr("tiny_phi3.make_tokenizer", made)
        converted = tiny_phi3_model(tmp)
        theirs = AutoTokenizer.from_pretrained(make_tiny_phi3(tmp / "hub"), local_files_only=True)
    return theirs, ChatPrompt(converted, read_manifest(converted))


def stripping():
    """The tiny tokenizer with `rstrip` on Phi-3's special tokens."""
    settings = json.loads(make_tokenizer().to_str())
    for added in settings["added_tokens"]:
        added["rstrip"] = added["content"] in ("<|user|>", "<|end|>", "<|assistant|>", "<|system|>")
    return Tokenizer.from_str(json.dumps(settings))


def sentencepiece():
    """Phi-3's own kind: SentencePiece's BPE with single bytes, special tokens that take white space."""
    made = spm_tokenizer(KNOWN)
    for token in PHI3_TOKENS:
        made.add_special_tokens([AddedToken(token, normalized=False, rstrip=token != "<|endoftext|>")])
    return made


def test_chats_and_their_token_ids(both):
    theirs, ours = both
    for number, text in enumerate(texts()):
        turns = [Turn("system", "Be brief."), Turn("user", text)]
        if number % 2:
            turns = [*turns, Turn("assistant", text[::-1]), Turn("user", text)]
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        rendered = theirs.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        assert ours.render(turns) == rendered
        assert_same_ids(theirs, theirs.convert_tokens_to_ids(ours.tokens(turns)), messages)


def assert_same_ids(theirs, ids, messages):
    """The ids of transformers; where contents have marks, by its option that takes these for text. There it cuts the
    text before and after each mark, so that other pieces of the same text come out, and no space in front."""
    expected = theirs.apply_chat_template(
        messages, add_generation_prompt=True, sanitize_control_tokens=True, return_dict=False
    )
    if any(mark in message["content"] for message in messages for mark in ("<|user|>", "<|end|>")):
        special = set(theirs.all_special_ids)
        assert [number for number in ids if number in special] == [n for n in expected if n in special]
        assert theirs.decode(ids).replace(" ", "") == theirs.decode(expected).replace(" ", "")
    else:
        assert ids == expected


def test_sentencepiece_in_a_gguf_file(tmp_path):
    """The same tokenizer as llama.cpp's converter writes it, against the Hub folder in transformers."""
    made = spm_tokenizer(KNOWN)
    made.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}')
    theirs = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    vocabulary = gguf_tokenizer.from_gguf(spm_metadata(made), tmp_path)
    ours = Tokenizer.from_str(vocabulary.tokenizer_json.decode())
    for text in texts():
        ids = theirs.encode(text, add_special_tokens=False)
        assert ours.encode(text, add_special_tokens=False).ids == ids
        assert ours.decode(ids, skip_special_tokens=False) == theirs.decode(ids)
