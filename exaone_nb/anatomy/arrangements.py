"""Where the norms sit in a decoder layer. The modules run these descriptions and the diagrams draw them.

Each layer has two blocks (attention, MLP) around a residual stream. What is done per block, in order:

    Pre-LN           norm, block, add    the block reads a normalised stream, its output is added as it is
    Post-LN          block, add, norm    the stream itself is normalised after the addition
    Reorder-LN       block, norm, add    the block reads the raw stream, its output is normalised before it is added
    QK-Reorder-LN    the same, with an RMSNorm on every query and key head before the scores

Sources: Post-LN, Vaswani et al. 2017; Pre-LN, Xiong et al. 2020 (arXiv 2002.04745) and Llama; Reorder-LN with QK norm,
EXAONE 4.0 (arXiv 2507.11407) and transformers 5.17 `modeling_exaone4.py`.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

from exaone_nb.errors import UsageError

Step = Literal["norm", "block", "add"]


@dataclass(frozen=True)
class Arrangement:
    """`order` is the order of the steps of each block; `norms` the tensor names of the two norms.

    `final_norm`: whether a norm stands before the output head. Post-LN needs none, its stream is always normalised.
    """

    name: str
    order: tuple[Step, Step, Step]
    norms: tuple[str, str]
    qk_norm: bool = False
    final_norm: bool = True

    @property
    def reads_normalised_stream(self) -> bool:
        """Whether the Linears of a block read the output of a norm: the condition for SmoothQuant's usual pairs."""
        return self.order != ("block", "norm", "add")


PRE_LN = Arrangement("Pre-LN", ("norm", "block", "add"), ("input_layernorm", "post_attention_layernorm"))
POST_LN = Arrangement(
    "Post-LN", ("block", "add", "norm"), ("attention_norm", "feedforward_norm"), final_norm=False
)
REORDER_LN = Arrangement(
    "Reorder-LN", ("block", "norm", "add"), ("post_attention_layernorm", "post_feedforward_layernorm")
)
QK_REORDER_LN = Arrangement("QK-Reorder-LN", REORDER_LN.order, REORDER_LN.norms, qk_norm=True)

ARRANGEMENTS: dict[str, Arrangement] = {a.name: a for a in (PRE_LN, POST_LN, REORDER_LN, QK_REORDER_LN)}


def find_arrangement(name: str) -> Arrangement:
    """The arrangement called `name`. Raises UsageError with the names there are."""
    if name in ARRANGEMENTS:
        return ARRANGEMENTS[name]
    near = difflib.get_close_matches(name, ARRANGEMENTS, n=1)
    raise UsageError(
        f"No arrangement {name!r}.",
        expected=", ".join(ARRANGEMENTS),
        remedy=f"Did you mean {near[0]}?" if near else "",
    )
