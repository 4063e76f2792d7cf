"""Running chapters into one run folder: in order, side by side, continuing after failures, repeating nothing.

    report = run(["05"], {"MODEL": "nano"}, out="nano")
    report.exit_code, report.pages

`execution` decides what starts when and executes it, `record` is what is known of it, `store` keeps and shows it.
"""

import contextlib
import functools
import importlib.util
import math
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exaone_nb.catalog import resolve, weights_folder
from exaone_nb.errors import Terminated, UsageError, WorkbookError
from exaone_nb.gpus import find_gpu
from exaone_nb.messages import say
from exaone_nb.processes import available_bytes
from exaone_nb.results import RunFolder
from exaone_nb.workbook import cache, record, store
from exaone_nb.workbook.chapters import Chapter, discover, in_order, select
from exaone_nb.workbook.cost import Cost
from exaone_nb.workbook.execution import Executor, Schedule
from exaone_nb.workbook.record import ChapterRecord, RunRecord, mode_of
from exaone_nb.workbook.values import values_for

SHARE_OF_MEMORY = 0.8
MODELS = "models and files"  # the part of a chapter's key that names its models
# What executing and rendering cannot do without; the light installation has none of it.
NEEDED = ("papermill", "nbclient", "ipykernel", "nbconvert")


@dataclass(frozen=True)
class Event:
    """Something to tell the person who waits: `kind` is start, cell, the state in which a chapter ended, or, before the
    first chapter that needs them, `fetch` or `unfetched` for a model's weights.

    `notes` of a start say what the chapter is predicted to cost, and what it has to do without.
    """

    kind: str
    chapter: Chapter
    text: str = ""
    done: int = 0
    total: int = 0
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class RunReport:
    """What `run` hands back. `pages` are what was rendered: index.html, and report.html and report.pdf if asked."""

    path: Path
    record: RunRecord
    outcomes: tuple[ChapterRecord, ...]
    pages: tuple[Path, ...]

    @property
    def exit_code(self) -> int:
        return 0 if self.record.status == "ok" else 1

    def as_dict(self) -> dict[str, Any]:
        pages = [str(page) for page in self.pages]
        how = {"run": str(self.path), "status": self.record.status, "seconds": self.record.seconds}
        return how | {"report": pages[0], "pages": pages, "chapters": [c.outcome() for c in self.outcomes]}


def predict(
    chapters: Sequence[str],
    parameters: Mapping[str, Any],
    out: str | Path = "",
    *,
    folder: str | Path = "",
    card: str = "",
) -> dict[str, tuple[Cost, dict[str, Any]]]:
    """What each chapter would cost and which parameters would be cut, by its name; nothing is executed or written.

    With the speeds that this run's first chapter measured, else recorded ones; with `card`, those of its data sheet. Raises
    UsageError for a bad call.
    """
    chosen = in_order(select(discover(folder), chapters))
    values = values_for(chosen, parameters)
    executor = Executor(folder_for(out, _model_of(chosen, values)), values)
    return {chapter.slug: executor.predict(chapter, find_gpu(card) if card else None) for chapter in chosen}


def folder_for(out: str | Path, model: str) -> Path:
    """The run folder that `out` names (`RunFolder.at`). Default: named after the model."""
    return RunFolder.at(out if str(out) else re.sub(r"[^A-Za-z0-9.-]+", "_", Path(model).name or "run")).path


