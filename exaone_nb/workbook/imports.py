"""Which modules of this package a notebook's code imports, directly or through others, read without executing anything."""

import ast
import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from exaone_nb import paths

PACKAGE = "exaone_nb"
ROOT = paths.PACKAGE.parent
_DOTTED = re.compile(rf"{PACKAGE}(?:\.\w+)+")
# Lines that are IPython's and not Python's: magics and shell commands.
_IPYTHON = re.compile(r"^([ \t]*)[%!].*$", re.MULTILINE)


def imported(source: str, root: Path = ROOT) -> dict[str, str]:
    """Module -> fingerprint of its file, for every module of the package that `source` needs.

    Imports inside functions count, too, and so does a module that is named by a text (`python -m exaone_nb.processes`).
    Code that cannot be parsed may import anything, so it needs everything.
    """
    try:
        waiting = set(_names(ast.parse(_IPYTHON.sub(r"\1pass", source)), "", root))
    except SyntaxError:
        paths = [path.relative_to(root).with_suffix("") for path in (root / PACKAGE).rglob("*.py")]
        waiting = {".".join(path.parts).removesuffix(".__init__") for path in paths}
    found: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        path = _file(name, root)
        if path is not None and name not in found:
            found[name], needs = _read(path, path.stat().st_mtime_ns, name, root)
            waiting |= needs - found.keys()
    return found


@cache
def _read(path: Path, changed: int, name: str, root: Path) -> tuple[str, frozenset[str]]:
    """Fingerprint of a module's file and the modules it names. `changed` is when the file was: another time, another answer."""
    content = path.read_bytes()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    try:
        tree = ast.parse(content)
    except SyntaxError:  # the chapter that imports it will say so
        tree = ast.Module([], [])
    return hashlib.sha256(content).hexdigest()[:16], frozenset(_names(tree, package, root))


def _names(tree: ast.AST, package: str, root: Path) -> Iterator[str]:
    """Modules of the package that the code names, each with the packages it lies in: importing it executes those first."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            named = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            named = [node.value] if _DOTTED.fullmatch(node.value) else []
        else:
            continue
        for name in named:
            parts = name.split(".")
            if parts[0] == PACKAGE and _file(name, root) is not None:
                yield from (".".join(parts[: end + 1]) for end in range(len(parts)))


@cache
def _file(name: str, root: Path) -> Path | None:
    """Where a module is; None when the name is that of something else, a class for instance."""
    base = root.joinpath(*name.split("."))
    return next((p for p in (base / "__init__.py", base.with_suffix(".py")) if p.is_file()), None)
