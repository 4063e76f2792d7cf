"""When each chapter runs: after what it reads, light ones side by side, heavy ones alone.

A heavy chapter gets the machine for itself: what it measures must not be disturbed by a neighbour.
"""

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from exaone_nb.workbook.chapters import Chapter

Work = Callable[[], Any]


@dataclass
class Schedule:
    """`chapters` in the order of their dependencies. `jobs` bounds how many light ones run at once, `memory_bytes` what
    they declare together; one alone may declare more.
    """

    chapters: Sequence[Chapter]
    jobs: int
    memory_bytes: float
    _ended: set[str] = field(default_factory=set)

    def run(
        self,
        prepare: Callable[[Chapter], Work | None],
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
            memory = sum(c.memory_gb for c in [*beside, chapter]) * 1e9
            if len(beside) < self.jobs and (not beside or memory <= self.memory_bytes):
                chosen.append(chapter)
        return chosen
