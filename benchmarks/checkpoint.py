"""Makes a checkpoint of Phi-3 Mini's shape with random weights, as the Hub has them: bfloat16, in shards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers


class Dims(NamedTuple):
    """The sizes of a Phi-3."""

    layers: int
    model_dim: int
    ff_dim: int
    heads: int
    vocabulary: int


# microsoft/Phi-3-mini-4k-instruct.
PHI3_MINI = Dims(32, 3072, 8192, 32, 32064)
_SHARD_BYTES = 5_000_000_000
_BLOCK = 1 << 22
_SPECIAL = ("<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>")


def make(folder: Path, seed: int, scale: float) -> Path:
    """Write the checkpoint; `scale` is the share of the layers that it has (1: 3.82 billion parameters, 7.64 GB)."""
    dims = PHI3_MINI._replace(layers=max(1, round(PHI3_MINI.layers * scale)))
    folder.mkdir(parents=True)
    shards = list(_shards(dims))
    home = {}
    rng = np.random.default_rng(seed)
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        _write_shard(folder / name, shard, rng)
        home.update(dict.fromkeys(shard, name))
    _json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": home})
    write_texts(folder, config(dims))
    return folder


def write_texts(folder: Path, settings: dict[str, Any]) -> None:
    """All files of a checkpoint but the weights."""
    _json(folder / "config.json", settings)
    _json(folder / "tokenizer_config.json", {"eos_token": "<|endoftext|>", "chat_template": "{{ messages }}"})
    _tokenizer().save(str(folder / "tokenizer.json"))


def shapes(dims: Dims) -> Iterator[tuple[str, tuple[int, ...]]]:
    """All tensors by their names on the Hub."""
    wide = dims.model_dim
    yield "model.embed_tokens.weight", (dims.vocabulary, wide)
    for i in range(dims.layers):
        layer = f"model.layers.{i}."
        yield layer + "input_layernorm.weight", (wide,)
        yield layer + "self_attn.qkv_proj.weight", (3 * wide, wide)
        yield layer + "self_attn.o_proj.weight", (wide, wide)
        yield layer + "post_attention_layernorm.weight", (wide,)
        yield layer + "mlp.gate_up_proj.weight", (2 * dims.ff_dim, wide)
        yield layer + "mlp.down_proj.weight", (wide, dims.ff_dim)
    yield "model.norm.weight", (wide,)
    yield "lm_head.weight", (dims.vocabulary, wide)


def _shards(dims: Dims) -> Iterator[dict[str, tuple[int, ...]]]:
    shard: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes(dims):
        if sum(_bytes(each) for each in shard.values()) + _bytes(shape) > _SHARD_BYTES:
            yield shard
            shard = {}
        shard[name] = shape
    yield shard


def _bytes(shape: tuple[int, ...]) -> int:
    return 2 * int(np.prod(shape))


def _write_shard(path: Path, shard: dict[str, tuple[int, ...]], rng: np.random.Generator) -> None:
    header, end = {}, 0
    for name, shape in shard.items():
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + _bytes(shape)]}
        end += _bytes(shape)
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for shape in shard.values():
            left = int(np.prod(shape))
            while left:
                values = rng.standard_normal(min(left, _BLOCK), np.float32) * np.float32(0.02)
                file.write((values.view(np.uint32) >> np.uint32(16)).astype(np.uint16).tobytes())
                left -= len(values)


def config(dims: Dims) -> dict[str, Any]:
    """config.json."""
    return {
        "model_type": "phi3",
        "num_hidden_layers": dims.layers,
        "hidden_size": dims.model_dim,
        "num_attention_heads": dims.heads,
        "intermediate_size": dims.ff_dim,
        "vocab_size": dims.vocabulary,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "sliding_window": 2047,
    }


def _tokenizer() -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in _SPECIAL])
    return made


def _json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
