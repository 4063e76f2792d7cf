"""Executing the chapters of one run, each in a kernel of its own, through papermill; what came of it is kept.

Each runs after what it reads, light ones side by side, heavy ones alone: a heavy chapter gets the machine for itself,
because what it measures must not be disturbed by a neighbour.
"""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from exaone_nb.gpus import Gpu
from exaone_nb.workbook import cache, cost, record, store
from exaone_nb.workbook.chapters import Chapter
from exaone_nb.workbook.explain import explain
from exaone_nb.workbook.kernel import Kernel
from exaone_nb.workbook.papermill_engine import Execution, OnCell, execute
from exaone_nb.workbook.parameters import RUN_DIR
from exaone_nb.workbook.record import ChapterRecord, Setting, mode_of
from exaone_nb.workbook.scrub import Scrubber


@dataclass
class Executor:
    """Executes chapters into the run folder. `given` are the values per chapter that a person set.

    What a chapter costs is computed when its turn comes, since the first chapter measures the machine.
    """

    run: Path
    given: Mapping[str, Mapping[str, Any]]
    timeout_s: float | None = None
    scrubber: Scrubber = field(default_factory=Scrubber)
    _kernels: set[Kernel] = field(default_factory=set)
    _lock: Any = field(default_factory=threading.Lock)
    _stopped: bool = False

    def values(self, chapter: Chapter) -> dict[str, Any]:
        """All its parameters but RUN_DIR, as given or by default."""
        given = self.given[chapter.number]
        return {p.name: given.get(p.name, p.default) for p in chapter.parameters if p.name != RUN_DIR}

    def memory_bytes(self, chapter: Chapter) -> int:
        values = self.values(chapter)
        return cost.memory_bytes(chapter, values, cost.sizes_of(self._model(chapter, values)))

    def _model(self, chapter: Chapter, values: Mapping[str, Any]) -> str:
        return next(iter(cache.models_of(chapter, values)), "")

    def predict(self, chapter: Chapter, card: Gpu | None = None) -> tuple[cost.Cost, dict[str, Any]]:
        """What it costs and which parameters its budget cuts, here or on a card that is not here."""
        values = self.values(chapter)
        sizes = cost.sizes_of(self._model(chapter, values))
        if card and sizes:
            sizes = sizes | {"gpu": True}
        found = cost.speeds_on(card) if card else cost.speeds(self.run)
        room = cost.room_on(card)
        predicted, smaller = cost.fit(chapter, values, self.given[chapter.number], sizes, found, room)
        return replace(predicted, limit_s=self.timeout_s or predicted.limit_s), smaller

    def begin(self, chapter: Chapter, status: str = "running", why: str = "") -> ChapterRecord:
        values = self.values(chapter)
        model = self._model(chapter, values)
        predicted, smaller = self.predict(chapter)
        values |= smaller
        settings = tuple(
            Setting(p.name, p.type, values[p.name], p.default, p.help)
            for p in chapter.parameters
            if p.name != RUN_DIR
        )
        parts = cache.key_parts(chapter, values, self.run)
        same = {name: getattr(chapter, name) for name in ("number", "slug", "title", "question", "after")}
        found = {"model": model, "mode": chapter.mode or mode_of(model), "parameters": settings}
        found |= {"predicted": predicted}
        keys = {"key": cache.digest(parts), "key_parts": parts, "code_key": parts["code"]}
        return ChapterRecord(status=status, why=why, began=record.now(), **same, **found, **keys)

    def execute(self, chapter: Chapter, begun: ChapterRecord, on_cell: OnCell) -> ChapterRecord:
        """Execute a chapter and store its notebook and its page. Never raises for what a cell does.

        Raises WorkbookError when a kernel cannot start or the disk is full, CancelledError after `stop`.
        """
        cut = begun.predicted.smaller if begun.predicted else ()
        values = {setting.name: setting.value for setting in begun.parameters if setting.name in cut}
        values |= self.given[chapter.number]
        if any(p.name == RUN_DIR for p in chapter.parameters):
            values[RUN_DIR] = str(self.run)
        document = chapter.document
        try:
            limit_s = begun.predicted.limit_s if begun.predicted else chapter.timeout_s
            done = self._in_a_kernel(chapter, values, limit_s, on_cell)
            document, begun.failure = done.document, done.failure
            begun.seconds, begun.peak_bytes = round(done.seconds, 3), done.peak_bytes
        except (RuntimeError, OSError, TimeoutError) as error:
            begun.failure = explain(type(error).__name__, str(error))
        begun.status = "failed" if begun.failure else "ok"
        begun.ended, begun.origin = record.now(), record.origin()
        begun.wrote = cache.fingerprint_globs(self.run, chapter.writes)
        store.keep(self.run, document, begun, self.scrubber)
        return begun

    def _in_a_kernel(
        self, chapter: Chapter, values: dict[str, Any], limit_s: float, on_cell: OnCell
    ) -> Execution:
        kernel = Kernel(chapter.timed)
        with self._lock:
            if self._stopped:
                raise CancelledError
            self._kernels.add(kernel)
        try:
            # In this folder, so that a relative MODEL means what it meant to the person who typed it.
            kernel.start(Path.cwd())
            return execute(chapter, values, kernel, limit_s, on_cell)
        finally:
            with self._lock:  # from here on nobody else ends it
                self._kernels.remove(kernel)
            kernel.close()
            if self._stopped:  # whatever it ended with
                raise CancelledError

    def stop(self) -> None:
        """End every kernel, and whatever would be executed later. Called from another thread."""
        with self._lock:
            self._stopped = True
            for kernel in self._kernels:
                kernel.end("stopped")


