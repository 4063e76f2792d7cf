"""Verbs of the score wing: score and compare, and for a submission pack and check."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text
from typer import Argument, Option

from exaone_nb.catalog import resolve
from exaone_nb.cli.output import JsonFlag, console, emit, lines, show_check, writable
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.messages import say, translated
from exaone_nb.results import RunFolder
from exaone_nb.show.table import drawn

if TYPE_CHECKING:
    from exaone_nb.findings import Finding
    from exaone_nb.score.comparison import Comparison
    from exaone_nb.score.evaluate import Score
    from exaone_nb.score.items import ItemScores
    from exaone_nb.score.preview import TaskPreview
    from exaone_nb.score.submission.check import Report
    from exaone_nb.score.submission.pack import Packed

Run = Annotated[
    str, Option("--out", help="The run: a name under runs/, or a path with a slash; empty: runs/interactive.")
]
STYLES = {"fail": "bold red", "warn": "yellow", "note": "cyan", "ok": "green"}


def score(
    models: Annotated[list[str], Argument(metavar="MODEL...", help="[NAME=] catalog name, folder, hub id.")],
    tasks: Annotated[str, Option(help="Task names, comma separated; none: what suits the first model.")] = "",
    out: Run = "",
    backend: Annotated[
        str, Option(help="vllm, hf, llama.cpp, server (completions) or server-chat.")
    ] = "vllm",
    preset: Annotated[str, Option(help="Settings by name: lecture-gsm8k.")] = "",
    limit: Annotated[int | None, Option(help="Items per task.")] = None,
    num_fewshot: Annotated[int | None, Option(help="Examples in the prompt; default: the task's.")] = None,
    chat_template: Annotated[bool, Option(help="Apply the model's chat template.")] = True,
    thinking: Annotated[bool, Option(help="Let the model think before it answers.")] = False,
    system: Annotated[str, Option(help="System prompt.")] = "",
    max_gen_toks: Annotated[int | None, Option(help="Answer limit for tasks that set none.")] = None,
    max_model_len: Annotated[int, Option(help="Context: prompt and answer, in tokens.")] = 2048,
    gen_kwargs: Annotated[str, Option(help="Generation settings as JSON, over the task's own.")] = "{}",
    engine: Annotated[str, Option(help="More engine arguments as JSON.")] = "{}",
    tensor_parallel_size: Annotated[int, Option(help="vLLM: GPUs that share the model.")] = 1,
    data_parallel_size: Annotated[int, Option(help="vLLM: copies of the model (needs Ray).")] = 1,
    dtype: Annotated[str, Option(help="Weights: auto, bfloat16, float16 or float32.")] = "auto",
    seed: Annotated[int, Option(help="Seed of sampling and of few-shot examples.")] = 1234,
    base_url: Annotated[str, Option(help="Server: address ending in /v1. Key: OPENAI_API_KEY.")] = "",
    tokenizer: Annotated[str, Option(help="Server: folder with the model's tokenizer.")] = "",
    concurrency: Annotated[int, Option(help="Server: requests at once.")] = 16,
    timeout: Annotated[int, Option(help="Server: seconds for one answer; it is asked three times.")] = 300,
    include: Annotated[str | None, Option(help="Folder of more lm-eval tasks (they may run code).")] = None,
    force: Annotated[bool, Option("--force", help="Score again what was scored before.")] = False,
    preview: Annotated[bool, Option("--preview", help="Show the first prompts and the work only.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Score models with lm-eval: samples logged, finished model x task pairs not run again."""
    given = locals()
    from exaone_nb.score.evaluate import score as run_score
    from exaone_nb.score.questions import questions_for
    from exaone_nb.score.settings import Settings

    settings = Settings(
        **{field.name: given[field.name] for field in fields(Settings) if field.name in given}
        | {"gen_kwargs": _object(gen_kwargs, "--gen-kwargs"), "engine": _object(engine, "--engine")}
    )
    by_name = _named(models)
    asked = questions_for(next(iter(by_name.values())), [name for name in tasks.split(",") if name], preset)
    settings = settings.with_preset(asked.preset)
    settings = replace(settings, limit=limit) if limit else settings
    names, run, errors = list(asked.tasks), RunFolder.at(out), console(stderr=True)
    for line in filter(None, (asked.why, *asked.warnings)):
        errors.print(Text(line, style="dim"))
    if preview:
        from exaone_nb.score.preview import expected_seconds, preview_tasks

        found = preview_tasks(next(iter(by_name.values())), names, settings, include)
        seconds = expected_seconds(run, found)
        document = {"previews": [asdict(p) for p in found], "expected_seconds_per_model": seconds}
        emit(as_json, document, lambda console: _show_previews(console, found, seconds))
        if any(p.problems for p in found):
            raise WorkbookError(say("The prompt is not as it should be; see the checks above."))
        return
    scores = run_score(
        by_name,
        names,
        run,
        settings,
        include=include,
        force=force,
        report=lambda line: errors.print(Text(line, style="dim")),
    )
    emit(as_json, {"scores": [s.as_json() for s in scores]}, lambda console: _show_scores(console, scores))


