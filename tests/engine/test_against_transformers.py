"""Token ids and rendered chats are those of transformers' own tokenizer, for texts of many kinds."""

from __future__ import annotations

import json

import pytest
from many_texts import texts
from tiny_phi3 import make_tiny_phi3, make_tokenizer, tiny_phi3_model
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from phitui.engine.api import Turn
from phitui.engine.prompt import ChatPrompt
from phitui.models.manifest import read_manifest


@pytest.fixture(scope="module", params=["plain", "rstrip"])
def both(request, tmp_path_factory):
    """The same folder as transformers and as phitui reads it; "rstrip": special tokens take white space, as Phi-3's."""
    tmp = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "rstrip":
            patch.setattr("tiny_phi3.make_tokenizer", stripping)
        converted = tiny_phi3_model(tmp)
        theirs = AutoTokenizer.from_pretrained(make_tiny_phi3(tmp / "hub"), local_files_only=True)
    return theirs, ChatPrompt(converted, read_manifest(converted))


def stripping():
    """The tiny tokenizer with `rstrip` on Phi-3's special tokens."""
    settings = json.loads(make_tokenizer().to_str())
    for added in settings["added_tokens"]:
        added["rstrip"] = added["content"] in ("<|user|>", "<|end|>", "<|assistant|>", "<|system|>")
    return Tokenizer.from_str(json.dumps(settings))


def test_chats_and_their_token_ids(both):
    theirs, ours = both
    for number, text in enumerate(texts()):
        turns = [Turn("system", "Be brief."), Turn("user", text)]
        if number % 2:
            turns = [*turns, Turn("assistant", text[::-1]), Turn("user", text)]
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        rendered = theirs.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        assert ours.render(turns) == rendered
        ids = theirs.encode(rendered, add_special_tokens=False)
        assert theirs.convert_tokens_to_ids(ours.tokens(turns)) == ids
