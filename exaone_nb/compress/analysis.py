"""What is to be said about a plan: findings, worst first, and where its checkpoint can be served. Nothing is loaded.

Here stands what keeps a checkpoint from being made or from being what was meant. Patterns are looked at in
`quantization.patterns`, what an engine stumbles over in `quantization.loading`, settings in `setting_checks`. A verdict
of `quantization.loading` is held against the room in memory, and against the models that the hackathon's server was
seen with.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import yaml

from exaone_nb import catalog
from exaone_nb.anatomy.layouts import is_tied
from exaone_nb.anatomy.memory import plan_memory
from exaone_nb.compress import setting_checks
from exaone_nb.compress.plan import Plan, parts_the_table
from exaone_nb.errors import WorkbookError
from exaone_nb.findings import Finding, some, worst_first
from exaone_nb.gpus import find_gpu
from exaone_nb.hardware import Machine, this_machine
from exaone_nb.messages import joined, say
from exaone_nb.quantization.effects import cache_bytes, cache_finding
from exaone_nb.quantization.kernels import JUDGE, TODAY
from exaone_nb.quantization.loading import ServingVerdict, obstacles, serve
from exaone_nb.quantization.patterns import pattern_findings
from exaone_nb.quantization.stored import fitting

JUDGES_CARD = "L4"
# The models that were judged, told by the shapes of their matrices.
JUDGED = ("EXAONE-4.0-1.2B", "nano")


@dataclass(frozen=True)
class Analysis:
    """`findings` of every check, and a verdict per place: this machine, the chosen GPU, the hackathon's server."""

    plan: Plan
    findings: list[Finding]
    verdicts: list[ServingVerdict]

    @property
    def has_errors(self) -> bool:
        """True when the checkpoint cannot be made, or no vLLM can load it."""
        return bool(_unmakeable(self.findings) or self.unloadable)

    @property
    def unloadable(self) -> list[Finding]:
        """Errors of a checkpoint that can be made and that vLLM cannot load."""
        return [finding for finding in self.findings if finding.level == "error" and finding.where]

    def raise_if_errors(self, *, unservable: bool = False) -> None:
        """Raise WorkbookError with every reason why the checkpoint cannot be made, or why no vLLM can load it.

        `unservable` lets pass what can be made and not be loaded. A table that the recipe names is let pass in any
        case: it was asked for, and is made for its size.
        """
        errors = _unmakeable(self.findings)
        if not unservable:
            errors += [finding for finding in self.unloadable if not finding.code.endswith("-by-name")]
        if errors:
            # A pattern that missed is often why.
            missed = ("unmatched", "parent-only")
            errors += [f for f in self.findings if f.code in missed and f.level == "warning"]
            raise WorkbookError(
                say(
                    "The recipe {recipe} does not fit {model}: {reasons}",
                    recipe=self.plan.recipe.name,
                    model=self.plan.model,
                    reasons=" ".join(finding.text for finding in errors),
                ),
                remedy=" ".join(dict.fromkeys(finding.remedy for finding in errors if finding.remedy)),
            )

    def to_dict(self) -> dict[str, Any]:
        names = ("level", "code", "text", "remedy")
        findings = [{name: getattr(finding, name) for name in names} for finding in self.findings]
        return self.plan.to_dict() | {"findings": findings, "serving": [vars(v) for v in self.verdicts]}


def analyse(plan: Plan, gpu: str = "L4") -> Analysis:
    """Look at a plan. Raises UsageError for an unknown GPU."""
    found = list(pattern_findings(plan))
    if plan.recipe.kv_cache:  # then the cache is quantized, if nothing else is
        found = [finding for finding in found if finding.code != "nothing"]
    for check in (already_quantized, group_sizes, tied_head, *setting_checks.CHECKS):
        found += check(plan)
    found += [finding for finding in obstacles(plan) if finding.level == "error"]
    if not _unmakeable(found):
        found += unpredictable(plan)
    return Analysis(plan, worst_first(found), verdicts(plan, gpu, makeable=not _unmakeable(found)))


def _unmakeable(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level == "error" and not finding.where]


def already_quantized(plan: Plan) -> Iterator[Finding]:
    if document := plan.config.get("quantization_config"):
        text = say(
            "{model} is already quantized ({method}).",
            model=plan.model, method=document.get("quant_method", "?"),
        )  # fmt: skip
        yield Finding("error", "already-quantized", text, say("Start from the unquantized checkpoint."))


def group_sizes(plan: Plan) -> Iterator[Finding]:
    """Inputs that do not divide into groups; llm-compressor refuses them, naming the layers."""
    for i, scheme in enumerate(plan.schemes):
        size, members = scheme.weights.group_size, plan.members(i)
        if bad := [m for m in members if size and m.shape[1] % size]:
            text = say(
                "Group size {size} does not divide the inputs ({inputs}) of {n} modules: {names}.",
                size=size, inputs=", ".join(map(str, sorted({m.shape[1] for m in bad}))), n=len(bad),
                names=some([m.name for m in bad]),
            )  # fmt: skip
            remedy = say("Ignore these modules.")
            fitted = fitting(scheme, (m.shape[1] for m in members))
            if fitted is not scheme:
                written = yaml.safe_dump(
                    fitted.arguments(), default_flow_style=True, sort_keys=False, width=999
                )
                remedy = say(
                    "Use a group size of {size}, or ignore these modules. In the recipe: `scheme: {written}`.",
                    size=fitted.weights.group_size, written=written.strip(),
                )  # fmt: skip
            yield Finding("error", "group-size", text, remedy)


