"""What a tensor's name says about it, in a published checkpoint or in a GGUF file."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from exaone_nb.messages import say

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


@dataclass(frozen=True)
class Prefix:
    """What is said of names that have one prefix too much, or lack one. `renamed`: name wanted -> name in the file."""

    text: str
    remedy: str
    renamed: dict[str, str]


def wrong_prefix(missing: Sequence[str], have: Collection[str]) -> Prefix | None:
    """The prefix because of which most of the missing tensors are missing; None when that is not why.

    An adapter's writer leaves `base_model.model.`, torch.compile `_orig_mod.`, and the state of the inner model lacks
    `model.`.
    """
    for wanted in missing[:1]:
        longer = [name.removesuffix(wanted) for name in have if name.endswith(f".{wanted}")]
        if longer and _most(longer[0] + name in have for name in missing):
            text = say(
                "All names begin with {prefix}: transformers and vLLM find no weight.", prefix=longer[0]
            )
            remedy = say(
                "Merge the adapter, or unwrap the model, and save it again; or cut the prefix off the names."
            )
            return Prefix(text, remedy, {name.removeprefix(longer[0]): name for name in have})
        shorter = [wanted.removesuffix(name) for name in have if wanted.endswith(f".{name}")]
        if shorter and _most(name.removeprefix(shorter[0]) in have for name in missing):
            text = say("The names lack {prefix} in front: vLLM finds no weight.", prefix=shorter[0])
            remedy = say("Save the whole model, with its head, and not its inner part.")
            return Prefix(text, remedy, {shorter[0] + name: name for name in have})
    return None


def _most(found: Iterable[bool]) -> bool:
    answers = list(found)
    return 2 * sum(answers) > len(answers)
