"""What inspect and size show to a person. Names come from strangers' files, so they are text here, never markup."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console

    from exaone_nb.anatomy.inspection import Inspection
    from exaone_nb.anatomy.predict import Prediction


def show_inspection(console: Console, inspection: Inspection, tensors: bool) -> None:
    """Totals, what does not fit, and every tensor when `tensors` is set."""
    total, checkpoint = inspection.total, inspection.checkpoint
    logical = "unknown" if total.logical is None else f"{total.logical:,}"
    console.print(Text(inspection.name, style="bold"))
    console.print(f"{total.tensors:,} tensors, {total.elements:,} stored elements, {logical} parameters")
    if checkpoint:
        header = sum(file.header_bytes for file in checkpoint.files)
        lengths = 8 * len(checkpoint.files)
        console.print(
            f"{lengths:,} (lengths) + {header:,} (headers) + {checkpoint.data_bytes:,} (data) = "
            f"{checkpoint.file_bytes:,} bytes in {len(checkpoint.files)} file(s)"
        )
        if checkpoint.requests:
            console.print(f"{checkpoint.requests} requests, {checkpoint.wire_bytes:,} bytes fetched")
    else:
        console.print(f"{total.bytes:,} bytes of data")
    for title, key in (("component", lambda row: row.component), ("dtype", lambda row: row.dtype)):
        table = Table(title, "tensors", "bytes", "share", "parameters", box=None)
        for column in table.columns[1:]:
            column.justify = "right"
        for name, part in inspection.by(key).items():
            known = "?" if part.logical is None else f"{part.logical:,}"
            table.add_row(
                name, f"{part.tensors:,}", f"{part.bytes:,}", f"{part.bytes / max(total.bytes, 1):.1%}", known
            )
        console.print(table)
    for line in inspection.quantization:
        console.print(Text(f"quantization: {line}"))
    if tensors:
        table = Table("tensor", "dtype", "shape", "bytes", "component", box=None)
        for row in inspection.rows:
            table.add_row(Text(row.name), row.dtype, str(list(row.shape)), f"{row.bytes:,}", row.component)
        console.print(table)
    for copy in inspection.duplicates:
        seen = {True: "same bytes", False: "but the contents differ", None: "told by name and shape"}[
            copy.same_content
        ]
        console.print(
            Text(f"stored twice: {copy.copy} repeats {copy.original}, {copy.bytes:,} bytes ({seen})")
        )
    for mismatch in inspection.mismatches[:20]:
        console.print(
            Text(
                f"shape: {mismatch.name}\n  Left (file):    {mismatch.left}\n  Right (config): {mismatch.right}"
            )
        )
    for title, names in (("missing", inspection.missing), ("left over", inspection.extra)):
        for name in names[:20]:
            console.print(Text(f"{title}: {name}"))
        if len(names) > 20:
            console.print(f"{title}: and {len(names) - 20:,} more")
    for line in (*(checkpoint.problems[:20] if checkpoint else ()), *inspection.notes):
        console.print(Text(f"note: {line}"))


def show_sizes(console: Console, model: str, found: dict[str, Prediction], refused: dict[str, str]) -> None:
    """One row per scheme, then the schemes that this model refuses and why."""
    first = next(iter(found.values()))
    console.print(
        Text(f"{model}: {first.parameters:,} parameters, head {'tied' if first.tied else 'stored apart'}")
    )
    table = Table("scheme", "file bytes", "of BF16", "bits/parameter", "embedding + head", "files", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, prediction in found.items():
        parts = prediction.by_component()
        tables = parts.get("embedding", 0) + parts.get("head", 0)
        table.add_row(
            name,
            f"{prediction.file_bytes:,}",
            f"{prediction.data_bytes / prediction.unquantized_bytes:.1%}",
            f"{prediction.bits_per_parameter:.2f}",
            f"{tables / prediction.data_bytes:.1%}",
            str(len(prediction.shards)),
        )
    console.print(table)
    for name, reason in refused.items():
        console.print(Text(f"{name}: {reason}"))
