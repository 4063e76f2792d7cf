"""Whether an engine can serve a checkpoint, planned or finished: yes, no, or unknown, and why.

The kernels come from `kernels`; why it would not be loaded at all was read in the sources of vLLM 0.32 and 0.14.1. What
neither knows is "unknown", never "yes". Whether the memory suffices is not asked here (`anatomy.memory`).

vLLM joins q, k, v into one matrix, gate, up into another, and all experts of a layer into one, so that each of these
needs one scheme (compressed_tensors/utils.py, should_ignore_layer). It also looks the schemes up anew: of several
fitting targets the first in the file wins, not the first of the alphabet, and a head or an embedding is not the class
that a target names.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from exaone_nb.findings import Finding
from exaone_nb.hardware import Machine
from exaone_nb.messages import joined, say
from exaone_nb.quantization.kernels import (
    TODAY,
    experts_refusal,
    refused_everywhere,
    rules,
    split_problem,
    support,
)
from exaone_nb.quantization.matching import Assignment, matches
from exaone_nb.quantization.schemes import Scheme

JOINED = {"q_proj": "qkv_proj", "k_proj": "qkv_proj", "v_proj": "qkv_proj"}
JOINED |= {"gate_proj": "gate_up_proj", "up_proj": "gate_up_proj"}
# Parts of a joined matrix that are not its last: a block of weights with one scale must not reach into the next part.
NOT_LAST = ("q_proj", "k_proj", "gate_proj")


def obstacles(made: Assignment, engine: str = TODAY) -> list[Finding]:
    """Everything that vLLM would stumble over. An error where it certainly stops, a warning where nobody tried."""
    found = [
        *_kernels(made, engine),
        *_split(made, engine),
        *_cut_blocks(made, engine),
        *_misread(made, engine),
        *_tables(made, engine),
    ]
    return sorted(found, key=lambda finding: finding.level != "error")


def refused_by(schemes: Iterable[Scheme | str], machine: Machine) -> str:
    """Why today's vLLM has no kernel on `machine` for one of these schemes; "" where it has, and where nobody knows."""
    for found in (support(scheme, machine) for scheme in schemes):
        if found.answer == "no":
            reason = found.reason or say("it has no kernel")
            return say(
                "vLLM cannot run {scheme} on this device: {reason}.", scheme=found.scheme, reason=reason
            )
    return ""


def joined_name(module: str) -> str:
    """The vLLM layer a module becomes a part of; its own name when it stays alone."""
    if expert := re.match(r"(.*\.experts)\.\d+\.", module):
        return expert.group(1)
    parent, _, part = module.rpartition(".")
    return f"{parent}.{JOINED[part]}" if part in JOINED else module


def _stops(engine: str, code: str, text: str, remedy: str) -> Finding:
    whole = say("vLLM {engine} cannot load this: {text}", engine=engine, text=text)
    return Finding("error", code, whole, remedy, f"vLLM {engine}")


def _kernels(made: Assignment, engine: str) -> Iterator[Finding]:
    """Schemes that no card and no CPU runs."""
    for label, scheme in {scheme.label: scheme for scheme in made.used.values()}.items():
        if why := refused_everywhere(scheme, engine):
            text = say("no card and no CPU runs {label}: {why}.", label=label, why=why)
            remedy = say("Use W4A16, W8A16, W8A8 or FP8.")
            if scheme.weights.strategy == "tensor":
                remedy = say("Write strategy: group and group_size: 128 beside num_bits.")
            yield _stops(engine, "kernels", text, remedy)


def _split(made: Assignment, engine: str) -> Iterator[Finding]:
    layers: dict[str, list[str]] = {}
    for name in made.assigned:
        layers.setdefault(joined_name(name), []).append(name)
    split: dict[str, list[list[str]]] = {}
    for layer, names in layers.items():
        if len({made.numbers_of(name) for name in names}) > 1:
            split.setdefault(layer.rpartition(".")[2], []).append(names)
    for part, same in split.items():
        first = same[0]
        other = next(n for n in first if made.numbers_of(n) != made.numbers_of(first[0]))
        shown = sorted({*first[:2], other}, key=first.index)
        labels = (say("kept") if made.assigned[n] is None else made.label_of(n) for n in shown)
        text = say(
            "it joins these into one {part} and needs one scheme for them: {shown}{more}.",
            part=part, shown=", ".join(map("{} ({})".format, shown, labels)),
            more=say(", and so in {n} more layers", n=len(same) - 1) if len(same) > 1 else "",
        )  # fmt: skip
        remedy = say("Give all parts of {part} the same scheme, or ignore all of them.", part=part)
        yield _stops(engine, "fused-split", text, remedy)


