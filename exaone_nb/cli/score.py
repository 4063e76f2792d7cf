"""Verbs of the score wing: score and compare here, pack and check in submission."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from exaone_nb.cli import submission
from exaone_nb.cli.output import JsonFlag, console, emit
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.messages import say
from exaone_nb.results import RunFolder
from exaone_nb.show.terminal import drawn

if TYPE_CHECKING:
    from exaone_nb.score.compare import Comparison
    from exaone_nb.score.evaluate import Score
    from exaone_nb.score.preview import TaskPreview

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
        from exaone_nb.score.preview import expected_seconds, preview_tasks

        found = preview_tasks(next(iter(by_name.values())), names, settings, include)
        seconds = expected_seconds(run, found)
        document = {"previews": [p.as_json() for p in found], "expected_seconds_per_model": seconds}
        emit(as_json, document, lambda console: _show_previews(console, found, seconds))
        if any(p.problems for p in found):
            raise WorkbookError(
                say("The prompt is not as it should be."), remedy=say("See the checks above.")
            )
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
    emit(as_json, {"scores": [s.as_json() for s in scores]}, lambda console: _show_scores(console, scores))


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
    from exaone_nb.score.compare import compare_all
    from exaone_nb.score.samples import read_named

    runs = [RunFolder.at(out), *(RunFolder.at(name.strip()) for name in seeds.split(",") if name.strip())]
    (base, scored), *others = read_named(models or [], runs, task, metric, filter_name).items()
    found = compare_all(
        scored, dict(others), base_name=base, alpha=alpha, different_prompts=different_prompts
    )
    emit(
        as_json,
        {"comparisons": [c.as_json() for c in found]},
        lambda console: _show_comparisons(console, found),
    )


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
        told = say("{option} is not JSON: {reason}", option=option, reason=str(error))
        raise UsageError(told, remedy=f"{option} '{{\"temperature\": 0}}'") from error
    if not isinstance(document, dict):
        kind = type(document).__name__
        raise UsageError(
            say("{option} is a {kind}.", option=option, kind=kind), expected=say("a JSON object.")
        )
    return document


def _plan(drop: float, differing: float, items: int, alpha: float, as_json: bool) -> None:
    from exaone_nb.statistics import planning

    needed = planning.items_needed(drop, differing, alpha=alpha)
    smallest = planning.smallest_drop(items, differing, alpha=alpha)
    document = {
        "drop": drop,
        "share_differing": differing,
        "alpha": alpha,
        "power": planning.POWER,
        "items_needed": needed,
        "items": items,
        "smallest_drop": smallest,
    }

    def human(console: Console) -> None:
        fields = {"points": 100 * drop, "differing": differing, "items": needed, "power": planning.POWER}
        console.print(
            say(
                "A drop of {points:g} points, when the models differ on a share of {differing:g}, needs {items:,} items "
                "(power {power:g}, level {level:g}).",
                **fields,
                level=alpha,
            )
        )
        if smallest is None:
            console.print(say("{items:,} items show no drop.", items=items))
        else:
            console.print(
                say("{n:,} items show drops of {p:.2f} points and more.", n=items, p=100 * smallest)
            )

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
    if seconds is None:
        console.print(say("time for one model: not measured in this run yet"))
    else:
        console.print(say("time for one model: about {seconds:.0f} s, loading apart", seconds=seconds))


def _show_comparisons(console: Console, comparisons: list[Comparison]) -> None:
    from exaone_nb.score.comparison_views import verdict_table

    for c in comparisons:
        console.print(Text(c.words))
        if c.unmatched_base or c.unmatched_candidate:
            counts = say(
                "{c.unmatched_base} items only in {c.base}, {c.unmatched_candidate} only in {c.candidate}",
                c=c,
            )
            console.print(Text(say("  left out: {counts}", counts=counts)))
    console.print(drawn(verdict_table(comparisons)))
