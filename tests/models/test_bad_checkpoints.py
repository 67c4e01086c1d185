"""Damaged, incomplete and unknown checkpoints: one clear line each, and never anything else."""

from __future__ import annotations

import json
import os
import shutil
import threading

import numpy as np
import pytest
from test_convert import converted
from tiny_gguf import write_gguf
from tiny_phi3 import MODEL_DIM, make_tiny_phi3, random_tensors, save_tensors

from phitui.core.errors import PhituiError, UsageError
from phitui.models.manifest import MANIFEST_NAME

FINAL_NORM = "model.norm.weight"
QKV = "model.layers.1.self_attn.qkv_proj.weight"


@pytest.fixture
def hub(tmp_path):
    return make_tiny_phi3(tmp_path / "hub")


@pytest.fixture
def gguf(tmp_path):
    return write_gguf(tmp_path / "tiny.gguf", random_tensors(0, 2, False), 2)


def refusal(source, tmp_path, quantization="int8"):
    """The one line that says why `source` cannot be converted."""
    target = tmp_path / "refused"
    with pytest.raises(PhituiError) as caught:
        converted(source, target, quantization)
    assert not (target / MANIFEST_NAME).exists()
    shutil.rmtree(target, ignore_errors=True)
    text = str(caught.value)
    assert "\n" not in text and caught.value.fix
    return text


def reconfigure(hub, **settings):
    config = json.loads((hub / "config.json").read_text()) | settings
    (hub / "config.json").write_text(json.dumps(config))
    return hub


def with_tensors(hub, **changes):
    """The checkpoint with tensors replaced; None takes one away. '__' in a name stands for '.'."""
    tensors = random_tensors(0, 2, False)
    for name, values in changes.items():
        if values is None:
            del tensors[name]
        else:
            tensors[name] = values
    save_tensors(hub, tensors)
    return hub


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", [FINAL_NORM, QKV, "lm_head.weight"])
@pytest.mark.parametrize("quantization", ["int8", "float16", "bfloat16", "float32"])
def test_weights_that_are_no_numbers(hub, tmp_path, bad, name, quantization):
    values = random_tensors(0, 2, False)[name]
    values[-1] = bad
    text = refusal(with_tensors(hub, **{name: values}), tmp_path, quantization)
    assert name in text and "NaN or infinite" in text


def test_weights_beyond_float16(hub, tmp_path):
    values = random_tensors(0, 2, False)[QKV] * np.float32(1e6)
    text = refusal(with_tensors(hub, **{QKV: values}), tmp_path, "float16")
    assert QKV in text and "bfloat16" in text


def test_a_missing_tensor(hub, tmp_path):
    assert f"lacks the tensor '{QKV}'" in refusal(with_tensors(hub, **{QKV: None}), tmp_path)


def test_a_wrong_shape(hub, tmp_path):
    text = refusal(with_tensors(hub, **{QKV: np.zeros((5, MODEL_DIM), np.float32)}), tmp_path)
    assert QKV in text and "[5, 64]" in text and "[128, 64]" in text


def test_a_tensor_that_nobody_would_read(hub, tmp_path):
    bias = QKV.replace("weight", "bias")
    assert bias in refusal(with_tensors(hub, **{bias: np.zeros(128, np.float32)}), tmp_path)


def test_a_missing_shard(tmp_path):
    hub = make_tiny_phi3(tmp_path / "hub", shards=3)
    (hub / "model-00002-of-00003.safetensors").unlink()
    assert "lacks the shard 'model-00002-of-00003.safetensors'" in refusal(hub, tmp_path)


def test_a_shard_outside_the_folder(hub, tmp_path):
    index = {"weight_map": {FINAL_NORM: "../hub/model.safetensors"}}
    (hub / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "outside its folder" in refusal(hub, tmp_path)


def test_an_index_that_promises_too_much(hub, tmp_path):
    index = {"weight_map": {"model.more": "model.safetensors"}}
    (hub / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "lacks the tensor 'model.more'" in refusal(hub, tmp_path)


@pytest.mark.parametrize("length", [0, 4, 8, 100, 2000, 100_000])
def test_truncated_safetensors(hub, tmp_path, length):
    data = (hub / "model.safetensors").read_bytes()
    (hub / "model.safetensors").write_bytes(data[:length])
    text = refusal(hub, tmp_path)
    assert "model.safetensors" in text and ("truncated" in text or "damaged" in text)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [64], "data_offsets": [0, 10**12]},
        {"dtype": "F32", "shape": [64], "data_offsets": [-256, 0]},
        {"dtype": "F32", "shape": [64], "data_offsets": [0, 100]},
        {"dtype": "F32", "shape": [-8, -8], "data_offsets": [0, 256]},
        {"dtype": "F32", "shape": "many", "data_offsets": [0, 256]},
        {"dtype": "F32"},
        [],
    ],
)
def test_a_lying_header(hub, tmp_path, entry):
    header = json.dumps({FINAL_NORM: entry}).encode()
    (hub / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4096))
    assert "model.safetensors" in refusal(hub, tmp_path)


