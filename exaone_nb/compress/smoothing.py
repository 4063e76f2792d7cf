"""Where a scale may be moved between two modules without changing the model, and where it may not.

AWQ and SmoothQuant divide the output of one module by a vector s and multiply the next module's weight by s. This
changes nothing only if the first feeds the second directly. In a pre-norm model (Llama, Qwen3) `input_layernorm`
feeds q, k and v, so its weight can take 1/s. EXAONE 4.0 normalizes after the sublayer (QK-Reorder-LN): its norms act
on what attention and MLP give back, before it is added to the residual stream, and q, k, v, gate and up read the
stream itself. No norm feeds a Linear there, so norm-based smoothing is impossible, not just unsupported.
"""

from __future__ import annotations

from typing import Any

from exaone_nb.anatomy.arrangements import FAMILIES, PRE_LN, Arrangement
from exaone_nb.messages import say
from exaone_nb.schema import as_tuple


def mappings(config: dict[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
    """(module whose output is scaled, modules that undo it) for each place in a layer where this is exact."""
    pairs: list[tuple[str, tuple[str, ...]]] = []
    blocks = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
    pairs += zip(arrangement(config).feeding_norms, blocks, strict=False)
    if heads_match(config):
        pairs.append(("v_proj", ("o_proj",)))
    pairs.append(("up_proj", ("down_proj",)))
    return pairs


def arrangement(config: dict[str, Any]) -> Arrangement:
    """Where the norms of a config's layers sit; Llama's order for a family that is not known."""
    return FAMILIES.get(str(config.get("model_type")), PRE_LN)


def heads_match(config: dict[str, Any]) -> bool:
    """True without grouped-query attention, when v_proj's outputs are o_proj's inputs one to one."""
    heads = config.get("num_attention_heads")
    return config.get("num_key_value_heads", heads) == heads


def why_not(config: dict[str, Any], smooth: str, balance: list[str]) -> str:
    """Why scaling the output of `smooth` is not undone by scaling the inputs of `balance`; "" when it is exact."""
    first, *wanted = (n.removeprefix("re:").strip(".*$").rpartition(".")[2] for n in (smooth, *balance))
    if set(wanted) <= set(dict(mappings(config)).get(first, ())):
        return ""
    feeds = ", ".join(sorted(set(wanted)))
    if "norm" in first and not arrangement(config).feeding_norms:
        where = say("does not exist in this architecture or feeds no Linear alone")
        after = {"post_attention_layernorm": say("attention"), "post_feedforward_layernorm": say("the MLP")}
        if first in after:
            where = say(
                "acts on what {part} gives back and is followed by the residual addition", part=after[first]
            )
        elif first in ("q_norm", "k_norm"):
            where = say(
                "acts on {part} after its projection, per head and before the rotation", part=first[0]
            )
        return say(
            "{norm} {where}, so it does not feed {feeds} and the scale is never undone",
            norm=first,
            where=where,
            feeds=feeds,
        )
    if first == "v_proj":
        return say(
            "with grouped-query attention one v head feeds several heads of o_proj, so their sizes differ"
        )
    return say("{first} does not feed {feeds} directly", first=first, feeds=feeds)


def read_mapping(mapping: dict[str, Any] | list[Any]) -> tuple[str, list[str]]:
    """(smoothed layer, the layers that undo it) of a checked mapping in either spelling, AWQ's or SmoothQuant's."""
    if isinstance(mapping, dict):
        return mapping["smooth_layer"], list(mapping["balance_layers"])
    balance, smooth = mapping
    return smooth, list(as_tuple(balance))
