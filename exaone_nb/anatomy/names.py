"""What a tensor's name says about it, in a published checkpoint or in a GGUF file."""

import re

_COMPONENTS = (
    (re.compile(r"(^|\.)lm_head\.|^output\."), "head"),
    (re.compile(r"(embed_tokens|\.wte|word_embeddings|^token_embd)\."), "embedding"),
    (re.compile(r"vision|\.visual\.blocks\.|\.visual\.patch"), "vision"),
    (re.compile(r"projector|\.visual\.merger"), "projector"),
    (re.compile(r"shared_expert|_shexp\."), "shared_experts"),
    (re.compile(r"\.experts\.|_exps\."), "experts"),
    (re.compile(r"\.(router|gate)\.(weight|bias|e_score)|e_score_correction|ffn_gate_inp\."), "router"),
    (re.compile(r"norm|\.ln_"), "norm"),
    (re.compile(r"attn|attention"), "attention"),
    (re.compile(r"mlp|feed_forward|\.ffn_"), "mlp"),
)
_LAYER = re.compile(r"(?:\.(?:layers|h|blocks)|^blk)\.(\d+)\.")


def component_of(name: str) -> str:
    """The component by the tensor's name, `other` when the name says nothing."""
    return next((component for pattern, component in _COMPONENTS if pattern.search(name)), "other")


def layer_of(name: str) -> int | None:
    """The decoder layer in a tensor's name, None outside the layers and in a vision tower."""
    found = _LAYER.search(name)
    return int(found[1]) if found and "vis" not in name else None
