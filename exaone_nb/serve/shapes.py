"""The shape of a model without its weights, in several schemes: which one is fastest at that size on this machine."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from exaone_nb.engines.environment import has_gpu
from exaone_nb.errors import WorkbookError
from exaone_nb.fields import whole
from exaone_nb.messages import say
from exaone_nb.serve.bench import Bench, BenchOptions, bench, in_turns, pooled

# So many rank the schemes on a CPU. On a GPU four layers are done before Python has prepared the next step: noise.
CPU_LAYERS = 4


def measure_shape(
    shape: str,
    schemes: Sequence[str],
    options: BenchOptions,
    *,
    rounds: int = 3,
    report: Callable[[str], None] = lambda words: None,
) -> list[Bench]:
    """`bench` of a model's shape with random weights in each scheme, `rounds` times in turns, every second one backwards.

    `options.layers` 0 takes all layers on a GPU and CPU_LAYERS without one. `report` gets a line for a scheme that does
    not run here, which is then left out.
    """
    whole("rounds", rounds)
    options = replace(options, weights="dummy", layers=options.layers or (0 if has_gpu() else CPU_LAYERS))
    found: dict[str, list[Bench]] = {scheme: [] for scheme in schemes}
    for _, scheme in in_turns(found, rounds):
        try:
            found[scheme].append(bench(shape, replace(options, scheme=scheme)))
        except WorkbookError as error:
            report(say("{scheme} is left out: {why}", scheme=scheme, why=error.got))
            del found[scheme]
    return list(map(pooled, found.values()))
