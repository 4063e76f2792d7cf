"""What a plan finds about settings: those that nothing reads, those that were removed, smoothing without a place.

AWQ and SmoothQuant divide the output of one module by a vector s and multiply the next module's weight by s. This
changes nothing only if the first feeds the second directly. In a pre-norm model (Llama, Qwen3) `input_layernorm`
feeds q, k and v, so its weight can take 1/s. EXAONE 4.0 normalizes after the sublayer (QK-Reorder-LN): its norms act
on what attention and MLP give back, before it is added to the residual stream, and q, k, v, gate and up read the
stream itself. No norm feeds a Linear there, so norm-based smoothing is impossible, not just unsupported.
"""

from collections.abc import Iterator
from typing import Any

from exaone_nb.anatomy.arrangements import FAMILIES, PRE_LN, Arrangement
from exaone_nb.anatomy.layouts import text_config
from exaone_nb.compress.calibration import Calibration
from exaone_nb.compress.modifiers import SETTINGS
from exaone_nb.compress.plan import Plan, method_name
from exaone_nb.findings import Finding
from exaone_nb.messages import say
from exaone_nb.quantization import effects
from exaone_nb.quantization.arguments import MINMAX, read_mapping
from exaone_nb.quantization.kernels import JUDGE, TODAY
from exaone_nb.quantization.schemes import ACTORDER


def settings_without_effect(plan: Plan) -> Iterator[Finding]:
    """Settings that nothing reads under this recipe's method and schemes, by name."""
    method = plan.recipe.method
    groups = ", ".join(f"{s.label}: {s.weights.group_size or s.weights.strategy}" for s in plan.schemes)
    explicit = say(
        "For another group size write an explicit scheme: weights: {{num_bits, type, strategy: group, group_size}}."
    )
    for name, value in plan.recipe.settings.items():
        level, remedy = "no-op", ""
        owner = next((one for one, names in SETTINGS.items() if name in names), method)
        if owner != method:
            fields = {"name": name, "owner": method_name(owner), "method": method_name(method)}
            text = say("{name} belongs to {owner}; {method} does not read it.", **fields)
            remedy = say("Set method: {owner}, or leave it out.", owner=owner)
        elif name == "block_size":
            text = say(
                "block_size {size} is how many columns GPTQ updates at once, a matter of speed; scales are shared as "
                "before ({groups}).",
                size=value,
                groups=groups,
            )
            level, remedy = ("note", "") if value == 128 else ("no-op", explicit)
        elif name == "observer" and method == "autoround":
            text = say("AutoRound learns how far the range of a weight reaches; observer is not read.")
            remedy = say("Leave it out.")
        elif name == "observer" and value in MINMAX:
            text = say(
                "observer {observer} finds the same ranges as the default: {all} differ only in how they join several "
                "looks, and weights are looked at once.",
                observer=value,
                all=", ".join(MINMAX),
            )
            remedy = say("Leave it out, or try mse.")
        elif name == "group_size":
            text = say(
                "Nothing reads group_size in settings; the scheme decides it ({groups}).", groups=groups
            )
            remedy = explicit
        elif name == "max_position_embeddings":
            text = say(
                "max_position_embeddings has nothing to do with quantization, and a smaller one is not faster: vLLM sizes the "
                "KV cache by the memory it is given."
            )
        else:
            continue
        yield Finding(level, f"setting-{name}", text, remedy)


def actorder_values(plan: Plan) -> Iterator[Finding]:
    """An order of columns that was removed, that nobody knows, or that is the default; and what it does per channel."""
    value = plan.recipe.settings.get("actorder")
    if plan.recipe.method != "gptq" or value is None:
        return
    order = ACTORDER.get(value, value)
    if order == "static":
        text = (
            say("actorder weight is another name for static, the default: setting it changes nothing.")
            if value == "weight"
            else say("actorder static is the default: setting it changes nothing.")
        )
        yield Finding("no-op", "setting-actorder", text)
        for strategy in dict.fromkeys(s.weights.strategy for s in plan.schemes):
            if why := effects.actorder(order, strategy, llmcompressor=effects.OUR_LLMCOMPRESSOR).why:
                text = say("One scale per {strategy}: {why}.", strategy=strategy, why=why)
                yield Finding("note", "actorder-channel", text)
    elif order == "group":
        why = effects.actorder(order, "group", llmcompressor=effects.OUR_LLMCOMPRESSOR).why
        text = say("actorder {value!r} (group): {why}.", value=value, why=why)
        remedy = say("Use static (the default), or null for no ordering.")
        yield Finding("error", "actorder-removed", text, remedy)
    else:
        remedy = say("Use static, its alias weight, or null.")
        yield Finding("error", "actorder-unknown", say("actorder is {value!r}.", value=value), remedy)


def autoround_reach(plan: Plan) -> Iterator[Finding]:
    """What AutoRound never touches: llm-compressor 0.14 reserves scales for it and fills them inside decoder layers alone."""
    if plan.recipe.method != "autoround":
        return
    outside = [
        module.name
        for module in plan.quantizable
        if module.layer is None and plan.assigned[module.name] is not None
    ]
    if plan.recipe.kv_cache:
        outside.append(say("the KV cache"))
    if outside:
        text = say(
            "AutoRound works inside decoder layers and computes no scales for {names}: whatever lies in memory would be "
            "written.",
            names=", ".join(outside),
        )
        yield Finding("error", "autoround-reach", text, say("Leave it out, or use another method."))


