"""What a plan finds about settings: those that nothing reads, those that were removed, smoothing without a place.

See `checks.py` for patterns and groups.
"""

from __future__ import annotations

from collections.abc import Iterator

from exaone_nb.compress import modifiers, smoothing
from exaone_nb.compress.calibration import Calibration, read_source
from exaone_nb.compress.plan import Finding, Plan
from exaone_nb.compress.recipe import GPTQ_SETTINGS
from exaone_nb.errors import WorkbookError
from exaone_nb.quantization.arguments import MINMAX


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
    observer = recipe.settings.get("observer")
    if observer in MINMAX:
        yield Finding(
            "no-op",
            "setting-observer",
            f"observer {observer} finds the same ranges as the default: {', '.join(MINMAX)} differ only in how they join "
            "several looks, and weights are looked at once.",
            "Leave it out, or try mse.",
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
        smooth, balance = smoothing.read_mapping(mapping)
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


def calibration_without_use(plan: Plan) -> Iterator[Finding]:
    if plan.recipe.calibration != Calibration() and not modifiers.needs_data(plan.recipe):
        yield Finding(
            "no-op",
            "calibration",
            "No step of this recipe looks at calibration text: weights are rounded as they are, activation scales are "
            "made at run time.",
        )


def calibration_files(plan: Plan) -> Iterator[Finding]:
    """Local sources that cannot give what is asked of them; data sets of the hub are not looked at."""
    calibration = plan.recipe.calibration
    if not modifiers.needs_data(plan.recipe):
        return
    for source, count in zip(calibration.sources, calibration.counts(), strict=True):
        try:
            if source.path is not None:
                read_source(source, at_least=count)
        except WorkbookError as error:
            yield Finding("error", "calibration-source", error.got, error.remedy or error.expected)


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
    if plan.recipe.kv_cache:
        yield Finding(
            "note",
            "kv-cache",
            "The KV-cache scales are stored in the checkpoint; vLLM uses them only when served with an FP8 cache "
            "(--kv-cache-dtype fp8). A participant's log shows vLLM 0.14.1 ignoring them.",
        )


def _group_words(plan: Plan) -> list[str]:
    return [
        f"{label}: {scheme.weights.group_size or scheme.weights.strategy}"
        for label, scheme in zip(plan.labels, plan.schemes, strict=True)
        if scheme.weights
    ]
