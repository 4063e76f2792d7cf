"""`score`: lm-eval on several models and tasks in one process, into one run folder, resumable.

    runs/NAME/lm_eval/RECIPE/results_DATE.json, samples_TASK_DATE.jsonl    as lm-eval writes them
    runs/NAME/results/accuracy__RECIPE__TASK.json                          one line of the scoreboard each

A model is loaded once for all its tasks; a finished model x task is not run again unless asked.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from exaone_nb import catalog
from exaone_nb.errors import WorkbookError
from exaone_nb.event_loop import outside_event_loop
from exaone_nb.results import RunFolder
from exaone_nb.score import backends
from exaone_nb.score.outcomes import count_outcomes, main_metric
from exaone_nb.score.samples import ItemScores, items_of, perplexity_of
from exaone_nb.score.settings import Settings
from exaone_nb.score.tasks import find_tasks, load_tasks
from exaone_nb.statistics.bootstrap import bootstrap, ratio_of_sums
from exaone_nb.statistics.estimate import Estimate

KIND = "accuracy"


@dataclass(frozen=True)
class Score:
    """One model on one task: the main metric over its items, with the 95 % interval that `interval_kind` names.

    `outcomes` counts correct, wrong, unparsable, truncated and empty; they add up to n. `scores` holds every
    metric and filter of the task. `resumed` says that an earlier run of the same settings is shown.
    """

    recipe: str
    task: str
    metric: str
    estimate: Estimate
    interval_kind: str
    outcomes: dict[str, int]
    scores: dict[str, float]
    samples_file: str
    seconds: float
    resumed: bool = False

    @classmethod
    def from_result(cls, result: dict[str, Any]) -> Score:
        details = result["details"]
        return cls(
            recipe=result["recipe"],
            task=result["label"],
            metric=details["metric"],
            estimate=Estimate(result["value"], *result["interval"], n=result["n"]),
            interval_kind=result["interval_kind"],
            outcomes=details["outcomes"],
            scores=details["scores"],
            samples_file=details["samples_file"],
            seconds=details["seconds"],
            resumed=True,
        )

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, with the estimate as `value`, `n` and `interval`."""
        document = asdict(self)
        value, low, high, n = document.pop("estimate").values()
        return document | {"value": value, "n": n, "interval": [low, high]}


