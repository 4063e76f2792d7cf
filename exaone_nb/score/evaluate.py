"""`score`: lm-eval on several models and tasks in one process, into one run folder, resumable.

    runs/NAME/lm_eval/RECIPE/results_DATE.json, samples_TASK_DATE.jsonl    as lm-eval writes them
    runs/NAME/results/accuracy__RECIPE__TASK.json                          one line of the scoreboard each

A model is loaded once for all its tasks; a finished model x task is not run again unless asked.
"""

import hashlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from exaone_nb import catalog
from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say
from exaone_nb.results import RunFolder
from exaone_nb.score import backends, lm_eval_adapter
from exaone_nb.score.items import ItemScores, items_of, perplexity_of
from exaone_nb.score.kept_answers import KeptAnswers
from exaone_nb.score.outcomes import flags_of, main_metric, mostly_unusable, unusable_words, warning_of
from exaone_nb.score.preview import BeforeRun, unaskable
from exaone_nb.score.settings import Settings
from exaone_nb.statistics.estimate import Estimate
from exaone_nb.statistics.jackknife import jackknife
from exaone_nb.threads import outside_event_loop

KIND = "accuracy"


@dataclass(frozen=True)
class Score:
    """One model on one task: the main metric over its items, with the 95 % interval that `interval_kind` names.

    `outcomes` counts correct, wrong and unusable answers, which add up to n, and the kinds of the unusable ones, of which
    several may hold together. `scores` holds every metric and filter of the task. `resumed` says that an earlier run of
    the same settings is shown.
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
    runs_as: str = ""
    resumed: bool = False

    @classmethod
    def from_result(cls, result: dict[str, Any]) -> Self:
        kept = ("metric", "outcomes", "scores", "samples_file", "seconds", "runs_as")
        details = {name: result["details"][name] for name in kept if name in result["details"]}
        same = {name: result[name] for name in ("recipe", "interval_kind")}
        return cls(task=result["label"], estimate=measured(result), **same, **details)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, with the estimate as `value`, `n` and `interval`."""
        document = asdict(self)
        value, low, high, n = document.pop("estimate").values()
        return document | {"value": value, "n": n, "interval": [low, high]}


def measured(result: dict[str, Any]) -> Estimate:
    """A result file's value with its interval, where it has one."""
    low, high = result["interval"] or (None, None)
    return Estimate(result["value"], low, high, int(result.get("n") or 0))


def score(
    models: Mapping[str, str | Path],
    tasks: Sequence[str],
    run: RunFolder,
    settings: Settings | None = None,
    *,
    include: str | Path | None = None,
    force: bool = False,
    report: Callable[[str], None] = lambda line: None,
    without_refused: bool = False,
) -> list[Score]:
    """Score every model (recipe name -> folder, catalog name or hub id) on every task; one Score each.

    Groups and tags are opened into their tasks. Every prompt is checked before the first model is loaded. `report` gets a
    line when a model is loaded and when it is done, what is odd about prompts and answers, and, `without_refused`, one for
    a model after the first that the engine refuses, and for a task that it cannot be asked, which are then left out. Of a model that fails, or is killed, only the
    answers it gave are kept, and the next call goes on from there. Raises UsageError for unknown tasks and a context
    longer than the model's, WorkbookError for prompts that would be cut and for a model or an endpoint that does not work.
    """
    settings = settings or Settings()
    manager = lm_eval_adapter.find_tasks(tasks, include)
    loaded = lm_eval_adapter.load_tasks(manager, tasks)
    wanted, todo, before = list(loaded), [], BeforeRun(settings)
    for recipe, model in models.items():
        place = str(model) if settings.backend.startswith("server") else catalog.weights_folder(model)
        identity = str(model) if isinstance(place, str) else fingerprint(place)
        asked = backends.suited(place, settings)
        lost = unaskable(loaded, asked.backend) if without_refused else []
        if lost:
            report(say("{recipe}: {asked} gives no log-likelihoods of a prompt, so {tasks} is left out.", recipe=recipe,
                       asked=asked.backend, tasks=", ".join(lost)))  # fmt: skip
        names = [name for name in wanted if name not in lost]
        done = {} if force else _finished(run, recipe, asked, identity)
        pending = [name for name in names if name not in done]
        todo.append((recipe, place, identity, asked, names, pending, done))
        if pending:
            for line in before.check(recipe, place, {name: loaded[name] for name in pending}, asked.backend):
                report(line)
    del loaded  # with every prompt of every task
    scores: list[Score] = []
    for recipe, place, identity, asked, names, pending, done in todo:
        if pending:
            try:
                _score_one(recipe, place, identity, pending, manager, asked, run, report, force)
            except WorkbookError as error:
                if not without_refused or recipe == next(iter(models)):
                    raise
                report(say("{recipe} is left out: {why}", recipe=recipe, why=error.got))
                continue
        else:
            report(say("{recipe}: all {n} tasks were scored before", recipe=recipe, n=len(names)))
        found = _finished(run, recipe, asked, identity)
        scores += [replace(found[name], resumed=name in done) for name in names]
        for one in scores[len(scores) - len(names) :]:
            source = say("{recipe} on {task}", recipe=recipe, task=one.task)
            if warning := warning_of(one.outcomes, source):
                report(warning)
            elif kind := mostly_unusable(one.outcomes, one.estimate.n):
                report(unusable_words(kind, source))
    return scores