def smoothing_steps(plan: Plan) -> Iterator[Finding]:
    """Smoothing without a valid place to smooth."""
    transform = plan.recipe.transform
    if not transform:
        return
    kind, given = transform["type"], transform.get("mappings") or []
    if kind == "smoothquant" and not given and not arrangement(plan.config).feeding_norms:
        text = say(
            "SmoothQuant needs a norm that feeds q, k, v or gate, up. The norms of this model come after the sublayer, so "
            "there is none; llm-compressor stops with `Error resolving mappings`."
        )
        remedy = say("Leave it out, or use GPTQ, whose error correction needs no norm.")
        yield Finding("error", "smoothquant", text, remedy)
    valid = mappings(plan.config)
    places = "; ".join(f"{first} -> {', '.join(then)}" for first, then in valid)
    for mapping in given:
        smooth, balance = read_mapping(mapping)
        if reason := why_not(plan.config, smooth, balance):
            pair = f"{smooth} -> {', '.join(balance)}"
            text = say("The mapping {pair} would change the model: {reason}.", pair=pair, reason=reason)
            remedy = say(
                "It would run without complaint and destroy the model. Valid places here: {places}.",
                places=places,
            )
            yield Finding("error", "smoothing-mapping", text, remedy)
    if kind == "awq" and not given:
        text = say("AWQ scales only {places} in this model.", places=places)
        if "v_proj" not in dict(valid):
            text += " " + say("v_proj -> o_proj is skipped: with grouped-query attention their sizes differ.")
        yield Finding("note", "awq-mappings", text)
        if any(s.weights.strategy == "tensor" for s in plan.schemes):
            text = say("AWQ with duo_scaling needs one scale per channel or group, not per tensor.")
            yield Finding("error", "awq-tensor", text, say("Use a group or channel scheme."))


def calibration(plan: Plan) -> Iterator[Finding]:
    """Text that nothing reads, or a file that cannot give what is asked of it."""
    if plan.recipe.needs_data:
        for error in plan.recipe.calibration.errors():
            yield Finding("error", "calibration-source", error.got, error.remedy or error.expected)
    elif plan.recipe.calibration != Calibration():
        text = say(
            "No step of this recipe looks at calibration text: weights are rounded as they are, activation scales are "
            "made at run time."
        )
        yield Finding("no-op", "calibration", text)


def worth_knowing(plan: Plan) -> Iterator[Finding]:
    """A scheme stored wider than it rounds, and what becomes of a quantized cache."""
    for scheme in plan.schemes:
        weights = scheme.weights
        if weights.type == "int" and weights.num_bits < 8 and scheme.activations:
            text = say(
                "{label} rounds to {bits} bits but is stored at 8 bits per weight: the file is no smaller than W8A8's.",
                label=scheme.label,
                bits=weights.num_bits,
            )
            yield Finding("note", "int4-stored-as-int8", text)
    if plan.recipe.kv_cache:
        yield from (effects.cache_finding(plan.recipe.kv_cache, engine) for engine in (TODAY, JUDGE))


def mappings(config: dict[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
    """(module whose output is scaled, modules that undo it) for each place in a layer where this is exact."""
    pairs: list[tuple[str, tuple[str, ...]]] = []
    blocks = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
    norms, text = arrangement(config), text_config(config)
    if norms.parallel:  # one norm feeds both blocks
        blocks = (blocks[0] + blocks[1],)
    pairs += zip(norms.feeding_norms, blocks, strict=False)
    heads = text.get("num_attention_heads")
    if text.get("num_key_value_heads", heads) == heads:  # v_proj's outputs are o_proj's inputs one to one
        pairs.append(("v_proj", ("o_proj",)))
    pairs.append(("up_proj", ("down_proj",)))
    return pairs


def arrangement(config: dict[str, Any]) -> Arrangement:
    """Where the norms of a config's layers sit; Llama's order for a family that is not known."""
    return FAMILIES.get(str(text_config(config).get("model_type")), PRE_LN)


def why_not(config: dict[str, Any], smooth: str, balance: list[str]) -> str:
    """Why scaling the output of `smooth` is not undone by scaling the inputs of `balance`; "" when it is exact."""
    first, *wanted = (n.removeprefix("re:").strip(".*$").rpartition(".")[2] for n in (smooth, *balance))
    readers, feeds = set(dict(mappings(config)).get(first, ())), ", ".join(sorted(set(wanted)))
    if set(wanted) == readers:
        return ""
    if set(wanted) < readers:
        others = ", ".join(sorted(readers - set(wanted)))
        return say("{first} also feeds {others}, which would not be scaled back", first=first, others=others)
    if "norm" in first and not arrangement(config).feeding_norms:
        names = {"norm": first, "feeds": feeds}
        if first in ("post_attention_layernorm", "post_feedforward_layernorm"):
            return say(
                "{norm} acts on what its sublayer gives back and is followed by the residual addition, so it does not feed "
                "{feeds} and the scale is never undone",
                **names,
            )
        if first in ("q_norm", "k_norm"):
            return say(
                "{norm} acts after its projection, per head and before the rotation, so it does not feed {feeds} and the "
                "scale is never undone",
                **names,
            )
        return say(
            "{norm} does not exist in this architecture or feeds no Linear alone, so it does not feed {feeds} and the scale "
            "is never undone",
            **names,
        )
    if first == "v_proj":
        return say(
            "with grouped-query attention one v head feeds several heads of o_proj, so their sizes differ"
        )
    return say("{first} does not feed {feeds} directly", first=first, feeds=feeds)


CHECKS = (
    settings_without_effect,
    actorder_values,
    autoround_reach,
    smoothing_steps,
    calibration,
    worth_knowing,
)
