"""From a checkpoint to a CTranslate2 model folder with a manifest."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ctranslate2
import msgspec
from ctranslate2.specs import attention_spec, common_spec, transformer_spec
from msgspec.structs import replace

import phitui
from phitui.core.errors import PhituiError, UsageError
from phitui.core.ipc.messages import Progress
from phitui.models.convert import gguf_tokenizer, tokenizer
from phitui.models.convert.architectures import LLAMA_GGUF, Architecture
from phitui.models.convert.awq import BITS, Packed, settled
from phitui.models.convert.checkpoint import Checkpoint, SafetensorsCheckpoint
from phitui.models.convert.gguf_config import from_gguf_metadata
from phitui.models.convert.gguf_parts import open_gguf
from phitui.models.convert.growing_hash import GrowingHash
from phitui.models.convert.hub_config import from_hub_config
from phitui.models.convert.quantize import Linear, Matrix, Vector, in_order, store
from phitui.models.convert.rotary_variables import query_scales, set_positions, share_factors
from phitui.models.convert.tokenizer import Vocabulary
from phitui.models.manifest import FORMAT, FileEntry, Label, Manifest, describe_files, write_manifest
from phitui.models.precision import ITEM_BYTES, PRECISIONS

Report = Callable[[Progress], None]


@dataclass(frozen=True)
class CheckpointSource:
    """A checkpoint that is open and understood."""

    weights: Checkpoint
    architecture: Architecture
    vocabulary: Vocabulary
    label: Label


def open_source(path: Path, label: Label, context: int = 0) -> CheckpointSource:
    """Open a .gguf file, or a folder as the Hub has them. What `label` leaves empty is filled from the
    checkpoint. `context` is how many tokens the user wants to use (0: said nothing).

    Raises PhituiError that says what is wrong with it; weights are not read yet.
    """
    if path.is_dir():
        return _open_folder(path, label, context)
    if not path.exists():
        raise UsageError(f"there is no {path}", "Give a .gguf file or a model folder.")
    return _open_gguf(path, label, context)


def _open_gguf(path: Path, label: Label, context: int) -> CheckpointSource:
    file = open_gguf(path)
    table = LLAMA_GGUF.embeddings
    rows = file.shape(table)[0] if table in file.names() else 0
    vocabulary = gguf_tokenizer.from_gguf(file.metadata, path, rows)
    tokenizer.try_chat(vocabulary, path)
    architecture = from_gguf_metadata(file.metadata, file, len(vocabulary.tokens), context)
    said = {key: file.metadata.get(f"general.{key}") for key in ("name", "license")}
    texts = {key: value for key, value in said.items() if isinstance(value, str)}
    label = replace(
        label,
        title=label.title or texts.get("name", "") or label.name,
        source=label.source or path.name,
        license=label.license or texts.get("license", ""),
    )
    return CheckpointSource(file, architecture, vocabulary, label)


def _open_folder(folder: Path, label: Label, context: int) -> CheckpointSource:
    config = tokenizer.read_json(folder / "config.json", required=True)
    weights = SafetensorsCheckpoint(folder)
    architecture = from_hub_config(config, folder / "config.json", set(weights.names()), context)
    vocabulary = tokenizer.from_folder(folder, architecture.sizes.vocabulary, config)
    tokenizer.try_chat(vocabulary, folder)
    label = replace(label, title=label.title or label.name, source=label.source or folder.name)
    return CheckpointSource(weights, architecture, vocabulary, label)


def convert(source: CheckpointSource, folder: Path, quantization: str, report: Report) -> Manifest:
    """Write the model into `folder`, which must not exist; the manifest comes last. Returns the manifest.

    `quantization` is one of `precision.PRECISIONS`, or "" for the source's own where it has one, else int8.
    `report` gets a Progress for every matrix. Raises PhituiError for weights that are missing, of the wrong
    shape or not finite, and OSError where the folder cannot be written: what is there then is incomplete.
    """
    quantization = settled(source.architecture.awq, quantization, source.weights.where)
    folder.mkdir()
    spec = _Filler(source, quantization, report).spec()
    in_order([variable for _, variable in spec.variables(ordered=True) if isinstance(variable, Matrix)])
    hashing = GrowingHash(folder / "model.bin")
    try:
        spec.save(os.fspath(folder))
        tokenizer.save(source.vocabulary, folder / "tokenizer.json")
        report(Progress("verify", f"Checking {source.label.title}"))
        manifest = _manifest(source, quantization, describe_files(folder, {"model.bin": hashing.entry()}))
    finally:
        hashing.stop()
    write_manifest(folder, manifest)
    return manifest


class _Filler:
    """Fills CTranslate2's specification of a model with tensors that are read when they are written."""

    def __init__(self, source: CheckpointSource, quantization: str, report: Report) -> None:
        self._weights = source.weights
        self._architecture = source.architecture
        self._vocabulary = source.vocabulary
        kept = " (AWQ int4, kept as it is)" if source.architecture.awq else ""
        self._title = source.label.title + kept
        # CTranslate2 has no other activations with AWQ, and converts nothing there when it loads.
        self._matrix_type, self._vector_type = PRECISIONS.get(quantization, ("float16", "float16"))
        self._report = report
        self._written = 0

    def spec(self) -> Any:
        """The filled specification, ready to be saved. Raises PhituiError for missing or wrong tensors."""
        spec = self._empty_spec()
        names, sizes = self._architecture.names, self._architecture.sizes
        decoder = spec.decoder
        decoder.scale_embeddings = False
        self._matrix(decoder.embeddings, Linear({names.embeddings: sizes.vocabulary}, sizes.model_dim))
        decoder.layer_norm.gamma = self._vector(names.norm)
        for index, layer in enumerate(decoder.layer):
            self._layer(layer, index)
        if not self._architecture.tied:
            self._matrix(decoder.projection, Linear({names.output: sizes.vocabulary}, sizes.model_dim))
        else:
            decoder.projection.weight = decoder.embeddings.weight
        spec.register_vocabulary(self._vocabulary.tokens)
        self._configure(spec.config)
        spec.validate()
        share_factors(decoder, self._architecture.rope)
        if self._architecture.tied:  # after `validate`, which would take the alias for an array
            decoder.projection.weight = "decoder/embeddings/weight"
        return spec

    def _empty_spec(self) -> Any:
        architecture, sizes = self._architecture, self._architecture.sizes
        rope, awq = architecture.rope, architecture.awq
        return transformer_spec.TransformerDecoderModelSpec.from_config(
            sizes.layers,
            sizes.heads,
            pre_norm=True,
            activation=common_spec.Activation.SWISH,
            ffn_glu=True,
            rms_norm=True,
            rotary_dim=0 if rope.dim == sizes.head_dim else rope.dim,  # 0 is the whole head
            rotary_interleave=rope.interleaved,
            rotary_base=rope.base,
            rotary_scaling_type=attention_spec.RotaryScalingType.Su if rope.factors else None,
            num_heads_kv=None if sizes.kv_heads == sizes.heads else sizes.kv_heads,
            head_dim=None if sizes.head_dim * sizes.heads == sizes.model_dim else sizes.head_dim,
            quant_type=awq.kind if awq else None,
            quant_group_size=awq.group if awq else None,
            quant_bits=BITS if awq else None,
        )

    def _layer(self, layer: Any, index: int) -> None:
        names, sizes = self._architecture.names, self._architecture.sizes
        attention, ffn = layer.self_attention, layer.ffn
        queries, keys = sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim

        def split(pattern: tuple[str, ...], rows: list[int]) -> dict[str, int]:
            """Tensor names and their rows, whether or not the checkpoint has them fused."""
            each = [sum(rows)] if len(pattern) == 1 else rows
            return {name.format(i=index): count for name, count in zip(pattern, each, strict=True)}

        attention.layer_norm.gamma = self._vector(names.attention_norm.format(i=index))
        scales = query_scales(self._architecture.rope, sizes)
        qkv = split(names.qkv, [queries, keys, keys])
        self._linear(attention.linear[0], Linear(qkv, sizes.model_dim, scales=scales))
        self._linear(attention.linear[1], Linear({names.attention_output.format(i=index): sizes.model_dim}, queries))
        ffn.layer_norm.gamma = self._vector(names.ffn_norm.format(i=index))
        gate_up = split(names.gate_up, [sizes.ff_dim, sizes.ff_dim])
        self._linear(ffn.linear_0, Linear(gate_up, sizes.model_dim, 0, sizes.ff_dim))
        self._linear(ffn.linear_0_noact, Linear(gate_up, sizes.model_dim, sizes.ff_dim, sizes.ff_dim))
        self._linear(ffn.linear_1, Linear({names.down.format(i=index): sizes.model_dim}, sizes.ff_dim))
        set_positions(attention, self._architecture.rope, sizes.head_dim)

    def _vector(self, name: str) -> Vector:
        self._check_shape(name, (self._architecture.sizes.model_dim,))
        values = self._weights.rows(name, 0, self._architecture.sizes.model_dim)
        return Vector(store(values, self._vector_type, self._weights, name), self._vector_type)

    def _linear(self, module: Any, linear: Linear) -> None:
        """`_matrix` for a layer that AWQ quantizes, where the checkpoint is one of those."""
        awq = self._architecture.awq
        if awq is None or not isinstance(self._weights, SafetensorsCheckpoint):
            self._matrix(module, linear)
            return
        module.weight = Packed(self._weights, awq, linear, "qweight", self._one_written)
        module.weight_scale = Packed(self._weights, awq, linear, "scales")
        module.weight_zero = Packed(self._weights, awq, linear, "qzeros")

    def _matrix(self, module: Any, linear: Linear) -> None:
        """Give `module` the outputs of `linear`, one below the other."""
        for name, outputs in linear.outputs.items():
            self._check_shape(name, (outputs, linear.inputs))
        module.weight = Matrix(self._weights, linear.rows(), self._matrix_type, self._one_written, linear.scales)
        if self._matrix_type == "int8":
            module.weight_scale = module.weight.scale

    def _check_shape(self, name: str, wanted: tuple[int, ...]) -> None:
        shape = self._weights.shape(name)
        if shape != wanted:
            raise PhituiError(
                f"{self._weights.where}: the tensor {name!r} has the shape {list(shape)}, not {list(wanted)}",
                "Weights and settings do not belong together: fetch the model again.",
            )

    def _one_written(self) -> None:
        self._written += 1
        total = 5 * self._architecture.sizes.layers + (1 if self._architecture.tied else 2)
        self._report(Progress("convert", f"Converting {self._title}", self._written, total, "tensors"))

    def _configure(self, config: Any) -> None:
        special, tokens = self._vocabulary.special_tokens, self._vocabulary.tokens
        end = special.get("eos_token") or self._vocabulary.end_tokens[0]
        config.layer_norm_epsilon = self._architecture.epsilon
        config.eos_token = end
        config.bos_token = special.get("bos_token", end)
        # The engine appends an unknown token that it does not find, with a number that the weights do not
        # have.
        config.unk_token = special.get("unk_token", end if end in tokens else tokens[0])


