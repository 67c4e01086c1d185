"""Whatever stands in the files of a checkpoint: a model or one clear line, and nothing else."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress

import pytest
from awq_checkpoint import make_awq, tensors_of
from fuzzing import VALUES, damaged_bytes, damaged_json, fuzz, one_line
from hypothesis import given
from hypothesis import strategies as st
from tiny_gguf import write_gguf
from tiny_phi3 import VOCABULARY, make_tiny_phi3, random_tensors

from phitui.core.errors import PhituiError
from phitui.models.convert.checkpoint import SafetensorsCheckpoint
from phitui.models.convert.convert import Label, convert, open_source


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    return make_tiny_phi3(tmp_path_factory.mktemp("fuzz") / "hub", shards=2)


@pytest.fixture(scope="module")
def awq(tmp_path_factory):
    tensors = tensors_of("llama", "gemm", 128, 128, 128, VOCABULARY, 1)
    return make_awq(tmp_path_factory.mktemp("fuzz") / "awq", "llama", "gemm", tensors, 128, 2, 2, 128, 1)


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("fuzz") / "tiny.gguf", random_tensors(0, 2, False), 2)


def convert_it(source, tmp_path, quantization=""):
    target = tmp_path / "out"
    shutil.rmtree(target, ignore_errors=True)
    with one_line():
        convert(open_source(source, Label("tiny")), target, quantization, lambda progress: None)


def header_of(path):
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def safetensors_bytes(header, body, length=None):
    return (len(header) if length is None else length).to_bytes(8, "little") + header + body


LENGTHS = st.one_of(st.none(), st.integers(0, 3000), st.sampled_from([2**32, 2**63, 2**64 - 1]))


@fuzz(150)
@given(st.data(), LENGTHS)
def test_safetensors_headers(hub, tmp_path, data, length):
    path = hub / "model-00001-of-00002.safetensors"
    original = path.read_bytes()
    header, body = header_of(path)
    try:
        path.write_bytes(safetensors_bytes(data.draw(damaged_json(header)), body, length))
        convert_it(hub, tmp_path)
    finally:
        path.write_bytes(original)


@fuzz(150)
@given(st.data())
def test_bytes_of_safetensors(awq, tmp_path, data):
    """An AWQ checkpoint, so that integers are read, too."""
    path = awq / "model.safetensors"
    original = path.read_bytes()
    header = 8 + int.from_bytes(original[:8], "little")
    try:
        path.write_bytes(data.draw(damaged_bytes(original, header)))
        convert_it(awq, tmp_path)
    finally:
        path.write_bytes(original)


NAMES = st.one_of(st.text(max_size=8), st.sampled_from(["../../up", "/abs", "a\x00b", "é\ud800", "n" * 300]))
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.one_of(st.sampled_from(["F32", "BF16", "I32", "I64", "F8_E4M3"]), VALUES),
        "shape": st.one_of(st.lists(st.sampled_from([0, 1, 4, -1, 2**40]), max_size=4), VALUES),
        "data_offsets": st.one_of(st.lists(st.integers(-4, 80), min_size=2, max_size=2), VALUES),
    },
)


@fuzz(300)
@given(st.dictionaries(NAMES, ENTRIES, max_size=4), st.binary(max_size=70))
def test_tensors_are_read_or_refused(tmp_path, header, body):
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes(json.dumps(header).encode(), body))
    with one_line():
        weights = SafetensorsCheckpoint(tmp_path)
        for name in weights.names():
            shape = weights.shape(name)
            if shape:
                weights.will_read(name, 0, 1)
                with suppress(PhituiError):  # one that cannot be read must not hide the others
                    weights.rows(name, 0, shape[0])
                with suppress(PhituiError):  # one that cannot be read must not hide the others
                    weights.integers(name)


@fuzz(150)
@given(st.data())
def test_shard_indexes(hub, tmp_path, data):
    path = hub / "model.safetensors.index.json"
    original = path.read_bytes()
    index = json.loads(original)
    if data.draw(st.booleans()):
        for name in data.draw(st.lists(st.sampled_from(sorted(index["weight_map"])), min_size=1, max_size=3)):
            index["weight_map"][name] = data.draw(NAMES) + ".safetensors"
    try:
        path.write_bytes(data.draw(damaged_json(index)) if data.draw(st.booleans()) else json.dumps(index).encode())
        convert_it(hub, tmp_path)
    finally:
        path.write_bytes(original)


@fuzz(150)
@given(st.data())
@pytest.mark.parametrize(
    "file", ["tokenizer.json", "tokenizer_config.json", "generation_config.json", "special_tokens_map.json"]
)
def test_tokenizer_files(hub, tmp_path, file, data):
    path = hub / file
    original = path.read_bytes() if path.exists() else b'{"eos_token": {"content": "<|end|>"}}'
    try:
        path.write_bytes(data.draw(damaged_json(json.loads(original))))
        with one_line():
            open_source(hub, Label("tiny"))
    finally:
        path.write_bytes(original)
        if file == "special_tokens_map.json":
            path.unlink()


@fuzz(100)
@given(st.data())
def test_bytes_of_a_tokenizer(hub, data):
    path = hub / "tokenizer.json"
    original = path.read_bytes()
    try:
        path.write_bytes(data.draw(damaged_bytes(original, len(original))))
        with one_line():
            open_source(hub, Label("tiny"))
    finally:
        path.write_bytes(original)


@fuzz(300)
@given(st.data())
def test_gguf_headers(gguf_file, tmp_path, data):
    original = gguf_file.read_bytes()
    header = original.index(b"blk.1.ffn_down.weight") + 64  # the last of its tensors' descriptions, or near it
    path = tmp_path / "damaged.gguf"
    path.write_bytes(data.draw(damaged_bytes(original, header)))
    with one_line():
        open_source(path, Label("tiny"))


@fuzz(100)
@given(st.data())
def test_gguf_settings_and_tensors(gguf_file, tmp_path, data):
    """Damage where settings are, and where the tensors are described; then the whole conversion."""
    original = gguf_file.read_bytes()
    path = tmp_path / "damaged.gguf"
    place = data.draw(st.sampled_from([b"llama.", b"general.", b"blk.0", b"output", b"token_embd"]))
    at = original.index(place)
    head, rest = original[:at], original[at:]
    path.write_bytes(head + data.draw(damaged_bytes(rest, 400)))
    convert_it(path, tmp_path)