def fingerprint(folder: Path) -> str:
    """A model folder's identity: its small files' content, and each weight file's name, size and header."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".safetensors", ".gguf"):
            with open(path, "rb") as handle:
                # The header and the first tensors; whole files would be read twice for nothing.
                digest.update(f"{path.name} {path.stat().st_size}".encode() + handle.read(1 << 20))
                handle.seek(max(0, path.stat().st_size - (1 << 20)))
                digest.update(handle.read())
        elif path.suffix in (".json", ".jinja"):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def answers_name(identity: str, settings: Settings) -> str:
    """What answers depend on beside the request itself: the model, the settings, and lm-eval with what it does to texts.

    Of a server only a name is known, and the next server may serve another model by it.
    """
    parts = (identity, settings.base_url, settings.fingerprint(), lm_eval_adapter.version())
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]


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
    force: bool,
) -> None:
    """Load one model, run the named tasks, write lm-eval's files and our results."""
    started = time.perf_counter()
    folder = run.path / "lm_eval" / recipe
    kept = KeptAnswers(folder / f"answers_{answers_name(identity, settings)}.jsonl")
    if force:
        kept.remove()
    with backends.opened(place, settings) as lm:
        lm.kept = kept
        loading = time.perf_counter() - started
        report(
            say(
                "{recipe}: loaded in {seconds:.1f} s; scoring {tasks}",
                recipe=recipe,
                seconds=loading,
                tasks=", ".join(names),
            )
        )
        if len(kept):
            report(say("{recipe}: {n:,} answers of an earlier start are kept", recipe=recipe, n=len(kept)))
        # Each model gets freshly built tasks, but the index of all tasks is read once: it takes seconds.
        tasks = lm_eval_adapter.load_tasks(manager, names)
        # lm-eval's client for servers starts an event loop of its own.
        results = outside_event_loop(lambda: lm_eval_adapter.evaluate(lm, tasks, manager, settings))
        generated = getattr(lm, "generated_tokens", 0)
    seconds = time.perf_counter() - started
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=folder) as staging:
        written = lm_eval_adapter.write_files(results, Path(staging), recipe, names, settings)
        # Samples first, the results that name them last.
        for name in (*names, ""):
            written[name].replace(folder / written[name].name)
    for name in names:
        samples = results["samples"][name]
        filters = dict.fromkeys(sample["filter"] for sample in samples)
        metric = main_metric(samples[0]["metrics"], filters)
        rows = [sample for sample in samples if sample["filter"] == metric.filter]
        items = items_of(name, metric, rows)
        estimate, interval_kind = estimate_of(items)
        every = {k: v for k, v in results["results"][name].items() if isinstance(v, float)}
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
            parameters=settings.asked(),
            details={
                "metric": str(metric),
                "scores": {k: v for k, v in every.items() if "stderr" not in k},
                "stderr": {k: v for k, v in every.items() if "stderr" in k},
                "filters": sorted(filters),
                "samples_file": (folder / written[name].name).relative_to(run.path).as_posix(),
                "task_version": results["versions"].get(name),
                "num_fewshot": results["n-shot"].get(name),
                "outcomes": items.outcomes,
                "truncated": sum("truncated" in flags_of(row) for row in rows),
                "items": dict(zip(_item_names(rows, items), items.values.tolist(), strict=True)),
                "settings": settings.fingerprint(),
                "model_fingerprint": identity,
                "runs_as": backends.runs_as(place, settings),
                "seconds": seconds,
                "loading_seconds": loading,
                "scored_together": list(names),
                "generated_tokens": generated,
                "answers_from_before": kept.used,
                "generation_config": backends.generation_config(place, settings),
            },
        )
    kept.remove()
    report(say("{recipe}: done in {seconds:.1f} s", recipe=recipe, seconds=seconds))


def estimate_of(items: ItemScores) -> tuple[Estimate, str]:
    """A score with its 95 % interval, and the kind of interval: Wilson for right-or-wrong items, else the jackknife."""
    if items.is_binary:
        from statsmodels.stats.proportion import proportion_confint

        low, high = proportion_confint(int(items.values.sum()), items.n, alpha=0.05, method="wilson")
        return Estimate(items.score, float(low), float(high), items.n), "95 % Wilson"
    if not items.is_perplexity:
        within = items.values.min() >= 0 and items.values.max() <= 1
        return jackknife(
            items.values, ends=(0, 1) if within else None
        ).interval(), "95 % jackknife over items"
    ends = jackknife(items.values, items.weights).interval()
    low, high = sorted(perplexity_of(items.name.metric, end) for end in (ends.low, ends.high))
    return Estimate(items.score, low, high, items.n), "95 % jackknife over items"


def _item_names(rows: Sequence[dict[str, Any]], items: ItemScores) -> Sequence[str]:
    """The data set's own ids where it has unique ones, else lm-eval's running numbers; of instructions their keys."""
    if items.of_prompts:
        return items.keys
    ids = [str(row["doc"].get("id", "")) if isinstance(row["doc"], dict) else "" for row in rows]
    return ids if len(set(ids)) == len(ids) and all(ids) else [str(row["doc_id"]) for row in rows]
