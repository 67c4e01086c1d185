"""What the converter knows of model architectures: sizes, and which tensor is which weight.

Both kinds are pre-norm decoders with RMS norms, rotary positions and a gated feed-forward net; they differ in
the names and in what is fused. Phi-3 keeps queries, keys and values in one matrix, and gate and up in
another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from phitui.models.convert.awq import Awq, tensor_names
from phitui.models.convert.rope import Rope
from phitui.models.convert.settings import Settings
from phitui.models.manifest import Sizes


@dataclass(frozen=True)
class TensorNames:
    """The names of a checkpoint's tensors; {i} is the layer. Fused tensors are lists of one."""

    embeddings: str
    norm: str
    output: str
    attention_norm: str
    qkv: tuple[str, ...]
    attention_output: str
    ffn_norm: str
    gate_up: tuple[str, ...]
    down: str
    ignored: str = r"$^"


_LAYER = "model.layers.{i}."
PHI3_HUB = TensorNames(
    embeddings="model.embed_tokens.weight",
    norm="model.norm.weight",
    output="lm_head.weight",
    attention_norm=_LAYER + "input_layernorm.weight",
    qkv=(_LAYER + "self_attn.qkv_proj.weight",),
    attention_output=_LAYER + "self_attn.o_proj.weight",
    ffn_norm=_LAYER + "post_attention_layernorm.weight",
    gate_up=(_LAYER + "mlp.gate_up_proj.weight",),
    down=_LAYER + "mlp.down_proj.weight",
)
LLAMA_HUB = TensorNames(
    embeddings=PHI3_HUB.embeddings,
    norm=PHI3_HUB.norm,
    output=PHI3_HUB.output,
    attention_norm=PHI3_HUB.attention_norm,
    qkv=tuple(_LAYER + f"self_attn.{x}_proj.weight" for x in "qkv"),
    attention_output=PHI3_HUB.attention_output,
    ffn_norm=PHI3_HUB.ffn_norm,
    gate_up=(_LAYER + "mlp.gate_proj.weight", _LAYER + "mlp.up_proj.weight"),
    down=PHI3_HUB.down,
    # A table that older checkpoints carry; it follows from rope_theta.
    ignored=r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq$",
)
_BLOCK = "blk.{i}."
LLAMA_GGUF = TensorNames(
    embeddings="token_embd.weight",
    norm="output_norm.weight",
    output="output.weight",
    attention_norm=_BLOCK + "attn_norm.weight",
    qkv=tuple(_BLOCK + f"attn_{x}.weight" for x in "qkv"),
    attention_output=_BLOCK + "attn_output.weight",
    ffn_norm=_BLOCK + "ffn_norm.weight",
    gate_up=(_BLOCK + "ffn_gate.weight", _BLOCK + "ffn_up.weight"),
    down=_BLOCK + "ffn_down.weight",
    # Read by phitui.models.convert.rope.
    ignored=r"rope_freqs\.weight$",
)
# llama.cpp keeps Phi-3's fused matrices; its "ffn_up" is gate and up, one below the other.
PHI3_GGUF = TensorNames(
    embeddings=LLAMA_GGUF.embeddings,
    norm=LLAMA_GGUF.norm,
    output=LLAMA_GGUF.output,
    attention_norm=LLAMA_GGUF.attention_norm,
    qkv=(_BLOCK + "attn_qkv.weight",),
    attention_output=LLAMA_GGUF.attention_output,
    ffn_norm=LLAMA_GGUF.ffn_norm,
    gate_up=(_BLOCK + "ffn_up.weight",),
    down=LLAMA_GGUF.down,
    # Read by phitui.models.convert.rope.
    ignored=r"rope_factors_(short|long)\.weight$",
)


@dataclass(frozen=True)
class Architecture:
    """All of a model but its weights and its tokenizer.

    `context_window` is how many tokens the converted model is right for, which may be fewer than the
    checkpoint promises; `context_why` says so, and what LongRoPE's long factors mean for short chats. `awq` is how
    the linear layers of the blocks are packed, None where they are plain floats or GGUF's blocks.
    """

    name: str
    sizes: Sizes
    names: TensorNames
    epsilon: float
    rope: Rope
    tied: bool
    context_window: int
    context_why: str = ""
    awq: Awq | None = None


def needed_positions(asked: int, most: int, sliding: object) -> int:
    """For how many positions the factors must hold, where the user asked for `asked` tokens (0: did not)."""
    return min(asked, most, sliding) if isinstance(sliding, int) and sliding > 0 else min(asked, most)


def limited_window(rope: Rope, most: int, sliding: object, asked: int = 0) -> tuple[int, str]:
    """How many of `most` tokens the converted model is right for, and why not more ("" where it is all).

    `sliding` is the width of the model's sliding window, where it has one; `asked` is how many tokens the user
    wants (0: said nothing).
    """
    window, why = most, "the model has no more positions" if asked > most else ""
    if 0 < asked < window:
        window, why = asked, "as asked"
    if not rope.is_long and 0 < rope.original < window:
        # With one set of factors the engine stays in one regime: its own switch to the long ones is for good.
        window = rope.original
        why = f"LongRoPE is converted with its short factors; --context N with N above {window} takes the long ones"
    if isinstance(sliding, int) and 0 < sliding < window:
        # Up to this length a sliding window and full attention, which is what the engine has, are the same.
        window, why = sliding, "the model's attention has a sliding window"
    notes = [f"{window} of {most} tokens: {why}"] if why else []
    if rope.is_long:
        notes.append(
            "LongRoPE is converted with its long factors, for short chats too: up to "
            f"{rope.original} tokens the model was made with its short ones and may answer a little worse"
        )
    return window, "; ".join(notes)


def refuse_unknown_tensors(architecture: Architecture, settings: Settings, tensors: set[str]) -> None:
    """Refuse a checkpoint with tensors that the converter does not use (a bias, a norm, an adapter): without them the
    answers would be wrong."""
    names = architecture.names
    known = {names.embeddings, names.norm, names.output}
    linear = [*names.qkv, names.attention_output, *names.gate_up, names.down]
    if architecture.awq is not None:
        linear = [name for weight in linear for name in tensor_names(weight)]
    each = [names.attention_norm, names.ffn_norm, *linear]
    known.update(name.format(i=i) for i in range(architecture.sizes.layers) for name in each)
    strange = sorted(name for name in tensors - known if not re.match(names.ignored, name))
    if strange:
        raise settings.unsupported(f"it has the tensor {strange[0][:100]!r} ({len(strange)} such)")
