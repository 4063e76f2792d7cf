"""papermill's `--engine exaone-nb`, and `exaone-nb run`, which is papermill with this engine.

    papermill notebooks/07_quantization.ipynb out.ipynb --engine exaone-nb -p MODEL nano

Added to papermill's own engine: the kernel is the Python that runs this, on sockets instead of TCP ports, and ends with
everything it started; a limit for the whole notebook (`timeout_s` in its metadata); peak memory; and why it failed, in
words. The last two go to `metadata.papermill.exaone_nb` of the executed copy.

The only module that imports papermill and nbclient (checked with papermill 2.7.0, nbclient 0.11.0). Not promised there:
papermill's NotebookExecutionManager and PapermillNotebookClient, that an engine is anything with the three class methods
of `papermill.engines.Engine`, and that nbclient uses a kernel manager it is given and leaves its kernel alone.
tests/workbook/test_papermill_engine.py fails first when one of them changes.
"""

import contextlib
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say
from exaone_nb.processes import total_bytes
from exaone_nb.workbook.chapters import Chapter, has_tag
from exaone_nb.workbook.explain import Failure, explain, explain_dead_kernel, explain_timeout
from exaone_nb.workbook.kernel import OWN_KERNEL, Kernel

NAME = "exaone-nb"
OUT_OF_TIME = "out of time"
START_SECONDS = 120
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
    """One execution: what the caller wants of it, and what came of it.

    Without a kernel the engine starts one of its own. `failure` is None when the notebook ran to its end; the document
    is there in both cases.
    """

    kernel: Kernel | None = None
    timeout_s: float | None = None
    on_cell: OnCell = lambda done, total: None
    document: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    peak_bytes: int = 0
    failure: Failure | None = None


def execute(
    chapter: Chapter,
    values: Mapping[str, Any],
    kernel: Kernel,
    timeout_s: float,
    on_cell: OnCell = lambda done, total: None,
) -> Execution:
    """Execute a chapter with these parameters in a kernel that was started. Never raises for what a cell does.

    Raises WorkbookError when the kernel does not start. Several may run at
    once, in threads: nothing here changes the working folder, which papermill's `cwd` would do for the whole process.
    """
    papermill = load()
    import nbformat

    # It warns of every parameter that its pattern does not read, which is all with `| None`; ours were checked.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    notebook, execution = nbformat.from_dict(chapter.document), Execution(kernel, timeout_s, on_cell)
    about = {"engine_name": NAME, "kernel_name": OWN_KERNEL, "language": "python", "progress_bar": False}
    about |= {"start_timeout": START_SECONDS, "execution": execution}
    with contextlib.suppress(papermill.PapermillExecutionError):  # the execution knows more of it
        papermill.execute_notebook(notebook, None, dict(values), **about)
    recorded = execution.document["metadata"]["papermill"]
    # It was given a notebook, not a path.
    recorded["input_path"] = recorded["output_path"] = chapter.path.name
    execution.seconds = recorded["duration"]
    return execution


def load() -> Any:
    """papermill, with this engine in it, imported in a second instead of three. While a kernel starts up, this is free."""
    with _IMPORTING, _without_slow_imports() if "papermill" not in sys.modules else contextlib.nullcontext():
        import papermill
        from papermill.engines import papermill_engines

        # Also where the package is not installed, only on the path.
        papermill_engines.register(NAME, ExaoneEngine)
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
        execution: Execution | None = None,
        **options: Any,
    ) -> Any:
        """Execute `nb` and return it. Called by papermill; `options` are those of its command line."""
        from papermill.engines import NotebookExecutionManager

        execution = execution or Execution()
        execution.timeout_s = execution.timeout_s or nb.metadata.get(DECLARED, {}).get("timeout_s")
        manager = NotebookExecutionManager(nb, output_path, log_output, progress_bar, autosave_cell_every)
        manager.notebook_start()
        kernel = execution.kernel or Kernel(bool(nb.metadata.get(DECLARED, {}).get("timed")), kernel_name)
        try:
            if execution.kernel is None:
                kernel.start(Path.cwd())
            _execute(manager, kernel, execution, log_output=log_output, **options)
        finally:
            if execution.kernel is None:
                kernel.close()
            failure = asdict(execution.failure) if execution.failure else None
            nb.metadata.papermill[DECLARED] = {"peak_bytes": execution.peak_bytes, "failure": failure}
            manager.cleanup_pbar()
            manager.notebook_complete()
            execution.document = json.loads(json.dumps(nb))  # before papermill adds its error marks
        return nb

    @classmethod
    def nb_kernel_name(cls, nb: Any, name: str | None = None) -> str:
        from papermill.utils import nb_kernel_name

        return nb_kernel_name(nb, name)

    @classmethod
    def nb_language(cls, nb: Any, language: str | None = None) -> str:
        from papermill.utils import nb_language

        return nb_language(nb, language)


