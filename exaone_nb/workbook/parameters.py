"""The `parameters` cell is the schema: one typed, commented assignment per line.

    MODEL: str = "nano"  # catalog name, local folder, address or hub id [model]
    BITS: int = 4  # bits per weight [choices: 4 | 8]
    LIMIT: int = 512  # items per task [range: 1 ..]
    SHARE: float = 0.85  # of the GPU's memory [range: 0 .. 1]
    SEED: int = 0  # decides which samples are drawn [seed]
    GUESS_MB: float | None = None  # your guess: the file, in MB

A word in brackets at the end is the parameter's kind, one of KINDS: what its values name. Whoever has to know which
parameter is the model asks for the kind, never for the name.

The same record reads `-p`, YAML files, sweeps and values set by hand in a notebook (`values.py`), each
from the text that was written: "010" is 10 for an int and "010" for a str. Nothing is evaluated: defaults are literals.
"""

import ast
import io
import math
import re
import tokenize
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.messages import did_you_mean, joined, say
from exaone_nb.written import read_yaml

TYPES = ("str", "int", "float", "bool")
LIST_TYPES = ("list[str]", "list[int]", "list[float]")
OR_NONE = " | None"  # after one of TYPES: nothing may be given

# What a parameter's values name; `values.py` says what each kind allows. A checkpoint is called as its recipe.
KINDS = ("model", "recipe", "checkpoint", "task", "gpu", "scheme", "text", "seed")

# Set by the runner for every chapter; a person sets it only in JupyterLab.
RUN_DIR = "RUN_DIR"
HEADLESS = "EXAONE_NB_HEADLESS"  # set in a kernel that nobody looks on at

# Up to 18 digits: no count here has more, and Python refuses to read thousands.
_WHOLE = re.compile(r"\s*[+-]?\d(_?\d){0,17}\s*")
_BOUND = r"[+-]?\d+(?:\.\d+)?"
_RANGE = re.compile(rf"\s*(?P<low>{_BOUND})\s*\.\.\s*(?P<high>{_BOUND})?\s*")
_MARK = re.compile(r"\s*\[(?P<word>\w+)(?::(?P<rest>[^\]]*))?\]$")
_MISPLACED = re.compile(rf"\[(?:(?:choices|range):|(?:{'|'.join(KINDS)})\])")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


@dataclass(frozen=True)
class Parameter:
    """One line of the parameters cell.

    `kind` is one of KINDS, or empty when the values are no names. `choices` is empty when any value of the type will
    do. A number, or each number of a list, lies between `low` and `high`, both included; None is no bound.
    """

    name: str
    type: str
    default: Any
    help: str = ""
    kind: str = ""
    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None

    @property
    def element(self) -> str:
        """The type of one value: of a list's elements, else the type itself, without None."""
        return self.type[5:-1] if self.type in LIST_TYPES else self.type.removesuffix(OR_NONE)

    @property
    def values(self) -> str:
        """The allowed values in words; empty when any value of the type will do."""
        if self.choices:
            return " | ".join(map(str, self.choices))
        if self.low is None:
            return ""
        if self.high is None:
            return say("at least {low:g}", low=self.low)
        return say("{low:g} to {high:g}", low=self.low, high=self.high)


def parse(source: str, where: str = "") -> tuple[Parameter, ...]:
    """Read the schema from the cell's source. Raises WorkbookError naming the line that is not a declaration."""
    where = where or say("the parameters cell")
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        got = say("{where}, line {line}: {reason}.", where=where, line=error.lineno, reason=error.msg)
        raise WorkbookError(got) from error
    comments = _comments(source)
    found: dict[str, Parameter] = {}
    for statement in statements:
        parameter = _declaration(statement, comments, where)
        if parameter.name in found:
            fields = {"where": where, "line": statement.lineno, "name": parameter.name}
            twice = say("{where}, line {line}: {name} is declared twice.", **fields)
            raise WorkbookError(
                twice, expected="every parameter once.", remedy="Remove one of the two lines."
            )
        found[parameter.name] = parameter
    return tuple(found.values())


