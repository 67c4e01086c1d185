"""Phi-3's kind of tokenizer, SentencePiece's BPE with single bytes, from a GGUF file: as transformers reads it."""

from __future__ import annotations

import gguf
import pytest
from many_texts import texts
from tiny_gguf import spm_metadata, spm_tokenizer
from tiny_phi3 import CHAT_TEMPLATE
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from phitui.engine.prompt import _environment
from phitui.models import gguf_tokenizer
from phitui.models.gguf_source import GgufFile


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("spm") / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    metadata = spm_metadata(spm_tokenizer(texts()), "llama")
    writer.add_vocab_size(len(metadata["tokenizer.ggml.tokens"]))
    writer.add_tokenizer_model(metadata["tokenizer.ggml.model"])
    writer.add_tokenizer_pre(metadata["tokenizer.ggml.pre"])
    writer.add_token_list(metadata["tokenizer.ggml.tokens"])
    writer.add_token_scores(metadata["tokenizer.ggml.scores"])
    writer.add_token_types(metadata["tokenizer.ggml.token_type"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(CHAT_TEMPLATE)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_chats_and_token_ids(file, figures):
    theirs = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    vocabulary = gguf_tokenizer.from_gguf(GgufFile(file).metadata, file)
    ours = Tokenizer.from_str(vocabulary.tokenizer_json.decode())
    template = _environment().from_string(vocabulary.chat_template)
    checked = 0
    for text in texts():
        messages = [{"role": "user", "content": text}]
        rendered = theirs.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        settings = {"messages": messages, "add_generation_prompt": True}
        assert template.render(**settings, **vocabulary.special_tokens) == rendered
        for each in (text, rendered):
            assert ours.encode(each, add_special_tokens=False).ids == theirs.encode(each, add_special_tokens=False)
        checked += 1
    figures("tokenizers", "sentencepiece-gguf", {"texts_equal": checked})
