"""From chat to tokens and back, with the demo model's own tokenizer and template."""

import msgspec
import pytest
from tiny_phi3 import make_tokenizer
from tokenizers import AddedToken, Tokenizer, decoders, models

from phitui.core.errors import PhituiError, UsageError
from phitui.engine.protocol.api import Turn
from phitui.engine.worker.prompt import ChatPrompt
from phitui.models.chat.tokenizer import ChatTokenizer
from phitui.models.manifest import read_manifest

TEXTS = [
    "plain words, and\na second line",
    "Grüße – λόγος – привет – 你好，世界 – こんにちは – नमस्ते – שלום",
    "👩‍🚀🇩🇪 emoji 🤷🏽‍♂️ sequences",
    "def f(x):\n\treturn x**2  # 3.14159\n\n\n",
    "\ufffd already replaced, and 1234567890",
]


@pytest.fixture(scope="module")
def prompt(demo_folder):
    return ChatPrompt(demo_folder, read_manifest(demo_folder))


@pytest.fixture(scope="module")
def tokenizer(demo_folder):
    return Tokenizer.from_file(str(demo_folder / "tokenizer.json"))


def test_several_turns_through_the_template(prompt):
    turns = [Turn("system", "S"), Turn("user", "A"), Turn("assistant", "B"), Turn("user", "C")]
    assert prompt.render(turns) == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\nB<|im_end|>\n"
        "<|im_start|>user\nC<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_end_token_is_known(prompt, tokenizer):
    assert tokenizer.token_to_id("<|im_end|>") in prompt.end_ids


@pytest.mark.parametrize("text", TEXTS)
def test_text_comes_back_whole_token_by_token(prompt, tokenizer, text):
    detokenizer = prompt.detokenizer()
    parts = [detokenizer.feed(number) for number in tokenizer.encode(text, add_special_tokens=False).ids]
    assert "".join(parts) + detokenizer.flush() == text


def test_no_half_character_is_sent(prompt, tokenizer):
    ids = tokenizer.encode("👩‍🚀 你好 🇩🇪", add_special_tokens=False).ids
    detokenizer = prompt.detokenizer()
    assert all("\ufffd" not in detokenizer.feed(number) for number in ids)


def test_a_character_that_never_ends_shows_as_replacement(prompt, tokenizer):
    ids = tokenizer.encode("ok 👩", add_special_tokens=False).ids[:-1]
    detokenizer = prompt.detokenizer()
    text = "".join(detokenizer.feed(number) for number in ids) + detokenizer.flush()
    assert text.startswith("ok ")
    assert text.endswith("\ufffd")


def test_a_vocabulary_of_single_bytes_survives_bytes_that_are_no_character():
    from phitui.engine.worker.prompt import Detokenizer

    # As Phi-3's: SentencePiece pieces, and a token for each byte that no piece covers.
    bytes_ = {f"<0x{byte:02X}>": byte for byte in range(256)}
    tokenizer = Tokenizer(models.BPE({**bytes_, "▁the": 256, "a": 257}, [], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    ids = [*"😊".encode(), 0xF0, 0x9F, 256, 257]
    detokenizer = Detokenizer(ChatTokenizer(tokenizer.to_str().encode(), ()))
    text = "".join(detokenizer.feed(number) for number in ids) + detokenizer.flush()
    assert text.startswith("😊")
    assert text.endswith("the" + "a")


def with_template(folder, template):
    return ChatPrompt(folder, msgspec.structs.replace(read_manifest(folder), chat_template=template))


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append('x') }}",
        "{{ raise_exception('no system turn') }}",
        "{% for i in range(10**9) %}x{% endfor %}",
    ],
)
def test_a_template_cannot_leave_its_sandbox(demo_folder, template):
    with pytest.raises(UsageError, match="chat template refuses"):
        with_template(demo_folder, template).render([Turn("user", "hi")])


def test_a_damaged_template_or_tokenizer_is_named(demo_folder, tmp_path):
    with pytest.raises(PhituiError, match=r"chat template is damaged.*smollm2-135m"):
        with_template(demo_folder, "{% for %}")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(PhituiError, match=r"tokenizer.json: the model has a tokenizer that is damaged"):
        ChatPrompt(tmp_path, read_manifest(demo_folder))


def test_special_tokens_that_take_the_line_break_stay_in_the_vocabulary(tmp_path, demo_folder):
    """As Phi-3's do: their `rstrip` is true."""
    made = make_tokenizer()
    made.add_special_tokens([AddedToken("<|turn|>", special=True, normalized=False, rstrip=True)])
    made.save(str(tmp_path / "tokenizer.json"))
    template = "<|turn|>\n{{ messages[0].content }}<|turn|>\n"
    prompt = ChatPrompt(tmp_path, msgspec.structs.replace(read_manifest(demo_folder), chat_template=template))
    tokens = prompt.tokens([Turn("user", "What")])
    assert tokens[0] == tokens[-1] == "<|turn|>"
    assert all(made.token_to_id(token) is not None for token in tokens)