def run(
    chapters: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
    out: str | Path = "",
    jobs: int = 0,
    force: bool = False,
    *,
    folder: str | Path = "",
    timeout_s: float | None = None,
    memory_gb: float | None = None,
    single: bool = False,
    pdf: bool = False,
    progress: Callable[[Event], None] = lambda event: None,
) -> RunReport:
    """Execute chapters into a run folder and render the report.

    `jobs` 0 means: as many light chapters at once as there are cores, four at most. `memory_gb` bounds the sum of
    what chapters running at once take (default: 80 % of what is available). `timeout_s` overrides the limit that is
    computed for each chapter. Everything is checked before anything starts; then a chapter that fails is recorded, and
    the ones that read from it run with what it left. Raises UsageError for a bad call, WorkbookError when another run
    uses the folder, ModuleNotFoundError before anything is written where papermill or what it needs is not installed,
    KeyboardInterrupt after an orderly end on Ctrl-C, and its kind Terminated after one on SIGTERM.
    """
    for package in NEEDED:
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    known = discover(folder)
    chosen = in_order(select(known, chapters))
    if not chosen:
        got = say("There are no chapters in {folder}.", folder=folder)
        raise UsageError(got, expected="notebooks named NN_name.ipynb.")
    given = dict(parameters or {})
    values = values_for(chosen, given)
    _require_limits(jobs, timeout_s, memory_gb)
    if pdf:
        store.require_browser()
    model = _model_of(chosen, values)
    path = folder_for(out, model)
    if path.exists() and not path.is_dir():
        got = say("{path} is a file.", path=path)
        raise UsageError(got, expected="a folder for the run.", remedy="Choose another --out.")
    _fetch_weights(model, chosen, progress)
    about = (model, mode_of(model), cache.fingerprint_model(model), record.now(), record.origin())
    call = _Call(path, RunRecord(path.name, given, *about), Executor(path, values, timeout_s), progress)
    budget = memory_gb * 1e9 if memory_gb else SHARE_OF_MEMORY * available_bytes()
    at_once = jobs or min(4, os.cpu_count() or 1)
    schedule = Schedule(chosen, at_once, budget, call.executor.memory_bytes)
    with store.exclusive(path), sigterm_is_an_interrupt():
        try:
            call.go(schedule, force)
        finally:
            made = store.write_report(path, call.record, call.executor.scrubber, single=single, pdf=pdf)
    return RunReport(path, call.record, tuple(call.record.chapters[c.number] for c in chosen), made)


@dataclass
class _Call:
    """One call of `run`: hands chapters to the executor, writes down what came of them, and tells who waits."""

    path: Path
    record: RunRecord
    executor: Executor
    progress: Callable[[Event], None]
    _lock: Any = field(default_factory=threading.Lock)

    def go(self, schedule: Schedule, force: bool) -> None:
        """Run everything that can run; leave no process behind, whatever happens."""
        with contextlib.suppress(WorkbookError):
            self.record.chapters = record.read(self.path).chapters
        began, self._ended = time.monotonic(), dict[str, ChapterRecord]()
        try:
            self._save()
            schedule.run(functools.partial(self._prepare, force), self._end, self.executor.stop)
        except BaseException:
            self._interrupted(schedule.chapters)
            raise
        finally:
            states = {c.status for c in self._ended.values()}
            stopped = len(self._ended) < len(schedule.chapters) or "interrupted" in states
            self.record.status = "interrupted" if stopped else "failed" if states - {"ok"} else "ok"
            self.record.ended, self.record.seconds = record.now(), round(time.monotonic() - began, 3)
            self._save()

    def _prepare(self, force: bool, chapter: Chapter) -> Callable[[], ChapterRecord] | None:
        """What executes a chapter; None when nothing changed since the last time, or it would read another model's results.

        A chapter that did not finish keeps what it made, and those that read it go on with that.
        """
        lost = [n for n in chapter.after if n in self._ended and self._ended[n].status != "ok"]
        ended = [self._ended[number] for number in lost]
        if foreign := [one.number for one in ended if one.stale or one.status == "skipped"]:
            why = say(
                "chapter {first} did not finish, and what it would read is an earlier run's, of another model. "
                "Repair chapter {first} and run again; finished chapters are kept.",
                first=foreign[0],
            )
            self._end(chapter, self._begin(chapter, "skipped", why))
            return None
        before, begun = self.record.chapters.get(chapter.number), self._begin(chapter)
        begun.missing = tuple(lost)
        begun.why = "--force" if force else store.why_stale(self.path, chapter, before, begun.key_parts)
        if before is not None and not begun.why:
            before.kept = True
            store.refresh_prose(self.path, chapter, before, self.executor.scrubber)
            self._end(chapter, before)
            return None

        def on_cell(done: int, total: int) -> None:
            self._tell(Event("cell", chapter, "", done, total))

        self._tell(Event("start", chapter, begun.why, notes=begun.notes))
        self.record.chapters[chapter.number] = begun
        self._save()
        return functools.partial(self.executor.execute, chapter, begun, on_cell)

    def _begin(self, chapter: Chapter, *state: str) -> ChapterRecord:
        """The chapter's new record; in `stale`, what an earlier run left of another model."""
        before, begun = self.record.chapters.get(chapter.number), self.executor.begin(chapter, *state)
        if before is not None:
            same = before.key_parts.get(MODELS) == begun.key_parts.get(MODELS)
            begun.stale = before.stale if same else before.stale | before.wrote
        return begun

    def _end(self, chapter: Chapter, made: ChapterRecord) -> None:
        if made.was_executed:  # what was made anew is no longer another model's
            found = {} if made.status == "ok" else made.wrote
            made.stale = {path: mark for path, mark in made.stale.items() if found.get(path) == mark}
        self._ended[chapter.number] = self.record.chapters[chapter.number] = made
        self._save()
        self._tell(Event(made.state, chapter, made.why_not))

    def _interrupted(self, chapters: Sequence[Chapter]) -> None:
        for chapter in chapters:
            made = self.record.chapters.get(chapter.number)
            if made is not None and made.status == "running":
                made.status, made.why = "interrupted", say("not finished; the same command continues here")
                self._end(chapter, made)

    def _tell(self, event: Event) -> None:
        with self._lock:  # cells are told of by the threads that execute them
            self.progress(event)

    def _save(self) -> None:
        self.record.write(self.path, self.executor.scrubber)