def _execute(
    manager: Any,
    kernel: Kernel,
    execution: Execution,
    start_timeout: float = 60,
    execution_timeout: int | None = None,
    log_output: bool = False,
    stdout_file: Any = None,
    stderr_file: Any = None,
    **ignored: Any,
) -> None:
    """Run the cells until one fails. What ends it goes into `execution.failure` and, as an output, into the cell."""
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.clientwrap import PapermillNotebookClient

    cells, at = manager.nb.cells, 0
    code = [i for i, cell in enumerate(cells) if cell.cell_type == "code" and cell.source.strip()]

    limit = threading.Timer(execution.timeout_s or threading.TIMEOUT_MAX, kernel.end, [OUT_OF_TIME])
    limit.daemon = True

    class Client(PapermillNotebookClient):
        def execute_cell(self, cell: Any, index: int) -> Any:
            nonlocal at
            at = index
            if index == 0:  # the time that a kernel takes to start is not the notebook's
                limit.start()
            if index in code:
                execution.on_cell(code.index(index) + 1, len(code))
            return super().execute_cell(cell, index)

    streams = {"log_output": log_output, "stdout_file": stdout_file, "stderr_file": stderr_file}
    settings = {"timeout": execution_timeout, "startup_timeout": start_timeout, "coalesce_streams": True}
    client = Client(manager, km=kernel.manager, record_timing=False, **settings, **streams)
    client.log = client.log if log_output else _SILENT  # what it would log stands in the notebook
    assert kernel.watch is not None
    died: Exception | None = None
    try:
        client.execute()
    except (DeadKernelError, CellTimeoutError) as error:
        died = error
        manager.cell_exception(cells[at], exception=error)
    except RuntimeError as error:
        if client.kc is not None:
            raise
        raise WorkbookError(
            say("A notebook kernel did not start: {reason}", reason=kernel.last_words() or str(error)),
            remedy=say("`exaone-nb doctor` checks what is installed."),
        ) from error
    finally:
        limit.cancel()
        if client.kc is not None:
            client.kc.stop_channels()
        kernel.watch.sample()
        execution.peak_bytes = kernel.watch.peak_bytes
    if manager.nb.metadata.papermill.exception:
        # The cell is counted as the reader counts: without the one that papermill put in.
        number = sum(not has_tag(cells[i], "injected-parameters") for i in code if i <= at)
        limit_s = execution_timeout or execution.timeout_s or 0
        execution.failure = _failure(cells[at], number, kernel, died, limit_s)


def _failure(cell: Any, number: int, kernel: Kernel, died: Exception | None, limit_s: float) -> Failure:
    """Why the cell failed. What ended the kernel or the time left no output, so that is said where one would stand."""
    from nbformat.v4 import new_output

    where = {"cell": number, "source": cell.source}
    if died is None:
        errors = [(output.ename, output.evalue) for output in cell.outputs if output.output_type == "error"]
        return explain(*(errors or [("CellExecutionError", "")])[0], **where)
    if kernel.ended == OUT_OF_TIME or isinstance(died, TimeoutError):
        failure = explain_timeout(limit_s, **where)
    else:
        assert kernel.watch is not None
        peak, short = kernel.watch.peak_bytes, kernel.watch.was_short
        failure = explain_dead_kernel(kernel.exit_code(), peak, total_bytes(), short, **where)
    text = f"{failure.error}\n{failure.why}\n{failure.remedy}"
    cell.outputs.append(new_output("error", ename=failure.kind, evalue=failure.error, traceback=[text]))
    return failure
