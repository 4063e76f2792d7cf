"""Checking what people write against declared types: dataclasses, TypedDicts, Literals, and kinds of value.

    Count = kind(int, lambda value: is_whole(value) and value > 0, "a whole number above 0.")

    @dataclass(frozen=True)
    class Calibration:
        samples: Count = 128
        template: bool = True

    read({"samples": 0}, Calibration, "Recipe mine: calibration")
    # UsageError: Recipe mine: calibration: samples is 0. Expected: a whole number above 0.

The work is done by cattrs, which is pure Python, so that a recipe can be read where nothing compiled can be installed.
It is imported at the first reading (50 ms).
"""

import dataclasses
import typing
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeVar

from exaone_nb.errors import UsageError
from exaone_nb.messages import did_you_mean, joined, say

T = TypeVar("T")


class Mistake(UsageError):
    """One wrong value: `got` says what it is ("is 0."), `path` where it stands; `read` puts the two together."""

    def __init__(self, got: str, *, expected: str = "", remedy: str = "", path: tuple[Any, ...] = ()) -> None:
        super().__init__(got, expected=expected, remedy=remedy)
        self.path = path


@dataclass(frozen=True)
class Kind:
    """Values that `accepts` is true of, described by `expected`; `convert` makes of them what is kept."""

    accepts: Callable[[Any], Any]
    expected: str
    convert: Callable[[Any], Any] = lambda value: value

    def __call__(self, value: Any, type_: Any = None) -> Any:
        """The value as it is kept. Raises Mistake."""
        if not self.accepts(value):
            raise Mistake(say("is {value!r}.", value=value), expected=self.expected)
        return self.convert(value)


def kind(base: Any, accepts: Callable[[Any], Any], expected: str, *convert: Callable[[Any], Any]) -> Any:
    """A type for an annotation: `base` for the reader, checked as `Kind` says."""
    return Annotated[base, Kind(accepts, expected, *convert)]


