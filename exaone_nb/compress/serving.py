"""Where a planned checkpoint can be served: a GPU with the vLLM of today, this CPU, the hackathon's server.

Kernel facts come from `exaone_nb.anatomy.kernels`. The hackathon judged on an L4 with vLLM 0.14.1; what is known of
that version beyond the kernels are its participants' reports, collected 2026-02, and marked as such.
"""

from __future__ import annotations

from dataclasses import dataclass

from exaone_nb.anatomy import kernels
from exaone_nb.anatomy.gpus import find_gpu
from exaone_nb.anatomy.schemes import SCHEMES, Scheme
from exaone_nb.compress.plan import Plan

# Schemes that participants saw the judging server load, and those it refused.
SERVED_ON_L4 = ("W4A16", "W4A16_ASYM", "W8A16", "W8A8", "INT8", "FP8", "FP8_DYNAMIC")
REFUSED_ON_L4 = {
    "W4A8": "a participant's W4A8 file failed in the first 26 seconds",
    "W4AFP8": "int4 weights with FP8 activations need compute capability 9.0; the L4 has 8.9",
}


@dataclass(frozen=True)
class Verdict:
    """Whether `where` can serve the checkpoint: yes, no, or unknown, and why. `recorded` marks a report, not a rule."""

    where: str
    answer: str
    why: str
    recorded: bool = False


def verdicts(plan: Plan, gpu: str = "L4") -> list[Verdict]:
    """This CPU, the chosen GPU, and the hackathon's server."""
    used = [
        (scheme, label)
        for i, (scheme, label) in enumerate(zip(plan.schemes, plan.labels, strict=True))
        if i in plan.assigned.values()
    ]
    presets = [(nearest_preset(scheme), label) for scheme, label in used]
    card = find_gpu(gpu)
    return [
        _from_kernels(plan, "this CPU (vLLM 0.32)", presets, lambda name: kernels.on_cpu(name)),
        _from_kernels(plan, f"{card.name} (vLLM 0.32)", presets, lambda name: kernels.on_gpu(name, card)),
        _hackathon(plan, presets),
    ]


def nearest_preset(scheme: Scheme) -> str:
    """The preset whose kernel a scheme needs: the same numbers, whatever the group size; "" when there is none."""
    for preset in SCHEMES.values():
        if preset.weights is None or scheme.weights is None:
            continue
        same = all(
            (a is None) == (b is None)
            and (a is None or (a.type, a.num_bits, a.symmetric) == (b.type, b.num_bits, b.symmetric))
            for a, b in ((preset.weights, scheme.weights), (preset.activations, scheme.activations))
        )
        alike = preset.weights.strategy == scheme.weights.strategy
        if same and (alike or preset.weights.type == "int"):
            return preset.name
    return ""


def _from_kernels(plan: Plan, where: str, presets: list[tuple[str, str]], ask: object) -> Verdict:
    reasons = []
    for name, label in presets:
        if not name:
            return Verdict(where, "unknown", f"{label} is like no preset")
        support = ask(name)  # type: ignore[operator]
        if not support.runs:
            return Verdict(where, "no", f"{label}: {support.reason}")
        reasons.append(f"{label}: {support.kernel}" + (f" ({support.reason})" if support.reason else ""))
    odd = _packed_table(plan)
    if odd:
        return Verdict(where, "unknown", odd)
    return Verdict(where, "yes", "; ".join(dict.fromkeys(reasons)) or "nothing is quantized")


def _hackathon(plan: Plan, presets: list[tuple[str, str]]) -> Verdict:
    where = "hackathon server (L4, vLLM 0.14.1)"
    if plan.assigned.get("lm_head") is not None:
        return Verdict(where, "no", "reports: `no module or parameter named 'lm_head.weight_scale'`", True)
    for name, label in presets:
        if name in REFUSED_ON_L4:
            return Verdict(where, "no", f"{label}: {REFUSED_ON_L4[name]}", True)
        if name not in SERVED_ON_L4:
            return Verdict(where, "unknown", f"nobody reported {label}", True)
    extra = "; FP8 cache scales are ignored" if plan.recipe.kv_cache else ""
    return Verdict(where, "yes", f"participants' submissions ran{extra}", True)


def _packed_table(plan: Plan) -> str:
    """A caution when the embedding table itself is packed."""
    if any(m.kind == "embedding" and plan.assigned[m.name] is not None for m in plan.quantizable):
        return "a quantized embedding: vLLM support depends on version and format, so try it before relying on it"
    return ""
