"""The English texts that have a translation, found in the package, its templates, data and notebooks.

Each `*_keys` is an extractor as Babel calls it: it yields (line, None, text, comments) for one open file.
"""

import ast
import csv
import inspect
import io
import json
import re
import sys
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any, BinaryIO

import pages
import yaml
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from exaone_nb import catalog  # noqa: E402
from exaone_nb.cli import WINGS  # noqa: E402

Key = tuple[int, None, str, list[str]]
# Fields of the files in data/ that are sentences to people; `exaone_nb.messages.translated` looks them up.
FIELDS = {"means", "decides", "why", "got", "expected", "remedy", "note", "cpu_why", "blackwell", "purpose"}
DATA_FILES = [
    "glossary",
    "credentials",
    "chapter_failures",
    "hub_failures",
    "engine_failures",
    "config_fields",
    "setting_effects",
    "kernel_support",
    "gates/release",
    "models",
    "materials",
    "recipes/*",
]
# Columns of tables in data/ that are said to people.
TABLES = {
    "config_sources": ("source",),
    "published_scores": ("source",),
    "published_sizes": ("what", "source"),
    "benchmarks": ("what",),
    "recorded_answers": ("sampling", "source"),
    "rules": ("source",),
    "conclusions": ("belief", "what_differed"),
}
# A choice that is a name of something (q_proj, Q4_K_M, Pre-LN) is the same in every language.
WORDS = re.compile("[a-z]+|(?=.* )[A-Za-z_ ]+")
# What is said, beside paths, versions and settings.
PROSE = re.compile(r"(?<![^\s(])[A-Za-z][a-z-]*[a-z](?=[.,;:)]*(?:\s|$))")
# Functions and classes -> which of their arguments are sentences, beside those named `expected` and `remedy`.
ERRORS = ("WorkbookError", "UsageError", "DiskFull", "Mistake")
SAID = dict.fromkeys(("say", "translated", "Requirement", *ERRORS), slice(1))
SAID |= {"kind": slice(2, 3), "list_of": slice(1, 2), "Kind": slice(1, 2), "_cell": slice(1, 2)}
SAID |= {
    "wrong": slice(1, 3),
    "_require": slice(1, 3),
    "_explained": slice(3),
    "did_you_mean": slice(2, 4),
    "MachineSpeed": slice(1),
    "Dialect": slice(2, 4),
}
SAID |= dict.fromkeys(("fail", "warn", "ok"), slice(1))  # what was checked
VERBS = {"_root", *(verb for verbs in WINGS.values() for verb in verbs)}


def python_keys(file: BinaryIO, *_: Any, **__: Any) -> Iterator[Key]:
    """Templates of `say`, headings of columns, parts of errors, and what `--help` says."""
    tree = ast.parse(file.read())
    for node in ast.walk(tree):
        for each in _sentences(node):
            if (
                isinstance(each, ast.Constant)
                and isinstance(each.value, str)
                and re.search("[A-Za-z]", each.value)
            ):
                yield node.lineno, None, each.value, []
        if "cli" in Path(file.name).parts and isinstance(node, ast.FunctionDef) and node.name in VERBS:
            yield node.lineno, None, inspect.cleandoc(ast.get_docstring(node) or ""), []


def _sentences(node: ast.AST) -> Iterator[ast.AST]:
    if not isinstance(node, ast.Call):
        return
    name = getattr(node.func, "id", getattr(node.func, "attr", ""))
    named = {keyword.arg: keyword.value for keyword in node.keywords}
    yield from (each for said in node.args[SAID.get(name, slice(0))] for each in _chosen(said))
    if name == "Column":
        heading = [*node.args[1:2], *([named["heading"]] if "heading" in named else []), *node.args[:1]]
        yield from heading[:1]
    elif name == "columns" and isinstance(node.args[0], ast.List | ast.Tuple):
        yield from node.args[0].elts
    elif name in ("Option", "Argument") and "help" in named:
        yield named["help"]
    yield from (each for part in ("expected", "remedy") if part in named for each in _chosen(named[part]))


def _chosen(node: ast.AST) -> Iterator[ast.AST]:
    """An argument, or those that it is chosen from: `"a" if there else "b"`, `names or "none."`."""
    if isinstance(node, ast.IfExp | ast.BoolOp):
        parts = node.values if isinstance(node, ast.BoolOp) else [node.body, node.orelse]
        yield from (each for part in parts for each in _chosen(part))
    else:
        yield node


def data_keys(file: BinaryIO, *_: Any, **__: Any) -> Iterator[Key]:
    document = yaml.safe_load(file)
    if Path(file.name).stem in ("glossary", "credentials"):
        yield from ((1, None, term, []) for term in document)
    fields = FIELDS
    if Path(file.name).stem in ("models", "materials"):
        fields = catalog.TOLD
    elif Path(file.name).parent.name == "measured":
        rows = [document.get(part) for part in ("rows", "intervals", "tests")]
        rows += [{"way": name} for name in document.get("ways", ())]
        document = {part: document.get(part) for part in sorted(catalog.MEASURED)} | {"rows": rows}
        fields = catalog.MEASURED | {"reads", "not_run", "interval", "test", "way", "benchmark"}
    yield from ((1, None, text, []) for text in _told(document, fields))


def _told(document: Any, fields: Set[str], told: bool = False) -> Iterator[str]:
    if isinstance(document, dict):
        for name, value in document.items():
            yield from _told(value, fields, name in fields)
    elif isinstance(document, list):
        for value in document:
            yield from _told(value, fields, told)
    elif told and isinstance(document, str) and PROSE.search(document):
        yield document


def table_keys(file: BinaryIO, *_: Any, **__: Any) -> Iterator[Key]:
    for row in csv.DictReader(io.TextIOWrapper(file, encoding="utf-8", newline="")):
        for name in TABLES[Path(file.name).stem]:
            if PROSE.search(row[name]):
                yield 1, None, row[name], []


def choice_keys(file: BinaryIO, *_: Any, **__: Any) -> Iterator[Key]:
    """The words that a guess is compared with: `exaone_nb.workbook.guesses` says them, their values stay English."""
    yield from ((1, None, key, []) for key in pages.choices(json.load(file)) if WORDS.fullmatch(key))


def page_keys(file: BinaryIO, *_: Any, **__: Any) -> Iterator[Key]:
    yield from ((1, None, key, []) for key in pages.keys(json.load(file)))


WORKBOOK = [("exaone_nb/**.py", python_keys), ("exaone_nb/**.html", "jinja2.ext:babel_extract")]
WORKBOOK += [("exaone_nb/**.jinja", "jinja2.ext:babel_extract")]
WORKBOOK += [(f"data/{name}.yaml", data_keys) for name in DATA_FILES]
WORKBOOK += [("data/measured/*.json", data_keys)]
WORKBOOK += [(f"data/**/{name}.csv", table_keys) for name in TABLES]
WORKBOOK += [("notebooks/*.ipynb", choice_keys)]
NOTEBOOKS = [("notebooks/*.ipynb", page_keys)]


def template(method_map: list[tuple[str, Any]]) -> Catalog:
    """Every text that these files have, with the files that have it, and no translation."""
    made = Catalog()
    for folder in sorted({pattern.partition("/")[0] for pattern, _ in method_map}):
        here = [
            (pattern.partition("/")[2], method)
            for pattern, method in method_map
            if pattern.startswith(folder)
        ]
        for name, line, text, _, _ in extract_from_dir(ROOT / folder, here, keywords={"say": None}):
            if text:
                made.add(text, locations=[(f"{folder}/{name}", line)])
    return made
