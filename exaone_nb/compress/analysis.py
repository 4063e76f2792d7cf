"""What is to be said about a plan: findings, worst first, and where its checkpoint can be served. Nothing is loaded.

Here stands what keeps a checkpoint from being made or from being what was meant. Patterns are looked at in
`quantization.patterns`, what an engine stumbles over in `quantization.loading`, settings in `setting_checks`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from exaone_nb.anatomy.layouts import is_tied
from exaone_nb.compress import setting_checks
from exaone_nb.compress.plan import Plan, parts_the_table
from exaone_nb.compress.serving import verdicts
from exaone_nb.errors import WorkbookError
from exaone_nb.findings import Finding, some, worst_first
from exaone_nb.messages import say
from exaone_nb.quantization.loading import ServingVerdict, obstacles
from exaone_nb.quantization.patterns import pattern_findings
from exaone_nb.quantization.stored import fitting


@dataclass(frozen=True)
class Analysis:
    """`findings` of every check, and a verdict per place: this CPU, the chosen GPU, the hackathon's server."""

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
        """The plan with what is said about it, for --json."""
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
        words = f"{error.got} Expected: {error.expected}" if error.expected else error.got
        text = say("The checkpoint cannot be predicted: {words}", words=words)
        yield Finding("error", "unpredictable", text, error.remedy)
