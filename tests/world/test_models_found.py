"""Models as they are found on the Hub and on disks: each with one oddity, converted and asked for real."""

import json

import gguf
import numpy as np
import pytest
import tiny_gguf
from loopback import hub, serving
from prepare_child import failure
from tiny_gguf import gguf_name, write_gguf
from tiny_phi3 import (
    CHAT_TEMPLATE,
    FF_DIM,
    HEAD_DIM,
    HEADS,
    LAYERS,
    MODEL_DIM,
    VOCABULARY,
    make_tiny_phi3,
    make_tokenizer,
    random_tensors,
    save_tensors,
)
from tokenizers import Tokenizer

from phitui.core.errors import PhituiError
from phitui.engine.protocol.api import Turn
from phitui.engine.worker.prompt import ChatPrompt
from phitui.models.convert.convert import Label, convert, open_source
from phitui.models.manifest import read_manifest
from phitui.models.messages import Pull

LONG = "one two three four five six seven eight nine ten, and a hundred more. " * 20
ASKED = [Turn("user", LONG)]
EACH, THEN = "{% for m in messages %}", "{% endfor %}<|assistant|>\n"
TURN = "<|{{ m.role }}|>\n{{ m.content }}<|end|>\n"
PLAIN = f"<|user|>\n{LONG}<|end|>\n<|assistant|>"  # Jinja takes the last line break of a template away


@pytest.fixture
def folder(tmp_path):
    return make_tiny_phi3(tmp_path / "hub")


def change(folder, file, **values):
    found = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(found | values))


def template(folder, text):
    change(folder, "tokenizer_config.json", chat_template=text)


def made(source, tmp_path):
    convert(open_source(source, Label("m")), tmp_path / "made", "float32", lambda progress: None)
    return ChatPrompt(tmp_path / "made", read_manifest(tmp_path / "made"))


def refused(source):
    with pytest.raises(PhituiError) as caught:
        open_source(source, Label("m"))
    return str(caught.value)


