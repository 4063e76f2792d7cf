"""What a plan finds about settings: those that nothing reads, those that were removed, smoothing without a place."""

from __future__ import annotations

from collections.abc import Iterator

from exaone_nb.compress import modifiers, smoothing
from exaone_nb.compress.calibration import Calibration, read_source
from exaone_nb.compress.plan import Plan
from exaone_nb.compress.recipe import GPTQ_SETTINGS
from exaone_nb.errors import WorkbookError
from exaone_nb.findings import Finding
from exaone_nb.messages import say
from exaone_nb.quantization import effects
from exaone_nb.quantization.arguments import MINMAX
from exaone_nb.quantization.kernels import TODAY
from exaone_nb.quantization.schemes import ACTORDER


def settings_without_effect(plan: Plan) -> Iterator[Finding]:
    """Settings that nothing reads under this recipe's method and schemes, by name."""
    recipe, settings = plan.recipe, plan.recipe.settings
    explicit = say(
        "For another group size write an explicit scheme: weights: {{num_bits, type, strategy: group, group_size}}."
    )
    for name in settings:
        if name in GPTQ_SETTINGS and recipe.method != "gptq":
            text = say(
                "{name} belongs to GPTQ; this recipe rounds to nearest ({method}), which does not read it.",
                name=name, method=recipe.method,
            )  # fmt: skip
            yield Finding("no-op", f"setting-{name}", text, say("Set method: gptq, or leave it out."))
    if "block_size" in settings and recipe.method == "gptq":
        text = say(
            "block_size {size} is how many columns GPTQ updates at once, a matter of speed; scales are shared as before "
            "({groups}).",
            size=settings["block_size"], groups=_group_words(plan),
        )  # fmt: skip
        usual = settings["block_size"] == 128
        yield Finding("note" if usual else "no-op", "setting-block_size", text, "" if usual else explicit)
    if settings.get("observer") in MINMAX:
        text = say(
            "observer {observer} finds the same ranges as the default: {all} differ only in how they join several looks, "
            "and weights are looked at once.",
            observer=settings["observer"], all=", ".join(MINMAX),
        )  # fmt: skip
        yield Finding("no-op", "setting-observer", text, say("Leave it out, or try mse."))
    if "group_size" in settings:
        text = say(
            "group_size in settings is read by nobody; the scheme decides it ({groups}).",
            groups=_group_words(plan),
        )
        yield Finding("no-op", "setting-group_size", text, explicit)
    if "max_position_embeddings" in settings:
        text = say(
            "max_position_embeddings is no matter of quantization, and a smaller one is not faster: vLLM sizes the KV "
            "cache by the memory it is given."
        )
        yield Finding("no-op", "setting-max_position_embeddings", text)


def actorder_values(plan: Plan) -> Iterator[Finding]:
    """An order of columns that was removed, that nobody knows, or that is the default; and what it does per channel."""
    value = plan.recipe.settings.get("actorder")
    if plan.recipe.method != "gptq" or value is None:
        return
    order = ACTORDER.get(value, value)
    if order not in ("static", "group"):
        remedy = say("Use static, its alias weight, or null.")
        yield Finding("error", "actorder-unknown", say("actorder is {value!r}.", value=value), remedy)
        return
    if order == "group":
        effect = effects.actorder(order, "group", llmcompressor=effects.OUR_LLMCOMPRESSOR)
        text = say("actorder {value!r} (group): {why}.", value=value, why=effect.why)
        remedy = say("Use static (the default), or null for no ordering.")
        yield Finding("error", "actorder-removed", text, remedy)
        return
    alias = say(" (weight is another name for static)") if value == "weight" else ""
    text = say(
        "actorder {value} is the default{alias}: setting it changes nothing.", value=value, alias=alias
    )
    yield Finding("no-op", "setting-actorder", text)
    for strategy in dict.fromkeys(s.weights.strategy for s in plan.schemes if s.weights):
        effect = effects.actorder(order, strategy, llmcompressor=effects.OUR_LLMCOMPRESSOR)
        if effect.why:
            yield Finding(
                "note",
                "actorder-channel",
                say("One scale per {strategy}: {why}.", strategy=strategy, why=effect.why),
            )


def smoothing_steps(plan: Plan) -> Iterator[Finding]:
    """Smoothing without a valid place to smooth."""
    transform = plan.recipe.transform
    if not transform:
        return
    given = transform.get("mappings")
    if transform["type"] == "smoothquant" and not given:
        if not smoothing.arrangement(plan.config).feeding_norms:
            text = say(
                "SmoothQuant needs a norm that feeds q, k, v or gate, up. EXAONE 4.0's norms come after the sublayer, so "
                "there is none; llm-compressor stops with `Error resolving mappings`."
            )
            remedy = say("Leave it out, or use GPTQ, whose error correction needs no norm.")
            yield Finding("error", "smoothquant", text, remedy)
        return
    places = "; ".join(f"{first} -> {', '.join(then)}" for first, then in smoothing.mappings(plan.config))
    for mapping in given or []:
        smooth, balance = smoothing.read_mapping(mapping)
        if reason := smoothing.why_not(plan.config, smooth, balance):
            text = say(
                "The mapping {smooth} -> {balance} would change the model: {reason}.",
                smooth=smooth, balance=", ".join(balance), reason=reason,
            )  # fmt: skip
            remedy = say(
                "It would run without complaint and destroy the model. Valid places here: {places}.",
                places=places,
            )
            yield Finding("error", "smoothing-mapping", text, remedy)
    if transform["type"] == "awq" and not given:
        text = say("AWQ scales only {places} in this model.", places=places)
        if not smoothing.heads_match(plan.config):
            text += " " + say("v_proj -> o_proj is skipped: with grouped-query attention their sizes differ.")
        yield Finding("note", "awq-mappings", text)
        if any(s.weights and s.weights.strategy == "tensor" for s in plan.schemes):
            text = say("AWQ with duo_scaling needs one scale per channel or group, not per tensor.")
            yield Finding("error", "awq-tensor", text, say("Use a group or channel scheme."))


def calibration_without_use(plan: Plan) -> Iterator[Finding]:
    if plan.recipe.calibration != Calibration() and not modifiers.needs_data(plan.recipe):
        text = say(
            "No step of this recipe looks at calibration text: weights are rounded as they are, activation scales are "
            "made at run time."
        )
        yield Finding("no-op", "calibration", text)


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
    """A scheme stored wider than it rounds, one scale for a whole tensor, and what becomes of a quantized cache."""
    for scheme in plan.schemes:
        weights = scheme.weights
        if weights and weights.type == "int" and weights.num_bits < 8 and scheme.activations:
            text = say(
                "{label} rounds to {bits} bits but is stored at 8 bits per weight: the file is no smaller than with W8A8.",
                label=scheme.label, bits=weights.num_bits,
            )  # fmt: skip
            yield Finding("note", "int4-stored-as-int8", text)
        if weights and weights.type == "int" and weights.strategy == "tensor" and not scheme.activations:
            text = say(
                "{label}: all weights of a matrix share one scale, which vLLM does not run.",
                label=scheme.label,
            )
            yield Finding(
                "warning",
                "one-scale",
                text,
                say("Write strategy: group and group_size: 128 beside num_bits."),
            )
    if plan.recipe.kv_cache:
        yield from (effects.cache_finding(plan.recipe.kv_cache, engine) for engine in (TODAY, "0.14.1"))


def _group_words(plan: Plan) -> str:
    return ", ".join(
        f"{scheme.label}: {scheme.weights.group_size or scheme.weights.strategy}"
        for scheme in plan.schemes
        if scheme.weights
    )
