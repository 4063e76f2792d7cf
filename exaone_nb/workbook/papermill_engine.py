"""papermill's `--engine exaone-nb`, and `exaone-nb run`, which is papermill with this engine.

    papermill notebooks/05_quantization.ipynb out.ipynb --engine exaone-nb -p MODEL nano

Added to papermill's own engine: the kernel is the Python that runs this, on sockets instead of TCP ports, and ends with
everything it started; a limit for the whole notebook (`timeout_s` in its metadata); peak memory; and why it failed, in
words. The last two go to `metadata.papermill.exaone_nb` of the executed copy.

The only module that imports papermill and nbclient (checked with papermill 2.7.0, nbclient 0.11.0). Not public there:
`nbclient.NotebookClient.reset_execution_trackers` and `set_widgets_metadata`, papermill's NotebookExecutionManager and
PapermillNotebookClient, and that an engine is anything with the three class methods of `papermill.engines.Engine`.
tests/workbook/test_papermill_engine.py fails first when one of them changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from exaone_nb.event_loop import outside_event_loop
from exaone_nb.processes import total_bytes
from exaone_nb.workbook.chapters import Chapter, has_tag
from exaone_nb.workbook.explain import Failure, explain, explain_dead_kernel, explain_timeout
from exaone_nb.workbook.kernel import OWN_KERNEL, Kernel

NAME = "exaone-nb"
DECLARED = "exaone_nb"  # our part of a notebook's metadata
# `import papermill` takes 2.6 s, of which 1.6 s are these two, for which everybody who imports them has a substitute:
# requests guesses encodings with charset_normalizer, nbformat's schema checker leaves one kind of address unchecked.
SLOW_IMPORTS = ("chardet", "rfc3987_syntax")
_IMPORTING = threading.Lock()
_SILENT = logging.getLogger("exaone_nb.nbclient")
_SILENT.setLevel(logging.CRITICAL + 1)

OnCell = Callable[[int, int], None]


@dataclass
class Execution:
    """What came of one notebook. `failure` is None when it ran to its end; the document is there in both cases."""

    document: dict[str, Any]
    seconds: float
    peak_bytes: int
    failure: Failure | None = None


def execute(
    chapter: Chapter,
    values: Mapping[str, Any],
    kernel: Kernel,
    timeout_s: float,
    on_cell: OnCell = lambda done, total: None,
) -> Execution:
    """Execute a chapter with these parameters in a kernel that was started. Never raises for what a cell does.

    Raises WorkbookError when the kernel does not start, CancelledError after `kernel.cancel()`. Several may run at
    once, in threads: nothing here changes the working folder, which papermill's `cwd` would do for the whole process.
    """
    papermill = load()
    import nbformat

    job = _Job(kernel, timeout_s, on_cell)
    notebook = nbformat.from_dict(chapter.document)
    with contextlib.suppress(papermill.PapermillExecutionError):  # the job knows more of it
        papermill.execute_notebook(
            notebook,
            None,
            dict(values),
            engine_name=NAME,
            kernel_name=OWN_KERNEL,
            language="python",
            progress_bar=False,
            job=job,
        )
    about = job.document["metadata"]["papermill"]
    about["input_path"] = about["output_path"] = chapter.path.name  # it was given a notebook, not a path
    return Execution(job.document, about["duration"], job.peak_bytes, job.failure)


def load() -> Any:
    """papermill, with this engine in it, imported in a second instead of three. While a kernel starts up, this is free."""
    with _IMPORTING, _without_slow_imports() if "papermill" not in sys.modules else contextlib.nullcontext():
        import papermill
        from papermill.engines import papermill_engines

        papermill_engines.register(
            NAME, ExaoneEngine
        )  # also where the package is not installed, only on the path
        return papermill


@contextlib.contextmanager
def _without_slow_imports() -> Iterator[None]:
    absent = [name for name in SLOW_IMPORTS if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)


@dataclass
class _Job:
    """What the caller wants of one execution, and what came of it. Without a kernel the engine starts its own."""

    kernel: Kernel | None = None
    timeout_s: float | None = None
    on_cell: OnCell = lambda done, total: None
    document: dict[str, Any] | None = None
    peak_bytes: int = 0
    failure: Failure | None = None


class ExaoneEngine:
    """The engine. It has the class methods of `papermill.engines.Engine`, and is none, so that naming it imports nothing."""

    @classmethod
    def execute_notebook(
        cls,
        nb: Any,
        kernel_name: str,
        output_path: str | None = None,
        progress_bar: bool | dict[str, Any] = True,
        log_output: bool = False,
        autosave_cell_every: int = 30,
        job: _Job | None = None,
        **options: Any,
    ) -> Any:
        """Execute `nb` and return it. Called by papermill; `options` are those of its command line."""
        from papermill.engines import NotebookExecutionManager

        job = job or _Job()
        manager = NotebookExecutionManager(
            nb,
            output_path,
            log_output=log_output,
            progress_bar=progress_bar,
            autosave_cell_every=autosave_cell_every,
        )
        manager.notebook_start()
        try:
            outside_event_loop(
                lambda: _in_a_kernel(manager, kernel_name, job, log_output=log_output, **options)
            )
        finally:
            failure = asdict(job.failure) if job.failure else None
            nb.metadata.papermill[DECLARED] = {"peak_bytes": job.peak_bytes, "failure": failure}
            manager.cleanup_pbar()
            manager.notebook_complete()
            job.document = _plain(nb)
        return nb

    @classmethod
    def nb_kernel_name(cls, nb: Any, name: str | None = None) -> str:
        from papermill.utils import nb_kernel_name

        return nb_kernel_name(nb, name)

    @classmethod
    def nb_language(cls, nb: Any, language: str | None = None) -> str:
        from papermill.utils import nb_language

        return nb_language(nb, language)


def _in_a_kernel(
    manager: Any, kernel_name: str, job: _Job, start_timeout: float = 60, **options: Any
) -> None:
    """Execute in the job's kernel, or in one that is started here and closed afterwards."""
    declared = manager.nb.metadata.get(DECLARED, {})
    if job.kernel is not None:
        job.kernel.run(_execute(manager, job.kernel, job, start_timeout, **options))
        return
    job.timeout_s = job.timeout_s or declared.get("timeout_s")
    kernel = Kernel(bool(declared.get("timed")), kernel_name)
    try:
        kernel.start(Path.cwd())
        kernel.run(_execute(manager, kernel, job, start_timeout, **options))
    finally:
        kernel.close()


