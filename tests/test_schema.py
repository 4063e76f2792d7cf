from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

import pytest

from exaone_nb import schema
from exaone_nb.errors import UsageError
from exaone_nb.schema import Count, Name, list_of


class Colour(TypedDict, total=False):
    tone: Literal["light", "dark", False]


@dataclass(frozen=True)
class Car:
    wheels: Count
    fast: bool = False
    colour: Colour | None = None
    owners: list_of(Name, "a list of names.") = ("nobody",)


def test_what_is_right_is_kept_as_its_type():
    car = schema.read({"wheels": 4.0, "colour": {"tone": False}, "owners": ["a", "b"]}, Car, "car")
    assert car == Car(4, colour={"tone": False}, owners=("a", "b")) and type(car.wheels) is int
    assert schema.read(car, Car, "car") is car


@pytest.mark.parametrize(
    ("document", "got"),
    [
        ({}, "car has no wheels."),
        ([4], "car is [4]."),
        ({"wheels": True}, "car: wheels is True."),
        ({"wheels": "4"}, "car: wheels is '4'."),
        ({"wheels": float("nan")}, "car: wheels is nan."),
        ({"wheels": 4, "fast": "no"}, "car: fast is 'no'."),
        ({"wheels": 4, "colour": {"tone": 0}}, "car: colour: tone is 0."),
        ({"wheels": 4, "colour": {"tome": "dark"}}, "car: colour has an unknown key 'tome'."),
        ({"wheels": 4, "owners": ["a", ""]}, "car: owners: number 2 is ''."),
        ({"wheels": 4, "owners": []}, "car: owners is []."),
    ],
)
def test_what_is_wrong_is_named_with_its_place(document, got):
    with pytest.raises(UsageError) as caught:
        schema.read(document, Car, "car")
    assert caught.value.got == got and caught.value.expected


def test_an_error_of_the_reader_itself_is_no_mistake_of_the_user():
    class Broken(TypedDict):
        field: schema.kind(int, lambda value: value.nothing, "a number.")

    Broken.__annotations__["field"] = schema.kind(int, lambda value: value.nothing, "a number.")
    with pytest.raises(Exception) as caught:
        schema.read({"field": 1}, Broken, "it")
    assert not isinstance(caught.value, UsageError)
