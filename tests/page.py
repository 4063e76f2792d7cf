"""What a chapter defines on its page and not in the package: the functions, run from the stored notebook."""

import ast
import json
from typing import Any

from exaone_nb.paths import NOTEBOOKS


def defined(slug: str, *names: str, **given: Any) -> list[Any]:
    """The functions `names` of a chapter. `given` is what its earlier cells would have left them."""
    found = dict(given)
    document = json.loads((NOTEBOOKS / f"{slug}.ipynb").read_text(encoding="utf-8"))
    for cell in document["cells"]:
        if cell["cell_type"] == "code" and not {"exercise", "solution"} & set(
            cell["metadata"].get("tags", [])
        ):
            for node in ast.parse("".join(cell["source"])).body:
                if isinstance(node, ast.FunctionDef) and node.name in names:
                    exec(compile(ast.Module([node], []), slug, "exec"), found)
    return [found[name] for name in names]


def gptq_functions() -> list[Any]:
    """`round_to_nearest`, `hessian` and `gptq` of the chapter on number formats."""
    import torch

    from exaone_nb.compress import formats

    return defined("06_number_formats", "round_to_nearest", "hessian", "gptq", torch=torch, formats=formats)
