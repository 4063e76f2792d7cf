"""What is to be said about a plan: findings, worst first, and where its checkpoint can be served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from exaone_nb.compress import checks, setting_checks
from exaone_nb.compress.plan import Plan
from exaone_nb.compress.serving import verdicts
from exaone_nb.errors import WorkbookError
from exaone_nb.findings import Finding, worst_first
from exaone_nb.messages import say
from exaone_nb.quantization.loading import ServingVerdict, obstacles
from exaone_nb.quantization.patterns import pattern_findings

CHECKS = (
    checks.already_quantized,
    checks.group_sizes,
    setting_checks.settings_without_effect,
    setting_checks.actorder_values,
    setting_checks.smoothing_steps,
    checks.tied_head,
    setting_checks.calibration_without_use,
    setting_checks.calibration_files,
    setting_checks.worth_knowing,
)


@dataclass(frozen=True)
class Analysis:
    """`findings` of every check, and a verdict per place: this CPU, the chosen GPU, the hackathon's server."""

    plan: Plan
    findings: list[Finding]
    verdicts: list[ServingVerdict]

    @property
    def has_errors(self) -> bool:
        """True when the checkpoint cannot be made, or no vLLM can load it."""
        return any(finding.level == "error" for finding in self.findings)

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
        findings = [_plain(finding) for finding in self.findings]
        return self.plan.to_dict() | {"findings": findings, "serving": [vars(v) for v in self.verdicts]}


def analyse(plan: Plan, gpu: str = "L4") -> Analysis:
    """Look at a plan. Raises UsageError for an unknown GPU."""
    found = [*pattern_findings(plan.made)]
    if plan.recipe.kv_cache:  # then the cache is quantized, if nothing else is
        found = [finding for finding in found if finding.code != "nothing"]
    for check in CHECKS:
        found += check(plan)
    found += [finding for finding in obstacles(plan.made) if finding.level == "error"]
    if not _unmakeable(found):
        found += checks.unpredictable(plan)
    return Analysis(plan, worst_first(found), verdicts(plan, gpu, makeable=not _unmakeable(found)))


def _unmakeable(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level == "error" and not finding.where]


def _plain(finding: Finding) -> dict[str, str]:
    return {key: getattr(finding, key) for key in ("level", "code", "text", "remedy")}