def score(
    models: Mapping[str, str | Path],
    tasks: Sequence[str],
    run: RunFolder,
    settings: Settings | None = None,
    *,
    include: str | Path | None = None,
    force: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> list[Score]:
    """Score every model (recipe name -> folder, catalog name or hub id) on every task; one Score each.

    Groups and tags are opened into their tasks. `report` gets a line when a model is loaded and when it is done.
    Nothing is written for a model that fails. Raises UsageError for unknown tasks, WorkbookError for a model or
    an endpoint that does not work.
    """
    settings = settings or Settings()
    manager = find_tasks(tasks, include)
    wanted = list(load_tasks(manager, tasks)["tasks"])
    scores: list[Score] = []
    for recipe, model in models.items():
        place = str(model) if settings.backend.startswith("server") else catalog.weights_folder(model)
        identity = str(model) if isinstance(place, str) else fingerprint(place)
        done = {} if force else _finished(run, recipe, settings, identity)
        pending = [name for name in wanted if name not in done]
        scores += [done[name] for name in wanted if name in done]
        if pending:
            scores += _score_one(recipe, place, identity, pending, manager, settings, run, report)
        else:
            report(f"{recipe}: all {len(wanted)} tasks were scored before")
    return scores


def fingerprint(folder: Path) -> str:
    """A model folder's identity: its small files' content, and each weight file's name, size and header."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix == ".safetensors":
            with open(path, "rb") as handle:
                # The header and the first tensors; whole files would be read twice for nothing.
                digest.update(f"{path.name} {path.stat().st_size}".encode() + handle.read(1 << 20))
                handle.seek(max(0, path.stat().st_size - (1 << 20)))
                digest.update(handle.read())
        elif path.suffix in (".json", ".jinja"):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _finished(run: RunFolder, recipe: str, settings: Settings, identity: str) -> dict[str, Score]:
    wanted = {"settings": settings.fingerprint(), "model_fingerprint": identity}
    return {
        result["label"]: Score.from_result(result)
        for result in run.read_results(KIND)
        if result["recipe"] == recipe
        and {name: result["details"].get(name) for name in wanted} == wanted
        and (run.path / result["details"]["samples_file"]).is_file()
    }


def _score_one(
    recipe: str,
    place: str | Path,
    identity: str,
    names: Sequence[str],
    manager: Any,
    settings: Settings,
    run: RunFolder,
    report: Callable[[str], None],
) -> list[Score]:
    """Load one model, run the named tasks, write lm-eval's files and our results."""
    started = time.perf_counter()
    with backends.opened(place, settings) as lm, backends.asking(settings):
        loading = time.perf_counter() - started
        report(f"{recipe}: loaded in {loading:.1f} s; scoring {', '.join(names)}")
        # lm-eval's client for servers starts an event loop of its own.
        results = outside_event_loop(lambda: _simple_evaluate(lm, names, settings, manager))
        generated = getattr(lm, "generated_tokens", 0)
    seconds = time.perf_counter() - started
    samples_files = _write_lm_eval_files(results, recipe, names, run, settings)
    parameters = settings.asked()
    for name in names:
        samples = results["samples"][name]
        first = samples[0]
        metric = main_metric(first["metrics"], (sample["filter"] for sample in samples))
        rows = [sample for sample in samples if sample["filter"] == metric.filter]
        items = items_of(name, metric, rows)
        estimate, interval_kind = estimate_of(items)
        every = results["results"][name]
        run.write_result(
            KIND,
            recipe=recipe,
            model=Path(str(place)).name,
            label=name,
            value=estimate.value,
            unit="fraction" if not items.is_perplexity else metric.metric,
            n=items.n,
            interval=(estimate.low, estimate.high),
            interval_kind=interval_kind,
            parameters=parameters,
            details={
                "metric": str(metric),
                "scores": {k: v for k, v in every.items() if isinstance(v, float) and "stderr" not in k},
                "stderr": {k: v for k, v in every.items() if isinstance(v, float) and "stderr" in k},
                "filters": sorted({sample["filter"] for sample in samples}),
                "samples_file": samples_files[name],
                "task_version": results["versions"].get(name),
                "num_fewshot": results["n-shot"].get(name),
                "outcomes": count_outcomes(rows, items.values),
                "truncated": sum(_was_cut(row) for row in rows),
                "items": dict(zip(_item_names(rows), items.values.tolist(), strict=True)),
                "settings": settings.fingerprint(),
                "model_fingerprint": identity,
                "seconds": seconds,
                "loading_seconds": loading,
                "scored_together": list(names),
                "generated_tokens": generated,
            },
        )
    report(f"{recipe}: done in {seconds:.1f} s")
    found = {r["label"]: r for r in run.read_results(KIND) if r["recipe"] == recipe}
    return [replace(Score.from_result(found[name]), resumed=False) for name in names]


def _simple_evaluate(lm: Any, names: Sequence[str], settings: Settings, manager: Any) -> dict[str, Any]:
    import lm_eval

    return lm_eval.simple_evaluate(
        model=lm,
        # Each model gets freshly built tasks, but the index of all tasks is read once: it takes seconds.
        tasks=list(load_tasks(manager, names)["tasks"].values()),
        task_manager=manager,
        num_fewshot=settings.num_fewshot,
        limit=settings.limit,
        log_samples=True,
        bootstrap_iters=1000,
        system_instruction=settings.system or None,
        apply_chat_template=settings.chat_template,
        fewshot_as_multiturn=settings.fewshot_as_multiturn and settings.chat_template,
        gen_kwargs=dict(settings.gen_kwargs) or None,
        random_seed=settings.seed,
        numpy_random_seed=settings.seed,
        torch_random_seed=settings.seed,
        fewshot_random_seed=settings.seed,
    )


def _write_lm_eval_files(
    results: dict[str, Any], recipe: str, names: Sequence[str], run: RunFolder, settings: Settings
) -> dict[str, str]:
    """lm-eval's own results and samples files; returns task -> samples file, relative to the run folder."""
    from lm_eval.loggers import EvaluationTracker

    samples = results["samples"]
    document = {name: value for name, value in results.items() if name != "samples"}
    document["config"] |= {
        "model": settings.backend,
        "model_args": {"pretrained": recipe, **settings.asked()},
    }
    folder = run.path / "lm_eval" / recipe
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=folder) as staging:
        tracker = EvaluationTracker(output_path=staging)
        tracker.general_config_tracker.log_experiment_args(
            model_source=settings.backend,
            model_args={"pretrained": recipe},
            system_instruction=settings.system or None,
            chat_template=None,
            fewshot_as_multiturn=settings.fewshot_as_multiturn,
        )
        tracker.save_results_aggregated(results=document, samples=samples)
        for name in names:
            # lm-eval rewrites the samples it saves, so it gets copies of their first level.
            tracker.save_results_samples(name, [dict(sample) for sample in samples[name]])
        written = {path.name: path for path in Path(staging).rglob("*.json*")}
        files = {name: f"samples_{name}_{tracker.date_id}.jsonl" for name in names}
        # lm-eval only warns when it cannot write.
        missing = sorted({*files.values(), f"results_{tracker.date_id}.json"} - set(written))
        if missing:
            raise WorkbookError(
                f"lm-eval could not write {', '.join(missing)} for {recipe}.",
                remedy="Check free disk space and permissions in the run folder.",
            )
        for name, path in sorted(
            written.items(), reverse=True
        ):  # samples first, the results that name them last
            path.replace(folder / name)
    return {name: (folder / file).relative_to(run.path).as_posix() for name, file in files.items()}


def estimate_of(items: ItemScores) -> tuple[Estimate, str]:
    """A score with its 95 % interval, and the kind of interval: Wilson for right-or-wrong items, else the bootstrap."""
    if items.is_binary:
        from statsmodels.stats.proportion import proportion_confint

        low, high = proportion_confint(int(items.values.sum()), items.n, alpha=0.05, method="wilson")
        return Estimate(items.score, float(low), float(high), items.n), "95 % Wilson"
    if not items.is_perplexity:
        return bootstrap(items.values), "95 % bootstrap over items"
    ends = bootstrap((items.values, items.weights), ratio_of_sums)
    low, high = sorted(perplexity_of(items.name.metric, end) for end in (ends.low, ends.high))
    return Estimate(items.score, low, high, items.n), "95 % bootstrap over items"


def _was_cut(row: dict[str, Any]) -> bool:
    response = row["resps"][0][0] if row.get("resps") and row["resps"][0] else None
    return getattr(response, "finish_reason", "") in ("length", "prompt")


def _item_names(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The data set's own ids where it has unique ones, else lm-eval's running numbers."""
    ids = [str(row["doc"].get("id", "")) if isinstance(row["doc"], dict) else "" for row in rows]
    return ids if len(set(ids)) == len(ids) and all(ids) else [str(row["doc_id"]) for row in rows]
