"""What a tensor of a published checkpoint is called in GGUF, and what llama.cpp calls its family.

As in gguf-py/gguf/tensor_mapping.py of llama.cpp; the tests hold the table against the package's own.
"""

import re
from dataclasses import dataclass
from typing import Any

from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say


@dataclass(frozen=True, slots=True)
class GgufFamily:
    """One family: `architecture` is llama.cpp's name, `parts` a module of a layer -> its name in GGUF.

    `rotated` marks that llama.cpp turns neighbours of a head where the checkpoint turns halves, so that the rows of
    queries and keys are put in another order.
    """

    architecture: str
    parts: dict[str, str]
    rotated: bool = False


_ATTENTION = {f"self_attn.{name}_proj": f"attn_{name}" for name in "qkv"} | {
    "self_attn.o_proj": "attn_output"
}
_QK_NORM = {f"self_attn.{name}_norm": f"attn_{name}_norm" for name in "qk"}
_MLP = {f"mlp.{name}_proj": f"ffn_{name}" for name in ("gate", "up", "down")}
_PRE_NORM = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
_POST_NORM = {
    "post_attention_layernorm": "post_attention_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
_EXAONE3 = {f"attn.attention.{name}_proj": f"attn_{name}" for name in "qkv"} | {
    "attn.attention.out_proj": "attn_output",
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
    "mlp.c_fc_0": "ffn_gate",
    "mlp.c_fc_1": "ffn_up",
    "mlp.c_proj": "ffn_down",
}
# model_type of the config -> its family.
GGUF_FAMILIES = {
    "exaone4": GgufFamily("exaone4", _ATTENTION | _QK_NORM | _MLP | _POST_NORM),
    "exaone": GgufFamily("exaone", _EXAONE3),
    "qwen3": GgufFamily("qwen3", _ATTENTION | _QK_NORM | _MLP | _PRE_NORM),
    "llama": GgufFamily("llama", _ATTENTION | _MLP | _PRE_NORM, rotated=True),
}
_OUTSIDE = {
    "model.embed_tokens": "token_embd",
    "transformer.wte": "token_embd",
    "model.norm": "output_norm",
    "transformer.ln_f": "output_norm",
    "lm_head": "output",
}
_LAYER = re.compile(r"(?:model\.layers|transformer\.h)\.(\d+)\.(.+)")
# Buffers that some checkpoints store and no engine reads.
LEFT_OUT = (".attention.masked_bias", ".attention.bias", ".rotary_emb.inv_freq")
ROPE_FACTORS = "rope_freqs.weight"


def gguf_family(config: dict[str, Any]) -> GgufFamily:
    """The family of a config. Raises WorkbookError for one whose GGUF files are not known here."""
    kind = config.get("model_type")
    if isinstance(kind, str) and kind in GGUF_FAMILIES:
        return GGUF_FAMILIES[kind]
    raise WorkbookError(
        say("GGUF files of model_type {kind!r} are not known here.", kind=kind),
        expected=", ".join(GGUF_FAMILIES) + ".",
        remedy=say("Use convert_hf_to_gguf.py of llama.cpp."),
    )


def gguf_name(name: str, family: GgufFamily) -> str | None:
    """The name in GGUF; None for a buffer that is left out. Raises WorkbookError for a tensor the family does not have."""
    if name.endswith(LEFT_OUT):
        return None
    module, _, last = name.rpartition(".")
    inside = _LAYER.fullmatch(module)
    part = family.parts.get(inside[2]) if inside else _OUTSIDE.get(module)
    if part is None or last not in ("weight", "bias"):
        raise WorkbookError(
            say("{name} has no place in a GGUF file of {family}.", name=name, family=family.architecture),
            expected=say("the tensors of an unquantized model."),
            remedy=say("Name the original checkpoint, not one that was quantized or extended."),
        )
    return f"blk.{int(inside[1])}.{part}.{last}" if inside else f"{part}.{last}"
