"""GGUF on the command line: the verb convert, and what size shows with --gguf."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from exaone_nb import catalog
from exaone_nb.cli.output import JsonFlag, counted, emit, lines, writable
from exaone_nb.errors import UsageError
from exaone_nb.files import write_text
from exaone_nb.messages import say

if TYPE_CHECKING:
    from exaone_nb.anatomy.gguf.size import GgufPlan


def convert(
    model: Annotated[str, Argument(help="Catalog name, local folder, or hub id; its weights are read.")],
    gguf: Annotated[
        str, Option("--gguf", help="Type of the file: Q8_0, Q6_K, Q5_K_M, Q4_K_M, IQ4_XS, BF16 ...")
    ],
    out: Annotated[
        Path,
        Option(
            help="The file to write, FILE.gguf; or a folder: a checkpoint for bench, score and the chapters."
        ),
    ],
    modelfile: Annotated[
        bool, Option("--modelfile", help="Also write a Modelfile for Ollama beside it.")
    ] = False,
    cut: Annotated[
        str,
        Option(help="How the tokenizer cuts text, in llama.cpp's words; default: as tokenizer.json tells."),
    ] = "",
    force: Annotated[bool, Option("--force", help="Replace a file that exists.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write a model of EXAONE 4.0, EXAONE 3.5, Qwen3 or Llama as a GGUF file, as llama.cpp would, to the last byte."""
    from exaone_nb.compress.gguf_checkpoint import gguf_checkpoint
    from exaone_nb.compress.modelfile import modelfile as modelfile_text
    from exaone_nb.converter import gguf_file
    from exaone_nb.show.gguf import converted_table
    from exaone_nb.show.table import drawn

    progress, folder = None if as_json else counted(say("tensor")), not out.suffix
    if folder and modelfile:
        raise UsageError(
            say("--out {out} is a folder, and a Modelfile stands beside a file.", out=out),
            remedy=say("--out FILE.gguf --modelfile"),
        )
    text, beside = "", out.with_suffix(".Modelfile")
    if modelfile:  # before hours are spent: a template that Ollama's language cannot say is found at once
        gguf_file.refuse_existing(beside, force)
        text = modelfile_text(catalog.weights_folder(model), out.name)
    with writable(say("GGUF file"), out):
        if folder:
            document = gguf_checkpoint(model, gguf, out, cut=cut, reuse=not force, progress=progress)
        else:
            document = gguf_file.convert(model, gguf, out, cut=cut, force=force, progress=progress)
    found = _published(model).get(document["type"], {})
    notes = [say("Published: {source}.", source=found["published_source"])] if found else []
    document |= found
    if text:
        document["modelfile"] = str(write_text(beside, text))
        notes.append(
            say(
                "Wrote {file}. It was not run: Ollama is not part of the workbook.",
                file=document["modelfile"],
            )
        )

    def human(console: Any) -> None:
        console.print(drawn(converted_table(document)))
        lines(console, notes)

    emit(as_json, document | {"notes": notes}, human)


def show_gguf_sizes(model: str, kinds: Sequence[str], untied_head: bool, as_json: bool) -> None:
    """What `size --gguf` shows: the bytes of each type, and what others have published."""
    from exaone_nb.anatomy.gguf.rule import file_type
    from exaone_nb.anatomy.gguf.types import FILE_TYPES
    from exaone_nb.show.gguf import plan_table
    from exaone_nb.show.table import drawn

    wanted = list(FILE_TYPES) if "all" in kinds else [file_type(kind) for kind in kinds]
    plans, notes = _plans(model, wanted, untied_head)
    published = _published(model, untied_head)
    sources = dict.fromkeys(found["published_source"] for kind, found in published.items() if kind in wanted)
    notes += [say("Published: {source}.", source=source) for source in sources]
    document = {
        "model": model,
        "types": {plan.kind: _plan_document(plan) | published.get(plan.kind, {}) for plan in plans},
        "notes": notes,
    }

    def human(console: Any) -> None:
        console.print(drawn(plan_table(document)))
        lines(console, notes)

    emit(as_json, document, human)


def _plans(model: str, kinds: Sequence[str], untied_head: bool) -> tuple[list[GgufPlan], list[str]]:
    """The plans and what is to be said about them: to the byte where tokenizer and weights are here."""
    from exaone_nb.anatomy.gguf.size import plan_gguf

    place = catalog.resolve(model)
    folder = None if untied_head else place.local_weights()
    if folder is not None and (folder / "tokenizer.json").is_file():
        from exaone_nb.converter.gguf_file import plan_folder

        return plan_folder(folder, kinds), []
    plans = [plan_gguf(place.config(), kind, untied_head=untied_head) for kind in kinds]
    return plans, [
        say(
            "The vocabulary is not here: the file has 2 to 10 MB more for it. Name a folder with weights and tokenizer "
            "for the size to the last byte."
        )
    ]


def _plan_document(plan: GgufPlan) -> dict[str, Any]:
    return {
        "file_bytes": plan.file_bytes,
        "bytes_without_keys": plan.listed_bytes + plan.data_bytes,
        "data_bytes": plan.data_bytes,
        "bits_per_weight": round(plan.bits_per_weight, 4),
        "tensors": len(plan.tensors),
        "types": plan.types(),
    }


def _published(model: str, untied_head: bool = False) -> dict[str, dict[str, Any]]:
    """Type -> what the hub's pages say of such a file, in three digits."""
    from exaone_nb.published import gguf_sizes

    return {
        row["scheme"]: {
            "published_bytes": int(row["value"]),
            "published_head_twice": row["head_twice"] == "yes" or None,  # shown where it is so
            "published_source": say("{source}, {date}", source=row["source"], date=row["date"]),
        }
        for row in gguf_sizes(catalog.resolve(model).name)
        if not untied_head or row["head_twice"] == "yes"
    }
