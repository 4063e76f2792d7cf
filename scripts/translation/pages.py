"""A notebook cut into the pieces that a translator gets, and put together again with everything between them verbatim.

Markdown is cut by markdown-it-py's line map: a heading, a paragraph, an item of a list, a row of a table. Of code: texts
that reach the reader (what is printed, captions, alt texts, headings of tables, labels in figures, docstrings), and
comments; and labels: the keys of dictionaries that are words with spaces. The key of a text in code is its source between the quotes, placeholders included.
"""

import ast
import copy
import io
import re
import tokenize
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from itertools import chain
from typing import Any

from markdown_it import MarkdownIt

LEAVES = ("paragraph_open", "heading_open", "tr_open", "html_block")
# What says nothing by itself: formulas, code, addresses, tags.
SILENT = re.compile(r"\$\$[\s\S]+?\$\$|\$[^$\n]+\$|`[^`]+`|\]\([^)]*\)|<[^>]+>")
# Where a text in code reaches the reader: the positions by what is called, names of arguments, keys of rows.
EVERY = range(99)
CALLS = {"print": EVERY, "note": (0,), "say": (0,), "show_table": (1,), "Table": (2,), "set_xlabel": (0,)}
CALLS |= {
    "compared": (0,),
    "guess": (3,),
    "lines": (1,),
    "scheme_map": (1,),
    "verdicts": (0,),
    "visible_drops_figure": (1,),
    "set_ylabel": (0,),
    "set_title": (0,),
    "suptitle": (0,),
    "annotate": (0,),
    "text": (2,),
    "speed_bars": (1,),
    "scoreboard_figure": (1,),
}
NAMED = {"alt", "caption", "label", "title", "heading", "xlabel", "ylabel", "suptitle", "missing", "join"}
NAMED_IN = {"guess": {"unit"}, "curves": {"x", "y"}}
ROW_KEYS = {
    "what",
    "judge",
    "source",
    "wrong with it",
    "where",
    "tokens",
    "verdict",
    "licence",
    "check",
    "name",
}
_LITERAL = re.compile(r"""([a-zA-Z]*)(\"\"\"|'''|"|')((?:\\.|(?!\2)[\s\S])*)\2""")
_DIRECTIVE = re.compile(r"#\s*(noqa|fmt:|type:|ruff|!)")
LANGUAGE_CELL = "language"
Named = dict[str, list[ast.expr]]  # variable -> what is assigned to it
NOTHING: Named = {}


@dataclass(frozen=True)
class Piece:
    """From `begin` to `end` of a cell's source. `written` is the source of a translation."""

    begin: int
    end: int
    key: str
    written: Callable[[str], str] = str


def keys(document: dict[str, Any]) -> Iterator[str]:
    """Every text of a notebook, in its order."""
    about = document["metadata"]["exaone_nb"]
    yield from (about["title"], about["question"])
    known = labels(document)
    for cell in document["cells"]:
        yield from (piece.key for piece in pieces(cell, known))


def translated(document: dict[str, Any], language: str, translate: Callable[[str], str]) -> dict[str, Any]:
    """The notebook in another language; its kernel is told which before anything is imported."""
    made = copy.deepcopy(document)
    about = made["metadata"]["exaone_nb"]
    about |= {name: translate(about[name]) for name in ("title", "question")}
    known = labels(document)
    for cell in made["cells"]:
        text = put_back("".join(cell["source"]), pieces(cell, known), translate)
        if text != "".join(cell["source"]):
            cell["source"] = text.splitlines(keepends=True)
    source = ["import os\n", "\n", f'os.environ["EXAONE_NB_LANG"] = "{language}"']
    metadata = {"tags": ["remove-cell"]}
    told = {"cell_type": "code", "execution_count": None, "id": LANGUAGE_CELL, "metadata": metadata}
    first = next(at for at, cell in enumerate(made["cells"]) if cell["cell_type"] == "code")
    made["cells"].insert(first, told | {"outputs": [], "source": source})
    return made


def put_back(source: str, found: list[Piece], translate: Callable[[str], str], always: bool = False) -> str:
    """The source with its pieces translated. A piece that stays as it was is not touched, unless `always`."""
    for piece in reversed(found):
        text = translate(piece.key)
        if always or text != piece.key:
            source = source[: piece.begin] + piece.written(text) + source[piece.end :]
    return source


def labels(document: dict[str, Any]) -> frozenset[str]:
    """The labels of a notebook, as Python writes them. They are said anew wherever they stand in it, or nowhere.

    No label is a name of a column, a choice of a guess, or what a placeholder reads: those stay as they are.
    """
    sources = ["".join(cell["source"]) for cell in document["cells"] if cell["cell_type"] == "code"]
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    keys = [k for node in nodes if isinstance(node, ast.Dict) for k in node.keys]
    keys += [node.key for node in nodes if isinstance(node, ast.DictComp)]
    keys += [n.slice for n in nodes if isinstance(n, ast.Subscript) and isinstance(n.ctx, ast.Store)]
    found = {ast.unparse(key) for key in keys if _is_text(key)}
    other = {ast.unparse(node.args[0]) for node in nodes if _is_column(node)}
    inside = (each for node in nodes if isinstance(node, ast.FormattedValue) for each in ast.walk(node))
    other |= {ast.unparse(each) for each in inside if _is_text(each)}
    choices = (c.split(" | ") for source in sources for c in re.findall(r"\[choices: ([^\]]+)\]", source))
    return frozenset(label for label in found - other if " " in label) - set(map(repr, chain(*choices)))


def _is_text(node: ast.AST | None) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def pieces(cell: dict[str, Any], labels: Set[str] = frozenset()) -> list[Piece]:
    source = "".join(cell["source"])
    found = markdown_pieces(source) if cell["cell_type"] == "markdown" else code_pieces(source, labels)
    return [piece for piece in found if re.search("[A-Za-z]{2}", SILENT.sub("", piece.key))]


