"""What the verbs of anatomy show to a person. Names come from strangers' files, so they are text here, never markup."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from exaone_nb.anatomy.gguf.inspection import GgufInspection, kind_of, tokenizer_line
from exaone_nb.cli.output import lines
from exaone_nb.library_types import Console
from exaone_nb.messages import say
from exaone_nb.show.checkpoint import scheme_table, tensor_table, totals_table
from exaone_nb.show.table import drawn

if TYPE_CHECKING:
    from exaone_nb.anatomy.inspection import Inspection
    from exaone_nb.anatomy.memory import MemoryPlan
    from exaone_nb.anatomy.predict import Prediction
    from exaone_nb.anatomy.roofline import Pass
    from exaone_nb.errors import WorkbookError

LONGEST_LIST = 20
CONTENT = {True: "same bytes", False: "but the contents differ", None: "told by name and shape"}


def show_inspection(console: Console, inspection: Inspection, tensors: bool) -> None:
    lines(console, [inspection.name, *_sums(inspection)])
    console.print(drawn(totals_table(inspection, lambda row: row.component, say("component"))))
    console.print(drawn(totals_table(inspection, lambda row: row.dtype, say("dtype"))))
    lines(console, (say("quantization: {line}", line=line) for line in inspection.quantization))
    if tensors:
        console.print(drawn(tensor_table(inspection.rows)))
    lines(console, _findings(inspection))


def _sums(inspection: Inspection) -> Iterable[str]:
    total, read = inspection.total, inspection.checkpoint
    known = "?" if total.logical is None else format(total.logical, ",")
    yield say(
        "{t.tensors:,} tensors, {t.elements:,} stored elements, {known} parameters", t=total, known=known
    )
    if isinstance(inspection, GgufInspection):
        yield from _gguf_sums(inspection)
        return
    if not read:
        yield say("{total.bytes:,} bytes of data", total=total)
        return
    yield say(
        "{lengths:,} (lengths) + {headers:,} (headers) + {read.data_bytes:,} (data) = {read.file_bytes:,} bytes in "
        "{files} file(s)",
        lengths=8 * len(read.files),
        headers=sum(file.header_bytes for file in read.files),
        read=read,
        files=len(read.files),
    )
    if read.requests:
        yield say("{read.requests} requests, {read.wire_bytes:,} bytes fetched", read=read)


def _gguf_sums(inspection: GgufInspection) -> Iterable[str]:
    file = inspection.file
    yield say(
        "{file.header_bytes:,} (header) + {file.data_bytes:,} (data) + {file.padding_bytes:,} (filling) = "
        "{file.file_bytes:,} bytes",
        file=file,
    )
    yield say(
        "{kind}, {bits:.2f} bits per weight, GGUF version {version}",
        kind=kind_of(file),
        bits=inspection.bits_per_weight,
        version=file.version,
    )
    yield from filter(None, [tokenizer_line(file)])
    if file.requests:
        yield say("{read.requests} requests, {read.wire_bytes:,} bytes fetched", read=file)


def _findings(inspection: Inspection) -> Iterable[str]:
    for one in inspection.duplicates:
        seen = CONTENT[one.same_content]
        text = say("{one.copy} repeats {one.original}, {one.bytes:,} bytes ({seen})", one=one, seen=seen)
        yield say("stored twice: {text}", text=text)
    for one in inspection.mismatches[:LONGEST_LIST]:
        yield say("shape: {one.name}\n  Left (file):    {one.left}\n  Right (config): {one.right}", one=one)
    for title, names in ((say("missing"), inspection.missing), (say("left over"), inspection.extra)):
        yield from (say("{title}: {name}", title=title, name=name) for name in names[:LONGEST_LIST])
        if len(names) > LONGEST_LIST:
            yield say("{title}: and {more:,} more", title=title, more=len(names) - LONGEST_LIST)
    problems = inspection.index_problems[:LONGEST_LIST]
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
    """What fits on the cards, and what would."""
    from exaone_nb.show.memory import memory_table, outlook  # `inspect` does without

    caption = say(
        "{model} in {scheme} on {p.tensor_parallel} x {p.gpu.name}, {p.engine}; figures of one GPU",
        model=model, scheme=scheme, p=plan,
    )  # fmt: skip
    console.print(drawn(memory_table(plan, caption)))
    lines(console, [*outlook(plan), *([remark] if remark else [])])


def show_speed(
    console: Console, writing: Pass, reading: Pass, turning: int | None, model: str, scheme: str, remark: str
) -> None:
    """Prefill and decode at best, or why there is no number."""
    from exaone_nb.show.memory import speed_table

    if not writing.runs:
        why = {"model": model, "scheme": scheme, "w": writing}
        return lines(console, [say("{model} in {scheme} on {w.gpu}: no number, {w.reason}.", **why)])
    caption = say(
        "{model} on {w.gpu}: batch {w.batch}, {w.tokens:,} tokens of context, prompt of {r.tokens:,}",
        model=model, w=writing, r=reading,
    )  # fmt: skip
    console.print(drawn(speed_table({scheme: (writing, reading)}, caption)))
    support = writing.support
    found = [
        say("Kernel: {support.kernel}, computes in {support.compute}.", support=support),
        say("Decoding is bound by compute from a batch of {batch:,} on.", batch=turning)
        if turning
        else say("Decoding is bound by compute at no batch: every request brings its own cache to read."),
        support.reason,
        say("Bounds by arithmetic, not measured; `exaone-nb bench` measures how much of them is reached."),
        remark,
    ]
    return lines(console, filter(None, found))
