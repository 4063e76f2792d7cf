"""An error in an open notebook: what is wrong and what to do about it, as a terminal shows it.

IPython would put the forty lines of the calls that led there before it, and the answer below the edge of the screen.
A run without a screen keeps them, on the page of the chapter that failed.
"""

import os
import sys
from types import TracebackType
from typing import Any

from exaone_nb.errors import WorkbookError, refusal
from exaone_nb.messages import say
from exaone_nb.workbook.parameters import HEADLESS


def short_errors() -> None:
    """From now on this kernel shows errors of the workbook in words. Nothing changes where nobody looks on."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None and HEADLESS not in os.environ:
        shell.set_custom_exc((WorkbookError,), _show)


def _show(
    shell: Any,
    kind: type[WorkbookError],
    error: WorkbookError,
    calls: TracebackType,
    tb_offset: int | None = None,
) -> None:
    lines = [refusal(error), "", say("To see the calls that led here, run %tb in a cell.")]
    # IPython asks an error itself how it wants to be shown. Only this once: %tb then shows everything.
    error._render_traceback_ = lambda: lines  # type: ignore[attr-defined]
    try:
        shell.showtraceback((kind, error, calls), tb_offset=tb_offset)
    finally:
        del error._render_traceback_  # type: ignore[attr-defined]