def markdown_pieces(source: str) -> list[Piece]:
    starts = _starts(source)
    tokens = MarkdownIt("commonmark").enable("table").parse(source)
    lines = sorted({tuple(token.map) for token in tokens if token.type in LEAVES and token.map})
    found = []
    for first, last in lines:
        text = source[starts[first] : starts[last]].rstrip("\n")
        found.append(Piece(starts[first], starts[first] + len(text), text))
    return found


def code_pieces(source: str, labels: Set[str] = frozenset()) -> list[Piece]:
    starts, lines = _starts(source), source.splitlines()
    found, tree = [], ast.parse(source)
    names = [node.args[0] for node in ast.walk(tree) if _is_column(node) and len(node.args) == 1]
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    said = (n for n in ast.walk(tree) if _is_text(n) and id(n) not in inside and ast.unparse(n) in labels)
    for node in {id(node): node for node in chain(_read_by_people(tree), said)}.values():
        begin = starts[node.lineno - 1] + _column(lines[node.lineno - 1], node.col_offset)
        end = starts[node.end_lineno - 1] + _column(lines[node.end_lineno - 1], node.end_col_offset)
        found.append(_text_piece(source, begin, end, with_name=node in names))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not _DIRECTIVE.match(token.string):
            begin = starts[token.start[0] - 1] + token.start[1]
            text = token.string.lstrip("# ")
            found.append(Piece(begin + len(token.string) - len(text), begin + len(token.string), text))
    return sorted(found, key=lambda piece: piece.begin)


def _starts(source: str) -> list[int]:
    """Where each line begins, and where the last one ends."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts


def _column(line: str, in_bytes: int) -> int:
    return len(line.encode()[:in_bytes].decode())


def _text_piece(source: str, begin: int, end: int, with_name: bool) -> Piece:
    """One literal, or several beside each other, which become one. `with_name`: it is also a name in code, which stays."""
    parts = [match.groups() for match in _LITERAL.finditer(source[begin:end])]
    formatted, quote = any("f" in prefix.lower() for prefix, _, _ in parts), parts[0][1]

    def inside(prefix: str, text: str) -> str:
        return re.sub(r"([{}])", r"\1\1", text) if formatted and "f" not in prefix.lower() else text

    key = "".join(inside(prefix, text) for prefix, _, text in parts)

    def written(text: str) -> str:
        literal = f"{'f' * formatted}{quote}{text}{quote}"
        return f"{source[begin:end]}, {literal}" if with_name and text != key else literal

    return Piece(begin, end, key, written)


def _is_column(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Column"


def _read_by_people(tree: ast.AST) -> Iterator[Any]:
    """The texts (constants and f-strings) that reach a reader, as nodes."""
    named: Named = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            named.setdefault(node.targets[0].id, []).append(node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node):
            yield node.body[0].value  # type: ignore[attr-defined]
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value in ROW_KEYS:
                    yield from _texts(value, named)
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if _is_column(node) and node.args:
                yield from _texts(node.args[min(1, len(node.args) - 1)])
            read = [argument for at, argument in enumerate(node.args) if at in CALLS.get(name, ())]
            arguments = NAMED | NAMED_IN.get(name, set())
            for argument in [*read, *(k.value for k in node.keywords if k.arg in arguments)]:
                yield from _texts(argument, named)


def _texts(node: ast.AST, named: Named = NOTHING) -> Iterator[ast.AST]:
    """The texts of an argument: itself, or those that it is chosen from or put together of.

    `named` are the values of the cell's variables. Of what was first put in one, a word alone may be a name in code:
    it counts where it is chosen from several (`words[valid]`).
    """
    parts: list[ast.AST] = []
    match node:
        case ast.Constant() | ast.JoinedStr() if _is_text(node):
            yield node
            parts = [
                part.value for part in getattr(node, "values", []) if isinstance(part, ast.FormattedValue)
            ]
            parts = [part for part in parts if isinstance(part, ast.Name)]
        case ast.BinOp():
            parts = [node.left, node.right]
        case ast.BoolOp():
            parts = node.values
        case ast.IfExp():
            parts = [node.body, node.orelse]
        case ast.List() | ast.Tuple():
            parts = node.elts
        case ast.ListComp() | ast.GeneratorExp():
            parts = [node.elt]
        case ast.Call(func=ast.Attribute(attr="join", value=between)):
            parts = [between, *(one for one in node.args if isinstance(one, ast.GeneratorExp))]
        case ast.Name():
            others = {name: values for name, values in named.items() if name != node.id}
            for value in named.get(node.id, []):
                yield from filter(_has_words, _texts(value, others))
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Attribute() | ast.Name()):
            parts = [each for one in named.get(name, []) if isinstance(one, ast.Dict) for each in one.values]
    for part in parts:
        yield from _texts(part, named)


def _has_words(text: Any) -> bool:
    """False for a name alone, and where everything is filled in."""
    parts = [part for part in getattr(text, "values", [text]) if isinstance(part, ast.Constant)]
    said = "".join(part.value for part in parts)
    return " " in said and bool(re.search("[A-Za-z]{2}", said))


def choices(document: dict[str, Any]) -> Iterator[str]:
    """The words that a guess may be, or is compared with."""
    for cell in document["cells"]:
        if cell["cell_type"] == "code":
            source = "".join(cell["source"])
            for listed in re.findall(r"# your guess: .*\[choices: ([^\]]+)\]", source):
                yield from listed.split(" | ")
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "guess":
                    texts = (getattr(text, "value", "") for text in _texts(node.args[2]))
                    yield from (text for text in texts if text.strip(", "))
