"""The house keeps its own rules: floors, one name for one thing, nothing dead, dependencies as they are."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import re
import sys
import tomllib
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from exaone_nb.paths import NOTEBOOKS, ROOT

PACKAGE = ROOT / "exaone_nb"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# What a distribution is called where that is not the name one imports.
DISTRIBUTIONS = {"yaml": "pyyaml"}
# Called by name from outside.
ENTRY_POINTS = {"main"}


@cache
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def test_contracts_are_kept(capsys) -> None:
    """The floors and the adapters (`make lint` prints the same)."""
    from importlinter.cli import lint_imports

    kept = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0
    assert kept, capsys.readouterr().out


def test_every_room_has_a_floor() -> None:
    layers = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    floors = {room for layer in layers for room in re.findall(r"\w+", layer)}
    rooms = {
        path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert rooms - {"__init__"} == floors


def imported_outside_functions() -> set[str]:
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name.split(".")[0] for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and not child.level:
                found.add(str(child.module).split(".")[0])
            visit(child)

    for tree in trees().values():
        visit(tree)
    return found - set(sys.stdlib_module_names) - {"exaone_nb"}


# Rooms that cannot start without torch; the light installation leaves it to their extras.
HEAVY_AT_IMPORT = {"torch"}


def test_light_dependencies_are_what_the_package_imports() -> None:
    """What is imported outside functions is there; and nothing is asked for that no module imports at all.

    That the list is enough for every light verb is seen in tests/test_wheel.py.
    """
    asked = {re.match(r"[\w-]+", line)[0].replace("_", "-") for line in PROJECT["project"]["dependencies"]}
    at_start = {DISTRIBUTIONS.get(name, name) for name in imported_outside_functions()}
    assert at_start - asked == HEAVY_AT_IMPORT
    source = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    modules = {
        name: next((k for k, v in DISTRIBUTIONS.items() if v == name), name.replace("-", "_"))
        for name in asked
    }
    unused = [
        name for name, module in modules.items() if not re.search(rf"\b(import|from) {module}\b", source)
    ]
    assert unused == []


def test_what_is_asked_for_is_used() -> None:
    """Every package of base.in is imported somewhere, in the package, a notebook or a benchmark, or is a program."""
    programs = {
        "jupyterlab",
        "mcp-server-time",
        "ipykernel",
        "ipywidgets",  # with it the libraries' progress bars are bars
        "accelerate",
        "latex2mathml",
        "nbconvert",
        "hatchling",
    }
    text = "\n".join(
        path.read_text(encoding="utf-8")
        for folder, pattern in ((PACKAGE, "**/*.py"), (NOTEBOOKS, "*.ipynb"), (ROOT / "benchmarks", "*.py"))
        for path in folder.glob(pattern)
    )
    lines = (ROOT / "requirements" / "base.in").read_text(encoding="utf-8").splitlines()
    asked = [re.match(r"[\w-]+", line)[0] for line in lines if line and not line.startswith("#")]
    imports = {
        name: next((k for k, v in DISTRIBUTIONS.items() if v == name), name.replace("-", "_"))
        for name in asked
    }
    unused = [name for name, module in imports.items() if not re.search(rf"\b(import|from) {module}\b", text)]
    assert set(unused) <= programs, unused


@pytest.mark.parametrize(
    "path",
    [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "scripts").glob("*.py")],
    ids=lambda path: path.stem,
)
def test_what_a_benchmark_or_a_script_imports_is_there(path) -> None:
    """They run by hand only, so that a name that moved would go unseen."""
    nodes = [
        n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.ImportFrom)
    ]
    asked = [
        (n.module, alias.name) for n in nodes for alias in n.names if (n.module or "").startswith("exaone_nb")
    ]
    for module, name in asked:
        if not hasattr(importlib.import_module(module), name):
            importlib.import_module(f"{module}.{name}")


def test_a_class_name_means_one_thing() -> None:
    places = defaultdict(list)
    for path, tree in trees().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(ROOT)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_nothing_is_dead() -> None:
    """Every function, class and constant of a module is named somewhere outside its own definition, tests aside."""
    sources = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    for path in [
        *NOTEBOOKS.glob("*.ipynb"),
        *(ROOT / "benchmarks").glob("*.py"),
        *(ROOT / "scripts").glob("*.py"),
    ]:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            text = "\n".join(
                "".join(c["source"]) for c in json.loads(text)["cells"] if c["cell_type"] == "code"
            )
        sources[path] = text
    words = defaultdict(int)
    for text in sources.values():
        for word in re.findall(r"[A-Za-z_]\w*", text):
            words[word] += 1
    dead = [
        f"{path.relative_to(ROOT)}: {name}"
        for path, tree in trees().items()
        for node in tree.body
        for name in defined(node)
        if words[name] == 1 and name not in ENTRY_POINTS and not name.startswith("__")
    ]
    assert dead == []


def defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = (
        node.targets
        if isinstance(node, ast.Assign)
        else [node.target]
        if isinstance(node, ast.AnnAssign)
        else []
    )
    return [target.id for target in targets if isinstance(target, ast.Name)]


@pytest.mark.parametrize("module", ["exaone_nb.anatomy", "exaone_nb.quantization", "exaone_nb.catalog"])
def test_arithmetic_imports_nothing_heavy(module: str) -> None:
    import subprocess

    code = f"import sys, {module}; print([m for m in sys.argv[1:] if m in sys.modules])"
    heavy = ["torch", "numpy", "pandas", "matplotlib", "rich", "yaml"]
    assert importlib.util.find_spec("torch")
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