def _comments(source: str) -> dict[int, str]:
    """Line number -> text of the comment that ends it."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("# ").rstrip() for t in tokens if t.type == tokenize.COMMENT}


def _declaration(statement: ast.stmt, comments: Mapping[int, str], where: str) -> Parameter:
    def wrong(what: str) -> WorkbookError:
        return WorkbookError(
            say("{where}, line {line}: {what}.", where=where, line=statement.lineno, what=what),
            expected=say(
                "NAME: type = literal  # help text [choices: a | b] or [range: 1 ..] or a kind, with a type among {types} "
                "(or one of the first {few} with `| None`) and a kind among {kinds}.",
                few=len(TYPES),
                types=", ".join(TYPES + LIST_TYPES),
                kinds=", ".join(f"[{kind}]" for kind in KINDS),
            ),
        )

    if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
        raise wrong(say("not a typed assignment"))
    name, kind = statement.target.id, ast.unparse(statement.annotation)
    if kind not in LIST_TYPES and kind.removesuffix(OR_NONE) not in TYPES:
        raise wrong(say("{name} has the type {kind!r}", name=name, kind=kind))
    if statement.value is None:
        raise wrong(say("{name} has no default", name=name))
    try:
        default = ast.literal_eval(statement.value)
    except ValueError as error:
        raise wrong(say("the default of {name} is not a literal", name=name)) from error
    lines = range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
    text = " ".join(comments[line] for line in lines if line in comments)
    parameter = Parameter(name, kind, None)
    while match := _MARK.search(text):
        text = text[: match.start()]
        parameter = replace(parameter, **_mark(parameter, match["word"], match["rest"] or "", wrong))
    if _MISPLACED.search(text):
        raise wrong(say("a mark of {name} stands inside its help text, not at the end", name=name))
    parameter = replace(parameter, help=text)
    try:
        value = coerce(parameter, default)
    except UsageError as error:
        unfit = say(
            "the default of {name} does not fit its own declaration ({got})", name=name, got=error.got
        )
        raise wrong(unfit) from error
    return replace(parameter, default=value)


def _mark(
    parameter: Parameter, word: str, rest: str, wrong: Callable[[str], WorkbookError]
) -> dict[str, Any]:
    """The fields of a Parameter that one mark at the end of its help text sets."""
    name, element = parameter.name, parameter.element
    if word == "choices":
        words = filter(None, (choice.strip().strip("\"'") for choice in rest.split("|")))
        return {"choices": tuple(_scalar(replace(parameter, type=element), word) for word in words)}
    if word == "range":
        if element not in ("int", "float"):
            raise wrong(say("{name} has a range and the type {kind}", name=name, kind=parameter.type))
        if not (match := _RANGE.fullmatch(rest)):
            raise wrong(
                say("the range of {name} is not written as [range: 1 ..] or [range: 0 .. 1]", name=name)
            )
        return {"low": float(match["low"]), "high": float(match["high"]) if match["high"] else None}
    if word not in KINDS:
        raise wrong(say("{name} is marked [{word}], which is no kind", name=name, word=word))
    if element != ("int" if word == "seed" else "str"):
        raise wrong(
            say(
                "{name} is marked [{word}] and has the type {kind}", name=name, word=word, kind=parameter.type
            )
        )
    return {"kind": word}


def coerce(parameter: Parameter, value: Any) -> Any:
    """The value in the parameter's type, from the text that was written or from a Python value. Raises UsageError."""
    if parameter.type.endswith(OR_NONE) and (value is None or value in ("", "None", "null")):
        return None
    element = replace(parameter, type=parameter.element)
    if parameter.type in LIST_TYPES:
        return [_allowed(element, _scalar(element, item)) for item in _items(parameter, value)]
    return _allowed(element, _scalar(element, value))


def _items(parameter: Parameter, value: Any) -> Iterable[Any]:
    if isinstance(value, str) and value.strip().startswith("["):
        with suppress(UsageError):
            value = read_yaml(value.strip(), as_text=True)
    elif isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple):
        raise _unfit(parameter, value)
    return value


def _scalar(parameter: Parameter, value: Any) -> Any:
    """One str, int, float or bool, read from text, or from a Python value as Python writes it."""
    short = isinstance(value, int) and value.bit_length() < 10_000  # longer ones Python does not write
    text = str(value) if short or isinstance(value, str | float) else None
    if text is None or (parameter.type == "str" and isinstance(value, bool)):
        raise _unfit(parameter, value)
    if parameter.type == "str" and not _LONE_SURROGATE.search(text):  # which no UTF-8 file can hold
        return text
    if parameter.type == "bool" and text.strip().lower() in _TRUE | _FALSE:
        return text.strip().lower() in _TRUE
    if parameter.type == "int" and _WHOLE.fullmatch(text):
        return int(text)
    if parameter.type == "float":
        with suppress(ValueError):
            if math.isfinite(number := float(text)):
                return number
    raise _unfit(parameter, value)


def _allowed(parameter: Parameter, value: Any) -> Any:
    if parameter.choices and value not in parameter.choices:
        raise UsageError(
            say("{name} = {value!r} is not one of its values.", name=parameter.name, value=value),
            expected=parameter.values,
            remedy=did_you_mean(str(value), map(str, parameter.choices), "Choose one of those."),
        )
    low, high = parameter.low, parameter.high
    if (low is not None and value < low) or (high is not None and value > high):
        raise UsageError(
            say("{name} = {value!r} is out of range.", name=parameter.name, value=value),
            expected=say(
                "{name}: {help}; {values}.", name=parameter.name, help=parameter.help, values=parameter.values
            ),
            remedy="Give a value in this range.",
        )
    return value


def _unfit(parameter: Parameter, value: Any) -> UsageError:
    got = say(
        "{name} = {value!r} is not of type {type}.", name=parameter.name, value=value, type=parameter.type
    )
    return UsageError(
        got,
        expected=joined(filter(None, (f"{parameter.name}: {parameter.type}", parameter.help)), ", "),
        remedy="Give a value of that type; lists are written as a,b,c or [a, b, c], truth values as true or false.",
    )