def tied_head(plan: Plan) -> Iterator[Finding]:
    """What happens to a table that the embedding and the head share."""
    if not is_tied(plan.config):
        return
    table = next(m.name for m in plan.modules if m.kind == "embedding")
    embedding, head = plan.assigned[table], plan.assigned["lm_head"]
    if embedding == head is None:
        return
    text = say(
        "{table} and lm_head share one table, but this recipe treats them differently: they are untied and both stored, so "
        "the file grows.",
        table=table,
    )
    remedy = say("Add lm_head to ignore, or give both the same scheme.")
    if embedding == head:
        if not parts_the_table(plan):
            text = say(
                "{table} and lm_head get the same scheme, so they stay one packed table. vLLM must be able to read it "
                "both as embedding and as head.",
                table=table,
            )
            yield Finding("note", "tied-both", text)
            return
        text = say(
            "{table} and lm_head share one table, but the head is rounded by the inputs it sees, which the embedding does "
            "not see: they are untied and both stored, so the file grows.",
            table=table,
        )
        remedy = say("Set method: rtn without observer imatrix_mse, or leave the table out.")
    yield Finding("warning", "tied-split", text, remedy)


def unpredictable(plan: Plan) -> Iterator[Finding]:
    """A checkpoint that nothing else objects to, but whose tensors cannot be said."""
    try:
        _ = plan.prediction
    except WorkbookError as error:
        words = error.got
        if error.expected:
            words = say("{got} Expected: {expected}", got=error.got, expected=error.expected)
        text = say("The checkpoint cannot be predicted: {words}", words=words)
        yield Finding("error", "unpredictable", text, error.remedy)


def verdicts(plan: Plan, gpu: str = "L4", *, makeable: bool = True) -> list[ServingVerdict]:
    """This machine, the chosen GPU, and the hackathon's server; all unknown when the checkpoint cannot be made."""
    own, card, judge = this_machine(), find_gpu(gpu), find_gpu(JUDGES_CARD)
    name = say("this CPU") if own.is_cpu else say("this {gpu}", gpu=own.name)
    server = say("hackathon server ({card}, vLLM {engine})", card=judge.name, engine=JUDGE)
    places = [
        (own, TODAY, say("{machine} (vLLM {engine})", machine=name, engine=TODAY)),
        (card.machine, TODAY, say("{card} (vLLM {engine})", card=card.name, engine=TODAY)),
        (judge.machine, JUDGE, server),
    ]
    if not makeable:
        why = say("no verdict on a plan with errors")
        return [ServingVerdict(where, "unknown", why) for *_, where in places]
    here, there, judged = (serve(plan, *place) for place in places)
    return [
        _with_room(here, *_room_here(plan, own)),
        _with_room(there, *_room_on(plan, gpu)),
        _hackathon(plan, judged),
    ]


def _with_room(verdict: ServingVerdict, answer: str, size: str) -> ServingVerdict:
    """The verdict, held against the machine's memory: what has no room does not run, whatever the kernels."""
    if (verdict.answer != "no" and answer == "no") or (verdict.answer == "yes" and answer == "unknown"):
        return replace(verdict, answer=answer, why=size, recorded=False)
    return replace(verdict, why=joined([verdict.why, size])) if size and verdict.answer == "yes" else verdict


def _room_on(plan: Plan, gpu: str) -> tuple[str, str]:
    """("no", why) when not one token fits beside the weights; ("yes", the longest context) when not all of it does."""
    try:
        cache = cache_bytes(plan.recipe.kv_cache)
        memory = plan_memory(plan.config, "BF16", gpu, prediction=plan.prediction, kv_dtype_bytes=cache)
    except WorkbookError as error:
        return "unknown", say("its memory cannot be computed: {why}", why=error.got)
    if memory.left_for_cache <= 0 or memory.longest_for_one <= 0:
        return "no", say(
            "{weights:,.1f} GB of weights and {rest:,.1f} GB that vLLM needs itself do not fit into {budget:,.1f} GB",
            weights=memory.weights / 1e9,
            rest=memory.overhead / 1e9,
            budget=memory.budget / 1e9,
        )
    short = memory.longest_for_one < memory.context
    return "yes", say("contexts up to {n:,} tokens fit", n=memory.longest_for_one) if short else ""


def _room_here(plan: Plan, own: Machine) -> tuple[str, str]:
    weights, memory = plan.prediction.data_bytes / 1e9, own.memory_bytes / 1e9
    text = say(
        "{weights:,.1f} GB of weights do not fit into {memory:,.1f} GB of memory",
        weights=weights,
        memory=memory,
    )
    return ("no", text) if weights > memory else ("yes", "")


def _hackathon(plan: Plan, verdict: ServingVerdict) -> ServingVerdict:
    """The verdict on the judging server, as far as this model was seen there."""
    if verdict.answer != "yes":
        return verdict
    if not any(catalog.same_matrices(plan.config, model) for model in JUDGED):
        why = say("only EXAONE-4.0-1.2B was judged there")
        return replace(verdict, answer="unknown", why=why, recorded=True)
    if plan.recipe.kv_cache:
        cache = cache_finding(plan.recipe.kv_cache, JUDGE)
        answer = "no" if cache.level == "error" else "yes"
        return replace(verdict, answer=answer, why=joined([verdict.why, cache.text]))
    return verdict
