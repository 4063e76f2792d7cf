"""What keeps a plan's checkpoint from being made or from being what was meant. Nothing is loaded.

Patterns are looked at in `quantization.patterns`, settings in `setting_checks`.
"""

from __future__ import annotations

from collections.abc import Iterator

from exaone_nb.anatomy.layouts import is_tied
from exaone_nb.compress.plan import Plan, parts_the_table
from exaone_nb.errors import WorkbookError
from exaone_nb.findings import Finding, some
from exaone_nb.messages import say


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
        weights = scheme.weights
        if weights is None or weights.strategy not in ("group", "tensor_group") or not weights.group_size:
            continue
        size, members = weights.group_size, plan.made.members(i)
        bad = [m for m in members if m.shape[1] % size]
        if bad:
            text = say(
                "Group size {size} does not divide the inputs ({inputs}) of {n} modules: {names}.",
                size=size, inputs=", ".join(map(str, sorted({m.shape[1] for m in bad}))), n=len(bad),
                names=some([m.name for m in bad]),
            )  # fmt: skip
            fitting = [g for g in (128, 64, 32, 16, 8) if all(m.shape[1] % g == 0 for m in members)]
            remedy = say("Ignore these modules.")
            if fitting:
                remedy = say("Use a group size of {size}, or ignore these modules.", size=fitting[0])
            yield Finding("error", "group-size", text, remedy)


def tied_head(plan: Plan) -> Iterator[Finding]:
    """What happens to a table that the embedding and the head share."""
    if not is_tied(plan.config):
        return
    table = next(m.name for m in plan.modules if m.kind == "embedding")
    embedding, head = plan.assigned[table], plan.assigned["lm_head"]
    if embedding == head is None:
        return
    if embedding != head:
        text = say(
            "{table} and lm_head share one table, and this recipe treats them differently: they are untied and both "
            "stored, so the file grows.",
            table=table,
        )
        remedy = say("Add lm_head to ignore, or give both the same scheme.")
        yield Finding("warning", "tied-split", text, remedy)
    elif parts_the_table(plan):
        text = say(
            "{table} and lm_head share one table, but the head is rounded by the inputs it sees, which the embedding "
            "does not see: they come out different, are untied and both stored, so the file grows.",
            table=table,
        )
        remedy = say("Set method: rtn without observer imatrix_mse, or leave the table out.")
        yield Finding("warning", "tied-split", text, remedy)
    else:
        text = say(
            "{table} and lm_head get the same scheme, so they stay one packed table. vLLM must be able to read a packed "
            "table both as embedding and as head.",
            table=table,
        )
        yield Finding("note", "tied-both", text)


def unpredictable(plan: Plan) -> Iterator[Finding]:
    """A checkpoint that nothing else objects to, but whose tensors cannot be said."""
    try:
        _ = plan.prediction
    except WorkbookError as error:
        words = f"{error.got} Expected: {error.expected}" if error.expected else error.got
        text = say("The checkpoint cannot be predicted: {words}", words=words)
        yield Finding("error", "unpredictable", text, error.remedy)
