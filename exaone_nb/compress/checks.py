"""What a plan finds wrong, without effect, or worth knowing. Each check yields Findings; none loads anything.

The mistakes are those that teams of the 2026 hackathon drew conclusions from: patterns that matched nothing, a block
size taken for a group size, an activation order on a round-to-nearest recipe, a smoothing step without a mapping.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from exaone_nb.anatomy.layouts import is_tied
from exaone_nb.anatomy.modules import Module, suggest
from exaone_nb.compress import loading, setting_checks
from exaone_nb.compress.plan import Finding, Pattern, Plan, parts_the_table
from exaone_nb.errors import WorkbookError


def all_findings(plan: Plan) -> Iterator[Finding]:
    """Every finding of every check."""
    found: list[Finding] = []
    for check in (
        already_quantized,
        unmatched_patterns,
        useless_patterns,
        overlapping_groups,
        nothing_left,
        group_sizes,
        setting_checks.settings_without_effect,
        setting_checks.actorder_values,
        setting_checks.smoothing_steps,
        tied_head,
        unloadable,
        setting_checks.calibration_without_use,
        setting_checks.calibration_files,
        setting_checks.worth_knowing,
    ):
        found += check(plan)
    yield from found
    if not any(finding.level == "error" for finding in found):
        yield from unpredictable(plan)


def already_quantized(plan: Plan) -> Iterator[Finding]:
    if plan.config.get("quantization_config"):
        yield Finding(
            "error",
            "already-quantized",
            f"{plan.model} is already quantized ({plan.config['quantization_config'].get('quant_method', '?')}).",
            "Start from the unquantized checkpoint.",
        )


def unmatched_patterns(plan: Plan) -> Iterator[Finding]:
    """A pattern that matches no module, or only parents, whose children it does not pull in."""
    for pattern in plan.patterns:
        where = "ignore" if pattern.role == "ignore" else f"targets of {pattern.role}"
        if pattern.modules == 0:
            yield Finding(
                "error",
                "unmatched",
                f"`{pattern.pattern}` in {where} matches no module.",
                suggest(pattern.pattern, plan.modules),
            )
        elif pattern.modules == pattern.parents:
            yield Finding("error", "parent-only", *_parent_only(plan, pattern, where))


def _parent_only(plan: Plan, pattern: Pattern, where: str) -> tuple[str, str]:
    parent = next(m for m in plan.modules if m.fits(pattern.pattern))
    children = [m for m in plan.quantizable if m.name.startswith(parent.name + ".")]
    text = (
        f"`{pattern.pattern}` in {where} matches only the parent {parent.name}, not the {len(children)} modules inside: "
        "a pattern must match a module itself."
    )
    expression = re.escape(parent.name) + r"\..*"
    return text, f"Write `re:{expression}`."


def useless_patterns(plan: Plan) -> Iterator[Finding]:
    """A pattern that matches modules which nothing happens to."""
    for pattern in plan.patterns:
        if pattern.modules == pattern.parents or pattern.effective:
            continue
        if pattern.role == "ignore":
            yield Finding(
                "no-op",
                "ignore-untargeted",
                f"`{pattern.pattern}` in ignore matches {pattern.modules} modules that no target asks for: it changes nothing.",
                "Leave it out; targets alone decide what is quantized.",
            )
        elif any(m.quantizable and m.fits(pattern.pattern) for m in plan.modules):
            yield Finding(
                "no-op",
                "target-overruled",
                f"`{pattern.pattern}` in targets of {pattern.role} decides no module: each is ignored or taken by "
                "another target.",
                "A full name beats `re:`, and `re:` beats a class name; ignore beats all.",
            )
        else:
            yield Finding(
                "error",
                "target-not-quantizable",
                f"`{pattern.pattern}` in targets of {pattern.role} matches {pattern.modules} modules, none of which is a "
                "Linear or an Embedding.",
                "Only Linear and Embedding modules can be quantized.",
            )


def overlapping_groups(plan: Plan) -> Iterator[Finding]:
    """Two regular expressions of different groups on one module: the alphabet decides, which nobody expects."""
    told: set[tuple[str, str]] = set()
    owner = {target: i for i, group in enumerate(plan.recipe.groups) for target in group.targets}
    expressions = sorted(target for target in owner if target.startswith("re:"))
    for module in plan.quantizable:
        fitting = [e for e in expressions if module.fits(e)]
        if plan.assigned[module.name] is None or len({owner[e] for e in fitting}) < 2:
            continue
        pair = (fitting[0], fitting[1])
        if pair not in told:
            told.add(pair)
            yield Finding(
                "warning",
                "overlap",
                f"{module.name} and others fit both `{pair[0]}` and `{pair[1]}`; the alphabet decides: the first wins.",
                "Make the expressions exclude each other.",
            )


def nothing_left(plan: Plan) -> Iterator[Finding]:
    if all(index is None for index in plan.assigned.values()) and not plan.recipe.kv_cache:
        yield Finding("error", "nothing", "No module is quantized at all.", "Check targets and ignore.")


def group_sizes(plan: Plan) -> Iterator[Finding]:
    """Inputs that do not divide into groups; llm-compressor refuses them, naming the layers."""
    for i, scheme in enumerate(plan.schemes):
        weights = scheme.weights
        if weights is None or weights.strategy not in ("group", "tensor_group") or not weights.group_size:
            continue
        size = weights.group_size
        members = _modules_of_group(plan, i)
        bad = [m for m in members if m.shape[1] % size]
        if bad:
            inputs = sorted({m.shape[1] for m in bad})
            fitting = [g for g in (128, 64, 32, 16, 8) if all(m.shape[1] % g == 0 for m in members)]
            yield Finding(
                "error",
                "group-size",
                f"Group size {size} does not divide the inputs ({', '.join(map(str, inputs))}) of {len(bad)} modules: "
                f"{_some([m.name for m in bad])}.",
                f"Use a group size of {fitting[0]}, or ignore these modules."
                if fitting
                else "Ignore these modules.",
            )


def tied_head(plan: Plan) -> Iterator[Finding]:
    """What happens to a table that the embedding and the head share."""
    if not is_tied(plan.config):
        return
    table = next(m.name for m in plan.modules if m.kind == "embedding")
    embedding, head = plan.assigned[table], plan.assigned["lm_head"]
    if embedding == head is None:
        return
    if embedding == head and parts_the_table(plan):
        yield Finding(
            "warning",
            "tied-split",
            f"{table} and lm_head share one table, but the head is rounded by the inputs it sees, which the embedding does not "
            "see: they come out different, are untied and both stored, so the file grows.",
            "Set method: rtn without observer imatrix_mse, or leave the table out.",
        )
    elif embedding == head:
        yield Finding(
            "note",
            "tied-both",
            f"{table} and lm_head get the same scheme, so they stay one packed table. vLLM must be able to read a packed "
            "table both as embedding and as head; version 0.14.1 cannot.",
        )
    else:
        yield Finding(
            "warning",
            "tied-split",
            f"{table} and lm_head share one table, and this recipe treats them differently: they are untied and both "
            "stored, so the file grows.",
            "Add lm_head to ignore, or give both the same scheme.",
        )


def unloadable(plan: Plan) -> Iterator[Finding]:
    """What vLLM cannot load, although it can be made."""
    for obstacle in loading.obstacles(plan):
        if obstacle.certain:
            yield Finding(
                "warning", obstacle.code, f"vLLM cannot load this: {obstacle.text}", obstacle.remedy
            )


def unpredictable(plan: Plan) -> Iterator[Finding]:
    """A checkpoint that nothing else objects to, but whose tensors cannot be said."""
    try:
        _ = plan.prediction
    except WorkbookError as error:
        words = f"{error.got} Expected: {error.expected}" if error.expected else error.got
        yield Finding("error", "unpredictable", f"The checkpoint cannot be predicted: {words}", error.remedy)


def _modules_of_group(plan: Plan, index: int) -> list[Module]:
    return [m for m in plan.quantizable if plan.assigned[m.name] == index]


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
