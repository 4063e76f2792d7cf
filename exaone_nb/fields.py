"""Sizes, out of a config or out of a call: wrong types and impossible values are refused by name, never computed with."""

from collections.abc import Mapping
from typing import Any

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.messages import say
from exaone_nb.tensors import TORCH_DTYPES

# No real model comes near; larger is a corrupt file.
LARGEST = 1 << 31
MOST = {"num_hidden_layers": 10_000, "num_layers": 10_000}

_REQUIRED = object()

# One thing under several names: what transformers 5 renamed (`attribute_map` in its configs) or gave one name in all
# families, GPT-2's short names, and EXAONE 3's count of layers. Asking for one name finds the others too.
SPELLINGS = (
    ("num_hidden_layers", "num_layers", "n_layer"),
    ("hidden_size", "n_embd"),
    ("max_position_embeddings", "n_positions"),
    ("num_experts", "num_local_experts", "n_routed_experts"),
    ("num_shared_experts", "n_shared_experts"),
    ("num_nextn_predict_layers", "num_mtp_layers"),
    ("num_attention_heads", "num_heads", "n_head"),
)
_OTHER_NAMES = {name: names for names in SPELLINGS for name in names}

# What a family's class assumes when its config has no head_dim (transformers 5.17); hidden_size / heads elsewhere.
HEAD_DIM = {
    "gemma2": 256,
    "gemma3_text": 256,
    "glm4": 128,
    "gpt_oss": 64,
    "llama4_text": 128,
    "qwen3": 128,
}


def get(config: dict[str, Any], key: str) -> Any:
    """The value at `key`, or at another name of the same thing; None when absent. Null counts as absent.

    Raises WorkbookError when two names give different values.
    """
    names = _OTHER_NAMES.get(key, (key,))
    found = {name: config[name] for name in names if config.get(name) is not None}
    values = list(found.values())
    if any(value != values[0] for value in values):
        said = ", ".join(f"{name} {value!r}" for name, value in found.items())
        raise WorkbookError(
            say("The config says {said}, which are names of one thing.", said=said),
            expected="one of them, or equal values.",
            remedy="Remove the one that is wrong.",
        )
    return found.get(key, values[0] if values else None)


def rope(config: dict[str, Any]) -> dict[str, Any]:
    """Rotary positions as one table with `rope_theta` and, where scaled, `rope_type`, `factor` and the like.

    transformers 4 writes `rope_theta` and `rope_scaling`, transformers 5 `rope_parameters`, which may hold one table
    per kind of layer; then that of the full-attention layers.
    """
    values = table(config, "rope_parameters") or table(config, "rope_scaling")
    if isinstance(values.get("full_attention"), dict):
        values = values["full_attention"]
    theta = config.get("rope_theta")
    return ({} if theta is None else {"rope_theta": theta}) | values


def size(config: dict[str, Any], key: str, default: Any = _REQUIRED, *, least: int = 1) -> int:
    """A whole number at `key` of at least `least` and believable. Raises WorkbookError otherwise; null counts as absent."""
    value = get(config, key)
    if value is None:
        if default is _REQUIRED:
            raise WorkbookError(
                say("The config has no {key}.", key=key),
                expected=say("{key}: a whole number.", key=key),
                remedy="Check that this is the config.json of a language model.",
            )
        value = default
    if isinstance(value, bool) or not isinstance(value, int):
        got = say("{key} is {value!r} in the config.", key=key, value=value)
        raise WorkbookError(got, expected="a whole number.")
    most = MOST.get(key, LARGEST)
    if not least <= value <= most:
        got = say("{key} is {value} in the config.", key=key, value=value)
        raise WorkbookError(got, expected=say("between {least} and {most:,}.", least=least, most=most))
    return value


def layers(config: dict[str, Any]) -> int:
    return size(config, "num_hidden_layers")


def whole(name: str, value: Any, *, least: int = 1) -> int:
    """`value`, an argument of a call, if it is a whole number of at least `least`. Raises UsageError that names it."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        got = say("{name} is {value!r}.", name=name, value=value)
        raise UsageError(got, expected=say("a whole number of at least {least}.", least=least))
    return value


def flag(config: dict[str, Any], key: str, default: bool) -> bool:
    """True or false at `key`. Raises WorkbookError when it is something else; null counts as absent."""
    value = config.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        got = say("{key} is {value!r} in the config.", key=key, value=value)
        raise WorkbookError(got, expected="true or false.")
    return value


def table(config: dict[str, Any], key: str) -> dict[str, Any]:
    """An object at `key`, empty when absent or null. Raises WorkbookError when it is something else."""
    value = config.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        got = say("{key} is a {kind} in the config.", key=key, kind=type(value).__name__)
        raise WorkbookError(got, expected="an object.")
    return value


def per_layer(config: dict[str, Any], key: str, layers: int) -> list[Any] | None:
    """A list with one entry per layer at `key`, or None when absent. Raises WorkbookError when the length differs."""
    value = config.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != layers:
        found = f"{len(value)} entries" if isinstance(value, list) else f"a {type(value).__name__}"
        got = say("{key} has {found} in the config.", key=key, found=found)
        raise WorkbookError(got, expected=say("a list of {layers}, one per layer.", layers=layers))
    return value


def heads(config: dict[str, Any]) -> tuple[int, int, int]:
    """(query heads, key-value heads, head_dim), head_dim defaulting to the family's own, or hidden_size / heads."""
    query = size(config, "num_attention_heads")
    key_value = size(config, "num_key_value_heads", query)
    if query % key_value:
        got = say(
            "{query} query heads cannot share {key_value} key-value heads.", query=query, key_value=key_value
        )
        raise WorkbookError(got, expected="num_attention_heads divisible by num_key_value_heads.")
    hidden = size(config, "hidden_size")
    usual = HEAD_DIM.get(config.get("model_type"))
    if config.get("head_dim") is None and usual is None and hidden % query:
        got = say(
            "hidden_size {hidden} does not divide into {query} heads, and the config has no head_dim.",
            hidden=hidden,
            query=query,
        )
        raise WorkbookError(got, expected="head_dim, or hidden_size divisible by num_attention_heads.")
    return query, key_value, size(config, "head_dim", usual or hidden // query)


def model_dtype(config: Mapping[str, Any]) -> str:
    """The dtype that the config names, in the names of safetensors; BF16 when it names none."""
    return TORCH_DTYPES.get(named_dtype(config), "BF16")


def named_dtype(config: Mapping[str, Any]) -> str:
    """The dtype that the config names, also inside `text_config`, in torch's names; empty when it names none."""
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else {}
    for place in (config, text):
        for key in ("dtype", "torch_dtype"):
            name = str(place.get(key, "")).removeprefix("torch.")
            if name in TORCH_DTYPES:
                return name
    return ""


def unquantized(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config as it would be without its quantization."""
    return {name: value for name, value in config.items() if name != "quantization_config"}
