"""A real SentencePiece vocabulary of Phi-3's kind (32,000 tokens, bytes for what it does not know), with Phi-3's added
tokens on top: ids through a GGUF file and through a Hub folder are those of SentencePiece's own library."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import mistral_common
import pytest
from many_texts import PIECES
from sentencepiece import SentencePieceProcessor
from tiny_gguf import write_gguf
from tiny_phi3 import CHAT_TEMPLATE, HEAD_DIM, make_tiny_phi3, random_tensors, save_tensors
from transformers import AutoTokenizer

from phitui.engine.protocol.api import Turn
from phitui.engine.worker.prompt import ChatPrompt
from phitui.models.convert.convert import Label, convert, open_source
from phitui.models.manifest import read_manifest

TEXTS = 2000
# From the tokenizer.json of microsoft/Phi-3-mini-4k-instruct (MIT), in the order of their ids.
ADDED = [
    "<|endoftext|>",
    "<|assistant|>",
    *(f"<|placeholder{number}|>" for number in range(1, 5)),
    "<|system|>",
    "<|end|>",
    "<|placeholder5|>",
    "<|placeholder6|>",
    "<|user|>",
]
ROWS = 32064
MORE = [
    *PIECES,
    " " * 7,
    " " * 60,
    "\t\t\t",
    "\n" * 5,
    "\x00\x01\x07\x1b[0m\x7f\x85",
    "\u00a0\u3000\u200b\u2028",
    "▁▁ ▁",
    "Ω≈ç√∫˜µ≤≥÷",
    "ქართული አማርኛ ខ្មែរ မြန်မာ සිංහල",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐍈 \U0010ffff",
    "👩🏽‍🚀🫠",
    "0123456789" * 3,
    "if (a<b && c>d) { return &x[i++]; } // TODO",
    "<s> </s> <unk> <0x41> <|assistant|>",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "ﬁﬂ ① ㎏ é é",
    "'tis  the   season",
    "x",
    " ",
]


def random_texts() -> list[str]:
    rng = random.Random(32)
    return ["".join(rng.choices(MORE, k=rng.randint(1, 7))) for _ in range(TEXTS)]


@pytest.fixture(scope="module")
def library() -> SentencePieceProcessor:
    return SentencePieceProcessor(model_file=str(_model_file()))


@pytest.fixture(scope="module")
def by_gguf(library, tmp_path_factory) -> Path:
    """The model folder made from a GGUF file that has the vocabulary as llama.cpp's converter writes it."""
    tmp = tmp_path_factory.mktemp("gguf")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tiny_gguf.add_gguf_tokenizer", lambda writer: _add_tokenizer(writer, library))
        weights = _tensors()
        path = write_gguf(tmp / "m.gguf", weights, 2, architecture="phi3", rope_dimension_count=HEAD_DIM)
    convert(open_source(path, Label("gguf")), tmp / "made", "int8", lambda progress: None)
    return tmp / "made"


@pytest.fixture(scope="module")
def hub(by_gguf, tmp_path_factory) -> Path:
    """A Hub folder of the same model: safetensors, tokenizer.json."""
    folder = make_tiny_phi3(tmp_path_factory.mktemp("hub") / "hub", vocab_size=ROWS)
    save_tensors(folder, _tensors())
    (folder / "tokenizer.json").write_bytes((by_gguf / "tokenizer.json").read_bytes())
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"legacy": False}))
    return folder


@pytest.fixture(scope="module")
def older_hub(hub, tmp_path_factory) -> Path:
    """As folders were before tokenizer.json: SentencePiece's own file, and Phi-3's tokens in the settings alone."""
    folder = shutil.copytree(hub, tmp_path_factory.mktemp("older") / "hub")
    (folder / "tokenizer.json").unlink()
    shutil.copy(_model_file(), folder / "tokenizer.model")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    listed = {
        str(32000 + place): {"content": token, "special": True, "rstrip": token != "<|endoftext|>"}
        for place, token in enumerate(ADDED)
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"added_tokens_decoder": listed}))
    return folder


def _model_file() -> Path:
    return Path(mistral_common.__file__).parent / "data" / "tokenizer.model.v1"


def _tensors():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tiny_phi3.VOCABULARY", ROWS)
        return random_tensors(0, 2, False)


def _add_tokenizer(writer, library: SentencePieceProcessor) -> None:
    count = len(library)

    def kind(number: int) -> int:
        if library.is_unknown(number):
            return 2
        return 3 if library.is_control(number) else 6 if library.is_byte(number) else 1

    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([library.id_to_piece(number) for number in range(count)] + ADDED)
    writer.add_token_scores([library.get_score(number) for number in range(count)] + [-1000.0] * len(ADDED))
    writer.add_token_types([kind(number) for number in range(count)] + [3] * len(ADDED))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(count)
    writer.add_unk_token_id(0)
    writer.add_chat_template(CHAT_TEMPLATE)


@pytest.fixture(scope="module", params=["gguf", "safetensors", "safetensors and tokenizer.model"])
def prompt(request, by_gguf, hub, older_hub, tmp_path_factory) -> ChatPrompt:
    folder = by_gguf
    if request.param != "gguf":
        folder = tmp_path_factory.mktemp("safetensors") / "made"
        source = hub if request.param == "safetensors" else older_hub
        convert(open_source(source, Label("hub")), folder, "int8", lambda progress: None)
    return ChatPrompt(folder, read_manifest(folder))


def test_texts(prompt, library, figures, request):
    """Special tokens in a text are text to both."""
    equal = 0
    for text in random_texts():
        ids = prompt.text_ids(text)
        assert ids == library.encode(text), repr(text)
        assert prompt.text(ids) == library.decode(ids), repr(text)
        equal += 1
    figures("sentencepiece", request.node.callspec.params["prompt"], {"texts_equal": equal, "tokens": len(library)})


def test_chats(prompt, library):
    """Each content as SentencePiece cuts it, between Phi-3's own tokens, which take the white space after them."""
    number = {token: 32000 + place for place, token in enumerate(ADDED)}
    for text in random_texts():
        content = text.rstrip() + "."
        expected = [number["<|user|>"], *library.encode(content.lstrip()), number["<|end|>"], number["<|assistant|>"]]
        assert prompt.ids([Turn("user", content)]) == expected, repr(text)


def test_transformers_reads_the_same_of_the_hub_folder(hub, library):
    theirs = AutoTokenizer.from_pretrained(hub, local_files_only=True)
    for text in random_texts():
        if "<s>" not in text and "<|" not in text:
            assert theirs.encode(text, add_special_tokens=False) == library.encode(text), repr(text)