async def _execute(
    manager: Any,
    kernel: Kernel,
    job: _Job,
    start_timeout: float,
    execution_timeout: int | None = None,
    log_output: bool = False,
    stdout_file: Any = None,
    stderr_file: Any = None,
    **ignored: Any,
) -> None:
    """Run the cells until one fails. What ends it goes into `job.failure` and, as an output, into the cell."""
    from nbclient.exceptions import CellControlSignal, DeadKernelError
    from papermill.clientwrap import PapermillNotebookClient

    client = PapermillNotebookClient(
        manager,
        km=kernel.manager,
        timeout=execution_timeout,
        coalesce_streams=True,
        record_timing=False,
        log_output=log_output,
        stdout_file=stdout_file,
        stderr_file=stderr_file,
    )
    if not log_output:
        client.log = _SILENT  # what it would log stands in the notebook
    client.kc = await kernel.client(start_timeout)
    client.reset_execution_trackers()
    assert kernel.watch is not None
    code = [i for i, c in enumerate(manager.nb.cells) if c.cell_type == "code" and c.source.strip()]
    limit = asyncio.timeout(job.timeout_s)
    index = 0
    try:
        async with limit:
            for index, cell in enumerate(manager.nb.cells):
                if index in code:
                    job.on_cell(code.index(index) + 1, len(code))
                manager.cell_start(cell, index)
                await client.async_execute_cell(cell, index)
                manager.cell_complete(cell, cell_index=index)
    except (TimeoutError, DeadKernelError, CellControlSignal) as error:
        cell = manager.nb.cells[index]
        # The cell is counted as the reader counts: without the one that papermill put in.
        before = [manager.nb.cells[i] for i in code if i <= index]
        where = {"cell": sum(not has_tag(c, "injected-parameters") for c in before), "source": cell.source}
        # nbclient reports a cancelled wait as a dead kernel, whoever cancelled it.
        if limit.expired():
            job.failure = explain_timeout(job.timeout_s or 0, **where)
        elif isinstance(error, DeadKernelError):
            if (task := asyncio.current_task()) and task.cancelling():
                raise asyncio.CancelledError from error
            job.failure = explain_dead_kernel(
                await kernel.exit_code(),
                kernel.watch.peak_bytes,
                total_bytes(),
                kernel.watch.was_short,
                **where,
            )
        else:
            name = getattr(error, "ename", type(error).__name__)
            job.failure = explain(name, getattr(error, "evalue", str(error)), **where)
        _add_output(cell, job.failure)
        manager.cell_exception(cell, cell_index=index, exception=error)
        manager.cell_complete(cell, cell_index=index)
    finally:
        client.set_widgets_metadata()
        kernel.watch.sample()
        job.peak_bytes = kernel.watch.peak_bytes


def _add_output(cell: Any, failure: Failure) -> None:
    """What ended the kernel or the time left no output: say it where the cell's error would stand."""
    from nbformat.v4 import new_output

    if not any(output.output_type == "error" for output in cell.outputs):
        text = f"{failure.error}\n{failure.why}\n{failure.remedy}"
        cell.outputs.append(new_output("error", ename=failure.kind, evalue=failure.error, traceback=[text]))


def _plain(value: Any) -> Any:
    """nbformat's nodes as plain dicts and lists."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