def _manifest(source: CheckpointSource, quantization: str, files: dict[str, FileEntry]) -> Manifest:
    architecture, vocabulary, label = source.architecture, source.vocabulary, source.label
    return Manifest(
        format=FORMAT,
        name=label.name,
        title=label.title,
        source=label.source,
        revision=label.revision,
        license=label.license,
        architecture=architecture.name,
        sizes=architecture.sizes,
        quantization=quantization,
        context_window=architecture.context_window,
        end_tokens=vocabulary.end_tokens,
        special_tokens=vocabulary.special_tokens,
        chat_template=vocabulary.chat_template,
        converter=f"phitui {phitui.__version__}, ctranslate2 {ctranslate2.__version__}",
        files=files,
        context_note=architecture.context_why,
        rotary_dim=architecture.rope.dim,
        awq_group=architecture.awq.group if architecture.awq else 0,
    )


def needed_bytes(source: CheckpointSource, quantization: str) -> int:
    """Upper bound for the size of the converted folder, in bytes. Raises UsageError as `settled` does."""
    sizes, awq = source.architecture.sizes, source.architecture.awq
    attention = sizes.model_dim * sizes.head_dim * (2 * sizes.heads + 2 * sizes.kv_heads)
    layer = attention + 3 * sizes.model_dim * sizes.ff_dim
    tables = (1 if source.architecture.tied else 2) * sizes.vocabulary * sizes.model_dim
    stored = PRECISIONS.get(settled(awq, quantization, source.weights.where), ("float16", "float16"))[0]
    item = ITEM_BYTES[stored]
    linear_item = awq.bytes_per_weight if awq else item
    tokenizer_bytes = len(msgspec.json.encode(source.vocabulary.tokens)) * 2 + len(source.vocabulary.tokenizer_json)
    weight_bytes = sizes.layers * layer * linear_item + tables * item
    return int(weight_bytes * 1.01) + tokenizer_bytes + 1_000_000
