"""The keys of a GGUF file: what llama.cpp reads of the model, in the order and the types in which its converter writes.

As in conversion/base.py, exaone.py, llama.py and qwen.py of llama.cpp b10359. Names, sizes and licence come from the
`gguf` package (`Metadata`, `SpecialVocab`), which the converter asks too.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exaone_nb import fields
from exaone_nb.anatomy.attention import layer_kinds
from exaone_nb.anatomy.gguf.names import gguf_family
from exaone_nb.anatomy.gguf.size import GgufPlan
from exaone_nb.anatomy.gguf.types import CONVERTER_TYPES, FILE_TYPES, VALUE_TYPES
from exaone_nb.catalog import read_config
from exaone_nb.converter.gguf_vocabulary import cut_name, load_tokens, read_tokenizer
from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say

if TYPE_CHECKING:
    from gguf import GGUFWriter

# What tells a vocabulary of the small Granite models, and of SmolLM2 with it, to llama.cpp's converter.
NO_BOS_VOCABULARY = 49_152
# EXAONE 3.x calls the epsilon of its RMS norms so. The converter of b10359 writes another key for it, without which
# llama.cpp does not load the file; both are written here.
_RMS_TOO = {"exaone": ("layer_norm_epsilon",)}


def key_writer(folder: Path, plan: GgufPlan, cut: str = "") -> GGUFWriter:
    """A writer of the `gguf` package that holds all keys of the file that `plan` describes, and no tensors yet.

    `cut` names how text is cut where tokenizer.json does not tell. Raises WorkbookError for a config or a tokenizer
    that cannot be read.
    """
    import gguf

    logging.getLogger("gguf").setLevel(logging.ERROR)  # it reports every key
    config = _full_config(folder)
    architecture = gguf_family(config).architecture
    writer = gguf.GGUFWriter(None, architecture)
    _general(writer, folder, plan)
    _model(writer, config, architecture)
    number = FILE_TYPES[plan.kind][0]
    writer.add_file_type(number)
    _family(writer, config, architecture)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _vocabulary(writer, folder, config, architecture, cut)
    if plan.kind not in CONVERTER_TYPES:  # llama-quantize takes the two out and puts them at the end
        keys = writer.kv_data[0]
        for key in (gguf.Keys.General.QUANTIZATION_VERSION, gguf.Keys.General.FILE_TYPE):
            keys[key] = keys.pop(key)
    return writer


def _full_config(folder: Path) -> dict[str, Any]:
    """The config with what its class fills in, as the converter sees it; the plain file where transformers lacks the class."""
    from transformers import AutoConfig

    plain = read_config(folder / "config.json")
    try:
        full = AutoConfig.from_pretrained(folder, trust_remote_code=False).to_dict()
    except Exception:  # EXAONE 3.x has its class beside its weights, and code from there is not run
        return plain
    return full | {"model_type": plain.get("model_type")}


def _general(writer: GGUFWriter, folder: Path, plan: GgufPlan) -> None:
    import gguf

    # What is computed from the config counts too: the converter sees all tensors that it writes.
    total = plan.weights + sum(tensor.shape[0] for tensor in plan.tensors if not tensor.source)
    try:
        metadata = gguf.Metadata.load(None, folder, None, total)
    except Exception as error:  # a model card is YAML that anybody wrote
        raise WorkbookError(
            say(
                "The model card of {name} cannot be read: {reason}", name=folder.name, reason=str(error)[:200]
            ),
            expected=say("a README.md whose first lines are YAML, or none."),
        ) from error
    metadata.name = metadata.name or folder.name
    if metadata.size_label is None and total > 0:
        metadata.size_label = gguf.size_label(total, total, 0, 0)
    writer.add_type(gguf.GGUFType.MODEL)
    metadata.set_gguf_meta_model(writer)


def _model(writer: GGUFWriter, config: dict[str, Any], architecture: str) -> None:
    """The sizes that every family has."""

    def first(*names: str) -> Any:
        return next((config[name] for name in names if config.get(name) is not None), None)

    rope = fields.rope(config)
    wanted = (
        (writer.add_block_count, first("num_hidden_layers", "num_layers", "n_layer")),
        (writer.add_context_length, first("max_position_embeddings", "n_positions")),
        (writer.add_embedding_length, first("hidden_size", "n_embd")),
        (writer.add_feed_forward_length, first("intermediate_size")),
        (writer.add_head_count, first("num_attention_heads", "n_head")),
        (writer.add_head_count_kv, first("num_key_value_heads")),
    )
    for add, value in wanted:
        if value is not None:
            add(value)
    _rope_scaling(writer, rope)
    for add, value in (
        (writer.add_rope_freq_base, rope.get("rope_theta")),
        (writer.add_layer_norm_rms_eps, first("rms_norm_eps", *_RMS_TOO.get(architecture, ()))),
        (writer.add_layer_norm_eps, first("layer_norm_eps", "layer_norm_epsilon")),
        (writer.add_key_length, first("head_dim")),
        (writer.add_value_length, first("head_dim")),
    ):
        if value is not None:
            add(value)


def _rope_scaling(writer: GGUFWriter, rope: dict[str, Any]) -> None:
    """The scaling that llama.cpp computes itself; Llama 3's is a tensor of factors."""
    import gguf

    kind, factor = rope.get("rope_type", rope.get("type")), rope.get("factor")
    if kind not in ("linear", "yarn") or factor is None:
        return
    writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
    writer.add_rope_scaling_factor(factor)
    if kind == "linear":
        return
    if (longest := rope.get("original_max_position_embeddings")) is None:
        raise WorkbookError(
            say("rope_scaling of kind yarn has no original_max_position_embeddings."),
            expected=say("the context that the model was trained with."),
        )
    writer.add_rope_scaling_orig_ctx_len(longest)
    for add, names in (
        (writer.add_rope_scaling_yarn_ext_factor, ("extrapolation_factor",)),
        (writer.add_rope_scaling_yarn_attn_factor, ("attention_factor", "attn_factor")),
        (writer.add_rope_scaling_yarn_beta_fast, ("beta_fast",)),
        (writer.add_rope_scaling_yarn_beta_slow, ("beta_slow",)),
    ):
        value = next((rope[name] for name in names if rope.get(name) is not None), None)
        if value is not None:
            add(value)