@dataclass
class Schedule:
    """`chapters` in the order of their dependencies. `jobs` bounds how many light ones run at once, `memory_bytes` what
    they take together, each as `takes` says; one alone may take more.
    """

    chapters: Sequence[Chapter]
    jobs: int
    memory_bytes: float
    takes: Callable[[Chapter], float]
    _ended: set[str] = field(default_factory=set)

    def run(
        self,
        prepare: Callable[[Chapter], Callable[[], Any] | None],
        ended: Callable[[Chapter, Any], None],
        stop: Callable[[], None],
    ) -> None:
        """Do the work that `prepare` gives for each chapter, in threads; None means that there is nothing to do.

        `prepare` and `ended` (with what the work returned) are called in this thread. When something raises here,
        Ctrl-C included, `stop` makes the work end early, and the exception goes on when it has.
        """
        waiting = list(self.chapters)
        running: dict[Future[Any], Chapter] = {}
        with ThreadPoolExecutor(len(waiting), thread_name_prefix="chapter") as pool:
            try:
                while waiting or running:
                    started = self.startable(waiting, running.values())
                    for chapter in started:
                        waiting.remove(chapter)
                        if (work := prepare(chapter)) is None:
                            self._ended.add(chapter.number)
                        else:
                            running[pool.submit(work)] = chapter
                            if chapter.heavy:
                                break
                    if running and (not started or not waiting):
                        for future in wait(running, return_when=FIRST_COMPLETED).done:
                            chapter = running.pop(future)
                            ended(chapter, future.result())
                            self._ended.add(chapter.number)
            except BaseException:
                stop()
                raise

    def startable(self, waiting: Sequence[Chapter], running: Collection[Chapter]) -> list[Chapter]:
        """Chapters whose dependencies have ended and for which there is room now.

        In order, except that the longest of the light ones starts first: the others fit beside it.
        """
        missing = {c.number for c in self.chapters} - self._ended
        ready = [c for c in waiting if not missing.intersection(c.after)]
        if not ready or any(c.heavy for c in running):
            return []
        if not running and ready[0].heavy:
            return ready[:1]
        light = [c for c in ready if not c.heavy]
        if not running:
            longest = max(c.minutes for c in light)
            light.sort(key=lambda c: c.minutes < longest)
        chosen: list[Chapter] = []
        for chapter in light:
            beside = [*running, *chosen]
            memory = sum(map(self.takes, [*beside, chapter]))
            if len(beside) < self.jobs and (not beside or memory <= self.memory_bytes):
                chosen.append(chapter)
        return chosen
