"""Which expert gets which token: a tiny mixture of experts, trained for some steps on nano's conversations, and watched.

Eight experts in each of two layers, two of them for each token. Nothing keeps the load even, as the makers of large
mixtures have to, so favourites are seen.
"""

from dataclasses import dataclass

import torch

from exaone_nb.anatomy.arrangements import QK_PRE_LN
from exaone_nb.architecture import probes, race
from exaone_nb.architecture.model import Decoder
from exaone_nb.architecture.shape import FULL, Experts, Shape
from exaone_nb.library_types import Figure, Tensor
from exaone_nb.messages import say
from exaone_nb.paths import NANO
from exaone_nb.show.figures import INK, arrange, canvas, korean_font

EXPERTS = Experts(count=8, per_token=2, width=64, layers=frozenset({0, 1}))
SHAPE = Shape(
    hidden_size=64,
    intermediate_size=64,
    num_attention_heads=2,
    num_key_value_heads=1,
    layer_types=(FULL, FULL),
    experts=EXPERTS,
)
TEXT = "What is 12 + 30? 사과가 7개 있어요."


@dataclass(frozen=True)
class Routing:
    """What the routers of one layer do.

    `pieces` are the tokens of one text, `weights` [tokens, experts] what its router gives each expert, 0 where it was not
    chosen. `kinds` are kinds of tokens in held-out text and `shares` [kinds, experts] how their choices fall on the
    experts; `load` [experts] is the same over all tokens. `loss` is the training loss of the first and the last step.
    """

    pieces: list[str]
    weights: Tensor
    kinds: list[str]
    shares: Tensor
    load: Tensor
    loss: tuple[float, float]


def kind_of(piece: str) -> str:
    """digits, Korean, English or signs; a part of a Korean letter, which decodes to �, is Korean."""
    text = piece.strip()
    if text.isdigit():
        return say("digits")
    if any("가" <= letter <= "힣" or letter == "\ufffd" for letter in text):
        return say("Korean")
    return say("English") if any(letter.isalpha() for letter in text) else say("signs")


def watch(steps: int = 150, seed: int = 0, text: str = TEXT) -> Routing:
    """Train the mixture for so many steps, and look at its last layer. Raises UsageError for fewer than one step."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(NANO)
    model = Decoder(SHAPE, QK_PRE_LN, seed=seed)
    losses, _ = race.fit(model, race.nano_rows(1024, seed=0), learning_rate=3e-3, steps=steps, seed=seed)
    held_out = race.nano_rows(32, seed=1, split="validation")
    chosen = (probes.routing(model, held_out)[-1] > 0).flatten(0, 1).float()  # [tokens, experts]
    kinds = [kind_of(tokenizer.decode([token])) for token in held_out.flatten().tolist()]
    names = sorted(set(kinds))
    members = torch.tensor([[kind == name for kind in kinds] for name in names]).float()
    shares = members @ chosen
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return Routing(
        [tokenizer.decode([token]) for token in ids],
        probes.routing(model, torch.tensor([ids]))[-1][0],
        names,
        shares / shares.sum(-1, keepdim=True),
        chosen.sum(0) / chosen.sum(),
        (losses[0], losses[-1]),
    )


def picture(routing: Routing) -> Figure:
    """Left the tokens of one text and their experts, right the kinds of tokens in held-out text and theirs."""
    figure, (left, right) = canvas(9.5, 5.2, ncols=2, width_ratios=(1, 1.3))
    experts = [str(number) for number in range(1, routing.weights.shape[1] + 1)]
    for axes, values, rows in (
        (left, routing.weights, [_label(piece) for piece in routing.pieces]),
        (right, routing.shares, routing.kinds),
    ):
        axes.pcolormesh(values.numpy(), cmap="Blues", vmin=0, vmax=1, edgecolors="#dddddd", lw=0.5)
        axes.set_xticks([place + 0.5 for place in range(len(experts))], experts)
        axes.set_yticks([place + 0.5 for place in range(len(rows))], rows)
        axes.tick_params(length=0)
        axes.invert_yaxis()
        axes.set_xlabel(say("expert"))
    for row, column in routing.shares.nonzero().tolist():
        share = routing.shares[row, column].item()
        shade = "white" if share > 0.5 else INK
        right.text(column + 0.5, row + 0.5, f"{share:.0%}", ha="center", va="center", color=shade, fontsize=9)
    left.set_title(say("one text, token by token"), loc="left")
    right.set_title(say("held-out text: where each kind of token goes"), loc="left")
    arrange(figure)
    return figure


def _label(piece: str) -> str:
    """A token as a row's name. A part of a letter, or Hangul where no font has it, is not shown; the caption has the text."""
    shown = piece.isascii() or ("\ufffd" not in piece and korean_font())
    return piece.replace(" ", "·") if shown else say("(Korean)")
