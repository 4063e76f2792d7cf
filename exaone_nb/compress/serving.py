"""Where a planned checkpoint can be served: a GPU with the vLLM of today, this CPU, the hackathon's server.

Kernel facts come from `exaone_nb.quantization.kernels`, what keeps vLLM from loading from `loading.py`, the room on the card
from `exaone_nb.anatomy.memory`. What none of them knows is "unknown", never "yes". The hackathon judged on an L4 with vLLM 0.14.1; what is known of
that version beyond the kernels are its participants' reports, collected 2026-02, and marked as such.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from exaone_nb import catalog
from exaone_nb.anatomy.memory import plan_memory
from exaone_nb.compress.loading import Obstacle, obstacles
from exaone_nb.compress.plan import Plan
from exaone_nb.errors import WorkbookError
from exaone_nb.gpus import Gpu, find_gpu
from exaone_nb.quantization import kernels
from exaone_nb.quantization.kernels import Support
from exaone_nb.quantization.schemes import SCHEMES, Scheme

# Schemes that participants saw the judging server load, and those it refused.
SERVED_ON_L4 = ("W4A16", "W4A16_ASYM", "W8A16", "W8A8", "INT8", "FP8", "FP8_DYNAMIC")
REFUSED_ON_L4 = {
    "W4A8": "a participant's W4A8 file failed in the first 26 seconds",
    "W4AFP8": "int4 weights with FP8 activations need compute capability 9.0; the L4 has 8.9",
}
# Groups that a kernel takes, None for one scale per channel (vLLM 0.32, kernels/linear/mixed_precision).
GROUP_SIZES = {"Marlin": (None, 32, 64, 128), "Machete": (None, 64, 128)}
# The models that were judged: what decides the shapes of their matrices.
JUDGED = ("EXAONE-4.0-1.2B", "nano")
SHAPE = (
    "model_type",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
)
Ask = Callable[[str], Support]


@dataclass(frozen=True)
class Verdict:
    """Whether `where` can serve the checkpoint: yes, no, or unknown, and why. `recorded` marks a report, not a rule."""

    where: str
    answer: str
    why: str
    recorded: bool = False


def verdicts(plan: Plan, gpu: str = "L4") -> list[Verdict]:
    """This CPU, the chosen GPU, and the hackathon's server; all unknown while the plan has errors."""
    card = find_gpu(gpu)
    places = ("this CPU (vLLM 0.32)", f"{card.name} (vLLM 0.32)", "hackathon server (L4, vLLM 0.14.1)")
    if plan.has_errors:
        return [Verdict(where, "unknown", "no verdict on a plan with errors") for where in places]
    found = obstacles(plan)
    return [
        _today(plan, places[0], found, kernels.on_cpu, lambda: _room_here(plan)),
        _today(plan, places[1], found, lambda name: kernels.on_gpu(name, card), lambda: _room_on(plan, card)),
        _hackathon(plan, places[2], found),
    ]


def used_schemes(plan: Plan) -> dict[int, Scheme]:
    """The schemes that some module gets, by group."""
    used = set(plan.assigned.values())
    return {i: scheme for i, scheme in enumerate(plan.schemes) if i in used}


def nearest_preset(scheme: Scheme) -> str:
    """The preset whose kernel a scheme needs, "" when there is none.

    All arguments must be equal, but weight-only integers may have groups of any size, or one scale per channel: those
    are one kind of kernel, and `GROUP_SIZES` says what it takes.
    """
    mine = scheme.weights
    for preset in SCHEMES.values():
        theirs = preset.weights
        if mine is None or theirs is None or scheme.activations != preset.activations:
            continue
        only = scheme.activations is None and mine.type == "int" and not mine.dynamic
        grouped = mine.strategy == "group" or (mine.strategy == "channel" and mine.symmetric)
        alike = (mine.type, mine.num_bits, mine.symmetric) == (theirs.type, theirs.num_bits, theirs.symmetric)
        if mine == theirs or (only and grouped and alike):
            return preset.name
    return ""


