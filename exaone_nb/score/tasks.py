"""Finding tasks: the workbook's own, offline, in data/tasks/; any of lm-eval's by name; or a folder of YAML files."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.paths import DATA
from exaone_nb.score import lm_eval_adapter

TASKS = DATA / "tasks"


def offline_tasks() -> list[str]:
    """Names of the tasks that need no network, from the file names in data/tasks/."""
    return sorted(path.stem for path in TASKS.glob("*.yaml"))


def find_tasks(names: Sequence[str], include: str | Path | None = None) -> Any:
    """lm-eval's TaskManager that knows all of these task, group or tag names.

    `include` is one more folder of task files. Such files may name Python functions, which then run: include only
    what you would run. Raises UsageError for an unknown name or folder.
    """
    if not names:
        raise UsageError("No task is named.", remedy=f"Offline tasks: {', '.join(offline_tasks())}.")
    folders = [TASKS, *([Path(include)] if include else [])]
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"There is no folder {folder}.", expected="a folder with lm-eval task files.")
    # lm-eval's own index has some 14,000 files: it is read only when one of its tasks is asked for.
    manager = lm_eval_adapter.task_manager(folders, defaults=False)
    if set(names) - set(manager.all_tasks):
        manager = lm_eval_adapter.task_manager(folders, defaults=True)
        unknown = sorted(set(names) - set(manager.all_tasks))
        if unknown:
            near = difflib.get_close_matches(unknown[0], manager.all_tasks, n=3)
            raise UsageError(
                f"No task {unknown[0]!r}.",
                expected=f"an offline task ({', '.join(offline_tasks())}) or one of `lm-eval ls tasks`.",
                remedy=f"Did you mean {', '.join(near)}?" if near else "",
            )
    return manager


def load_tasks(manager: Any, names: Sequence[str]) -> Any:
    """Freshly built tasks, groups and tags: {"tasks", "groups", "group_map"}; tasks keep the answers of their requests.

    Raises WorkbookError when a task's data cannot be had.
    """
    try:
        with lm_eval_adapter.quietly():
            return manager.load(list(dict.fromkeys(names)))
    except Exception as error:  # data sets raise many kinds: no network, gated, moved
        raise WorkbookError(
            f"The data of {', '.join(names)} could not be loaded ({type(error).__name__}: {str(error)[:300]}).",
            remedy="Check the network and the data set's page; offline, use "
            f"{', '.join(offline_tasks())} or HF_DATASETS_CACHE with a copy.",
        ) from error
