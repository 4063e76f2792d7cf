"""Where the norms sit in a decoder layer, and which family has which arrangement. Said here and nowhere else.

Each layer has two blocks (attention, MLP) around a residual stream. What is done per block, in order:

    Pre-LN           norm, block, add          the block reads a normalised stream, its output is added as it is
    Post-LN          block, add, norm          the stream itself is normalised after the addition
    Reorder-LN       block, norm, add          the block reads the raw stream, its output is normalised, then added
    QK-Reorder-LN    the same, with an RMSNorm on queries and keys before the scores
    Sandwich-LN      norm, block, norm, add    both: Gemma

An RMSNorm on queries and keys goes with any of them: EXAONE 4.0 and Qwen3 have it, with their other norms elsewhere.

The reference modules run these descriptions, the diagrams draw them, the layouts take the norms' names from them, and
the rules for smoothing ask for the norms that feed a block. Sources: Post-LN, Vaswani et al. 2017; Pre-LN, Xiong et al. 2020
(arXiv 2002.04745) and Llama; Reorder-LN with QK norm, EXAONE 4.0 (arXiv 2507.11407); families: `modeling_*.py` of
transformers 5.17, which a test runs.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

from exaone_nb.errors import UsageError
from exaone_nb.messages import say

Step = Literal["norm", "block", "add"]


@dataclass(frozen=True)
class Arrangement:
    """`order` is the order of the steps of each block; `norms` the tensor names of a layer's norms, in that order.

    `qk_norm`: whether queries and keys are normalised too, each head by itself or, `qk_whole`, all heads of a token
    together. `final_norm`: whether a norm stands before the output head.
    Post-LN needs none, its stream is always normalised. `parallel`: attention and MLP read the output of one norm, side
    by side.
    """

    name: str
    order: tuple[Step, ...]
    norms: tuple[str, ...]
    qk_norm: bool = False
    qk_whole: bool = False
    final_norm: bool = True
    parallel: bool = False

    @property
    def block_norms(self) -> tuple[tuple[str, ...], ...]:
        """The norms of attention, then those of the MLP, each in the order of the steps; side by side they share them."""
        half = len(self.norms) // 2
        return (self.norms, self.norms) if self.parallel else (self.norms[:half], self.norms[half:])

    @property
    def feeding_norms(self) -> tuple[str, ...]:
        """The norms that feed attention and MLP and nothing else: the condition for SmoothQuant's usual pairs.

        Empty where the blocks read the stream itself; after Post-LN's norms the stream goes on as well.
        """
        return tuple(names[0] for names in self.block_norms) if self.order[0] == "norm" else ()

    def sentence(self) -> str:
        """Where the norms sit, in words."""
        places = {
            ("norm", "block", "add"): say("RMSNorm before attention and MLP"),
            ("block", "add", "norm"): say(
                "RMSNorm on the stream, after the outputs of attention and MLP are added"
            ),
            ("block", "norm", "add"): say(
                "RMSNorm on the outputs of attention and MLP, before they are added"
            ),
            ("norm", "block", "norm", "add"): say("RMSNorm before attention and MLP, and on their outputs"),
        }
        queries = say("; also on queries and keys") if self.qk_norm else ""
        return say("{name}: {place}{queries}", name=self.name, place=places[self.order], queries=queries)


PRE_LN = Arrangement("Pre-LN", ("norm", "block", "add"), ("input_layernorm", "post_attention_layernorm"))
POST_LN = Arrangement(
    "Post-LN", ("block", "add", "norm"), ("attention_norm", "feedforward_norm"), final_norm=False
)
REORDER_LN = Arrangement(
    "Reorder-LN", ("block", "norm", "add"), ("post_attention_layernorm", "post_feedforward_layernorm")
)
QK_REORDER_LN = Arrangement("QK-Reorder-LN", REORDER_LN.order, REORDER_LN.norms, qk_norm=True)

QK_PRE_LN = replace(PRE_LN, name="Pre-LN with QK norm", qk_norm=True)
SANDWICH_LN = Arrangement(
    "Sandwich-LN",
    ("norm", "block", "norm", "add"),
    (*PRE_LN.norms, "pre_feedforward_layernorm", "post_feedforward_layernorm"),
)

# Those that the chapter sets side by side.
ARRANGEMENTS: dict[str, Arrangement] = {
    a.name: a for a in (PRE_LN, QK_PRE_LN, POST_LN, REORDER_LN, QK_REORDER_LN)
}
OLMO = replace(QK_REORDER_LN, qk_whole=True)

FAMILIES: dict[str, Arrangement] = {
    "exaone": replace(PRE_LN, norms=("ln_1", "ln_2")),
    "exaone4": QK_REORDER_LN,
    "exaone4_5_text": QK_REORDER_LN,
    "exaone_moe": QK_PRE_LN,
    "qwen3": QK_PRE_LN,
    "qwen3_moe": QK_PRE_LN,
    "gemma2": SANDWICH_LN,
    "gemma3_text": replace(SANDWICH_LN, name="Sandwich-LN with QK norm", qk_norm=True),
    "olmo2": OLMO,
    "olmo3": OLMO,
    "glm4": replace(
        SANDWICH_LN,
        norms=(
            "input_layernorm",
            "post_self_attn_layernorm",
            "post_attention_layernorm",
            "post_mlp_layernorm",
        ),
    ),
    "cohere2": replace(PRE_LN, name="Parallel Pre-LN", norms=("input_layernorm",), parallel=True),
    **dict.fromkeys(
        (
            "deepseek_v2",
            "deepseek_v3",
            "gpt_oss",
            "granite",
            "kimi_k2",
            "llama",
            "llama4_text",
            "mistral",
            "mixtral",
            "phi3",
            "qwen2",
            "qwen2_moe",
            "smollm3",
        ),
        PRE_LN,
    ),
}


def arrangement_of(config: dict[str, Any]) -> Arrangement:
    """The arrangement of a config's text decoder. Raises UsageError for a family that is not in the table."""
    decoder = config["text_config"] if isinstance(config.get("text_config"), dict) else config
    family = decoder.get("model_type")
    if family not in FAMILIES:
        raise UsageError(
            say("Where the norms of model_type {family} sit is not known here.", family=repr(family)),
            expected=say("one of {known}.", known=", ".join(sorted(FAMILIES))),
            remedy=say("Read its modeling file and add a line to anatomy/arrangements.py."),
        )
    return FAMILIES[family]
