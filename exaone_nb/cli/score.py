"""Verbs of the score wing: score and compare here, pack and check in submission."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from exaone_nb.cli import submission
from exaone_nb.cli.output import JsonFlag, console, emit
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.results import RunFolder

if TYPE_CHECKING:
    from exaone_nb.score.compare import Comparison
    from exaone_nb.score.evaluate import Score
    from exaone_nb.score.preview import Preview
    from exaone_nb.score.samples import ItemScores

Run = Annotated[str, typer.Option("--out", help="Run folder; empty means runs/interactive.")]


def register(app: typer.Typer) -> None:
    """Add this wing's verbs to the command line."""
    app.command("score")(score)
    app.command("compare")(compare)
    submission.register(app)


def score(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="NAME=MODEL, or MODEL: a catalog name, folder or hub id."),
    ],
    tasks: Annotated[str, typer.Option(help="Task names, comma separated.")] = "nano_gsm",
    out: Run = "",
    backend: Annotated[str, typer.Option(help="vllm, hf, server (completions) or server-chat.")] = "vllm",
    preset: Annotated[str, typer.Option(help="Settings by name: lecture-gsm8k.")] = "",
    limit: Annotated[int | None, typer.Option(help="Items per task.")] = None,
    num_fewshot: Annotated[
        int | None, typer.Option(help="Examples in the prompt; the task's own when not given.")
    ] = None,
    chat_template: Annotated[bool, typer.Option(help="Apply the model's chat template.")] = True,
    thinking: Annotated[bool, typer.Option(help="Let the model think before it answers.")] = False,
    system: Annotated[str, typer.Option(help="System prompt.")] = "",
    max_gen_toks: Annotated[int | None, typer.Option(help="Answer limit for tasks that set none.")] = None,
    max_model_len: Annotated[int, typer.Option(help="Context: prompt and answer, in tokens.")] = 2048,
    gen_kwargs: Annotated[str, typer.Option(help="Generation settings as JSON, over the task's own.")] = "{}",
    engine: Annotated[str, typer.Option(help="More engine arguments as JSON.")] = "{}",
    tensor_parallel_size: Annotated[int, typer.Option(help="vLLM: GPUs that share the model.")] = 1,
    data_parallel_size: Annotated[int, typer.Option(help="vLLM: copies of the model (needs Ray).")] = 1,
    dtype: Annotated[str, typer.Option(help="Weights: auto, bfloat16, float16 or float32.")] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of sampling and of few-shot examples.")] = 1234,
    base_url: Annotated[
        str, typer.Option(help="Server: base address, ending in /v1. Its key comes from OPENAI_API_KEY.")
    ] = "",
    tokenizer: Annotated[str, typer.Option(help="Server: folder with the model's tokenizer.")] = "",
    include: Annotated[
        str | None, typer.Option(help="One more folder of lm-eval task files (they may run code).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Score again what was scored before.")] = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="Show the first prompts and the work; run nothing.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Score models with lm-eval: samples logged, finished model x task pairs not run again."""
    from exaone_nb.score.evaluate import score as run_score
    from exaone_nb.score.settings import Settings

    settings = Settings(
        backend=backend,
        limit=limit,
        num_fewshot=num_fewshot,
        chat_template=chat_template,
        thinking=thinking,
        system=system,
        max_gen_toks=max_gen_toks,
        max_model_len=max_model_len,
        gen_kwargs=_object(gen_kwargs, "--gen-kwargs"),
        engine=_object(engine, "--engine"),
        tensor_parallel_size=tensor_parallel_size,
        data_parallel_size=data_parallel_size,
        dtype=dtype,
        seed=seed,
        base_url=base_url,
        tokenizer=tokenizer,
    )
    if preset:
        settings = settings.with_preset(preset)
        settings = replace(settings, limit=limit) if limit else settings
    names = [name for name in tasks.split(",") if name]
    by_name = _named(models)
    run = RunFolder.at(out)
    if preview:
        from exaone_nb.score.preview import expected_seconds
        from exaone_nb.score.preview import preview as look

        found = look(next(iter(by_name.values())), names, settings, include)
        seconds = expected_seconds(run, found)
        document = {"previews": [p.as_json() for p in found], "expected_seconds_per_model": seconds}
        emit(as_json, document, lambda console: _show_previews(console, found, seconds))
        if not all(check.ok for p in found for check in p.checks):
            raise WorkbookError("The prompt is not as it should be.", remedy="See the checks above.")
        return
    errors = console(stderr=True)
    scores = run_score(
        by_name,
        names,
        run,
        settings,
        include=include,
        force=force,
        report=lambda line: errors.print(Text(line, style="dim")),
    )
    emit(as_json, {"scores": [asdict(s) for s in scores]}, lambda console: _show_scores(console, scores))


