"""What a plan finds wrong, without effect, or worth knowing. Each check yields Findings; none loads anything.

The mistakes are those that teams of the 2026 hackathon drew conclusions from: patterns that matched nothing, a block
size taken for a group size, an activation order on a round-to-nearest recipe, a smoothing step without a mapping.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from exaone_nb.anatomy.layouts import is_tied
from exaone_nb.anatomy.schemes import SCHEMES
from exaone_nb.compress import modifiers, smoothing
from exaone_nb.compress.calibration import Calibration
from exaone_nb.compress.modules import Module, suggest
from exaone_nb.compress.plan import Finding, Pattern, Plan
from exaone_nb.compress.recipe import GPTQ_SETTINGS


def all_findings(plan: Plan) -> Iterator[Finding]:
    """Every finding of every check."""
    for check in (
        already_quantized,
        unmatched_patterns,
        useless_patterns,
        overlapping_groups,
        nothing_left,
        group_sizes,
        settings_without_effect,
        actorder_values,
        smoothing_steps,
        tied_head,
        calibration_without_use,
        worth_knowing,
    ):
        yield from check(plan)


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
        bad = [m for m in _modules_of_group(plan, i) if m.shape[1] % size and m.shape[1] >= size]
        if bad:
            inputs = sorted({m.shape[1] for m in bad})
            fitting = [g for g in (128, 64, 32, 16, 8) if all(n % g == 0 for n in inputs)]
            yield Finding(
                "error",
                "group-size",
                f"Group size {size} does not divide the inputs ({', '.join(map(str, inputs))}) of {len(bad)} modules: "
                f"{_some([m.name for m in bad])}.",
                f"Use a group size of {fitting[0]}, or ignore these modules."
                if fitting
                else "Ignore these modules.",
            )


def settings_without_effect(plan: Plan) -> Iterator[Finding]:
    """Settings that nothing reads under this recipe's method and schemes, by name."""
    recipe = plan.recipe
    for name in recipe.settings:
        if name in GPTQ_SETTINGS and recipe.method != "gptq":
            yield Finding(
                "no-op",
                f"setting-{name}",
                f"{name} belongs to GPTQ; this recipe rounds to nearest ({recipe.method}), which does not read it.",
                "Set method: gptq, or leave it out.",
            )
    if "block_size" in recipe.settings and recipe.method == "gptq":
        sizes = sorted({s.weights.group_size for s in plan.schemes if s.weights and s.weights.group_size})
        group = (
            f"the group size stays {', '.join(map(str, sizes))}" if sizes else "these schemes have no groups"
        )
        level = "no-op" if recipe.settings["block_size"] != 128 else "note"
        yield Finding(
            level,
            "setting-block_size",
            f"block_size {recipe.settings['block_size']} is how many columns GPTQ updates at once, a matter of speed; {group}.",
            "For another group size write an explicit scheme: weights: {num_bits, type, strategy: group, group_size}."
            if level == "no-op"
            else "",
        )
    if "group_size" in recipe.settings:
        yield Finding(
            "no-op",
            "setting-group_size",
            "group_size in settings is read by nobody; the scheme decides it "
            f"({', '.join(_group_words(plan))}).",
            "Write an explicit scheme with weights: {…, group_size}.",
        )
    if "max_position_embeddings" in recipe.settings:
        yield Finding(
            "no-op",
            "setting-max_position_embeddings",
            "max_position_embeddings is no matter of quantization, and a smaller one is not faster: vLLM sizes the KV "
            "cache by the memory it is given.",
        )


def actorder_values(plan: Plan) -> Iterator[Finding]:
    value = plan.recipe.settings.get("actorder")
    if plan.recipe.method != "gptq" or value is None:
        return
    if value in ("group", "dynamic", True):
        yield Finding(
            "error",
            "actorder-removed",
            f"actorder {value!r} was removed from llm-compressor (0.14); `dynamic` was only another name for `group`.",
            "Use static (the default), or null for no ordering.",
        )
    elif value not in ("static", "weight"):
        yield Finding(
            "error", "actorder-unknown", f"actorder is {value!r}.", "Use static, its alias weight, or null."
        )
    else:
        alias = " (weight is another name for static)" if value == "weight" else ""
        yield Finding(
            "no-op",
            "setting-actorder",
            f"actorder {value} is the default{alias}: setting it changes nothing.",
        )
        channel = [s for s in plan.schemes if s.weights and s.weights.strategy in ("channel", "tensor")]
        if channel:
            yield Finding(
                "note",
                "actorder-channel",
                "These weights have one scale per channel or tensor. llm-compressor up to 0.9 ignored actorder there; "
                "0.14 does order the columns.",
            )


