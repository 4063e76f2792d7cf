"""The `parameters` cell is the schema: one typed, commented assignment per line.

    MODEL: str = "nano"  # catalog name, local folder, address or hub id
    BITS: int = 4  # bits per weight [choices: 4 | 8]
    LIMIT: int = 512  # items per task [range: 1 ..]
    SHARE: float = 0.85  # of the GPU's memory [range: 0 .. 1]

The same record validates `-p`, YAML files, sweeps and values set by hand in a notebook (`chapters.check_parameters`).
Nothing is evaluated: defaults must be literals.
"""

from __future__ import annotations

import ast
import difflib
import io
import math
import re
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from exaone_nb.errors import UsageError, WorkbookError

TYPES = {"str": str, "int": int, "float": float, "bool": bool}
LIST_TYPES = {f"list[{name}]": kind for name, kind in TYPES.items() if kind is not bool}

# Set by the runner for every chapter; a person sets it only in JupyterLab.
RUN_DIR = "RUN_DIR"

# Python itself refuses to read numbers of thousands of digits, and no count here has more than this.
MOST_DIGITS = 18

_CHOICES = re.compile(r"\s*\[choices:\s*(?P<choices>[^\]]*)\]\s*$")
_BOUND = r"[+-]?\d+(?:\.\d+)?"
_RANGE = re.compile(rf"\s*\[range:\s*(?P<low>{_BOUND})\s*\.\.\s*(?P<high>{_BOUND})?\s*\]\s*$")
_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


@dataclass(frozen=True)
class Parameter:
    """One line of the parameters cell.

    `choices` is empty when any value of the type will do. A number, or each number of a list, lies between `low` and
    `high`, both included; None is no bound.
    """

    name: str
    type: str
    default: Any
    help: str = ""
    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None

    @property
    def values(self) -> str:
        """The allowed values in words; empty when any value of the type will do."""
        if self.choices:
            return " | ".join(map(str, self.choices))
        if self.low is None:
            return ""
        return f"at least {self.low:g}" if self.high is None else f"{self.low:g} to {self.high:g}"


def parse(source: str, where: str = "the parameters cell") -> tuple[Parameter, ...]:
    """Read the schema from the cell's source. Raises WorkbookError naming the line that is not a declaration."""
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise WorkbookError(f"{where}, line {error.lineno}: {error.msg}.") from error
    comments = _comments(source)
    return tuple(_declaration(statement, comments, where) for statement in statements)


def _comments(source: str) -> dict[int, str]:
    """Line number -> text of the comment that ends it."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("# ").rstrip() for t in tokens if t.type == tokenize.COMMENT}


def _declaration(statement: ast.stmt, comments: Mapping[int, str], where: str) -> Parameter:
    def wrong(what: str) -> WorkbookError:
        return WorkbookError(
            f"{where}, line {statement.lineno}: {what}.",
            expected="NAME: type = literal  # help text [choices: a | b] or [range: 1 ..], with a type among "
            + ", ".join([*TYPES, *LIST_TYPES])
            + ".",
        )

    if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
        raise wrong("not a typed assignment")
    name, kind = statement.target.id, ast.unparse(statement.annotation)
    if kind not in TYPES and kind not in LIST_TYPES:
        raise wrong(f"{name} has the type {kind!r}")
    if statement.value is None:
        raise wrong(f"{name} has no default")
    try:
        default = ast.literal_eval(statement.value)
    except ValueError as error:
        raise wrong(f"the default of {name} is not a literal") from error
    lines = range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
    text = " ".join(comments[line] for line in lines if line in comments)
    element = kind[5:-1] if kind in LIST_TYPES else kind
    parameter = Parameter(name, kind, None, text)
    if match := _CHOICES.search(text):
        words = [word.strip().strip("\"'") for word in match["choices"].split("|")]
        choices = tuple(_scalar(Parameter(name, element, None), word) for word in words if word)
        parameter = replace(parameter, help=text[: match.start()], choices=choices)
    elif "[range:" in text:
        if element not in ("int", "float"):
            raise wrong(f"{name} has a range and the type {kind}")
        match = _RANGE.search(text)
        if match is None:
            raise wrong(f"the range of {name} is not written as [range: 1 ..] or [range: 0 .. 1]")
        low, high = float(match["low"]), float(match["high"]) if match["high"] else None
        parameter = replace(parameter, help=text[: match.start()], low=low, high=high)
    try:
        value = coerce(parameter, default)
    except UsageError as error:
        raise wrong(f"the default of {name} does not fit its own declaration ({error.got})") from error
    return replace(parameter, default=value)


def coerce(parameter: Parameter, value: Any) -> Any:
    """The value in the parameter's type, from text (`-p`) or from a YAML or Python value. Raises UsageError."""
    if parameter.type in LIST_TYPES:
        element = replace(parameter, type=parameter.type[5:-1])
        return [_allowed(element, _scalar(element, item)) for item in _items(parameter, value)]
    return _allowed(parameter, _scalar(parameter, value))