def compare(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="BASE CANDIDATE...", help="Recipes of the run, samples files, or folders with them."
        ),
    ] = None,
    out: Run = "",
    task: Annotated[str, typer.Option(help="Only this task.")] = "",
    metric: Annotated[str, typer.Option(help="Metric; the task's main one when not given.")] = "",
    filter_name: Annotated[str, typer.Option("--filter", help="Filter, for instance strict-match.")] = "",
    different_prompts: Annotated[
        bool, typer.Option("--different-prompts", help="Allow other prompts for the same items.")
    ] = False,
    seeds: Annotated[
        str,
        typer.Option(
            help="Run folders, comma separated, where the same recipes were scored with another --seed: "
            "each item's mean over these and --out is compared."
        ),
    ] = "",
    alpha: Annotated[float, typer.Option(help="Level of the tests, after Holm's correction.")] = 0.05,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="No results: how many items a drop needs, how small a drop n shows."),
    ] = False,
    drop: Annotated[float, typer.Option(help="Plan: the drop to be seen (0.02 is two points).")] = 0.02,
    differing: Annotated[
        float, typer.Option(help="Plan: share of items on which exactly one model is right.")
    ] = 0.1,
    items: Annotated[int, typer.Option(help="Plan: items at hand.")] = 512,
    as_json: JsonFlag = False,
) -> None:
    """Compare candidates with a base on the same items: difference, interval, exact test, verdict in words."""
    if plan:
        _plan(drop, differing, items, alpha, as_json)
        return
    if not models or len(models) < 2:
        raise UsageError("compare needs a base and a candidate.", remedy="exaone-nb compare BASE CANDIDATE")
    from exaone_nb.score.compare import compare_all

    runs = _seed_runs(out, seeds, models)
    read = {name: _over_seeds(name, runs, task, metric, filter_name) for name in models}
    base, *others = models
    if base in others:
        raise UsageError(f"{base} would be compared with itself.", remedy="Name two different results.")
    labels = _labels(models)
    if len(runs) > 1:
        labels = {name: f"{label} (mean of {len(runs)} seeds)" for name, label in labels.items()}
    found = compare_all(
        read[base],
        {labels[name]: read[name] for name in others},
        base_name=labels[base],
        alpha=alpha,
        different_prompts=different_prompts,
    )
    emit(
        as_json,
        {"comparisons": [c.as_json() for c in found]},
        lambda console: _show_comparisons(console, found),
    )


def _seed_runs(out: str, seeds: str, models: list[str]) -> list[RunFolder]:
    """The run folders to average over: --out, then those of --seeds."""
    runs = [RunFolder.at(out), *(RunFolder.at(name.strip()) for name in seeds.split(",") if name.strip())]
    if len({run.path.resolve() for run in runs}) < len(runs):
        raise UsageError("A run folder is named twice.", expected="one folder per seed, --out among them.")
    for name in models if len(runs) > 1 else ():
        if Path(name).exists():
            raise UsageError(f"{name} is a path.", expected="recipes of the runs, when --seeds is given.")
    return runs


def _over_seeds(
    name: str, runs: list[RunFolder], task: str, metric: str, filter_name: str
) -> dict[str, ItemScores]:
    """Item scores by task, each item's mean over the runs. Raises UsageError when a run lacks a task of the first."""
    from exaone_nb.score.compare import averaged

    first, *others = [_items(name, run, task, metric, filter_name) for run in runs]
    for run, found in zip(runs[1:], others, strict=True):
        missing = ", ".join(sorted(set(first) - set(found)))
        if missing:
            raise UsageError(
                f"{name} has no {missing} in {run.path.name}.", remedy="Score it there, or name one --task."
            )
    return {task: averaged([first[task], *(found[task] for found in others)]) for task in first}


def _items(name: str, run: RunFolder, task: str, metric: str, filter_name: str) -> dict[str, ItemScores]:
    """Item scores by task of a recipe of the run, a samples file, or a folder."""
    from exaone_nb.score.compare import scored_items
    from exaone_nb.score.samples import find_samples, read_samples

    if Path(name).exists():
        files = find_samples(name)
    elif metric or filter_name:
        files = find_samples(run.path / "lm_eval" / name)
    else:
        found = scored_items(run, name)
        return {t: i for t, i in found.items() if t == task} if task else found
    if task and task not in files:
        raise UsageError(f"{name} has no task {task!r}.", expected=f"one of {', '.join(files)}.")
    wanted = [task] if task else list(files)
    return {name: read_samples(files[name], metric, filter_name) for name in wanted}


