"""What the norms of a layer cost: values that are normalised, their share of the operations, and seconds.

One layer in plain torch on one thread of the CPU, where every norm is a step of its own; no engine's fused kernels. All
arrangements share one set of matrices and are timed in turn, round by round, so that a slow round slows all of them. The
thread's own CPU time is taken, and of three calls in a row the fastest: what other programs take only ever adds.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from exaone_nb.anatomy.arrangements import PRE_LN, QK_REORDER_LN, REORDER_LN, Arrangement
from exaone_nb.architecture.layers import DecoderLayer
from exaone_nb.architecture.shape import FULL, Shape, whole
from exaone_nb.messages import in_english, say
from exaone_nb.show.table import Column, Table
from exaone_nb.statistics.estimate import Estimate, over_repeats
from exaone_nb.threads import set_torch_threads

NO_NORMS = Arrangement(in_english(say("no norms")), ("block", "add"), ())
COMPARED = (NO_NORMS, PRE_LN, REORDER_LN, QK_REORDER_LN)
# A norm squares and adds up, multiplies by the root's inverse, and by its weight.
OPERATIONS_PER_VALUE = 4
CALLS = 3


@dataclass(frozen=True)
class NormCost:
    """One arrangement's layer on so many tokens at once.

    `values` are normalised per token, `operations` is the norms' share of the Linears' operations. `seconds` is the mean
    over rounds, `extra` what the norms add to the layer without them: 0.05 is 5 %; both with 95 % t intervals.
    """

    arrangement: str
    tokens: int
    values: int
    operations: float
    seconds: Estimate
    extra: Estimate | None


def values_normalised(shape: Shape, arrangement: Arrangement) -> int:
    """Values per token and layer that pass through a norm."""
    heads = (shape.num_attention_heads + shape.num_key_value_heads) * shape.head_dim
    return len(arrangement.norms) * shape.hidden_size + (heads if arrangement.qk_norm else 0)


def measure(shape: Shape, tokens: Sequence[int] = (1,), rounds: int = 9) -> list[NormCost]:
    """The cost of COMPARED's norms in one dense layer of `shape`. Raises UsageError for fewer than two rounds."""
    whole("The number of rounds", rounds, least=2)
    one = replace(shape, layer_types=(FULL,), experts=None)
    layers = _layers(one)
    threads = set_torch_threads(1)
    try:
        return [cost for count in tokens for cost in _measure(one, layers, whole("tokens", count), rounds)]
    finally:
        set_torch_threads(threads)


def _measure(shape: Shape, layers: dict[str, DecoderLayer], tokens: int, rounds: int) -> list[NormCost]:
    x = torch.randn(1, tokens, shape.hidden_size, generator=torch.Generator().manual_seed(0))
    angles = shape.rope.angles(torch.arange(tokens)[None], shape.head_dim)
    mask = torch.ones(tokens, tokens, dtype=torch.bool).tril()[None, None]
    seconds: dict[str, list[float]] = {name: [] for name in layers}
    names = list(layers)
    with torch.no_grad():
        for turn in range(rounds + 1):  # the first warms up
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                best = min(_seconds(layers[name], x, angles, mask) for _ in range(CALLS))
                if turn:
                    seconds[name].append(best)
    plain = seconds[NO_NORMS.name]
    matrices = sum(p.numel() for p in layers[NO_NORMS.name].parameters())
    costs = []
    for arrangement in COMPARED:
        values = values_normalised(shape, arrangement)
        ratio = over_repeats([a / b for a, b in zip(seconds[arrangement.name], plain, strict=True)])
        extra = Estimate(ratio.value - 1, ratio.low - 1, ratio.high - 1, ratio.n)
        share = OPERATIONS_PER_VALUE * values / (2 * matrices)
        mean = over_repeats(seconds[arrangement.name])
        own = None if arrangement is NO_NORMS else extra
        costs.append(NormCost(arrangement.name, tokens, values, share, mean, own))
    return costs


def _seconds(layer: DecoderLayer, *inputs: Any) -> float:
    started = time.thread_time()
    layer(*inputs)
    return time.thread_time() - started


def _layers(shape: Shape) -> dict[str, DecoderLayer]:
    """One layer per arrangement over the same random matrices; norm weights are one."""
    generator = torch.Generator().manual_seed(0)
    held: dict[str, Tensor] = {}
    made = {}
    for arrangement in COMPARED:
        with torch.device("meta"):
            layer = DecoderLayer(shape, 0, arrangement).eval()
        for name, empty in layer.state_dict().items():
            if name not in held:
                small = torch.randn(empty.shape, generator=generator) * 0.02
                held[name] = small if empty.dim() == 2 else torch.ones(empty.shape)
        layer.load_state_dict({name: held[name] for name in layer.state_dict()}, assign=True)
        made[arrangement.name] = layer
    return made


def table(costs: Mapping[str, Sequence[NormCost]]) -> Table:
    """One line per model, arrangement and number of tokens."""
    heads = [
        Column("model", code=True),
        Column("arrangement", ours=True),
        Column("values", say("values normalised per token"), ","),
        Column("operations", say("of the Linears' operations"), ".3%"),
        Column("seconds", say("CPU ms per layer"), ",.3f", 1e3),
        Column("extra", say("longer than without norms"), "+.1%"),
    ]
    return Table(heads, [vars(cost) | {"model": model} for model, some in costs.items() for cost in some])
