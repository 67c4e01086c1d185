"""The small models as GGUF files, by the names and the layout that llama.cpp's converter gives them."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from numpy.typing import NDArray
from tiny_gguf import add_gguf_tokenizer
from transformers import PreTrainedConfig, PreTrainedModel

_ARCHITECTURES = {"llama": gguf.MODEL_ARCH.LLAMA, "phi3": gguf.MODEL_ARCH.PHI3}
# The gguf package quantizes no K-blocks: places of their f16 scales, and what these are at the least.
_K_BLOCKS = {"Q4_K": {0: 1.0, 2: 7.5}, "Q6_K": {208: 1.0}}


def write_gguf(path: Path, model: PreTrainedModel, matrices: str, seed: int = 0) -> Path:
    """Write the model with its matrices in the GGML type of that name.

    Q4_K and Q6_K are blocks of random bytes with the width of the model's weights: another random model.
    """
    config, rng = model.config, np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, config.model_type)
    _add_settings(writer, config)
    names = gguf.get_tensor_name_map(_ARCHITECTURES[config.model_type], config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = tensor.float().numpy()
        stored = names.get_name(name, try_suffixes=(".weight",))
        if values.ndim == 1:
            writer.add_tensor(stored, values)
            continue
        kind = GGMLQuantizationType[matrices]
        writer.add_tensor(stored, _blocks(_permuted(name, values, config), matrices, rng), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_settings(writer: gguf.GGUFWriter, config: PreTrainedConfig) -> None:
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    add_gguf_tokenizer(writer)
    writer.add_pad_token_id(2)


def _permuted(name: str, values: NDArray[np.float32], config: PreTrainedConfig) -> NDArray[np.float32]:
    """llama.cpp's order of llama's queries and keys: the halves of each head become neighbours."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
    if heads is None:
        return values
    return values.reshape(heads, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)


def _blocks(values: NDArray[np.float32], matrices: str, rng: np.random.Generator) -> NDArray[np.generic]:
    kind = GGMLQuantizationType[matrices]
    if matrices not in _K_BLOCKS:
        return gguf.quantize(values, kind)
    elements, size = GGML_QUANT_SIZES[kind]
    rows, columns = values.shape
    blocks = rng.integers(0, 256, (rows, columns // elements, size), np.uint8)

    def scaled(factor: float) -> NDArray[np.uint8]:
        for place, scale in _K_BLOCKS[matrices].items():
            blocks[:, :, place : place + 2] = np.array([scale * factor], np.float16).view(np.uint8)
        return blocks.reshape(rows, -1)

    return scaled(float(values.std() / gguf.dequantize(scaled(1.0), kind).std()))
