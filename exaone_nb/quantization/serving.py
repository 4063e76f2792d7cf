"""Whether a machine with a version of vLLM can serve a checkpoint, planned or finished: yes, no, or unknown, and why.

The kernels come from `kernels`, what keeps vLLM from loading from `loading`. What neither of them knows is
"unknown", never "yes". Whether the memory suffices is not asked here (`anatomy.memory`).
"""

from __future__ import annotations

from dataclasses import dataclass

from exaone_nb.hardware import Machine
from exaone_nb.messages import say
from exaone_nb.quantization.assignment import Assignment
from exaone_nb.quantization.kernels import TODAY, support
from exaone_nb.quantization.loading import obstacles


@dataclass(frozen=True)
class ServingVerdict:
    """Whether `where` can serve the checkpoint: yes, no, or unknown, and why. `recorded` marks what participants saw."""

    where: str
    answer: str
    why: str
    recorded: bool = False


def serve(made: Assignment, machine: Machine, engine: str = TODAY, where: str = "") -> ServingVerdict:
    """The verdict: what is certainly impossible, then what nobody knows, then yes with the kernels."""
    found = obstacles(made, engine)
    if found and found[0].level == "error":
        why = say("it cannot be loaded ({code}). {remedy}", code=found[0].code, remedy=found[0].remedy)
        return ServingVerdict(where, "no", why)
    by_label = {}
    for index, scheme in made.used.items():
        shapes = {m.name: m.shape for m in made.members(index)}
        by_label.setdefault(scheme.label, support(scheme, machine, engine, shapes))
    if not by_label:
        return ServingVerdict(where, "yes", say("nothing is quantized"))
    # Of several schemes the one that runs least decides.
    label, decides = min(by_label.items(), key=lambda pair: ("no", "unknown", "yes").index(pair[1].answer))
    if decides.answer == "no":
        return ServingVerdict(where, "no", f"{label}: {decides.reason}", decides.recorded)
    doubts = [finding.text for finding in found]
    doubts += [f"{label}: {decides.reason}"] if decides.answer == "unknown" else []
    if any(".experts." in name and index is not None for name, index in made.assigned.items()):
        doubts.append(say("experts have kernels of their own, which are not in the table"))
    if doubts:
        return ServingVerdict(where, "unknown", doubts[0], decides.recorded)
    kernels = [
        f"{label}: {one.kernel}" + (f" ({one.reason})" if one.reason else "")
        for label, one in by_label.items()
    ]
    return ServingVerdict(where, "yes", "; ".join(kernels), all(one.recorded for one in by_label.values()))