@contextlib.contextmanager
def sigterm_is_an_interrupt() -> Iterator[None]:
    """SIGTERM raises Terminated in the main thread, once, as Ctrl-C raises KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _require_limits(jobs: int, timeout_s: float | None, memory_gb: float | None) -> None:
    """Raise UsageError for limits that nothing could keep to."""
    if jobs < 0:
        got = say("--jobs {jobs}", jobs=jobs)
        raise UsageError(got, expected="0 (automatic) or a number of chapters at once.")
    seconds, gb = say("a number of seconds above 0."), say("a number of GB above 0.")
    for name, value, wanted in (("--timeout", timeout_s, seconds), ("--memory", memory_gb, gb)):
        if value is not None and not 0 < value < math.inf:
            remedy = say("Leave {name} out for the usual.", name=name)
            raise UsageError(say("{name} {value:g}", name=name, value=value), expected=wanted, remedy=remedy)


def _fetch_weights(model: str, chapters: Sequence[Chapter], tell: Callable[[Event], None]) -> None:
    """Have a hub model's weights on this disk before the first chapter, where one of them loads weights.

    So all chapters see the same model, and no time limit counts a download. What goes wrong is told, and no more: the
    chapters that need no weights still run, and the others say it themselves.
    """
    loading = [chapter for chapter in chapters if chapter.weights]
    with contextlib.suppress(UsageError):
        place = resolve(model)
        if loading and place.path is None and place.hub_id and not place.local_weights():
            tell(Event("fetch", loading[0], place.hub_id))
            try:
                weights_folder(model)
            except WorkbookError as error:
                tell(Event("unfetched", loading[0], str(error)))


def _model_of(chapters: Sequence[Chapter], values: Mapping[str, Mapping[str, Any]]) -> str:
    """The model that most of the run is about: the first one that the first chapter with a model parameter names."""
    for chapter in chapters:
        everything = {p.name: p.default for p in chapter.parameters} | values[chapter.number]
        if models := cache.models_of(chapter, everything):
            return models[0]
    return ""
