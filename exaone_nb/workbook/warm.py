"""Run inside a warm kernel between two chapters: forget the last one, keep only what was imported."""

from __future__ import annotations

import os
import sys
import warnings

# The kernel imports this module before its first chapter, so this is the state to go back to.
_BEGAN_WITH = {
    "environment": dict(os.environ),
    "folder": os.getcwd(),
    "path": list(sys.path),
    "warnings": list(warnings.filters),
}


def start_over() -> None:
    """Empty the namespace and undo what a chapter may have set for the whole process.

    Undone: variables, environment, working folder, `sys.path`, open figures and matplotlib's settings, warning
    filters, the seeds of random and numpy, torch's default type, threads and grad mode.
    """
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is not None:
        shell.reset(new_session=True, aggressive=False)
    os.environ.clear()
    os.environ.update(_BEGAN_WITH["environment"])
    os.chdir(_BEGAN_WITH["folder"])
    sys.path[:] = _BEGAN_WITH["path"]
    warnings.filters[:] = _BEGAN_WITH["warnings"]
    _undo_in_loaded_libraries()
    import gc
    import random

    random.seed()
    gc.collect()


def _undo_in_loaded_libraries() -> None:
    """Only libraries that are loaded: nothing is imported for the sake of resetting it."""
    if plot := sys.modules.get("matplotlib.pyplot"):
        plot.close("all")
    if matplotlib := sys.modules.get("matplotlib"):
        matplotlib.rcdefaults()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(None)
    if torch := sys.modules.get("torch"):
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
        torch.seed()
    if pandas := sys.modules.get("pandas"):
        pandas.reset_option("all", silent=True)
