"""Verbs that measure: bench, capacity, and record for a whole card."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from exaone_nb.cli.output import JsonFlag, emit, lines, tell, writable, writable_folder
from exaone_nb.errors import UsageError
from exaone_nb.library_types import Console
from exaone_nb.messages import say
from exaone_nb.show.table import drawn

if TYPE_CHECKING:
    from exaone_nb.serve.bench import Bench

RUN_WRITTEN = Option(help="Run to write the results into: a name under runs/, or a path with a slash.")


def bench(
    model: Annotated[str, Argument(help="Catalog name, local folder, or hub id.")] = "nano",
    weights: Annotated[str, Option(help="real, or dummy: random numbers of the right shapes.")] = "real",
    scheme: Annotated[str, Option(help="With dummy weights: the scheme to measure, as W4A16.")] = "",
    layers: Annotated[int, Option(help="With dummy weights: only that many layers; 0 is all.")] = 0,
    batch: Annotated[list[int] | None, Option(help="Requests at once; repeatable. Default 1 and 8.")] = None,
    prompt: Annotated[int, Option(help="Prompt tokens of the fixed-length measurement.")] = 128,
    output: Annotated[int, Option(help="Output tokens of the fixed-length measurement.")] = 64,
    repeats: Annotated[int, Option(help="Repeats after the warm-up.")] = 5,
    questions: Annotated[int, Option(help="Questions for the time per token; 0 leaves it out.")] = 64,
    mode: Annotated[str, Option(help="non-reasoning or reasoning.")] = "non-reasoning",
    max_gen_toks: Annotated[int, Option(help="Longest answer; the hackathon's server allows 16384.")] = 16384,
    budget: Annotated[
        float,
        Option(help="Seconds for the time per token; answers that do not end are cut to it. 0: no limit."),
    ] = 0.0,
    max_model_len: Annotated[int, Option(help="Prompt and answer; 0: as the longest answer needs.")] = 0,
    threads: Annotated[int, Option(help="CPU threads; 0 chooses: one for tiny models, else all.")] = 0,
    dtype: Annotated[str, Option(help="auto (what is allowed here), bfloat16, float16, float32.")] = "auto",
    kv_cache_gib: Annotated[float, Option(help="KV cache on a CPU, in GiB.")] = 1.0,
    tensor_parallel_size: Annotated[int, Option(help="GPUs that share the model.")] = 1,
    compiled: Annotated[bool | None, Option("--compiled/--eager", help="Graphs; default: on GPUs.")] = None,
    engine: Annotated[list[str] | None, Option(help="NAME=VALUE: any argument of vllm.LLM.")] = None,
    out: Annotated[str | None, RUN_WRITTEN] = None,
    recipe: Annotated[str, Option(help="Name in the run folder. Default: baseline, or what is dummy.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Measure prefill, decode, time per token as the hackathon counts it, and the length tail."""
    given = locals()
    from exaone_nb.results import RunFolder
    from exaone_nb.serve.bench import BenchOptions
    from exaone_nb.serve.bench import bench as measure
    from exaone_nb.serve.checkpoints import record

    arguments = {"tensor_parallel_size": tensor_parallel_size, **_engine_options(engine or [])}
    if compiled is not None:
        arguments["eager"] = not compiled
    same = ("scheme", "weights", "repeats", "mode", "max_gen_toks", "max_model_len", "layers", "threads")
    options = BenchOptions(
        **{name: given[name] for name in (*same, "kv_cache_gib", "dtype")},
        batches=batch or (1, 8),
        prompt_tokens=prompt,
        output_tokens=output,
        max_questions=questions,
        budget_s=budget,
        engine=arguments,
    )
    if out is not None:
        writable_folder(RunFolder.at(out).results)  # now, not after minutes of measuring
    found = measure(model, options)
    if out is not None:
        record(RunFolder.at(out), recipe or found.label, found)
    emit(as_json, found.document(), lambda console: _show(console, found))


