"""The tiny models as GGUF files, and their tokenizers as such files carry them."""

from __future__ import annotations

import json

import gguf
import numpy as np
from tiny_phi3 import FF_DIM, HEAD_DIM, HEADS, LAYERS, MODEL_DIM, VOCABULARY, make_tokenizer
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, trainers


def write_gguf(path, tensors, kv_heads, kind=gguf.GGMLQuantizationType.F32, architecture="llama", extra=None, **more):
    """The same weights as llama.cpp's converter writes them: other names, and llama's q and k permuted.

    `extra` are further tensors, as they are; `more` are calls of GGUFWriter's `add_…` with one argument.
    """
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(LAYERS)
    writer.add_context_length(4096)
    writer.add_embedding_length(MODEL_DIM)
    writer.add_feed_forward_length(FF_DIM)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    for call, value in more.items():
        getattr(writer, f"add_{call}")(value)
    add_gguf_tokenizer(writer)
    is_llama = architecture == "llama"
    for name, values in (llama_tensors(tensors, kv_heads) if is_llama else tensors).items():
        matrix = values.ndim == 2
        stored = permuted(name, values, kv_heads) if is_llama else values
        stored = gguf.quantize(stored, kind) if matrix else values
        writer.add_tensor(gguf_name(name), stored, raw_dtype=kind if matrix else None)
    for name, values in (extra or {}).items():
        writer.add_tensor(name, np.array(values, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def llama_tensors(tensors, kv_heads):
    """The same weights under Llama's names, with the fused matrices split."""
    found = {}
    for name, values in tensors.items():
        if "qkv_proj" in name:
            parts = np.split(values, [HEADS * HEAD_DIM, (HEADS + kv_heads) * HEAD_DIM])
            names = [name.replace("qkv_proj", f"{x}_proj") for x in "qkv"]
        elif "gate_up" in name:
            parts, names = np.split(values, 2), [name.replace("gate_up", x) for x in ("gate", "up")]
        else:
            parts, names = [values], [name]
        found.update(zip(names, parts, strict=True))
    return found


def permuted(name, values, kv_heads):
    """llama.cpp's `permute`: the halves of each head become neighbours."""
    heads = {"q_proj": HEADS, "k_proj": kv_heads}.get(name.split(".")[-2])
    if heads is None:
        return values
    return values.reshape(heads, 2, HEAD_DIM // 2, -1).swapaxes(1, 2).reshape(values.shape)


def gguf_name(name):
    if not name.startswith("model.layers."):
        names = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
        return names[name.removesuffix(".weight")] + ".weight"
    parts = name.split(".")
    short = {
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        "q_proj": "attn_q",
        "k_proj": "attn_k",
        "v_proj": "attn_v",
        "o_proj": "attn_output",
        "gate_proj": "ffn_gate",
        "up_proj": "ffn_up",
        "down_proj": "ffn_down",
        "qkv_proj": "attn_qkv",
        "gate_up_proj": "ffn_up",
    }[parts[-2]]
    return f"blk.{parts[2]}.{short}.weight"


def add_gguf_tokenizer(writer):
    """The tiny Phi-3's byte-level BPE, with as many tokens as the model has rows."""
    model = json.loads(make_tokenizer().to_str())
    tokens = sorted(model["model"]["vocab"], key=model["model"]["vocab"].get)
    tokens += [added["content"] for added in model["added_tokens"] if added["id"] >= len(tokens)]
    spare = [f"[spare {i}]" for i in range(VOCABULARY - len(tokens))]
    special = {added["content"] for added in model["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens + spare)
    writer.add_token_types([3 if token in special else 1 for token in tokens] + [5] * len(spare))
    writer.add_token_merges([" ".join(merge) for merge in model["model"]["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(tokens.index("<|end|>"))
    writer.add_chat_template("{{ bos_token }}{{ messages[0].content }}")


def spm_tokenizer(known: list[str]) -> Tokenizer:
    """A SentencePiece-like BPE as Llama's tokenizer.json has it, with bytes for what it does not know."""
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    texts = [text for text in known if text.isascii()] * 3 + ["the capital of the capital", "tabs and spaces"]
    trained.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=300, show_progress=False))
    model = json.loads(trained.to_str())["model"]
    first = ["<unk>", "<s>", "</s>", *(f"<0x{number:02X}>" for number in range(256))]
    # SentencePiece puts what it has merged first, in the order of the merges, and single characters last.
    merged = ["".join(merge) for merge in model["merges"]]
    tokens = [*first, *merged, *(token for token in model["vocab"] if token not in merged)]
    ids = {token: number for number, token in enumerate(tokens)}
    merges = [tuple(merge) for merge in model["merges"]]
    made = Tokenizer(models.BPE(vocab=ids, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = trained.normalizer
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.add_special_tokens([AddedToken(token, normalized=False) for token in first[:3]])
    made.add_special_tokens([AddedToken(token, normalized=False, rstrip=True) for token in ("<|user|>", "<|end|>")])
    return made


def spm_metadata(made, architecture="phi3"):
    """As llama.cpp's converter writes a SentencePiece model: a score for each token, the later the lower."""
    ids = made.get_vocab(with_added_tokens=True)
    tokens = sorted(ids, key=ids.get)
    merged = {"".join(merge) for merge in json.loads(made.to_str())["model"]["merges"]}
    kinds = {"<unk>": 2} | dict.fromkeys(("<s>", "</s>", "<|user|>", "<|end|>"), 3)
    return {
        "general.architecture": architecture,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [float(259 - i) if token in merged else -1e9 for i, token in enumerate(tokens)],
        "tokenizer.ggml.token_type": [kinds.get(token, 6 if token.startswith("<0x") else 1) for token in tokens],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }
