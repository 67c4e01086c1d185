"""The tiny models' tokenizers as GGUF files carry them."""

from __future__ import annotations

import json

from tiny_phi3 import VOCABULARY, make_tokenizer
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, trainers


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