def capacity(
    model: Annotated[str, Argument(help="Catalog name, local folder, or hub id.")] = "nano",
    address: Annotated[
        str, Option(help="A server that runs: http://HOST:PORT/v1. Key: OPENAI_API_KEY.")
    ] = "",
    most: Annotated[int, Option(help="Largest load tried: users, or requests per second.")] = 64,
    arrival: Annotated[str, Option(help="bursts: all users ask at once; rate: one by one.")] = "bursts",
    first_token: Annotated[float, Option(help="Limit: seconds to the first token.")] = 1.0,
    per_token: Annotated[float, Option(help="Limit: seconds per token after it.")] = 0.1,
    answer: Annotated[float, Option(help="Limit: seconds to the whole answer; 0: none.")] = 0.0,
    output: Annotated[int, Option(help="Tokens of every answer.")] = 32,
    runaway: Annotated[int, Option(help="Tokens of one answer per burst that ignores its end; 0: none.")] = 0,
    requests: Annotated[int, Option(help="Requests per load, at least.")] = 16,
    mode: Annotated[str, Option(help="non-reasoning or reasoning.")] = "non-reasoning",
    threads: Annotated[int, Option(help="CPU threads of our server; 0: as suits the model.")] = 0,
    max_model_len: Annotated[int, Option(help="Prompt and answer of our server.")] = 2048,
    kv_cache_gib: Annotated[float, Option(help="KV cache of our server on a CPU, in GiB.")] = 1.0,
    out: Annotated[str | None, RUN_WRITTEN] = None,
    recipe: Annotated[str, Option(help="Name in the run folder.")] = "baseline",
    as_json: JsonFlag = False,
) -> None:
    """How many users at once a server holds within limits, and what stops more. Exit code 1: not even one."""
    from exaone_nb.results import RunFolder
    from exaone_nb.serve import capacity_views, served
    from exaone_nb.serve.capacity import LoadOptions

    options = LoadOptions(
        arrival=arrival,
        most=most,
        requests=requests,
        output_tokens=output,
        runaway_tokens=runaway,
        mode=mode,
        first_token_s=first_token,
        per_token_s=per_token,
        answer_s=answer,
    )
    server: dict[str, Any] = {"max_model_len": max_model_len, "kv_cache_gib": kv_cache_gib}
    if threads:
        server["threads"] = threads
    key = os.environ.get("OPENAI_API_KEY", "") if address else ""
    if out is not None:
        writable_folder(RunFolder.at(out).results)  # now, not after minutes of measuring
    found = served.capacity_of(model, options, address=address, key=key, **server)
    if out is not None:
        served.record(RunFolder.at(out), found, recipe)

    def human(console: Console) -> None:
        console.print(drawn(capacity_views.capacity_table([found])))
        lines(console, [capacity_views.capacity_words(found)])

    emit(as_json, found.document(), human)
    if found.within is None:
        raise SystemExit(1)


def record(
    out: Annotated[Path, Option(help="The record, for instance data/measured/l4.json.")],
    model: Annotated[
        list[str] | None, Option(help="Shape; repeatable. Default: the 1.2B and the 32B.")
    ] = None,
    scheme: Annotated[
        list[str] | None, Option(help="Repeatable. Default: BF16, W8A8, FP8_DYNAMIC, W4A16.")
    ] = None,
    batch: Annotated[
        list[int] | None, Option(help="Requests at once; repeatable. Default: 1, 8, 32.")
    ] = None,
    context: Annotated[
        list[int] | None, Option(help="Prompt tokens; repeatable. Default: 128, 1024.")
    ] = None,
    rounds: Annotated[int, Option(help="Fresh starts of each model and scheme.")] = 3,
    repeats: Annotated[int, Option(help="Repeats within a round.")] = 3,
    output: Annotated[int, Option(help="Tokens written.")] = 32,
    layers: Annotated[int, Option(help="Only so many layers, to try it; 0 is all.")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Measure this card for everybody: speed, memory at the start and GPTQ of models' shapes, held against predictions.

    Random weights, so nothing is downloaded. Send the file: the chapters show every record there is, by card.
    """
    from exaone_nb.files import write_json
    from exaone_nb.show.measured import card_tables
    from exaone_nb.workbook.card import RecordOptions, measure_card

    asked = {"models": model, "schemes": scheme, "batches": batch, "contexts": context}
    options = RecordOptions(
        rounds=rounds, repeats=repeats, output_tokens=output, layers=layers,
        **{name: tuple(values) for name, values in asked.items() if values},
    )  # fmt: skip
    writable_folder(out.parent)  # now, not after an hour
    document = measure_card(options, tell)
    with writable(say("record"), out):
        write_json(out, document)

    def human(console: Console) -> None:
        for table in card_tables(document):
            console.print(drawn(table))
        lines(console, [say("Wrote {out}.", out=out)])

    emit(as_json, document, human)


def _engine_options(words: list[str]) -> dict[str, Any]:
    """NAME=VALUE words; a value that reads as JSON is what it reads as, else text. Raises UsageError."""
    found: dict[str, Any] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or not name.isidentifier():
            expected = say("--engine NAME=VALUE, as --engine max_num_seqs=64.")
            raise UsageError(say("--engine {word} names no value.", word=word), expected=expected)
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _show(console: Console, found: Bench) -> None:
    from exaone_nb.serve import tables

    rows = tables.speed_rows([found])
    why = found.parameters["dtype_reason"]
    title = say("{b.scheme}, {b.weights} weights, {b.layers} layers, {b.dtype} ({why})", b=found, why=why)
    console.print(drawn(replace(tables.speed_table(rows), caption=title)))
    if found.per_token is not None:
        console.print(drawn(tables.per_token_table({found.model: found.per_token})))
    lines(console, tables.bench_notes(found, rows))