def is_number(value: Any) -> bool:
    """True for a number that one can compute with; not for true, .inf or .nan."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def is_whole(value: Any) -> bool:
    """True for 64 and 64.0."""
    return is_number(value) and value == int(value)


def is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def are_names(value: Any) -> bool:
    return is_name(value) or (isinstance(value, list | tuple) and all(map(is_name, value)))


def as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def list_of(item: Any, expected: str, into: type = tuple) -> Any:
    """A type for an annotation: a list with at least one `item`, kept as a tuple or as a list."""

    def convert(value: Any) -> Any:
        return into(nested(value, list[item]))

    return kind(into, lambda value: isinstance(value, list | tuple) and value, expected, convert)


Count = kind(int, lambda value: is_whole(value) and value > 0, "a whole number above 0.", int)
Whole = kind(int, is_whole, "a whole number.", int)
Positive = kind(float, lambda value: is_number(value) and value > 0, "a number above 0.")
Name = kind(str, is_name, "a name.")
Patterns = kind(tuple, are_names, "a list of patterns.", as_tuple)


def read(document: Any, type_: type[T], what: str) -> T:
    """`document` as a `type_`. Raises UsageError that names every value that is wrong, beginning with `what`."""
    try:
        return nested(document, type_)
    except Exception as error:
        mistakes = list(_mistakes(error, ()))
        if not mistakes:
            raise
    wrong = [
        (say("{place} {got}", place=joined([what, *path], ": "), got=mistake.got), mistake.expected)
        for path, mistake in mistakes
    ]
    remedy = joined((mistake.remedy for _, mistake in mistakes if mistake.remedy), "\n")
    if len(wrong) == 1:
        raise UsageError(wrong[0][0], expected=wrong[0][1], remedy=remedy)
    told = (say("{got} Expected: {expected}", got=got, expected=expected) for got, expected in wrong)
    raise UsageError(joined(told, "\n"), remedy=remedy)


def nested(document: Any, type_: type[T]) -> T:
    """As `read`, inside a `convert`: its errors are put together by the `read` around it.

    A class may have short forms: its static method `spelled_out` makes a mapping of them.
    """
    return _converter().structure(document, type_)


def check_keys(document: Any, allowed: Iterable[str], meant: dict[str, str] | None = None) -> None:
    """Raise Mistake when `document` is no mapping, or has a key that is not allowed. `meant` maps a common wrong name."""
    expected = say("a mapping with keys among {keys}.", keys=", ".join(allowed))
    if not isinstance(document, dict):
        raise Mistake(say("is {document!r}.", document=document), expected=expected)
    for key in document:
        if key not in allowed:
            near = did_you_mean((meant or {}).get(key, key), allowed)
            raise Mistake(say("has an unknown key {key!r}.", key=key), expected=expected, remedy=near)


def one_of(value: Any, allowed: Iterable[Any]) -> Any:
    """`value`, or Mistake with the nearest of the allowed ones. 0 is not False here."""
    if not any(value is a or (type(value) is type(a) and value == a) for a in allowed):
        words = ", ".join(str(a).lower() if isinstance(a, bool) else str(a) for a in allowed)
        raise Mistake(
            say("is {value!r}.", value=value),
            expected=say("one of {words}.", words=words),
            remedy=did_you_mean(value, allowed),
        )
    return value


@cache
def _converter() -> Any:
    from cattrs import Converter
    from cattrs.gen import make_dict_structure_fn
    from cattrs.gen.typeddicts import make_dict_structure_fn as make_typeddict_structure_fn

    converter = Converter()

    def of_mapping(type_: Any) -> Callable[[Any, Any], Any]:
        hints = typing.get_type_hints(type_, include_extras=True)
        record = dataclasses.is_dataclass(type_)
        spelled_out = getattr(type_, "spelled_out", lambda value: value)
        for field in dataclasses.fields(type_) if record else ():
            # Left to itself, cattrs reads annotations that are texts without what is `Annotated`.
            field.type = hints[field.name]
        make = make_dict_structure_fn if record else make_typeddict_structure_fn
        inside = make(type_, converter, _cattrs_detailed_validation=True)

        def take(value: Any, _: Any) -> Any:
            if record and isinstance(value, type_):
                return value
            document = spelled_out(value)
            check_keys(document, hints)
            return inside(document, type_)

        return take

    converter.register_structure_hook_factory(
        lambda type_: dataclasses.is_dataclass(type_) or typing.is_typeddict(type_), of_mapping
    )
    converter.register_structure_hook_factory(_kind_of, _kind_of)
    converter.register_structure_hook_func(
        lambda type_: typing.get_origin(type_) is Literal,
        lambda value, type_: one_of(value, typing.get_args(type_)),
    )
    # cattrs by itself would make True of "no".
    truth = Kind(lambda value: isinstance(value, bool), "true or false, without quotes.")
    converter.register_structure_hook(bool, truth)
    converter.register_structure_hook(str, Kind(lambda value: isinstance(value, str), "a text."))
    return converter


def _kind_of(type_: Any) -> Kind | None:
    return next((m for m in getattr(type_, "__metadata__", ()) if isinstance(m, Kind)), None)


def _mistakes(error: BaseException, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Mistake]]:
    """Every mistake in cattrs' tree of exceptions, with the keys that lead to it."""
    from cattrs import AttributeValidationNote, IterableValidationNote

    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            path = (*path, note.name)
        elif isinstance(note, IterableValidationNote):
            numbered = isinstance(note.index, int)
            path = (*path, say("number {n}", n=note.index + 1) if numbered else str(note.index))
    if isinstance(error, Mistake):
        yield (*path, *map(str, error.path)), error
    elif isinstance(error, KeyError):  # a required key; its name is the last step of the path
        yield (
            path[:-1],
            Mistake(say("has no {first}.", first=path[-1]), expected=say("{{{first}: …}}.", first=path[-1])),
        )
    else:
        for inner in getattr(error, "exceptions", ()):
            yield from _mistakes(inner, path)
