"""The live "does it fit" explorer. A report has no kernel behind it, so it shows `memory.fit_table` instead."""

import os
from html import escape
from typing import Any

from exaone_nb import catalog
from exaone_nb.anatomy.kv import ENGINES
from exaone_nb.anatomy.layouts import text_config
from exaone_nb.anatomy.memory import plan_memory
from exaone_nb.errors import WorkbookError
from exaone_nb.gpus import GPUS
from exaone_nb.show.memory import memory_table, outlook, verdict
from exaone_nb.show.notebook import as_html

# What one meets most; every other preset is one line away with `exaone-nb memory`.
OFFERED = ("BF16", "W8A8", "FP8_DYNAMIC", "W4A16", "W8A16", "NVFP4A16", "MXFP4A16")


def is_live() -> bool:
    """True when a person sits in front of the notebook (JupyterLab or VS Code), False when it is executed headless."""
    return bool(os.environ.get("JPY_SESSION_NAME") or os.environ.get("VSCODE_PID"))


def fit_explorer(model: str = "EXAONE-4.0-1.2B", gpu: str = "L4") -> Any:
    """An ipywidgets box: choose model, scheme, GPU, engine, context and requests, and read what fits."""
    import ipywidgets as widgets

    names = list(dict.fromkeys((model, *catalog.names())))
    wide = widgets.Layout(width="30em")
    style = {"description_width": "8em"}
    chosen = {
        "model": widgets.Dropdown(options=names, value=model, description="model"),
        "scheme": widgets.Dropdown(options=OFFERED, description="scheme"),
        "gpu": widgets.Dropdown(options=list(GPUS), value=gpu, description="GPU"),
        "engine": widgets.Dropdown(options=list(ENGINES), description="engine"),
        "context": widgets.SelectionSlider(
            options=[2**power for power in range(10, 19)], value=8192, description="context"
        ),
        "concurrency": widgets.IntSlider(value=4, min=1, max=64, description="requests"),
        "kv_dtype_bytes": widgets.Dropdown(options=[("16-bit", 2), ("FP8", 1)], description="cache"),
    }
    answer = widgets.HTML()

    def refresh(_: Any = None) -> None:
        answer.value = _html(**{name: widget.value for name, widget in chosen.items()})

    for widget in chosen.values():
        widget.layout, widget.style = wide, style
        widget.observe(refresh, names="value")
    refresh()
    return widgets.HBox([widgets.VBox(list(chosen.values())), answer])


def _html(*, model: str, context: int, **values: Any) -> str:
    try:
        config = catalog.resolve(model).config()
        limit = text_config(config).get("max_position_embeddings") or context
        plan = plan_memory(config, context=min(context, limit), **values)
    except WorkbookError as error:
        return f"<pre>{escape(str(error))}</pre>"
    lines = "".join(f"<li>{escape(line)}</li>" for line in outlook(plan))
    return f"{as_html(memory_table(plan, verdict(plan)))}<ul>{lines}</ul>"
