"""Which quantization schemes an engine runs on which card or CPU, and what the multiplication is then done in.

A checkpoint can be smaller and yet no faster: a scheme may have no kernel, or only a weight-only one, where the
arithmetic stays 16-bit. The facts are data/kernel_support.yaml, one part per version of vLLM: today's, and the one
that the hackathon judged with. What neither sources nor reports tell is "unknown". The matrix shown in the
hackathon's lecture stands beside them (data/kernel_support_lecture.csv).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from exaone_nb.errors import UsageError
from exaone_nb.gpus import GPUS, Gpu
from exaone_nb.hardware import Machine, this_cpu
from exaone_nb.messages import say, translated
from exaone_nb.paths import DATA
from exaone_nb.quantization.schemes import SCHEMES, Scheme, find_scheme, nearest_preset
from exaone_nb.written import read_yaml

TODAY, JUDGE = "0.32", "0.14.1"


@dataclass(frozen=True)
class Support:
    """Whether an engine runs a scheme: "yes", "no" or "unknown", and why.

    `compute` is what it multiplies in ("16-bit", "fp8", "int8", "fp4"), `runs_as` the scheme it makes of this one,
    `recorded` marks what participants reported.
    """

    scheme: str
    answer: str
    compute: str = ""
    kernel: str = ""
    reason: str = ""
    runs_as: str = ""
    recorded: bool = False

    @property
    def runs(self) -> bool:
        """True when it is known to run."""
        return self.answer == "yes"


@cache
def rules(engine: str = TODAY) -> dict[str, Any]:
    """What data/kernel_support.yaml says of a version of vLLM. Raises UsageError for a version it does not know."""
    known = read_yaml(DATA / "kernel_support.yaml")["vllm"]
    if engine not in known:
        text = say("data/kernel_support.yaml says nothing about vLLM {engine}.", engine=engine)
        raise UsageError(text, expected=", ".join(known))
    return known[engine]


def support(
    scheme: str | Scheme,
    machine: Machine,
    engine: str = TODAY,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Support:
    """What vLLM `engine` does with a scheme on a machine.

    A scheme that is no preset is judged by its nearest one, and by whether the kernel takes its groups. `shapes` maps
    modules to [out, in], where a kernel does not take every shape. Raises UsageError for an unknown name.
    """
    asked = find_scheme(scheme)
    label = asked.label if isinstance(scheme, Scheme) else scheme.upper()
    name = "BF16" if asked.weights is None else nearest_preset(asked)
    if not name:
        return _no_preset(label, asked)
    rule = rules(engine)["schemes"][name]
    found = _on_cpu(name, rule, machine, engine) if machine.is_cpu else _on_gpu(name, rule, machine, engine)
    return _with_doubts(found, asked, engine, shapes or {}) if found.runs and asked.weights else found


def support_of_format(method: str, machine: Machine, engine: str = TODAY) -> Support:
    """Whether vLLM `engine` loads a file whose quant_method no preset describes (AWQ, GGUF …); unknown for others."""
    told = rules(engine)["formats"].get(method)
    if told is None:
        why = say("nobody read what vLLM {engine} does with {method}", engine=engine, method=method)
        return Support(method, "unknown", reason=why)
    answer = told["cpu"] if machine.is_cpu else told["gpu"]
    if answer == "yes" and not machine.is_cpu and machine.compute_capability < told.get("from", 0):
        answer = "no"
    return Support(method, answer, reason=translated(told["why"]))


def _no_preset(label: str, scheme: Scheme) -> Support:
    weights = scheme.weights
    if scheme.activations is None and weights.type == "int" and weights.strategy not in ("group", "channel"):
        why = say(
            "weights alone in integers need one scale per group or channel, and these have one per {strategy}",
            strategy=weights.strategy,
        )
        return Support(label, "no", reason=why)
    why = say("it is like no preset whose kernel is known ({what})", what=scheme.sentence())
    return Support(label, "unknown", reason=why)


def _on_gpu(name: str, rule: dict[str, Any], machine: Machine, engine: str) -> Support:
    capability = machine.compute_capability
    for entry in rule["cuda"]:
        if entry["from"] <= capability <= entry.get("to", 99):
            return _read(name, entry)
    why = rule.get("why") or say("needs {least} or newer", least=min(e["from"] for e in rule["cuda"]))
    if capability >= 10:
        why = rule.get("blackwell", why)
    reason = say(
        "no kernel in vLLM {engine} for compute capability {capability}: {why}",
        engine=engine, capability=capability, why=translated(why),
    )  # fmt: skip
    return Support(name, "no", reason=reason, recorded=rule.get("reported", False))


def _on_cpu(name: str, rule: dict[str, Any], machine: Machine, engine: str) -> Support:
    if "cpu" not in rule or not any(other.get("cpu") for other in rules(engine)["schemes"].values()):
        why = say("the CPU backend of vLLM {engine} was not read", engine=engine)
        return Support(name, "unknown", reason=why)
    for entry in rule["cpu"]:
        switched = any(machine.environment.get(key) == off for key, off in entry.get("unless", {}).items())
        if machine.flags.issuperset(entry.get("needs", ())) and not switched:
            return _read(name, entry)
    return Support(name, "no", reason=translated(rule.get("cpu_why", "")))


def _read(name: str, entry: dict[str, Any]) -> Support:
    words = {key: entry.get(key, "") for key in ("compute", "kernel", "runs_as")}
    why, seen = translated(entry.get("why", entry.get("note", ""))), entry.get("reported", False)
    return Support(name, entry.get("answer", "yes"), reason=why, recorded=seen, **words)


def _with_doubts(
    found: Support, scheme: Scheme, engine: str, shapes: Mapping[str, tuple[int, ...]]
) -> Support:
    """`found`, with the kernel that takes these groups; unknown where none is known to, or for odd shapes."""
    told, size, kernel = rules(engine), scheme.weights.group_size, found.kernel
    preset = SCHEMES[found.scheme].weights

    def takes(kernel: str) -> bool:
        sizes = told["groups"].get(kernel, [preset.group_size])
        return preset.type != "int" or sizes == "any" or size in sizes

    if not takes(kernel) and kernel in told["otherwise"]:
        kernel = told["otherwise"][kernel]
    if not takes(kernel):
        why = say("{kernel} takes no groups of {size}", kernel=kernel, size=size)
        return replace(found, answer="unknown", kernel=kernel, reason=why)
    step = told.get("multiples", {}).get(kernel, 1)
    for module, shape in shapes.items():
        if any(side % step for side in (shape[:1] if kernel.startswith("CPUFp8") else shape)):
            why = say("{module} is {s[0]} x {s[1]}, no multiple of {step}", module=module, s=shape, step=step)
            return replace(found, answer="unknown", reason=why)
    return replace(found, kernel=kernel)


def experts_refusal(scheme: Scheme, machine: Machine, engine: str = TODAY) -> str:
    """Why the experts of a mixture do not run on this CPU where other layers of the scheme do; "" when that is not known."""
    rule = rules(engine).get("experts", {}).get(nearest_preset(scheme), {})
    lacking = machine.is_cpu and not machine.flags.issuperset(rule.get("needs", ()))
    return translated(rule["why"]) if lacking else ""


@cache
def refused_everywhere(scheme: Scheme, engine: str = TODAY) -> str:
    """Why neither any card of data/gpus.csv nor any CPU runs a scheme; "" when one does or nobody knows."""
    rows = rules(engine)["schemes"].values()
    flags = {flag for rule in rows for entry in rule.get("cpu") or () for flag in entry.get("needs", ())}
    machines = [Machine("CPU", flags=frozenset(flags)), *(gpu.machine for gpu in GPUS.values())]
    found = [support(scheme, machine, engine) for machine in machines]
    if any(one.answer != "no" for one in found):
        return ""
    why = rules(engine)["schemes"].get(nearest_preset(scheme), {}).get("why", "")
    return translated(why) or found[0].reason


def on_gpu(scheme: str | Scheme, gpu: Gpu, engine: str = TODAY) -> Support:
    """`support` on a card of data/gpus.csv."""
    return support(scheme, gpu.machine, engine)


def on_cpu(scheme: str | Scheme) -> Support:
    """`support` of today's vLLM on this machine's CPU."""
    return support(scheme, this_cpu())


def runs_as(scheme_name: str, machine: Machine) -> str:
    """The scheme that today's vLLM makes of this one on `machine`: "W4A8" for W4A16 on a CPU with AMX, else itself.

    A name that is no preset (a mixed recipe's "W8A16, W4A16", say) is answered part by part.
    """
    parts = [part.strip() for part in scheme_name.split(",")]
    made = [support(part, machine).runs_as if part.upper() in SCHEMES else "" for part in parts]
    return ", ".join(other or part for part, other in zip(parts, made, strict=True))


def split_problem(
    module: str, shape: tuple[int, int], scheme: Scheme, parts: int, by_inputs: bool, joined: bool = False
) -> str:
    """Why a matrix [out, in] cannot be split over `parts` GPUs, or joined with others after it; "" when it can.

    vLLM splits o_proj and down_proj by inputs and the others by outputs, into equal parts (distributed/utils.py, divide);
    a group or block of weights that share a scale must stay whole on each GPU (verify_group_size_divides_partition, and
    validate_fp8_block_shape).
    """
    weights, side = scheme.weights, shape[1] if by_inputs else shape[0]
    what = say("inputs") if by_inputs else say("outputs")
    if side % parts:
        return say(
            "{module}: {side:,} {what} cannot be split over {parts} GPUs",
            module=module, side=side, what=what, parts=parts,
        )  # fmt: skip
    if weights is None:
        return ""
    block = weights.block_structure or (1, 1)
    unit = (weights.group_size or block[1]) if by_inputs else block[0]
    if (parts == 1 and not joined) or side // parts % unit == 0:
        return ""
    if parts == 1:
        return say(
            "{module}: {side:,} {what} are {each:,.1f} blocks of {unit}, and another matrix follows in the same block",
            module=module, side=side, what=what, each=side / unit, unit=unit,
        )  # fmt: skip
    return say(
        "{module}: {side:,} {what} over {parts} GPUs are {each:,.1f} groups of {unit} each, which cannot be split",
        module=module, side=side, what=what, parts=parts, each=side / parts / unit, unit=unit,
    )  # fmt: skip