def _items(parameter: Parameter, value: Any) -> Iterable[Any]:
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            import yaml

            try:
                value = yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise _unfit(parameter, value) from error
        else:
            value = [part.strip() for part in text.split(",") if part.strip()]
    if not isinstance(value, list | tuple):
        raise _unfit(parameter, value)
    return value


def _scalar(parameter: Parameter, value: Any) -> Any:
    """One str, int, float or bool. Text is read; a number never silently becomes another number."""
    kind = TYPES[parameter.type]
    text = isinstance(value, str)
    if kind is str:
        if text:
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
    elif kind is bool:
        if isinstance(value, bool):
            return value
        if text and value.strip().lower() in _TRUE | _FALSE:
            return value.strip().lower() in _TRUE
    elif isinstance(value, bool):
        pass
    elif kind is int:
        if isinstance(value, int):
            return value
        if text and re.fullmatch(rf"\s*[+-]?\d(_?\d){{0,{MOST_DIGITS - 1}}}\s*", value):
            return int(value)
    elif isinstance(value, int | float) or text:
        try:
            number = float(value)
        except (ValueError, OverflowError):
            pass
        else:
            if math.isfinite(number):
                return number
    raise _unfit(parameter, value)


def _allowed(parameter: Parameter, value: Any) -> Any:
    if parameter.choices and value not in parameter.choices:
        near = difflib.get_close_matches(str(value), [str(choice) for choice in parameter.choices], n=1)
        raise UsageError(
            f"{parameter.name} = {value!r} is not one of its values.",
            expected=parameter.values,
            remedy=f"Did you mean {near[0]}?" if near else "Choose one of those.",
        )
    if (parameter.low is not None and value < parameter.low) or (
        parameter.high is not None and value > parameter.high
    ):
        raise UsageError(
            f"{parameter.name} = {value!r} is out of range.",
            expected=f"{parameter.name}: {parameter.help}; {parameter.values}.",
            remedy=f"Give a value of {parameter.values}.",
        )
    return value


def _unfit(parameter: Parameter, value: Any) -> UsageError:
    return UsageError(
        f"{parameter.name} = {value!r} is not of type {parameter.type}.",
        expected=f"{parameter.name}: {parameter.type}" + (f", {parameter.help}" if parameter.help else ""),
        remedy="Lists are written as a,b,c or [a, b, c]; truth values as true or false."
        if parameter.type in LIST_TYPES or parameter.type == "bool"
        else "Give a value of that type.",
    )


def validate(schema: Iterable[Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """Coerced values of the given names. Raises UsageError on an unknown name (with the nearest one) or a bad value."""
    known = {parameter.name: parameter for parameter in schema}
    for name in given:
        if name not in known:
            raise unknown(name, known)
    return {name: coerce(known[name], value) for name, value in given.items()}


def unknown(name: str, known: Iterable[str]) -> UsageError:
    """The error for a parameter that no chapter has."""
    known = sorted(set(known) - {RUN_DIR})
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5) or difflib.get_close_matches(
        name.upper(), known, n=1, cutoff=0.5
    )
    return UsageError(
        f"No parameter is named {name!r}.",
        expected=", ".join(known) or "no parameters at all.",
        remedy=f"Did you mean {near[0]}?" if near else "exaone-nb run CHAPTER --help-notebook lists them.",
    )
