"""Writes tiny AWQ checkpoints as AutoAWQ packs them, and takes packed tensors apart again, from the definition."""

from __future__ import annotations

import json

import numpy as np
from tiny_phi3 import make_tiny_phi3

GROUP = 128
# The place in an int32, in units of 4 bits, of each of 8 neighbours.
_ORDER = {"gemm": (0, 4, 1, 5, 2, 6, 3, 7), "gemv": (0, 1, 2, 3, 4, 5, 6, 7)}


def pack(values, layout):
    """(rows, columns) of 0 to 15 as (rows, columns / 8) int32."""
    words = np.zeros((values.shape[0], values.shape[1] // 8), np.uint32)
    for neighbour, place in enumerate(_ORDER[layout]):
        words |= values[:, neighbour::8].astype(np.uint32) << np.uint32(4 * place)
    return words.view(np.int32)


def unpack(words, layout):
    bits = words.view(np.uint32)
    values = np.empty((bits.shape[0], 8 * bits.shape[1]), np.float32)
    for neighbour, place in enumerate(_ORDER[layout]):
        values[:, neighbour::8] = (bits >> np.uint32(4 * place)) & np.uint32(15)
    return values


def random_linear(rng, layout, outputs, inputs, group=GROUP):
    """The three tensors of a layer. In gemv the groups are padded to eights."""
    groups = inputs // group if layout == "gemm" else -(-inputs // group // 8) * 8
    integers, zeros = rng.integers(0, 16, (outputs, inputs)), rng.integers(0, 16, (outputs, groups))
    scales = rng.uniform(0.5, 1.5, (outputs, groups)).astype(np.float16) / np.float16(8 * np.sqrt(inputs))
    if layout == "gemm":
        integers, zeros, scales = integers.T, zeros.T, scales.T
    made = {"qweight": pack(integers, layout), "qzeros": pack(zeros, layout), "scales": scales}
    return {name: np.ascontiguousarray(values) for name, values in made.items()}


def dequantized(qweight, qzeros, scales, layout):
    """The weights as a float matrix, (outputs, inputs)."""
    integers, zeros = unpack(qweight, layout), unpack(qzeros, layout)
    if layout == "gemm":
        integers, zeros, scales = integers.T, zeros.T, scales.T
    group = integers.shape[1] // scales.shape[1]
    return (integers - np.repeat(zeros, group, 1)) * np.repeat(scales.astype(np.float32), group, 1)


def tensors_of(kind, layout, dim, kv_dim, ff_dim, vocabulary, layers, tied=False, seed=0):
    """The tensors of a "phi3" or "llama" checkpoint."""
    rng = np.random.default_rng(seed)

    def half(*shape):
        return rng.uniform(-1, 1, shape).astype(np.float16)

    sizes = {"self_attn.o_proj": (dim, dim), "mlp.down_proj": (dim, ff_dim)}
    if kind == "phi3":
        sizes |= {"self_attn.qkv_proj": (dim + 2 * kv_dim, dim), "mlp.gate_up_proj": (2 * ff_dim, dim)}
    else:
        sizes |= {"self_attn.q_proj": (dim, dim), "self_attn.k_proj": (kv_dim, dim), "self_attn.v_proj": (kv_dim, dim)}
        sizes |= {"mlp.gate_proj": (ff_dim, dim), "mlp.up_proj": (ff_dim, dim)}
    made = {"model.embed_tokens.weight": half(vocabulary, dim), "model.norm.weight": half(dim)}
    for layer in range(layers):
        place = f"model.layers.{layer}."
        made[place + "input_layernorm.weight"] = half(dim)
        made[place + "post_attention_layernorm.weight"] = half(dim)
        for name, (outputs, inputs) in sizes.items():
            for end, values in random_linear(rng, layout, outputs, inputs).items():
                made[f"{place}{name}.{end}"] = values
    if not tied:
        made["lm_head.weight"] = half(vocabulary, dim)
    return made


def quantization_config(layout, **changes):
    return {
        "quant_method": "awq",
        "bits": 4,
        "group_size": GROUP,
        "zero_point": True,
        "version": layout,
        "modules_to_not_convert": None,
    } | changes


def make_awq(folder, kind, layout, tensors, dim, heads, kv_heads, ff_dim, layers, **changes):
    """A Hub folder with these tensors, and the tokenizer of the tiny Phi-3. `changes` go into config.json."""
    import safetensors.numpy

    make_tiny_phi3(folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": kind,
        "hidden_size": dim,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": ff_dim,
        "num_hidden_layers": layers,
        "quantization_config": quantization_config(layout),
    }
    (folder / "config.json").write_text(json.dumps(config | changes))
    (folder / "model.safetensors").write_bytes(safetensors.numpy.save(tensors))
    return folder