def _family(writer: GGUFWriter, config: dict[str, Any], architecture: str) -> None:
    """What one family alone says."""
    if architecture in ("exaone4", "llama"):
        writer.add_vocab_size(config["vocab_size"])
    if architecture in ("exaone", "llama"):
        rotated = config.get("head_dim") if architecture == "llama" else None
        factor = config.get("partial_rotary_factor") or 1.0
        whole = config["hidden_size"] // config["num_attention_heads"]
        writer.add_rope_dimension_count(rotated or int(factor * whole))
    if architecture == "exaone4" and config.get("sliding_window") is not None:
        writer.add_sliding_window(config["sliding_window"])
        writer.add_sliding_window_pattern([kind == "sliding" for kind, _ in layer_kinds(config)])


def _vocabulary(
    writer: GGUFWriter, folder: Path, config: dict[str, Any], architecture: str, cut: str
) -> None:
    import gguf

    tokenizer = read_tokenizer(folder)
    cut = cut or cut_name(tokenizer, architecture, folder)
    settings = folder / "tokenizer_config.json"
    if architecture == "llama" and settings.is_file():
        space = read_config(settings).get("add_prefix_space")
        if space is not None:
            writer.add_add_space_prefix(bool(space))
    tokens, kinds = load_tokens(folder, config["vocab_size"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(cut)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    try:
        special = gguf.SpecialVocab(folder, load_merges=True)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WorkbookError(
            say(
                "The tokenizer of {name} cannot be read: {reason}", name=folder.name, reason=str(error)[:200]
            ),
            expected=say("a tokenizer.json of the tokenizers library."),
        ) from error
    special.add_to_gguf(writer, quiet=True)
    if architecture == "llama" and config["vocab_size"] == NO_BOS_VOCABULARY:
        writer.add_add_bos_token(False)


def key_bytes(writer: GGUFWriter) -> int:
    """Bytes that the keys of a writer take in the file: name, type and value of each."""
    return sum(
        _text(name) + 4 + _value_bytes(entry.value, int(entry.type), entry.sub_type)
        for name, entry in writer.kv_data[0].items()
    )


def _text(text: str | bytes) -> int:
    return 8 + len(text.encode() if isinstance(text, str) else text)


def _value_bytes(value: Any, kind: int, inside: Any = None) -> int:
    import struct

    name, letter = VALUE_TYPES[kind]
    if name == "string":
        return _text(value)
    if name != "array":
        return struct.calcsize(f"<{letter}")
    if isinstance(value, bytes):
        return 4 + 8 + len(value)
    kind = int(inside) if inside is not None else _type_of(value[0])
    return 4 + 8 + sum(_value_bytes(item, kind) for item in value)


def _type_of(value: Any) -> int:
    """Number of the type that the `gguf` package gives an item whose type was not named."""
    import gguf

    return int(gguf.GGUFValueType.get_type(value))
