"""Small notebooks for the tests of the runner."""

from __future__ import annotations

import json
from pathlib import Path

PARAMETERS = """MODEL: str = "nano"  # catalog name, local folder, address or hub id [model]
RUN_DIR: str = ""  # run folder; empty means runs/interactive
N: int = 3  # how many [choices: 3 | 5]
"""


def write_notebook(folder: Path, name: str, cells: list[tuple[str, ...]], **declared: object) -> Path:
    """`cells` are (kind, source, *tags); `declared` goes to metadata.exaone_nb."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number, (kind, source, *tags) in enumerate(cells):
        cell: dict[str, object] = {"cell_type": kind, "id": f"c{number}", "source": source}
        cell["metadata"] = {"tags": tags} if tags else {}
        made.append(cell | ({"execution_count": None, "outputs": []} if kind == "code" else {}))
    path = folder / f"{name}.ipynb"
    kernelspec = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    document = {
        "cells": made,
        "metadata": {"exaone_nb": {"chapter": name[:2], **declared}, "kernelspec": kernelspec},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def counting_cell(name: str) -> tuple[str, str]:
    """A code cell that leaves one more line in a file of the run folder each time it is executed."""
    return (
        "code",
        f"from pathlib import Path\nwith open(Path(RUN_DIR) / '{name}.count', 'a') as f: f.write('x')",
    )
