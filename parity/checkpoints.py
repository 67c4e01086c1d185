"""Small models with random weights, made with transformers' own classes and saved as the Hub has them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from compare import PROMPTS
from tiny_phi3 import CHAT_TEMPLATE, make_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM, PreTrainedConfig, PreTrainedModel

VOCABULARY = 512
# Prompts and what is generated stay within it, also where a kind is right for no more.
WINDOW = 128


@dataclass(frozen=True)
class Kind:
    """One kind of checkpoint.

    `older`: config.json has the form that the Hub's Phi-3 and Llama folders have. `seed` makes weights and prompts;
    it is not 0 where 0 leads to a near tie in the reference (compare.NEAR_TIE).
    """

    config: PreTrainedConfig
    dtype: torch.dtype = torch.float32
    shard_size: str = "1GB"
    older: bool = False
    context_window: int = 4096
    seed: int = 0


def _sizes(heads: int, kv_heads: int, head_dim: int, ff_dim: int, **more: object) -> dict[str, object]:
    return {
        "vocab_size": VOCABULARY,
        "num_hidden_layers": 2,
        "hidden_size": heads * head_dim,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": ff_dim,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
        **more,
    }


def phi3(heads: int, kv_heads: int, head_dim: int, ff_dim: int, **more: object) -> Phi3Config:
    return Phi3Config(**_sizes(heads, kv_heads, head_dim, ff_dim, **more))


def llama(heads: int, kv_heads: int, head_dim: int, ff_dim: int, **more: object) -> LlamaConfig:
    return LlamaConfig(head_dim=head_dim, **_sizes(heads, kv_heads, head_dim, ff_dim, **more))


def _longrope(pairs: int, theta: float = 10000.0, **more: object) -> dict[str, object]:
    """Factors as uneven as Phi-3's; the long ones differ so much that their use would show."""
    short = [1.0 + 0.05 * i for i in range(pairs)]
    return {
        "rope_type": "longrope",
        "rope_theta": theta,
        "short_factor": short,
        "long_factor": [1.5 + 2.0 * i for i in range(pairs)],
        **more,
    }


_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}

KINDS = {
    # Phi-3 Mini's heads, which have 96 elements, and its own sliding window below.
    "phi3": Kind(phi3(2, 2, 96, 256, sliding_window=None), seed=1),
    "phi3-gqa": Kind(phi3(4, 2, 32, 192)),
    "phi3-mqa": Kind(phi3(4, 1, 16, 96)),
    "phi3-tied": Kind(phi3(4, 4, 32, 192, tie_word_embeddings=True)),
    "phi3-theta-epsilon": Kind(
        phi3(4, 4, 32, 192, rms_norm_eps=1e-2, rope_parameters={"rope_type": "default", "rope_theta": 500.0})
    ),
    "phi3-sliding-window": Kind(phi3(4, 4, 32, 192, sliding_window=WINDOW), context_window=WINDOW),
    "phi3-longrope": Kind(
        phi3(4, 4, 32, 192, original_max_position_embeddings=WINDOW, rope_parameters=_longrope(16)),
        context_window=WINDOW,
    ),
    "phi3-longrope-older": Kind(
        phi3(2, 2, 96, 256, original_max_position_embeddings=WINDOW, rope_parameters=_longrope(48)),
        older=True,
        context_window=WINDOW,
    ),
    # Phi-4-mini: three quarters of each head turn, LongRoPE, grouped heads, tied embeddings, a wide window.
    "phi4-mini": Kind(
        phi3(
            6,
            2,
            128,
            512,
            tie_word_embeddings=True,
            sliding_window=262144,
            max_position_embeddings=131072,
            original_max_position_embeddings=4096,
            rope_parameters=_longrope(48, partial_rotary_factor=0.75),
        ),
    ),
    "phi3-partial-rotary": Kind(
        phi3(
            4,
            2,
            32,
            192,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.75},
        )
    ),
    "phi3-bf16": Kind(phi3(4, 4, 32, 192), dtype=torch.bfloat16),
    "phi3-f16": Kind(phi3(4, 4, 32, 192), dtype=torch.float16, seed=1),
    "phi3-sharded": Kind(phi3(4, 2, 32, 192), dtype=torch.bfloat16, shard_size="200KB"),
    "llama": Kind(llama(4, 4, 32, 192)),
    "llama-head-dim": Kind(llama(4, 2, 32, 192, hidden_size=96)),
    # SmolLM2 135M's heads and feed-forward, TinyLlama's groups of eight, Llama 3.1's and the linear scaling.
    "smollm2": Kind(
        llama(
            9,
            3,
            64,
            1536,
            tie_word_embeddings=True,
            rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
        ),
        dtype=torch.bfloat16,
    ),
    "tinyllama": Kind(llama(8, 1, 64, 704), older=True),
    "llama3": Kind(llama(4, 2, 64, 384, rope_parameters=_LLAMA3)),
    "llama3-older": Kind(llama(4, 2, 64, 384, rope_parameters=_LLAMA3), older=True, dtype=torch.bfloat16),
    "llama-linear": Kind(
        llama(4, 2, 32, 192, rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0})
    ),
    "llama-sharded": Kind(llama(4, 2, 32, 192), shard_size="200KB", seed=1),
}


def prompts(seed: int) -> list[list[int]]:
    """16 prompts of random tokens, of 3 to 47 each."""
    rng = np.random.default_rng(seed + 1)
    return [rng.integers(0, VOCABULARY, length).tolist() for length in rng.integers(3, 48, PROMPTS)]


def make(name: str, folder: Path) -> Path:
    """Write the folder of a kind, with a tokenizer."""
    kind = KINDS[name]
    model = random_model(kind.config, kind.seed).to(kind.dtype)
    model.save_pretrained(folder, max_shard_size=kind.shard_size)
    if kind.older:
        _write_older(folder / "config.json")
    make_tokenizer().save(str(folder / "tokenizer.json"))
    settings = {"bos_token": "<s>", "eos_token": "<|endoftext|>", "chat_template": CHAT_TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def random_model(config: PreTrainedConfig, seed: int) -> PreTrainedModel:
    """A model whose answers hang on all of its weights.

    transformers' own initial weights (0.02 wide) make all tokens about equally likely: every comparison would
    hold, and rounding would decide which token is the likeliest. Here every matrix keeps its input's size; what
    the layers add outweighs the embedding, so that tied models do not just repeat their input; and the logits
    are some units wide, as those of trained models.
    """
    model = {"phi3": Phi3ForCausalLM, "llama": LlamaForCausalLM}[config.model_type](config)
    numbers = torch.Generator().manual_seed(seed)
    logits_wide = 3.0
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.ndim == 1:
                weights.uniform_(0.5, 1.5, generator=numbers)
                continue
            wide = 1.0
            if name in ("lm_head.weight", "model.embed_tokens.weight"):
                wide = logits_wide
            elif "o_proj" in name or "down_proj" in name:
                wide = 4.0
            weights.normal_(0, wide / weights.shape[1] ** 0.5, generator=numbers)
    return model.eval()


def _write_older(path: Path) -> None:
    """config.json as transformers 4 wrote it: rope_theta and rope_scaling apart, "type" for "rope_type"."""
    config = json.loads(path.read_text(encoding="utf-8"))
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    kind = rope.get("rope_type")
    if kind == "longrope":
        rope = {"type": "longrope", "short_factor": rope["short_factor"], "long_factor": rope["long_factor"]}
    config["rope_scaling"] = None if kind == "default" else rope
    config["torch_dtype"] = config.pop("dtype", "float32")
    path.write_text(json.dumps(config), encoding="utf-8")
