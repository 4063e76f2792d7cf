"""What the verbs of anatomy show to a person. Names come from strangers' files, so they are text here, never markup."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from exaone_nb.messages import say
from exaone_nb.show.checkpoint import scheme_table, tensor_table, totals_table
from exaone_nb.show.memory import memory_table, outlook, passes_table
from exaone_nb.show.terminal import drawn

if TYPE_CHECKING:
    from rich.console import Console

    from exaone_nb.anatomy.inspection import Inspection
    from exaone_nb.anatomy.memory import MemoryPlan
    from exaone_nb.anatomy.predict import Prediction
    from exaone_nb.anatomy.roofline import Pass
    from exaone_nb.errors import WorkbookError

LONGEST_LIST = 20
CONTENT = {True: "same bytes", False: "but the contents differ", None: "told by name and shape"}


def lines(console: Console, sentences: Iterable[str]) -> None:
    """Print sentences, each on a line of its own."""
    for sentence in sentences:
        console.print(sentence, markup=False, highlight=False)


def show_inspection(console: Console, inspection: Inspection, tensors: bool) -> None:
    """Totals, what does not fit, and every tensor when `tensors` is set."""
    total, checkpoint = inspection.total, inspection.checkpoint
    known = "?" if total.logical is None else format(total.logical, ",")
    found = [
        say("{name}", name=inspection.name),
        say(
            "{tensors:,} tensors, {elements:,} stored elements, {known} parameters",
            tensors=total.tensors,
            elements=total.elements,
            known=known,
        ),
    ]
    if checkpoint:
        found.append(
            say(
                "{lengths:,} (lengths) + {headers:,} (headers) + {data:,} (data) = {file:,} bytes in {files} file(s)",
                lengths=8 * len(checkpoint.files),
                headers=sum(file.header_bytes for file in checkpoint.files),
                data=checkpoint.data_bytes,
                file=checkpoint.file_bytes,
                files=len(checkpoint.files),
            )
        )
        if checkpoint.requests:
            found.append(
                say(
                    "{requests} requests, {bytes:,} bytes fetched",
                    requests=checkpoint.requests,
                    bytes=checkpoint.wire_bytes,
                )
            )
    else:
        found.append(say("{bytes:,} bytes of data", bytes=total.bytes))
    lines(console, found)
    console.print(drawn(totals_table(inspection, lambda row: row.component, say("component"))))
    console.print(drawn(totals_table(inspection, lambda row: row.dtype, say("dtype"))))
    lines(console, (say("quantization: {line}", line=line) for line in inspection.quantization))
    if tensors:
        console.print(drawn(tensor_table(inspection.rows)))
    lines(console, _findings(inspection))


def _findings(inspection: Inspection) -> Iterable[str]:
    for copy in inspection.duplicates:
        yield say(
            "stored twice: {copy} repeats {original}, {bytes:,} bytes ({seen})",
            copy=copy.copy,
            original=copy.original,
            bytes=copy.bytes,
            seen=CONTENT[copy.same_content],
        )
    for one in inspection.mismatches[:LONGEST_LIST]:
        yield say(
            "shape: {name}\n  Left (file):    {left}\n  Right (config): {right}",
            name=one.name,
            left=one.left,
            right=one.right,
        )
    for title, names in ((say("missing"), inspection.missing), (say("left over"), inspection.extra)):
        yield from (say("{title}: {name}", title=title, name=name) for name in names[:LONGEST_LIST])
        if len(names) > LONGEST_LIST:
            yield say("{title}: and {more:,} more", title=title, more=len(names) - LONGEST_LIST)
    problems = inspection.checkpoint.problems[:LONGEST_LIST] if inspection.checkpoint else ()
    yield from (say("note: {line}", line=line) for line in (*problems, *inspection.notes))


def show_sizes(
    console: Console, model: str, found: dict[str, Prediction], refused: dict[str, WorkbookError]
) -> None:
    """One line per scheme; the schemes that this model refuses say why."""
    first = next(iter(found.values()))
    head = say("tied") if first.tied else say("stored apart")
    caption = say("{model}: {n:,} parameters, head {head}", model=model, n=first.parameters, head=head)
    console.print(drawn(scheme_table(found, refused, caption)))


def show_memory(console: Console, plan: MemoryPlan, model: str, scheme: str, remark: str) -> None:
    """Where one GPU's memory goes, and what that means."""
    caption = say(
        "{model} in {scheme} on {gpus} x {gpu}, {engine}; figures of one GPU",
        model=model,
        scheme=scheme,
        gpus=plan.tensor_parallel,
        gpu=plan.gpu.name,
        engine=plan.engine,
    )
    console.print(drawn(memory_table(plan, caption)))
    lines(console, [*outlook(plan), *([remark] if remark else [])])


def show_speed(
    console: Console, writing: Pass, reading: Pass, turning: int | None, model: str, scheme: str, remark: str
) -> None:
    """Prefill and decode at best, or why there is no number."""
    where = {"model": model, "scheme": scheme, "gpu": writing.gpu}
    if not writing.runs:
        reason = say("{model} in {scheme} on {gpu}: no number, {reason}.", reason=writing.reason, **where)
        return lines(console, [reason])
    caption = say("{model} in {scheme} on {gpu}, batch {batch}", batch=writing.batch, **where)
    console.print(drawn(passes_table([reading, writing], caption)))
    kernel, compute = writing.support.kernel, writing.support.compute
    found = [
        say("Kernel: {kernel}, computes in {compute}.", kernel=kernel, compute=compute),
        say("Decoding is bound by compute from a batch of {batch:,} on.", batch=turning)
        if turning
        else say("Decoding is bound by compute at no batch: every request brings its own cache to read."),
        writing.support.reason,
        say("Bounds by arithmetic, not measured; `exaone-nb bench` measures how much of them is reached."),
        remark,
    ]
    return lines(console, filter(None, found))