def _today(
    plan: Plan, where: str, found: list[Obstacle], ask: Ask, room: Callable[[], tuple[str, str]]
) -> Verdict:
    """The verdict on vLLM 0.32: what is certainly impossible, then what nobody knows, then yes with the kernels."""
    doubts = [obstacle.short for obstacle in found if not obstacle.certain]
    kernels_used = []
    for index, scheme in used_schemes(plan).items():
        label, name = plan.labels[index], nearest_preset(scheme)
        support = ask(name) if name else None
        if support is None:
            doubts.append(f"{label} is like no preset whose kernel is known ({scheme.sentence()})")
        elif not support.runs:
            return Verdict(where, "no", f"{label}: {support.reason}")
        else:
            kernel, doubt = _kernel(plan, index, scheme, support)
            doubts += [f"{label}: {doubt}"] if doubt else []
            reason = f" ({support.reason})" if support.reason else ""
            kernels_used.append(f"{label}: {kernel}{reason}")
    if found and found[0].certain:
        return Verdict(where, "no", f"vLLM cannot load it: {found[0].short}")
    if any(".experts." in name and index is not None for name, index in plan.assigned.items()):
        doubts.append("experts have kernels of their own, which are not in the table")
    answer, size = room()
    if answer == "no" or (answer == "unknown" and not doubts):
        return Verdict(where, answer, size)
    if doubts:
        return Verdict(where, "unknown", doubts[0])
    why = "; ".join(dict.fromkeys(kernels_used)) or "nothing is quantized"
    return Verdict(where, "yes", why + (f"; {size}" if size else ""))


def _kernel(plan: Plan, index: int, scheme: Scheme, support: Support) -> tuple[str, str]:
    """(the kernel, why it may not take this group size or these shapes)."""
    kernel, size = support.kernel, scheme.weights.group_size
    if kernel == "Machete" and size not in GROUP_SIZES[kernel]:
        kernel = "Marlin"  # the next that vLLM tries
    if kernel == "CPUWNA16":
        odd = next(
            (m for m in plan.quantizable if plan.assigned[m.name] == index and any(n % 32 for n in m.shape)),
            None,
        )
        return kernel, f"{odd.name} is {' x '.join(map(str, odd.shape))}, no multiple of 32" if odd else ""
    preset = SCHEMES[support.scheme].weights
    taken = GROUP_SIZES.get(kernel, (preset.group_size,)) if preset.type == "int" else (size,)
    return kernel, "" if size in taken else f"{kernel} takes no groups of {size}"


def _room_on(plan: Plan, card: Gpu) -> tuple[str, str]:
    """("no", why) when not one token fits beside the weights; ("yes", the longest context) when not all of it does."""
    try:
        memory = plan_memory(plan.config, "BF16", card, prediction=plan.prediction)
    except WorkbookError as error:
        return "unknown", f"its memory cannot be computed: {error.got}"
    if memory.left_for_cache <= 0 or memory.longest_for_one <= 0:
        need = f"{memory.weights / 1e9:,.1f} GB of weights and {memory.overhead / 1e9:,.1f} GB that vLLM needs itself"
        return "no", f"{need} do not fit into {memory.budget / 1e9:,.1f} GB"
    short = memory.longest_for_one < memory.context
    return "yes", f"contexts up to {memory.longest_for_one:,} tokens fit" if short else ""


def _room_here(plan: Plan) -> tuple[str, str]:
    import psutil

    total, weights = psutil.virtual_memory().total, plan.prediction.data_bytes
    if weights > total:
        return "no", f"{weights / 1e9:,.1f} GB of weights do not fit into {total / 1e9:,.1f} GB of memory"
    return "yes", ""


def _hackathon(plan: Plan, where: str, found: list[Obstacle]) -> Verdict:
    if plan.assigned.get("lm_head") is not None:
        return Verdict(where, "no", "reports: `no module or parameter named 'lm_head.weight_scale'`", True)
    if found and found[0].certain:
        return Verdict(where, "no", f"vLLM cannot load it: {found[0].short}")
    for index, scheme in used_schemes(plan).items():
        label, name = plan.labels[index], nearest_preset(scheme)
        if name in REFUSED_ON_L4:
            return Verdict(where, "no", f"{label}: {REFUSED_ON_L4[name]}", True)
        sizes = GROUP_SIZES["Marlin"] if scheme.activations is None else (scheme.weights.group_size,)
        if name not in SERVED_ON_L4 or scheme.weights.group_size not in sizes:
            return Verdict(where, "unknown", f"nobody reported {label}", True)
    if found:
        return Verdict(where, "unknown", found[0].short)
    if not _was_judged(plan.config):
        return Verdict(where, "unknown", "only EXAONE-4.0-1.2B was judged there", True)
    extra = "; FP8 cache scales are ignored" if plan.recipe.kv_cache else ""
    return Verdict(where, "yes", f"participants' submissions ran{extra}", True)


def _was_judged(config: dict[str, object]) -> bool:
    shape = [config.get(key) for key in SHAPE]
    return any(
        shape == [judged.get(key) for key in SHAPE]
        for judged in (catalog.resolve(m).config() for m in JUDGED)
    )