def _cut_blocks(made: Assignment, engine: str) -> Iterator[Finding]:
    """The first matrix whose last block of weights would lie half in the matrix that follows it in a joined one."""
    for module in made.quantizable:
        index = made.assigned[module.name]
        if index is None or not module.name.endswith(NOT_LAST):
            continue
        problem = split_problem(module.name, module.shape, made.groups[index][0], 1, False, joined=True)
        if problem:
            remedy = say("Ignore these modules, or choose a scheme without blocks (FP8_DYNAMIC).")
            yield _stops(engine, "fused-blocks", say("{problem}.", problem=problem), remedy)
            return


def _misread(made: Assignment, engine: str) -> Iterator[Finding]:
    """Modules for which the first fitting target in the file belongs to another scheme than the one they got."""
    order = {target: i for i in made.written for target in made.groups[i][1]}
    if len(made.written) < 2:
        return
    seen = set()
    for name, index in made.assigned.items():
        if index is None or name == "lm_head":
            continue
        for asked in dict.fromkeys((name if ".experts." in name else joined_name(name), name)):
            target = next((t for t in order if matches(asked, "", (t,))), None)
            if target is None:
                continue
            taken = made.groups[order[target]][0]
            if not taken.same_numbers(made.groups[index][0]) and target not in seen:
                seen.add(target)
                text = say(
                    "{module} was made with {mine}, but vLLM takes the first target in the file that fits, `{target}` "
                    "with {theirs}, and stops.",
                    module=asked, mine=made.label_of(name), target=target, theirs=taken.label,
                )  # fmt: skip
                remedy = say("Let the expressions exclude each other, joined names as qkv_proj included.")
                yield _stops(engine, "file-order", text, remedy)
            break


def _tables(made: Assignment, engine: str) -> Iterator[Finding]:
    """A quantized head or embedding."""
    told = rules(engine)["tables"]
    for module in made.quantizable:
        if made.assigned[module.name] is None or module.kind not in ("head", "embedding"):
            continue
        by_class = made.by_target.target_for(module.name, module.kind) in module.class_names
        how = "class" if by_class else "name"
        nameless = module.kind == "embedding" and made.family in told.get("nameless_embedding", ())
        if told[module.kind][how] == "no" or (nameless and not by_class):
            kept = told[module.kind].get("kept_as", "no module or parameter named '{module}.weight_packed'")
            text = say(
                "it finds no scheme for {module}, looks for an unquantized one, and stops at `{error}`.",
                module=module.name, error=kept.replace("{module}", module.name),
            )  # fmt: skip
            remedy = say("Add {module} to ignore.", module=module.name)
            yield _stops(engine, f"{module.kind}-by-{how}", text, remedy)
        elif module.kind == "head":
            text = say(
                "A quantized {module}, named in the recipe: only nano's with W4A16 and W8A8 on a CPU was tried, and ran.",
                module=module.name,
            )
            yield Finding("warning", f"head-by-{how}", text, where=f"vLLM {engine}")
        else:
            text = say(
                "A quantized {module}: whether it is served depends on version and format.",
                module=module.name,
            )
            yield Finding("warning", f"embedding-by-{how}", text, where=f"vLLM {engine}")


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
        return ServingVerdict(
            where, "no", say("{label}: {why}", label=label, why=decides.reason), decides.recorded
        )
    experts = {index for name, index in made.assigned.items() if index is not None and ".experts." in name}
    for scheme in (made.groups[index][0] for index in sorted(experts)):
        if why := experts_refusal(scheme, machine, engine):
            return ServingVerdict(where, "no", say("experts in {label}: {why}", label=scheme.label, why=why))
    doubts = [finding.text for finding in found]
    if decides.answer == "unknown":
        doubts.append(say("{label}: {why}", label=label, why=decides.reason))
    if experts:
        doubts.append(say("experts have kernels of their own, which are not in the table"))
    if doubts:
        return ServingVerdict(where, "unknown", doubts[0], decides.recorded)
    kernels = [
        say("{label}: {one.kernel} ({one.reason})", label=label, one=one)
        if one.reason
        else f"{label}: {one.kernel}"
        for label, one in by_label.items()
    ]
    return ServingVerdict(where, "yes", joined(kernels), all(one.recorded for one in by_label.values()))