def test_a_type_that_is_not_read(hub, tmp_path):
    header = json.dumps({FINAL_NORM: {"dtype": "F8_E4M3", "shape": [64], "data_offsets": [0, 64]}}).encode()
    tensors = random_tensors(0, 2, False)
    del tensors[FINAL_NORM]
    save_tensors(hub, tensors)
    (hub / "model.safetensors").rename(hub / "a.safetensors")
    (hub / "b.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(64))
    weight_map = dict.fromkeys(tensors, "a.safetensors") | {FINAL_NORM: "b.safetensors"}
    (hub / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert "F8_E4M3" in refusal(hub, tmp_path)


@pytest.mark.parametrize(
    "settings, says",
    [
        ({"model_type": "gpt_neox", "architectures": ["GPTNeoX"]}, "GPTNeoX"),
        ({"model_type": None}, "architecture"),
        ({"num_hidden_layers": 3}, "model.layers.2"),
        ({"num_hidden_layers": 1}, "model.layers.1"),
        ({"num_hidden_layers": 10**9}, "layers"),
        ({"num_hidden_layers": "two"}, "num_hidden_layers"),
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"num_key_value_heads": 3}, "heads"),
        ({"hidden_size": None}, "hidden_size"),
        ({"rms_norm_eps": -1}, "rms_norm_eps"),
        ({"rope_theta": "big"}, "rope_theta"),
        ({"hidden_act": "gelu"}, "gelu"),
        ({"partial_rotary_factor": 0.7}, "rotary"),
        ({"partial_rotary_factor": 1.5}, "rotary"),
        ({"rope_scaling": {"type": "linear"}}, "factor"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0}}, "high_freq_factor"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2}}, "dynamic"),
        ({"rope_scaling": {"type": "longrope", "short_factor": [1.0]}}, "short_factor"),
        ({"rope_scaling": {"type": "longrope", "short_factor": ["x"] * 8}}, "short_factor"),
        ({"quantization_config": {"quant_method": "awq"}}, "not as AWQ of 4 bits"),
        ({"vocab_size": 100}, "tokens more than the model"),
        ({"max_position_embeddings": None}, "max_position_embeddings"),
    ],
)
def test_settings_that_do_not_fit(hub, tmp_path, settings, says):
    assert says in refusal(reconfigure(hub, **settings), tmp_path)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"])
@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 5000])
def test_damaged_json(hub, tmp_path, file, text):
    (hub / file).write_bytes(text)
    assert file in refusal(hub, tmp_path)


FILES = ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors"]


@pytest.mark.parametrize("file", [*FILES, "model.safetensors.index.json"])
def test_a_pipe_instead_of_a_file_is_not_waited_for(hub, tmp_path, file):
    (hub / file).unlink(missing_ok=True)
    os.mkfifo(hub / file)
    said = []
    thread = threading.Thread(target=lambda: said.append(refusal(hub, tmp_path)), daemon=True)
    thread.start()
    thread.join(20)
    assert said, "it waits for somebody to write into the pipe"
    assert f"{file}: it is not a file" in said[0]


def test_no_config(hub, tmp_path):
    (hub / "config.json").unlink()
    assert "has no config.json" in refusal(hub, tmp_path)


def test_no_weights(hub, tmp_path):
    (hub / "model.safetensors").unlink()
    assert "no *.safetensors file" in refusal(hub, tmp_path)


def test_no_tokenizer(hub, tmp_path):
    (hub / "tokenizer.json").unlink()
    assert "no tokenizer" in refusal(hub, tmp_path)


def test_a_source_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="there is no"):
        converted(tmp_path / "nothing.gguf", tmp_path / "out")


def test_an_unknown_quantization(hub, tmp_path):
    text = refusal(hub, tmp_path, "int3")
    assert "int3" in text and "int8_float16" in text


@pytest.mark.parametrize("share", [0, 0.0001, 0.01, 0.3, 0.9, 0.999])
def test_truncated_gguf(gguf, tmp_path, share):
    data = gguf.read_bytes()
    gguf.write_bytes(data[: int(len(data) * share)])
    assert "tiny.gguf" in refusal(gguf, tmp_path)


def test_another_file_by_the_name_of_gguf(tmp_path):
    (tmp_path / "tiny.gguf").write_bytes(b"PK\x03\x04" + bytes(1000))
    assert "is not a GGUF file" in refusal(tmp_path / "tiny.gguf", tmp_path)


@pytest.mark.parametrize(
    "old, new, says",
    [
        (b"llama", b"falco", "falco"),
        (b"gpt-2", b"weird", "weird"),
        (b"gpt2", b"rwkv", "rwkv"),
        (b"blk.1.attn_q", b"blk.1.attn_Q", "attn_Q"),
        (b"llama.block_count", b"llama.block_Count", "block_count"),
    ],
)
def test_gguf_settings_that_do_not_fit(gguf, tmp_path, old, new, says):
    data = gguf.read_bytes()
    assert old in data
    gguf.write_bytes(data.replace(old, new))
    assert says in refusal(gguf, tmp_path)


def test_changed_bytes_in_a_gguf_header_never_raise_anything_else(gguf, tmp_path):
    """The header is everything up to the weights; what still makes sense may convert."""
    data = gguf.read_bytes()
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(300):
        changed = bytearray(data)
        for position in rng.integers(0, 20_000, 3):
            changed[position] = rng.integers(0, 256)
        gguf.write_bytes(changed)
        try:
            converted(gguf, tmp_path / "out")
        except PhituiError:
            refused += 1
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
    assert refused > 20
