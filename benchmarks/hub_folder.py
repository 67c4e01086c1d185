"""The demo model's weights as a folder of the Hub's form, which is what vLLM reads: from its GGUF file, dequantized.

Names and order of the rows are those of transformers' Llama: llama.cpp's converter (convert_hf_to_gguf.py, `permute`)
has the two halves of each query and key head as neighbours. The tokenizer is the one that phitui has made of the file.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from report import CACHE

FOLDER = CACHE / "smollm2-135m-hub"
_OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_INNER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def hub_folder(original: Path, tokenizer: Path) -> Path:
    """The folder, which is made once: of the GGUF file `original`, with the tokenizer.json that is given."""
    if not FOLDER.exists():
        unfinished = FOLDER.with_suffix(".part")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        write_folder(original, tokenizer, unfinished)
        unfinished.replace(FOLDER)
    return FOLDER


def write_folder(original: Path, tokenizer: Path, folder: Path) -> None:
    """Weights as float32, config.json, and the tokenizer's files."""
    reader = gguf.GGUFReader(str(original))

    def said(key: str) -> Any:
        field = reader.fields.get(key)
        return None if field is None else field.contents()

    heads = {"attn_q": said("llama.attention.head_count"), "attn_k": said("llama.attention.head_count_kv")}
    tensors: dict[str, NDArray[np.float32]] = {}
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        name, found = _name(tensor.name)
        tensors[found] = _halves(values, heads[name]) if name in heads else values
    safetensors.numpy.save_file(tensors, str(folder / "model.safetensors"), {"format": "pt"})
    _write(folder / "config.json", _config(said, tensors))
    _write(folder / "tokenizer_config.json", _tokenizer(said))
    shutil.copy(tokenizer, folder / "tokenizer.json")


def _name(stored: str) -> tuple[str, str]:
    """What a tensor is in its layer, and its name in transformers."""
    name = stored.removesuffix(".weight")
    if name in _OUTER:
        return name, f"{_OUTER[name]}.weight"
    _, layer, name = name.split(".")
    return name, f"model.layers.{layer}.{_INNER[name]}.weight"


def _halves(values: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows back in transformers' order: each head's first half, then its second."""
    return np.ascontiguousarray(values.reshape(heads, -1, 2, values.shape[1]).swapaxes(1, 2).reshape(values.shape))


def _config(said: Any, tensors: dict[str, NDArray[np.float32]]) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "num_hidden_layers": said("llama.block_count"),
        "hidden_size": said("llama.embedding_length"),
        "intermediate_size": said("llama.feed_forward_length"),
        "num_attention_heads": said("llama.attention.head_count"),
        "num_key_value_heads": said("llama.attention.head_count_kv"),
        "rms_norm_eps": said("llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": said("llama.rope.freq_base"),
        "max_position_embeddings": said("llama.context_length"),
        "vocab_size": len(tensors["model.embed_tokens.weight"]),
        "tie_word_embeddings": "lm_head.weight" not in tensors,
        "bos_token_id": said("tokenizer.ggml.bos_token_id"),
        "eos_token_id": said("tokenizer.ggml.eos_token_id"),
        "torch_dtype": "float32",
    }


def _tokenizer(said: Any) -> dict[str, Any]:
    tokens = said("tokenizer.ggml.tokens")
    named = {name: said(f"tokenizer.ggml.{name}_id") for name in ("bos_token", "eos_token")}
    special = {name: tokens[number] for name, number in named.items() if number is not None}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": said("tokenizer.chat_template"),
        **special,
    }


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")
