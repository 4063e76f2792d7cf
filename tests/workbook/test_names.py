"""Names in parameters: what exists is let pass, what does not is refused with the nearest name, without the network."""

import pytest

from exaone_nb.errors import UsageError
from exaone_nb.workbook import values as names
from exaone_nb.workbook.chapters import discover
from exaone_nb.workbook.parameters import KINDS, Parameter

PARAMETERS = [(chapter, parameter) for chapter in discover() for parameter in chapter.parameters]


def check(kind, value):
    names.check_names(Parameter("X", "str", "", kind=kind), value)


def knows(kind, value):
    try:
        check(kind, value)
    except UsageError:
        return False
    return True


@pytest.mark.parametrize(
    ("kind", "value", "nearest"),
    [
        ("model", "nanoo", "nano"),
        ("model", ["nano", "EXAONE-4.0-1.2"], "EXAONE-4.0-1.2B"),
        ("recipe", ["w8a8", "w8a9"], "w8a8"),
        ("task", ["nano_gms"], "nano_gsm"),
        ("gpu", "L44", "L4"),
        ("gpu", ["T4", "H200-SMX"], "H200-SXM"),
        ("scheme", ["BF16", "W4A17"], "W4A16"),
        ("text", "nano_calibratio", "nano_calibration"),
    ],
)
def test_a_name_of_nothing_is_refused_with_the_nearest(kind, value, nearest):
    with pytest.raises(UsageError) as caught:
        check(kind, value)
    assert caught.value.remedy.startswith(f"Did you mean {nearest}")
    assert caught.value.expected


def test_files_hub_ids_addresses_and_empty_ones_pass(tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("scheme: W8A8\n")
    for model in (str(tmp_path), "ORG/NAME", "https://example.org/model", ""):
        check("model", model)
    check("recipe", [str(recipe)])
    check("task", ["nano", "nano_mc"])
    for text in ("ORG/texts", "data/calibration/nano_heldout.jsonl"):
        check("text", text)
    with pytest.raises(UsageError, match="no recipe file"):
        check("recipe", "data/recipes/no_such.yaml")
    for free in ("", "checkpoint"):
        check(free, ["whatever"])
    with pytest.raises(UsageError, match=r"no_such\.yaml"):
        check("recipe", [str(tmp_path / "no_such.yaml")])
    with pytest.raises(UsageError, match="no_such"):
        check("model", str(tmp_path / "no_such"))


@pytest.mark.parametrize(
    ("chapter", "parameter"), PARAMETERS, ids=lambda x: getattr(x, "number", None) or x.name
)
def test_a_default_that_names_something_says_what(chapter, parameter):
    """A default that is the name of a model, recipe, task, card, scheme or text has that kind: else nothing checks it."""
    values = parameter.default if isinstance(parameter.default, list) else [parameter.default]
    words = [value for value in values if isinstance(value, str) and value]
    names.check_names(parameter, parameter.default)
    if parameter.choices or not words:
        return
    own = {kind for kind in names.CHECKS if all(knows(kind, word) for word in words) and kind != "task"}
    own |= {"task"} if all(word in names._stems("tasks", ".yaml") for word in words) else set()
    own |= {"checkpoint"} if "recipe" in own or words == ["baseline"] else set()
    assert parameter.kind in own or not own, f"{chapter.slug}: {parameter.name} could be any of {sorted(own)}"


def test_every_kind_is_used_and_the_model_comes_first():
    assert {parameter.kind for _, parameter in PARAMETERS} - {""} == set(KINDS)
    for chapter in discover():
        assert next(p.name for p in chapter.parameters if p.kind == "model") == "MODEL"


def test_lm_evals_names_are_found_without_its_index():
    pytest.importorskip("lm_eval", reason="lm-eval is not installed: make install")
    assert {"gsm8k", "mmlu", "mmlu_abstract_algebra", "kmmlu", "ifeval"} <= names.lm_eval_tasks()
    check("task", ["gsm8k", "mmlu"])
    with pytest.raises(UsageError, match="gsm8q"):
        check("task", ["gsm8q"])