def test_truncation_and_padding_are_for_training(folder, tmp_path):
    change(
        folder,
        "tokenizer.json",
        truncation={"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0},
        padding={
            "strategy": {"Fixed": 16},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "<unk>",
        },
    )
    prompt = made(folder, tmp_path)
    assert prompt.text(prompt.ids(ASKED)).strip() == LONG.strip()
    kept = Tokenizer.from_file(str(tmp_path / "made" / "tokenizer.json"))
    assert kept.truncation is None
    assert kept.padding is None
    # A model that was converted before is read whole, too.
    manifest = read_manifest(tmp_path / "made")
    (tmp_path / "made" / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    again = ChatPrompt(tmp_path / "made", manifest)
    assert again.ids(ASKED) == prompt.ids(ASKED)


FOUND = {
    "generation": (EACH + "{% generation %}" + TURN + "{% endgeneration %}" + THEN, PLAIN),
    "generation, nested": (
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
        "{% else %}" + TURN + "{% endif %}" + THEN,
        PLAIN,
    ),
    "ensure_ascii": (EACH + "{{ m.content | tojson(ensure_ascii=False) }}" + THEN, None),
    "all of tojson": (
        EACH + "{{ m | tojson(indent=2, separators=(',', ': '), sort_keys=true, ensure_ascii=True) }}" + THEN,
        None,
    ),
    "tools is none": ("{% if tools is not none %}TOOLS{% endif %}" + EACH + TURN + THEN, PLAIN),
    "not tools": ("{% if not tools is defined %}{% set tools = none %}{% endif %}" + EACH + TURN + THEN, PLAIN),
    "documents": (
        "{% if documents is not none %}{% for d in documents %}D{% endfor %}{% endif %}" + EACH + TURN + THEN,
        PLAIN,
    ),
    "a date": (
        "{% set d = strftime_now('%Y') %}{% if not d %}{{ raise_exception('no date') }}{% endif %}"
        + EACH
        + TURN
        + THEN,
        PLAIN,
    ),
    "roles that alternate": (
        "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('roles must alternate') }}{% endif %}" + TURN + THEN,
        PLAIN,
    ),
    "break and continue": (EACH + "{% if m.role == 'tool' %}{% continue %}{% endif %}" + TURN + THEN, PLAIN),
    "names that are not there": ("{{ bos_token }}{{ pad_token + '' }}{{ sep_token }}" + EACH + TURN + THEN, None),
    "macros and namespaces": (
        "{%- macro show(m) %}" + TURN + "{% endmacro -%}{%- set ns = namespace(n=0) -%}"
        "{%- for m in messages -%}{%- set ns.n = ns.n + 1 -%}{{ show(m) }}{%- endfor -%}<|assistant|>\n",
        PLAIN,
    ),
}


@pytest.mark.parametrize("text, expected", FOUND.values(), ids=FOUND.keys())
def test_templates_as_they_are_written(text, expected, folder, tmp_path):
    template(folder, text)
    prompt = made(folder, tmp_path)
    rendered = prompt.render(ASKED)
    assert LONG in rendered
    if expected is not None:
        assert rendered == expected


REFUSED = {
    "nothing": ("", "has no chat template"),
    "white space": (" \n", "has no chat template"),
    "no program": ("{% for m in messages %}", "chat template is damaged"),
    "unknown tag": ("{% audio %}{% endaudio %}", "chat template is damaged"),
    "refuses all": ("{{ raise_exception('needs images') }}", "needs images"),
    "needs another file": ("{% include 'other.jinja' %}", "refuses this chat"),
    "leaves out the question": ("<|user|>\n<|end|>\n<|assistant|>\n", "leaves out what the user says"),
    "deeper than Python compiles": ("{% for a in [1] %}" * 30 + "x" + "{% endfor %}" * 30, "chat template"),
    "divides by zero": ("{{ 1 / 0 }}", "refuses this chat"),
    "calls itself": ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "refuses this chat"),
    "no text": (7, "that is no text"),
}


@pytest.mark.parametrize("text, says", REFUSED.values(), ids=REFUSED.keys())
def test_templates_that_will_not_do_are_refused_before_the_weights_are_read(text, says, folder):
    template(folder, text)
    for shard in folder.glob("*.safetensors"):  # its header stands, its data is not read
        shard.write_bytes(shard.read_bytes())
    assert says in refused(folder)


def test_no_template_says_what_can_be_done(folder):
    template(folder, None)
    assert "instruct" in refused(folder)
    assert "completions" in refused(folder)


async def test_nothing_large_is_fetched_for_a_model_without_a_template(folder, tmp_path):
    template(folder, None)
    handler = hub("someone/base", folder)
    with serving(handler) as url:
        settings = {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
        said = await failure(Pull(str(tmp_path / "models"), "someone/base"), tmp_path / "log", **settings)
    assert "has no chat template" in str(said)
    assert not any(path.endswith(".safetensors") for path in handler.paths)


def test_a_template_of_its_own_file_goes_before_that_of_the_settings(folder, tmp_path):
    template(folder, "wrong")
    (folder / "chat_template.jinja").write_text(EACH + TURN + THEN)
    assert made(folder, tmp_path).render(ASKED) == PLAIN


@pytest.mark.parametrize(
    "several",
    [
        [{"name": "rag", "template": "x"}, {"name": "default", "template": EACH + TURN + THEN}],
        {"tool_use": "x", "default": EACH + TURN + THEN},
        [{"name": "chat", "template": EACH + TURN + THEN}],
    ],
)
def test_several_templates(several, folder, tmp_path):
    template(folder, several)
    assert made(folder, tmp_path).render(ASKED) == PLAIN


SYSTEM = [Turn("system", "Answer in French."), Turn("user", "Hi"), Turn("assistant", "Salut"), Turn("user", "Bye")]


@pytest.mark.parametrize(
    "text",
    [
        EACH + "{% if m.role == 'user' or m.role == 'assistant' %}" + TURN + "{% endif %}" + THEN,
        EACH + "{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + TURN + THEN,
        "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}"
        "{% endif %}" + TURN + THEN,
    ],
    ids=["passes over it", "refuses it", "wants the user first"],
)
def test_a_system_prompt_that_the_template_does_not_take(text, folder, tmp_path):
    template(folder, text)
    prompt = made(folder, tmp_path)
    assert prompt.render(SYSTEM).startswith("<|user|>\nAnswer in French.\n\nHi<|end|>\n<|assistant|>\nSalut<|end|>")
    assert prompt.render(SYSTEM).count("Answer in French.") == 1
    assert "no place for a system prompt" in prompt.note
    assert "Only this" in prompt.text(prompt.ids([Turn("system", "Only this")]))


def test_a_system_prompt_that_the_template_takes_stays_where_it_is(folder, tmp_path):
    prompt = made(folder, tmp_path)
    assert prompt.render(SYSTEM).startswith("<|system|>\nAnswer in French.<|end|>\n<|user|>\nHi")
    assert prompt.note == ""


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 999\n"


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json", "m.gguf"])
def test_git_lfs_pointers(file, folder):
    (folder / file).write_text(POINTER)
    source = folder / file if file.endswith(".gguf") else folder
    assert f"{file} is a Git LFS pointer" in refused(source)
    assert "git lfs pull" in refused(source)


@pytest.mark.parametrize(
    "content, says",
    [(POINTER.encode(), "Git LFS pointer"), (b"\x0a\xff\xff", "no tokenizer that can be read"), (b"", "no tokenizer")],
)
def test_a_tokenizer_model_that_is_none(content, says, folder):
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.model").write_bytes(content)
    assert says in refused(folder)


def test_a_shard_that_is_a_pointer_or_missing(tmp_path):
    folder = make_tiny_phi3(tmp_path / "hub", shards=3)
    (folder / "model-00002-of-00003.safetensors").write_text(POINTER)
    assert "model-00002-of-00003.safetensors is a Git LFS pointer" in refused(folder)
    (folder / "model-00002-of-00003.safetensors").unlink()
    assert "lacks the shard 'model-00002-of-00003.safetensors'" in refused(folder)


def test_a_tokenizer_with_more_tokens_than_the_model(folder, tmp_path):
    """As where somebody has added a padding token and left the weights as they were."""
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens([f"<|extra_{number}|>" for number in range(VOCABULARY)])
    tokenizer.save(str(folder / "tokenizer.json"))
    change(folder, "tokenizer_config.json", pad_token=f"<|extra_{VOCABULARY - 1}|>")
    prompt = made(folder, tmp_path)
    ids = prompt.ids([Turn("user", f"<|extra_{VOCABULARY - 1}|> and {LONG}")])
    assert max(ids) < VOCABULARY
    assert LONG.strip() in prompt.text(ids)
    assert len(json.loads((tmp_path / "made" / "vocabulary.json").read_text())) == VOCABULARY
    template(folder, f"{EACH}{TURN}<|extra_{VOCABULARY - 1}|>{THEN}")
    assert "which the model has no weights for" in refused(folder)


def test_a_tokenizer_of_another_model(folder):
    change(folder, "config.json", vocab_size=300)
    save_tensors(folder, {name: v[:300] if len(v) == VOCABULARY else v for name, v in tensors().items()})
    assert "tokens more than the model" in refused(folder)


def test_a_tokenizer_with_fewer_tokens_than_the_model(folder, tmp_path):
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens(["<unused_511>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    assert made(folder, tmp_path).ids(ASKED)
    names = json.loads((tmp_path / "made" / "vocabulary.json").read_text())
    assert len(set(names)) == VOCABULARY


@pytest.mark.parametrize("value", [None, {}, {"405": None}, {"x": {"content": "y"}}])
def test_odd_lists_of_added_tokens(value, folder, tmp_path):
    change(folder, "tokenizer_config.json", added_tokens_decoder=value)
    assert made(folder, tmp_path).ids(ASKED)


def test_added_tokens_that_only_the_settings_list(folder, tmp_path):
    made_before = json.loads((folder / "tokenizer.json").read_text())
    lost = made_before["added_tokens"].pop()
    (folder / "tokenizer.json").write_text(json.dumps(made_before))
    listed = {str(lost["id"]): {"content": lost["content"], "special": True, "rstrip": False}}
    change(folder, "tokenizer_config.json", added_tokens_decoder=listed)
    prompt = made(folder, tmp_path)
    assert prompt.tokens(ASKED)[0] == "<|user|>" == lost["content"]


@pytest.mark.parametrize("lacking", [("bos_token",), ("eos_token",), ("bos_token", "eos_token", "unk_token")])
def test_names_that_the_settings_leave_out(lacking, folder, tmp_path):
    change(folder, "tokenizer_config.json", **dict.fromkeys(lacking))
    template(folder, "{{ bos_token }}{{ '' + eos_token }}" + EACH + TURN + THEN)
    prompt = made(folder, tmp_path)
    assert prompt.tokens(ASKED)
    assert prompt.end_ids


def tensors():
    return random_tensors(0, 2, False)


def add_tokenizer(spare=VOCABULARY, kind=3, **more):
    """A writer's tokenizer with tokens up to the id `spare`, its marks of the type `kind`."""

    def add(writer):
        model = json.loads(make_tokenizer().to_str())
        tokens = sorted(model["model"]["vocab"], key=model["model"]["vocab"].get)
        tokens += [added["content"] for added in model["added_tokens"] if added["id"] >= len(tokens)]
        special = {added["content"] for added in model["added_tokens"]}
        tokens += [f"[spare {number}]" for number in range(spare - len(tokens))]
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list(tokens)
        writer.add_token_types([kind if token in special else 5 if "spare" in token else 1 for token in tokens])
        writer.add_token_merges([" ".join(merge) for merge in model["model"]["merges"]])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(tokens.index("<|endoftext|>"))
        if more.get("template", CHAT_TEMPLATE):
            writer.add_chat_template(more.get("template", CHAT_TEMPLATE))

    return add


@pytest.fixture
def gguf_file(tmp_path, monkeypatch):
    def write(**options):
        monkeypatch.setattr(tiny_gguf, "add_gguf_tokenizer", add_tokenizer(**options))
        path = tmp_path / "m.gguf"
        return write_gguf(path, tensors(), 2, architecture="phi3", rope_dimension_count=HEAD_DIM)

    return write


@pytest.mark.parametrize("kind", [1, 4])
def test_turn_marks_of_another_type(kind, gguf_file, tmp_path):
    prompt = made(gguf_file(kind=kind), tmp_path)
    assert [token for token in prompt.tokens(ASKED) if token.startswith("<|")] == [
        "<|user|>",
        "<|end|>",
        "<|assistant|>",
    ]
    assert prompt.tokens(ASKED)[-1] != "<|assistant|>"  # the line break after it, as the template has it


def test_a_gguf_file_with_fewer_tokens_than_rows(gguf_file, tmp_path):
    assert made(gguf_file(spare=0), tmp_path).ids(ASKED)
    assert len(json.loads((tmp_path / "made" / "vocabulary.json").read_text())) == VOCABULARY


def test_a_gguf_file_without_a_template(gguf_file):
    assert "has no chat template" in refused(gguf_file(template=""))


def test_a_gguf_file_with_templates_by_name(gguf_file, tmp_path):
    path = gguf_file(template=[{"name": "chat", "template": EACH + TURN + THEN}])
    assert made(path, tmp_path).render(ASKED) == PLAIN


def write_parts(folder, count=3):
    """As llama.cpp's gguf-split makes them: metadata in the first alone."""
    weights = tensors()
    parts = np.array_split(list(weights), count)
    for number, names in enumerate(parts):
        writer = gguf.GGUFWriter(folder / f"tiny-{number + 1:05}-of-{count:05}.gguf", "phi3")
        if number == 0:
            writer.add_block_count(LAYERS)
            writer.add_context_length(4096)
            writer.add_embedding_length(MODEL_DIM)
            writer.add_feed_forward_length(FF_DIM)
            writer.add_head_count(HEADS)
            writer.add_head_count_kv(2)
            writer.add_layer_norm_rms_eps(1e-5)
            writer.add_rope_dimension_count(HEAD_DIM)
            add_tokenizer()(writer)
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", count)
        writer.add_int32("split.tensors.count", len(weights))
        for name in map(str, names):
            writer.add_tensor(gguf_name(name), weights[name])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


@pytest.mark.parametrize("given", [1, 3])
def test_a_gguf_file_in_parts(given, gguf_file, tmp_path):
    whole = tmp_path / "whole"
    convert(open_source(gguf_file(), Label("m")), whole, "float32", lambda progress: None)
    write_parts(tmp_path)
    made(tmp_path / f"tiny-0000{given}-of-00003.gguf", tmp_path)
    assert (tmp_path / "made" / "model.bin").read_bytes() == (whole / "model.bin").read_bytes()


def test_parts_that_are_missing_or_renamed(tmp_path):
    write_parts(tmp_path)
    (tmp_path / "tiny-00002-of-00003.gguf").rename(tmp_path / "two.gguf")
    assert "lacks the part tiny-00002-of-00003.gguf" in refused(tmp_path / "tiny-00001-of-00003.gguf")
    assert "one of 3 parts" in refused(tmp_path / "two.gguf")