def smoothing_steps(plan: Plan) -> Iterator[Finding]:
    """Smoothing without a valid place to smooth."""
    transform = plan.recipe.transform
    if not transform:
        return
    given = transform.get("mappings")
    if transform["type"] == "smoothquant" and not given:
        if plan.config.get("model_type") in smoothing.POST_NORM:
            yield Finding(
                "error",
                "smoothquant",
                "SmoothQuant needs a norm that feeds q, k, v or gate, up. EXAONE 4.0's norms come after the sublayer, so "
                "there is none; llm-compressor stops with `Error resolving mappings`.",
                "Leave it out, or use GPTQ, whose error correction needs no norm.",
            )
        return
    for mapping in given or []:
        smooth, balance = _mapping(mapping)
        reason = smoothing.why_not(plan.config, smooth, balance)
        if reason:
            yield Finding(
                "error",
                "smoothing-mapping",
                f"The mapping {smooth} -> {', '.join(balance)} would change the model: {reason}.",
                "It would run without complaint and destroy the model. Valid places here: "
                + "; ".join(f"{a} -> {', '.join(b)}" for a, b in smoothing.mappings(plan.config))
                + ".",
            )
    if transform["type"] == "awq" and not given:
        pairs = "; ".join(f"{a} -> {', '.join(b)}" for a, b in smoothing.mappings(plan.config))
        text = f"AWQ scales only {pairs} in this model."
        if not smoothing.heads_match(plan.config):
            text += " v_proj -> o_proj is skipped: with grouped-query attention their sizes differ."
        yield Finding("note", "awq-mappings", text)
        if any(s.weights and s.weights.strategy == "tensor" for s in plan.schemes):
            yield Finding(
                "error",
                "awq-tensor",
                "AWQ with duo_scaling needs one scale per channel or group, not per tensor.",
                "Use a group or channel scheme.",
            )


def _mapping(mapping: object) -> tuple[str, list[str]]:
    if isinstance(mapping, dict):
        return str(mapping.get("smooth_layer")), [str(name) for name in mapping.get("balance_layers", [])]
    balance, smooth = mapping  # SmoothQuant's own order: [balance layers], smooth layer
    return str(smooth), [balance] if isinstance(balance, str) else list(balance)


def tied_head(plan: Plan) -> Iterator[Finding]:
    """What happens to a table that the embedding and the head share."""
    if not is_tied(plan.config):
        return
    table = next(m.name for m in plan.modules if m.kind == "embedding")
    embedding, head = plan.assigned[table], plan.assigned["lm_head"]
    if embedding == head is None:
        return
    if embedding == head:
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


def calibration_without_use(plan: Plan) -> Iterator[Finding]:
    if plan.recipe.calibration != Calibration() and not modifiers.needs_data(plan.recipe):
        yield Finding(
            "no-op",
            "calibration",
            "No step of this recipe looks at calibration text: weights are rounded as they are, activation scales are "
            "made at run time.",
        )


def worth_knowing(plan: Plan) -> Iterator[Finding]:
    for i, scheme in enumerate(plan.schemes):
        weights = scheme.weights
        if weights and weights.type == "int" and weights.num_bits < 8 and scheme.activations:
            yield Finding(
                "note",
                "int4-stored-as-int8",
                f"{plan.labels[i]} rounds to {weights.num_bits} bits but is stored at 8 bits per weight: the file is no "
                "smaller than with W8A8.",
            )
        if isinstance(plan.recipe.groups[i].scheme, str) and plan.recipe.groups[i].scheme not in SCHEMES:
            continue
    if plan.recipe.kv_cache:
        yield Finding(
            "note",
            "kv-cache",
            "The KV-cache scales are stored in the checkpoint; vLLM uses them only when served with an FP8 cache "
            "(--kv-cache-dtype fp8). A participant's log shows vLLM 0.14.1 ignoring them.",
        )


def _modules_of_group(plan: Plan, index: int) -> list[Module]:
    return [m for m in plan.quantizable if plan.assigned[m.name] == index]


def _group_words(plan: Plan) -> list[str]:
    return [
        f"{label}: {scheme.weights.group_size or scheme.weights.strategy}"
        for label, scheme in zip(plan.labels, plan.schemes, strict=True)
        if scheme.weights
    ]


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
