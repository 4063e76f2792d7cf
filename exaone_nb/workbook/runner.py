"""Running chapters into one run folder: in order, side by side, continuing after failures, repeating nothing.

    report = run(["05"], {"MODEL": "nano"}, out="nano")
    report.exit_code, report.index

Light chapters share warm kernels and run side by side. A heavy chapter gets a fresh process and the machine for
itself: what it measures must not be disturbed by a neighbour.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import re
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exaone_nb.errors import Terminated, UsageError, WorkbookError
from exaone_nb.event_loop import outside_event_loop
from exaone_nb.paths import NOTEBOOKS, RUNS
from exaone_nb.workbook import cache, record, store
from exaone_nb.workbook.chapters import Chapter, discover, in_order, select
from exaone_nb.workbook.explain import Failure, explain
from exaone_nb.workbook.names import check_chapter
from exaone_nb.workbook.parameters import RUN_DIR, coerce, unknown
from exaone_nb.workbook.passport import mode_of
from exaone_nb.workbook.report.pdf import require_browser
from exaone_nb.workbook.scrub import Scrubber

SHARE_OF_MEMORY = 0.8


@dataclass(frozen=True)
class Event:
    """Something to tell the person who waits: `kind` is start, cell, or one of the final states of a chapter."""

    kind: str
    chapter: Chapter
    text: str = ""
    done: int = 0
    total: int = 0


@dataclass(frozen=True)
class Outcome:
    """How one chapter ended: ok, cached, failed, skipped or interrupted."""

    number: str
    title: str
    status: str
    seconds: float = 0.0
    peak_bytes: int = 0
    why: str = ""
    failure: Failure | None = None


@dataclass(frozen=True)
class RunReport:
    """What `run` hands back. `pages` are what was rendered: index.html, and report.html and report.pdf if asked."""

    path: Path
    status: str
    seconds: float
    outcomes: tuple[Outcome, ...]
    pages: tuple[Path, ...]

    @property
    def index(self) -> Path:
        """The report's first page."""
        return self.pages[0]

    @property
    def exit_code(self) -> int:
        return 0 if self.status == "ok" else 1

    def as_dict(self) -> dict[str, Any]:
        """JSON document for `--json` and for sweeps."""
        chapters = [
            {
                "chapter": o.number,
                "title": o.title,
                "status": o.status,
                "seconds": round(o.seconds, 3),
                "peak_bytes": o.peak_bytes,
                "why": o.why,
                "failure": o.failure.as_dict() if o.failure else None,
            }
            for o in self.outcomes
        ]
        return {
            "run": str(self.path),
            "status": self.status,
            "seconds": round(self.seconds, 3),
            "report": str(self.index),
            "pages": [str(page) for page in self.pages],
            "chapters": chapters,
        }