def _labels(models: list[str]) -> dict[str, str]:
    """Short names for what was typed: the last part of a path, as long as these stay different."""
    short = {name: Path(name).name.removesuffix(".jsonl") if Path(name).exists() else name for name in models}
    return short if len(set(short.values())) == len(short) else {name: name for name in models}


def _named(models: list[str]) -> dict[str, str]:
    named: dict[str, str] = {}
    for text in models:
        name, equals, model = text.partition("=")
        name, model = (name, model) if equals else (Path(text).name, text)
        if name in named:
            raise UsageError(
                f"Two models are called {name!r}.", remedy="Name them: first=FOLDER second=FOLDER"
            )
        named[name] = model
    return named


def _object(text: str, option: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise UsageError(
            f"{option} is not JSON: {error}", remedy=f"{option} '{{\"temperature\": 0}}'"
        ) from error
    if not isinstance(document, dict):
        raise UsageError(f"{option} is a {type(document).__name__}.", expected="a JSON object.")
    return document


def _plan(drop: float, differing: float, items: int, alpha: float, as_json: bool) -> None:
    from exaone_nb.statistics import planning as planner

    needed = planner.items_needed(drop, differing, alpha=alpha)
    smallest = planner.smallest_drop(items, differing, alpha=alpha)
    document = {
        "drop": drop,
        "share_differing": differing,
        "alpha": alpha,
        "power": planner.POWER,
        "items_needed": needed,
        "items": items,
        "smallest_drop": smallest,
    }

    def human(console: Console) -> None:
        console.print(
            f"A drop of {100 * drop:g} points, when the models differ on {100 * differing:g} % of the items, "
            f"needs {needed:,} items (power {planner.POWER:g}, level {alpha:g})."
        )
        seen = "no drop" if smallest is None else f"drops of {100 * smallest:.2f} points and more"
        console.print(f"{items:,} items show {seen}.")

    emit(as_json, document, human)


def _show_scores(console: Console, scores: list[Score]) -> None:
    table = Table(box=None, header_style="bold")
    for column in ("model", "task", "metric", "score", "95 %", "n", "unparsable", "cut", "empty", "seconds"):
        table.add_column(column, justify="left" if column in ("model", "task", "metric") else "right")
    for s in scores:
        o = s.outcomes
        seconds = "before" if s.resumed else f"{s.seconds:.0f}"
        row = [s.recipe, s.task, s.metric, f"{s.value:.4f}", f"{s.interval[0]:.4f} to {s.interval[1]:.4f}"]
        row += [str(s.n), str(o["unparsable"]), str(o["truncated"]), str(o["empty"]), seconds]
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
    console.print("seconds: the model's, for all its tasks together")


def _show_previews(console: Console, previews: list[Preview], seconds: float | None) -> None:
    for p in previews:
        console.rule(Text(p.task))
        console.print(Text(p.prompt + p.continuation))
        console.print(Text(f"expected: {p.target}", style="dim"))
        for check in p.checks:
            console.print(Text(f"[{'OK' if check.ok else 'FAIL'}] {check.text}"))
        console.print(
            f"{p.items} items, {p.requests} requests, {p.prompt_tokens:,} prompt tokens, "
            f"at most {p.items * p.max_gen_toks:,} generated"
        )
    text = "not measured in this run yet" if seconds is None else f"about {seconds:.0f} s, loading apart"
    console.print(f"time for one model: {text}")


def _show_comparisons(console: Console, comparisons: list[Comparison]) -> None:
    for c in comparisons:
        console.print(Text(c.words))
        console.print(Text(f"  unpaired z = {c.unpaired_z:+.2f}, p = {c.unpaired_p:.3g}", style="dim"))
        if c.recovery is not None:
            ends = c.recovery_interval
            interval = f" ({100 * ends[0]:.1f} to {100 * ends[1]:.1f})" if ends else ""
            console.print(Text(f"  recovery {100 * c.recovery:.1f} %{interval}", style="dim"))
        if c.unmatched_base or c.unmatched_candidate:
            console.print(
                Text(
                    f"  left out: {c.unmatched_base} items only in {c.base}, {c.unmatched_candidate} only in {c.candidate}"
                )
            )
