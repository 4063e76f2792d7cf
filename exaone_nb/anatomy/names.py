"""What a tensor's name says about it."""

import re

_COMPONENTS = (
    (re.compile(r"(^|\.)lm_head\."), "head"),
    (re.compile(r"(embed_tokens|\.wte|word_embeddings)\."), "embedding"),
    (re.compile(r"vision|\.visual\.blocks\.|\.visual\.patch"), "vision"),
    (re.compile(r"projector|\.visual\.merger"), "projector"),
    (re.compile(r"shared_expert"), "shared_experts"),
    (re.compile(r"\.experts\."), "experts"),
    (re.compile(r"\.(router|gate)\.(weight|bias|e_score)|e_score_correction"), "router"),
    (re.compile(r"norm|\.ln_"), "norm"),
    (re.compile(r"attn|attention"), "attention"),
    (re.compile(r"mlp|feed_forward"), "mlp"),
)
_LAYER = re.compile(r"\.(?:layers|h|blocks)\.(\d+)\.")


def component_of(name: str) -> str:
    """The component by the tensor's name, `other` when the name says nothing."""
    return next((component for pattern, component in _COMPONENTS if pattern.search(name)), "other")


def layer_of(name: str) -> int | None:
    """The decoder layer in a tensor's name, None outside the layers and in a vision tower."""
    found = _LAYER.search(name)
    return int(found[1]) if found and "vis" not in name else None