def values_for(chapters: Sequence[Chapter], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Chapter number -> values that differ from nothing but were given, coerced.

    `NAME` goes to every chapter that has it, `05.NAME` or {"05": {NAME: …}} to one. Raises UsageError for a name
    that no selected chapter has, for a value that does not fit, and for a model, recipe, task or card that nobody knows.
    """
    flat: dict[tuple[str, str], Any] = {}
    for name, value in given.items():
        if isinstance(value, Mapping):
            flat |= {(str(name), str(inner)): v for inner, v in value.items()}
        else:
            number, dot, inner = str(name).rpartition(".")
            flat[(number, inner) if dot else ("", name)] = value
    values: dict[str, dict[str, Any]] = {chapter.number: {} for chapter in chapters}
    for (number, name), value in sorted(flat.items(), key=lambda item: item[0][0] != ""):
        if name == RUN_DIR:
            raise UsageError("RUN_DIR is set by the runner.", remedy="Name the run folder with --out.")
        targets = [c for c in chapters if not number or number in c.names]
        holders = [(c, p) for c in targets for p in c.parameters if p.name == name]
        if not holders:
            known = [p.name for c in targets for p in c.parameters]
            if not targets:
                raise UsageError(f"{number}.{name} names no selected chapter.", expected=", ".join(values))
            raise unknown(name, known)
        for chapter, parameter in holders:
            values[chapter.number][name] = coerce(parameter, value)
    for chapter in chapters:
        check_chapter(chapter, values[chapter.number])
    return values


def folder_for(out: str | Path, model: str) -> Path:
    """The run folder: a name under runs/, or a path when it contains a slash. Default: named after the model."""
    if not str(out):
        out = re.sub(r"[^A-Za-z0-9.-]+", "_", Path(model).name or "run")
    text = str(out)
    if "/" in text or os.sep in text or isinstance(out, Path):
        return Path(out).expanduser().absolute()
    if text in (".", ".."):
        raise UsageError(
            f"{text!r} is not a name for a run.", remedy="Give a name, or a path to a new folder."
        )
    return RUNS / text


def run(
    chapters: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
    out: str | Path = "",
    jobs: int = 0,
    force: bool = False,
    *,
    folder: str | Path = NOTEBOOKS,
    timeout_s: float | None = None,
    memory_gb: float | None = None,
    single: bool = False,
    pdf: bool = False,
    progress: Callable[[Event], None] = lambda event: None,
) -> RunReport:
    """Execute chapters into a run folder and render the report.

    `jobs` 0 means: as many light chapters at once as there are cores, four at most. `memory_gb` bounds the sum of
    what chapters running at once declare (default: 80 % of what is available). `timeout_s` overrides every
    chapter's own limit. Everything is checked before anything starts; then a chapter that fails is recorded and
    the ones that do not depend on it still run. Raises UsageError for a bad call, WorkbookError when another run
    uses the folder, KeyboardInterrupt after an orderly end on Ctrl-C, and its kind Terminated after one on SIGTERM.
    """
    known = discover(folder)
    chosen = in_order(select(known, chapters))
    if not chosen:
        raise UsageError(f"There are no chapters in {folder}.", expected="notebooks named NN_name.ipynb.")
    given = dict(parameters or {})
    values = values_for(chosen, given)
    _require_limits(jobs, timeout_s, memory_gb)
    if pdf:
        require_browser()
    model = _model_of(chosen, values)
    path = folder_for(out, model)
    if path.exists() and not path.is_dir():
        raise UsageError(
            f"{path} is a file.", expected="a folder for the run.", remedy="Choose another --out."
        )
    plan = _Plan(
        path=path,
        chapters=chosen,
        values=values,
        given=given,
        model=model,
        force=force,
        timeout_s=timeout_s,
        jobs=jobs or max(1, min(4, os.cpu_count() or 1)),
        memory_bytes=_memory_budget(memory_gb),
        progress=progress,
    )
    with store.exclusive(path):
        session = _Session(plan)
        try:
            outside_event_loop(lambda: asyncio.run(session.work()))
        except asyncio.CancelledError:  # the end of a SIGTERM; Ctrl-C is a KeyboardInterrupt already
            raise Terminated from None
        finally:
            pages = store.finish(path, session.record, session.scrubber, single=single, pdf=pdf)
    return RunReport(
        path, session.record["status"], session.record["seconds"], tuple(session.outcomes()), pages
    )


def _require_limits(jobs: int, timeout_s: float | None, memory_gb: float | None) -> None:
    """Raise UsageError for limits that nothing could keep to."""
    if jobs < 0:
        raise UsageError(f"--jobs {jobs}", expected="0 (automatic) or a number of chapters at once.")
    for name, value, unit in (("--timeout", timeout_s, "seconds"), ("--memory", memory_gb, "GB")):
        if value is not None and not 0 < value < math.inf:
            raise UsageError(
                f"{name} {value:g}",
                expected=f"a number of {unit} above 0.",
                remedy=f"Leave {name} out for the usual.",
            )


def _model_of(chapters: Sequence[Chapter], values: Mapping[str, Mapping[str, Any]]) -> str:
    """The MODEL that most of the run is about: the given one, else the default of the first chapter that has one."""
    for chapter in chapters:
        for parameter in chapter.parameters:
            if parameter.name == "MODEL":
                return str(values[chapter.number].get("MODEL", parameter.default))
    return ""


def _memory_budget(memory_gb: float | None) -> float:
    import psutil

    return memory_gb * 1e9 if memory_gb else SHARE_OF_MEMORY * psutil.virtual_memory().available


@dataclass(frozen=True)
class _Plan:
    path: Path
    chapters: list[Chapter]
    values: dict[str, dict[str, Any]]
    given: dict[str, Any]
    model: str
    force: bool
    timeout_s: float | None
    jobs: int
    memory_bytes: float
    progress: Callable[[Event], None]


@dataclass
class _Session:
    """One call of `run`: the chapters still to do, the kernels, and the record that is kept on disk."""

    plan: _Plan
    record: dict[str, Any] = field(init=False)
    scrubber: Scrubber = field(default_factory=Scrubber)
    _warm: list[Any] = field(default_factory=list)
    _open: list[Any] = field(default_factory=list)
    _ended: dict[str, Outcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plan = self.plan
        self.record = record.begin(
            plan.path.name, plan.given, plan.model, cache.fingerprint_model(plan.model)
        )
        with contextlib.suppress(WorkbookError):
            self.record["chapters"] = record.read(plan.path)["chapters"]

    def outcomes(self) -> list[Outcome]:
        """In the order of the chapters."""
        return [self._ended[c.number] for c in self.plan.chapters if c.number in self._ended]

    async def work(self) -> None:
        """Run everything that can run; leave no process behind, whatever happens."""
        loop = asyncio.get_running_loop()
        main = asyncio.current_task()
        if threading.current_thread() is threading.main_thread():
            with contextlib.suppress(NotImplementedError, RuntimeError):
                loop.add_signal_handler(signal.SIGTERM, main.cancel)
        began = loop.time()
        self._save()
        try:
            await self._schedule()
        except asyncio.CancelledError:
            self._interrupted()
            raise
        finally:
            await asyncio.gather(*(kernel.close() for kernel in self._open), return_exceptions=True)
            bad = [o for o in self._ended.values() if o.status not in ("ok", "cached")]
            stopped = len(self._ended) < len(self.plan.chapters) or any(
                o.status == "interrupted" for o in bad
            )
            self.record["status"] = "interrupted" if stopped else "failed" if bad else "ok"
            self.record["ended"], self.record["seconds"] = record.now(), round(loop.time() - began, 3)
            self._save()

    async def _schedule(self) -> None:
        waiting = list(self.plan.chapters)
        running: dict[asyncio.Task[Outcome], Chapter] = {}
        try:
            while waiting or running:
                for chapter in self._startable(waiting, list(running.values())):
                    waiting.remove(chapter)
                    if outcome := self._without_running(chapter):
                        self._end(chapter, outcome)
                    else:
                        running[asyncio.create_task(self._execute(chapter))] = chapter
                        if chapter.heavy:
                            break
                if running:
                    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        self._end(running.pop(task), task.result())
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _startable(self, waiting: list[Chapter], running: list[Chapter]) -> list[Chapter]:
        """Chapters whose dependencies have ended and for which there is room now.

        In order, except that the longest of the light ones starts first: the others fit beside it.
        """
        selected = {c.number for c in self.plan.chapters}
        ready = [c for c in waiting if all(n in self._ended or n not in selected for n in c.after)]
        if not ready or any(c.heavy for c in running):
            return []
        if not running and ready[0].heavy:
            return ready[:1]
        light = [c for c in ready if not c.heavy]
        if light and not running:
            longest = max(c.minutes for c in light)
            light.sort(key=lambda c: c.minutes < longest)
        chosen: list[Chapter] = []
        for chapter in light:
            beside = running + chosen
            memory = sum(c.memory_gb for c in [*beside, chapter]) * 1e9
            if len(beside) < self.plan.jobs and (not beside or memory <= self.plan.memory_bytes):
                chosen.append(chapter)
        return chosen

    def _values(self, chapter: Chapter) -> dict[str, Any]:
        """All parameter values of a chapter in this run, RUN_DIR aside."""
        given = self.plan.values[chapter.number]
        return {p.name: given.get(p.name, p.default) for p in chapter.parameters if p.name != RUN_DIR}

    def _without_running(self, chapter: Chapter) -> Outcome | None:
        """The outcome when there is nothing to execute: a dependency failed, or nothing changed since the last time."""
        lost = [
            n for n in chapter.after if n in self._ended and self._ended[n].status not in ("ok", "cached")
        ]
        if lost:
            remedy = f"Repair chapter {lost[0]} and run again; finished chapters are kept."
            why = f"it reads the results of {', '.join(lost)}, which did not finish"
            return Outcome(chapter.number, chapter.title, "skipped", why=f"{why}. {remedy}")
        before = self.record["chapters"].get(chapter.number, {})
        parts = cache.key_parts(chapter, self._values(chapter), self.plan.path)
        reason = "--force" if self.plan.force else store.why_stale(self.plan.path, chapter, before, parts)
        if not reason:
            store.refresh_prose(self.plan.path, chapter, before, self.scrubber)
            return Outcome(
                chapter.number, chapter.title, "cached", before["seconds"], before["peak_bytes"], "unchanged"
            )
        self.plan.progress(Event("start", chapter, reason))
        self.record["chapters"][chapter.number] = self._entry(chapter, "running") | {"stale_because": reason}
        self._save()
        return None

    async def _execute(self, chapter: Chapter) -> Outcome:
        from exaone_nb.workbook.kernel import Kernel, inject

        path, values = self.plan.path, self._values(chapter)
        began = self.record["chapters"][chapter.number]["began"]
        parts = cache.key_parts(chapter, values, path)
        changed = {n: v for n, v in values.items() if n in self.plan.values[chapter.number]}
        if any(p.name == RUN_DIR for p in chapter.parameters):
            changed[RUN_DIR] = str(path)
        document = inject(chapter, changed)
        kernel = None
        try:
            if chapter.heavy:
                await self._close_warm()
            elif self._warm:
                kernel = self._warm.pop()
            if kernel is None:
                kernel = Kernel(shared=not chapter.heavy)
                self._open.append(kernel)
                await kernel.start(
                    Path.cwd()
                )  # so that a relative MODEL means what it meant to the person who typed it
            execution = await kernel.execute(
                document,
                self.plan.timeout_s or chapter.timeout_s,
                lambda done, total: self.plan.progress(Event("cell", chapter, "", done, total)),
            )
        except (RuntimeError, OSError, TimeoutError) as error:
            failure = explain(type(error).__name__, str(error))
            entry = self._entry(chapter, "failed", began) | {
                "failure": failure.as_dict(),
                "seconds": 0.0,
                "peak_bytes": 0,
            }
            await asyncio.to_thread(store.keep, path, chapter, document, entry, self.scrubber)
            self.record["chapters"][chapter.number] = entry
            return Outcome(chapter.number, chapter.title, "failed", failure=failure)
        if chapter.heavy or execution.failure:
            await kernel.close()
            self._open.remove(kernel)
        else:
            self._warm.append(kernel)
        status = "failed" if execution.failure else "ok"
        entry = self._entry(chapter, status, began) | {
            "seconds": round(execution.seconds, 3),
            "peak_bytes": execution.peak_bytes,
            "ended": record.now(),
            "failure": execution.failure.as_dict() if execution.failure else None,
            "key": cache.digest(parts),
            "key_parts": parts,
            "wrote": cache.fingerprint_globs(path, chapter.writes),
        }
        await asyncio.to_thread(store.keep, path, chapter, execution.document, entry, self.scrubber)
        self.record["chapters"][chapter.number] = entry
        return Outcome(
            chapter.number,
            chapter.title,
            status,
            execution.seconds,
            execution.peak_bytes,
            failure=execution.failure,
        )

    def _entry(self, chapter: Chapter, status: str, began: str = "") -> dict[str, Any]:
        given = self.plan.values[chapter.number]
        model = str(self._values(chapter).get("MODEL", ""))
        return {
            "slug": chapter.slug,
            "title": chapter.title,
            "question": chapter.question,
            "status": status,
            "after": list(chapter.after),
            "began": began or record.now(),
            "commit": self.record["commit"],
            "model": model,
            "mode": chapter.mode or mode_of(model),
            "code_key": cache.code_fingerprint(chapter),
            "parameters": [
                {
                    "name": p.name,
                    "type": p.type,
                    "value": given.get(p.name, p.default),
                    "default": p.default,
                    "changed": given.get(p.name, p.default) != p.default,
                    "help": p.help,
                }
                for p in chapter.parameters
                if p.name != RUN_DIR
            ],
        }

    def _end(self, chapter: Chapter, outcome: Outcome) -> None:
        self._ended[chapter.number] = outcome
        if outcome.status == "skipped":
            self.record["chapters"][chapter.number] = self._entry(chapter, "skipped") | {"why": outcome.why}
        else:
            self.record["chapters"][chapter.number]["cached"] = outcome.status == "cached"
        self._save()
        self.plan.progress(Event(outcome.status, chapter, outcome.why))

    def _interrupted(self) -> None:
        for chapter in self.plan.chapters:
            entry = self.record["chapters"].get(chapter.number, {})
            if chapter.number not in self._ended and entry.get("status") == "running":
                why = "not finished; the same command continues here"
                self._ended[chapter.number] = Outcome(chapter.number, chapter.title, "interrupted", why=why)
                self.record["chapters"][chapter.number] = {**entry, "status": "interrupted", "why": why}
                self.plan.progress(Event("interrupted", chapter, why))

    async def _close_warm(self) -> None:
        for kernel in self._warm:
            await kernel.close()
            self._open.remove(kernel)
        self._warm.clear()

    def _save(self) -> None:
        record.write(self.plan.path, self.record, self.scrubber)
