"""The sizes of a reference model, checked when they are written down: an impossible one is named, not computed with."""

from collections.abc import Mapping, Sized
from dataclasses import dataclass, field
from typing import Any, Self

from exaone_nb import fields
from exaone_nb.anatomy.attention import layer_kinds
from exaone_nb.anatomy.layouts import expected_tensors, is_tied
from exaone_nb.architecture.rope import Rope
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.fields import whole
from exaone_nb.messages import say

SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")
FULL, SLIDING = "full_attention", "sliding_attention"


def layer_pattern(layers: int, local: int) -> tuple[str, ...]:
    """`local` sliding layers, then one full layer, over and over; 0 gives full layers only.

    Raises UsageError when the period `local + 1` does not divide the number of layers.
    """
    period = whole(say("The number of local layers per global layer"), local, least=0) + 1
    whole(say("The number of layers"), layers)
    if layers % period:
        fitting = [str(p - 1) for p in range(1, layers + 1) if layers % p == 0]
        got = say(
            "A ratio of {local}:1 repeats every {period} layers, which does not divide {layers} layers.",
            local=local,
            period=period,
            layers=layers,
        )
        raise UsageError(
            got,
            expected=say(
                "a number of local layers per global layer out of {fitting}.", fitting=", ".join(fitting)
            ),
            remedy="Change the ratio or the number of layers.",
        )
    return ((SLIDING,) * local + (FULL,)) * (layers // period)


def require_some(name: str, values: Sized) -> None:
    """Raise UsageError naming the parameter when a list that something is drawn or counted for is empty."""
    if not values:
        raise UsageError(say("{name}: an empty list.", name=name), expected="at least one value.")


@dataclass(frozen=True)
class Experts:
    """How the MLPs of `layers` are divided: `per_token` of `count` experts of `width` values, `shared` more for all.

    The router's scores are softmax or `sigmoid` of its logits; `normalised` makes those chosen add up to one.
    """

    count: int
    per_token: int
    width: int
    layers: frozenset[int]
    normalised: bool = True
    sigmoid: bool = False
    scaling: float = 1.0
    shared: int = 0


@dataclass(frozen=True)
class Shape:
    """Sizes in the names of config.json. `layer_types` has one entry per layer.

    `rope_on_full` is False only for EXAONE's hybrid models: their full layers have no position encoding (NoPE).
    `local_rope` are the rotations of sliding layers where they have their own, `query_scale` what replaces
    1 / sqrt(head_dim); both are Gemma's, as are scaled embeddings and norms that are stored minus one.
    """

    vocab_size: int = 1024
    hidden_size: int = 128
    intermediate_size: int = 384
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 32
    layer_types: tuple[str, ...] = (FULL,) * 4
    sliding_window: int | None = None
    rms_norm_eps: float = 1e-5
    rope: Rope = field(default_factory=Rope)
    rope_on_full: bool = True
    tie_word_embeddings: bool = True
    initializer_range: float = 0.02
    hidden_act: str = "silu"
    experts: Experts | None = None
    local_rope: Rope | None = None
    query_scale: float | None = None
    embedding_scale: float = 1.0
    norms_less_one: bool = False

    def __post_init__(self) -> None:
        for name in SIZES:
            whole(name, getattr(self, name))
        if self.num_attention_heads % self.num_key_value_heads:
            got = say(
                "num_key_value_heads is {num_key_value_heads} with {num_attention_heads} query heads.",
                num_key_value_heads=self.num_key_value_heads,
                num_attention_heads=self.num_attention_heads,
            )
            raise UsageError(
                got,
                expected="a divisor of num_attention_heads: every key/value head serves equally many query heads.",
            )
        whole("head_dim", self.head_dim, least=2)
        if self.head_dim % 2:
            got = say("head_dim is {head_dim}.", head_dim=self.head_dim)
            raise UsageError(got, expected="an even number: RoPE rotates its values in pairs.")
        if not self.layer_types:
            raise UsageError("layer_types is empty.", expected="one entry per layer.")
        unknown = sorted(set(self.layer_types) - {FULL, SLIDING})
        if unknown:
            got = say("layer_types names {unknown}.", unknown=unknown)
            raise UsageError(got, expected=say("{full} or {sliding}.", full=FULL, sliding=SLIDING))
        if SLIDING in self.layer_types or self.sliding_window is not None:
            whole("sliding_window", self.sliding_window)
        if not 0 < self.rms_norm_eps < 1:
            got = say("rms_norm_eps is {rms_norm_eps!r}.", rms_norm_eps=self.rms_norm_eps)
            raise UsageError(got, expected="a small positive number.")

    @property
    def num_hidden_layers(self) -> int:
        return len(self.layer_types)

    def window_of(self, layer: int) -> int | None:
        """The window of one layer in tokens, None where attention is full."""
        return self.sliding_window if self.layer_types[layer] == SLIDING else None

    def uses_rope(self, layer: int) -> bool:
        """Whether this layer rotates queries and keys."""
        return self.rope_on_full or self.layer_types[layer] == SLIDING

    def rope_of(self, layer: int) -> Rope:
        """The rotations of one layer."""
        return self.local_rope if self.local_rope and self.layer_types[layer] == SLIDING else self.rope

    @property
    def score_scale(self) -> float:
        """What the product of a query and a key is multiplied by."""
        return self.head_dim**-0.5 if self.query_scale is None else self.query_scale

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The shape of a config.json (transformers 4 or 5 spelling) of one of DESCRIBED.

        Raises WorkbookError for another family, whose layer these reference modules do not describe, and for what they
        leave out of one that they do.
        """
        config, family = dict(config), config.get("model_type")
        _require_described(config)
        heads, kv_heads, head_dim = fields.heads(config)
        kinds = layer_kinds(config)
        windows = {window for kind, window in kinds if kind == "sliding"}
        hybrid_exaone = family in ("exaone4", "exaone_moe") and config.get("sliding_window") is not None
        same = ("vocab_size", "hidden_size", "intermediate_size")
        return cls(
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            head_dim=head_dim,
            layer_types=tuple(SLIDING if kind == "sliding" else FULL for kind, _ in kinds),
            sliding_window=windows.pop() if windows else config.get("sliding_window"),
            rms_norm_eps=config.get("rms_norm_eps") or USUAL_EPS.get(family, 1e-6),
            rope=Rope.from_config(config),
            rope_on_full=not hybrid_exaone,
            tie_word_embeddings=is_tied(config),
            initializer_range=config.get("initializer_range", 0.02),
            hidden_act=_activation(config),
            experts=_experts(config),
            **{name: fields.size(config, name) for name in same},
            **(_gemma(config) if family == "gemma3_text" else {}),
        )


# The families whose layer the reference modules describe; a test holds each against transformers.
DESCRIBED = (
    "exaone4", "exaone_moe", "gemma3_text", "llama", "mistral", "olmo2", "qwen2", "qwen3", "qwen3_moe",
)  # fmt: skip
# What a family's class assumes without rms_norm_eps (transformers 5.17); 1e-6 elsewhere.
USUAL_EPS = {"exaone4": 1e-5, "exaone_moe": 1e-5, "olmo2": 1e-5}
ACTIVATIONS = ("silu", "gelu_pytorch_tanh")


def why_not_described(config: Mapping[str, Any]) -> str:
    """Why the reference modules do not describe a model, in a sentence; "" where they do."""
    try:
        Shape.from_config(config)
    except WorkbookError as error:
        return error.got
    return ""


def _require_described(config: dict[str, Any]) -> None:
    family = config.get("model_type")
    if family not in DESCRIBED:
        raise WorkbookError(
            say("The reference modules do not describe model_type {family!r}.", family=family),
            expected=say("one of {families}.", families=", ".join(DESCRIBED)),
            remedy=say("Use nano, EXAONE-4.0-1.2B or another model of these families."),
        )
    used = {
        "hidden_act": _activation(config) not in ACTIVATIONS,
        "n_group": (fields.get(config, "n_group") or 1) > 1,
        "attn_logit_softcapping": bool(config.get("attn_logit_softcapping")),
        "final_logit_softcapping": bool(config.get("final_logit_softcapping")),
        "use_bidirectional_attention": bool(config.get("use_bidirectional_attention")),
    }
    if wrong := [name for name, is_used in used.items() if is_used]:
        raise WorkbookError(
            say("The reference modules do not describe {names}.", names=", ".join(wrong)),
            expected=say("a config that leaves them at what is usual."),
        )


def _activation(config: Mapping[str, Any]) -> str:
    usual = "gelu_pytorch_tanh" if config.get("model_type") == "gemma3_text" else "silu"
    return config.get("hidden_activation") or config.get("hidden_act") or usual


def _experts(config: dict[str, Any]) -> Experts | None:
    layers = {spec.layer for spec in expected_tensors(config) if spec.component == "experts"}
    if not layers:
        return None
    exaone = config["model_type"] == "exaone_moe"
    return Experts(
        count=fields.size(config, "num_experts"),
        per_token=fields.size(config, "num_experts_per_tok"),
        width=fields.size(config, "moe_intermediate_size"),
        layers=frozenset(layers),
        normalised=fields.flag(config, "norm_topk_prob", exaone),
        sigmoid=exaone,
        scaling=config.get("routed_scaling_factor", 2.5) if exaone else 1.0,
        shared=fields.size(config, "num_shared_experts", 1, least=0) if exaone else 0,
    )


def _gemma(config: dict[str, Any]) -> dict[str, Any]:
    tables = fields.table(config, "rope_parameters")
    local = tables.get(SLIDING) or {"rope_theta": config.get("rope_local_base_freq", 10000.0)}
    return {
        "local_rope": Rope.from_config({"rope_parameters": local}),
        "query_scale": config.get("query_pre_attn_scalar", 256) ** -0.5,
        "embedding_scale": config["hidden_size"] ** 0.5,
        "norms_less_one": True,
    }