def compare(
    models: Annotated[
        list[str] | None, Argument(metavar="BASE CANDIDATE...", help="Recipes, samples files or folders.")
    ] = None,
    out: Run = "",
    task: Annotated[str, Option(help="Only this task.")] = "",
    metric: Annotated[str, Option(help="Metric; the task's main one when not given.")] = "",
    filter_name: Annotated[str, Option("--filter", help="Filter, for instance strict-match.")] = "",
    different_prompts: Annotated[bool, Option("--different-prompts", help="Allow other prompts.")] = False,
    seeds: Annotated[str, Option(help="Runs of other seeds, comma separated: their mean counts.")] = "",
    margin: Annotated[float, Option(help="What you do not care about: 0.01 is one point of a score.")] = 0.01,
    separate: Annotated[bool, Option("--separate", help="Do not pool the tasks of one benchmark.")] = False,
    alpha: Annotated[float, Option(help="Level of the tests, after Holm's correction.")] = 0.05,
    plan: Annotated[bool, Option("--plan", help="No results: the items that a drop needs.")] = False,
    drop: Annotated[float, Option(help="Plan: the drop to be seen (0.02 is two points).")] = 0.02,
    differing: Annotated[float, Option(help="Plan: share where exactly one model is right.")] = 0.1,
    items: Annotated[int, Option(help="Plan: items at hand.")] = 512,
    flips: Annotated[str, Option(help="Write a page with every answer that changed: PAGE.html.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Compare candidates with a base on the same items: interval, exact test, and the verdict at a margin."""
    if plan:
        _plan(drop, differing, items, alpha, as_json)
        return
    from exaone_nb.score.compare import compare_all
    from exaone_nb.score.named import read_named

    runs = [RunFolder.at(out), *(RunFolder.at(name.strip()) for name in seeds.split(",") if name.strip())]
    (base, scored), *others = read_named(models or [], runs, task, metric, filter_name).items()
    options = {"alpha": alpha, "margin": margin, "different_prompts": different_prompts, "separate": separate}
    found = compare_all(scored, dict(others), base_name=base, **options)
    document: dict[str, Any] = {"comparisons": [c.as_json() for c in found]}
    if flips:
        document["flips"] = _write_flips(flips, base, scored, dict(others))
    emit(as_json, document, lambda console: _show_comparisons(console, found, document.get("flips")))


def _write_flips(
    page: str, base: str, scored: dict[str, ItemScores], others: dict[str, dict[str, ItemScores]]
) -> dict[str, Any]:
    """Write the page of every answer that changed. Returns its path and how many answers are on it, by kind."""
    from exaone_nb.score.flips import flips, write_page

    found = [
        flip
        for name, by_task in others.items()
        for task, items in by_task.items()
        if task in scored and not (scored[task].is_perplexity and len(by_task) > 1)
        for flip in flips(scored[task], items, (base, name))
    ]
    with writable(say("page"), Path(page)):
        write_page(page, found, {task: items.n for task, items in scored.items()})
    return {"page": page, **Counter(flip.kind for flip in found)}


def pack(
    folder: Annotated[Path, Argument(metavar="DIR", help="Model folder, or nano.")],
    out: Annotated[Path, Option(help="The zip to write.")] = Path("submit.zip"),
    licence: Annotated[Path | None, Option(help="Licence text of the base model, packed as LICENSE.")] = None,
    adapt: Annotated[bool, Option(help="Add settings as transformers 4.57.3 names them.")] = True,
    force: Annotated[bool, Option(help="Pack although a check fails.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Make submit.zip for the hackathon: model/ and nothing else, the same bytes every time."""
    from exaone_nb.score.submission.pack import pack as make

    packed = make(_on_disk(folder), out, licence=licence, adapt=adapt, force=force)
    document = vars(packed) | {
        "path": str(packed.path),
        "warnings": _rows(packed.warnings),
        "overridden": _rows(packed.overridden),
    }
    emit(as_json, document, lambda console: _show_packed(console, packed))


def _rows(findings: tuple[Finding, ...]) -> list[dict[str, str]]:
    return [{"check": f.code, "message": f.text, "remedy": f.remedy} for f in findings]


def check(
    submission: Annotated[Path, Argument(metavar="ZIP", help="submit.zip, a model folder, or nano.")],
    load: Annotated[bool, Option(help="Load it with transformers, offline, in a process of its own.")] = True,
    boot: Annotated[bool, Option(help="Start it in vLLM with the server's arguments.")] = False,
    trust_remote_code: Annotated[bool, Option(help="Run code that the submission brings along.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Say what is wrong with a submission, each with its remedy. Exit code 1 when something fails."""
    from exaone_nb.score.submission.check import check as examine

    report = examine(_on_disk(submission), load=load, boot=boot, trust_remote_code=trust_remote_code)
    emit(as_json, report.document(), lambda console: _show_report(console, report))
    if not report.passed:
        raise typer.Exit(1)


def _on_disk(named: Path) -> Path:
    """What is there under that name; else the folder that a model's name stands for on this disk, as `nano` does."""
    with suppress(UsageError):
        return named if named.exists() else resolve(named).path or named
    return named


def _named(models: list[str]) -> dict[str, str]:
    named: dict[str, str] = {}
    for text in models:
        name, equals, model = text.partition("=")
        name, model = (name, model) if equals else (Path(text).name, text)
        if name in named:
            got = say("Two models are called {name!r}.", name=name)
            raise UsageError(got, remedy="Name them: a=FOLDER b=FOLDER")
        named[name] = model
    return named


def _object(text: str, option: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        told = say("{option} is not JSON: {reason}", option=option, reason=str(error))
        raise UsageError(told, remedy=say("{option} '{{\"temperature\": 0}}'", option=option)) from error
    if isinstance(document, dict):
        return document
    text = say("{option} is a {kind}.", option=option, kind=type(document).__name__)
    raise UsageError(text, expected=say("a JSON object."))


def _plan(drop: float, differing: float, items: int, alpha: float, as_json: bool) -> None:
    from exaone_nb.statistics import planning

    document = {
        "drop": drop,
        "share_differing": differing,
        "alpha": alpha,
        "power": planning.POWER,
        "items_needed": planning.items_needed(drop, differing, alpha=alpha),
        "items": items,
        "smallest_drop": planning.smallest_drop(items, differing, alpha=alpha),
    }

    def human(console: Console) -> None:
        text = say(
            "A drop of {points:g} points, when the models differ on a share of {d[share_differing]:g}, needs "
            "{d[items_needed]:,} items (power {d[power]:g}, level {d[alpha]:g}).",
            points=100 * drop, d=document,
        )  # fmt: skip
        smallest = say("{items:,} items show no drop.", items=items)
        if document["smallest_drop"] is not None:
            points = 100 * document["smallest_drop"]
            smallest = say("{n:,} items show drops of {points:.2f} points and more.", n=items, points=points)
        lines(console, [text, smallest])

    emit(as_json, document, human)


def _show_scores(console: Console, scores: list[Score]) -> None:
    from exaone_nb.score.comparison_views import score_table

    console.print(drawn(score_table(scores)))
    console.print(say("seconds: the model's, for all its tasks together"))


def _show_previews(console: Console, previews: list[TaskPreview], seconds: float | None) -> None:
    for p in previews:
        console.rule(Text(p.task))
        console.print(Text(p.prompt + p.continuation))
        console.print(Text(say("expected: {target}", target=p.target), style="dim"))
        for check in p.checks:
            console.print(Text(check.line))
        console.print(Text(p.work))
    time = say("not measured in this run yet")
    if seconds is not None:
        time = say("about {seconds:.0f} s, loading apart", seconds=seconds)
    console.print(say("time for one model: {time}", time=time))


def _show_comparisons(
    console: Console, comparisons: list[Comparison], flips: dict[str, Any] | None = None
) -> None:
    from exaone_nb.score.comparison_views import verdict_table

    for c in comparisons:
        console.print(Text(c.words))
        if c.unmatched_base or c.unmatched_candidate:
            text = say(
                "left out: {c.unmatched_base} of {c.base}, {c.unmatched_candidate} of {c.candidate}", c=c
            )
            console.print(Text(f"  {text}"))
        for remark in c.remarks:
            console.print(Text(f"  {remark}"))
    console.print(drawn(verdict_table(comparisons)))
    if flips:
        counts = {kind: flips.get(kind, 0) for kind in ("lost", "won", "changed")}
        text = say(
            "written: {page} ({c[lost]:,} answers lost, {c[won]:,} won, {c[changed]:,} wrong in another way)",
            page=flips["page"],
            c=counts,
        )
        console.print(Text(text))


def _show_packed(console: Console, packed: Packed) -> None:
    size = say("{p.path}: {p.bytes:,} bytes, {files} files", p=packed, files=len(packed.files))
    said = [size, f"sha256 {packed.sha256}"]
    said += [f"{say('changed'):<10}{line}" for line in packed.changed]
    said += [f"{say('left out'):<10}{name}" for name in packed.left_out]
    console.print(Text("\n".join(said)))
    for finding in packed.overridden:
        text = say("overridden by --force: {failure} {remedy}", failure=finding.text, remedy=finding.remedy)
        console.print(Text(text, style=STYLES["fail"]))
    for finding in packed.warnings:
        console.print(
            Text(f"{say('warn'):<10}{finding.text} {finding.remedy}".rstrip(), style=STYLES["warn"])
        )


def _show_report(console: Console, report: Report) -> None:
    rows = report.document()["findings"]
    for row in rows:
        mark = f"[{translated(row['level']).upper()}]".ljust(7)
        text = f"{translated(row['check'])}: {row['message']}"
        show_check(console, mark, STYLES[row["level"]], text, row["remedy"])
    failures = sum(row["level"] == "fail" for row in rows)
    end = say("{n} failed", n=failures) if failures else say("nothing failed")
    console.print(Text(f"{report.submission}: {end}"))
