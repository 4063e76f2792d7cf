"""Names in parameters: what exists is let pass, what does not is refused with the nearest name, without the network."""

import pytest

from exaone_nb.errors import UsageError
from exaone_nb.workbook import names
from exaone_nb.workbook.chapters import discover


@pytest.mark.parametrize(
    ("parameter", "value", "nearest"),
    [
        ("MODEL", "nanoo", "nano"),
        ("COMPARE", ["nano", "EXAONE-4.0-1.2"], "EXAONE-4.0-1.2B"),
        ("SHAPE", "EXAONE-4.0-32", "EXAONE-4.0-32B"),
        ("RECIPES", ["w8a8", "w8a9"], "w8a8"),
        ("TASKS", ["nano_gms"], "nano_gsm"),
        ("GPU", "L44", "L4"),
        ("GPUS", ["T4", "H200-SMX"], "H200-SXM"),
        ("SCHEMES", ["BF16", "W4A17"], "W4A16"),
        ("CALIBRATION", "nano_calibratio", "nano_calibration"),
        ("HELD_OUT", "nano_held", "nano_heldout"),
    ],
)
def test_a_name_of_nothing_is_refused_with_the_nearest(parameter, value, nearest):
    with pytest.raises(UsageError) as caught:
        names.check_names(parameter, value)
    assert caught.value.remedy.startswith(f"Did you mean {nearest}")
    assert caught.value.expected


def test_files_hub_ids_addresses_and_empty_ones_pass(tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("scheme: W8A8\n")
    names.check_names("MODEL", str(tmp_path))
    names.check_names("MODEL", "ORG/NAME")
    names.check_names("MODEL", "https://example.org/model")
    names.check_names("RECIPES", [str(recipe)])
    names.check_names("TASKS", ["nano", "nano_mc"])
    names.check_names("CALIBRATION", "ORG/texts")
    names.check_names("SHAPE", "")
    names.check_names("GUESS_WORST", "whatever")
    with pytest.raises(UsageError, match=r"no_such\.yaml"):
        names.check_names("RECIPES", [str(tmp_path / "no_such.yaml")])
    with pytest.raises(UsageError, match="no_such"):
        names.check_names("MODEL", str(tmp_path / "no_such"))


def test_every_default_passes_and_every_checked_parameter_is_used():
    used = {parameter.name for chapter in discover() for parameter in chapter.parameters}
    for chapter in discover():
        for parameter in chapter.parameters:
            names.check_names(parameter.name, parameter.default)
    assert set(names.CHECKS) <= used | {"MODELS", "RECIPE", "TASK", "SCHEME"}


def test_where_checkpoints_are_read_their_names_are_free():
    chapters = {chapter.number: chapter for chapter in discover()}
    names.check_chapter(chapters["07"], {"RECIPES": ["my_own"]})
    with pytest.raises(UsageError, match="my_own"):
        names.check_chapter(chapters["05"], {"RECIPES": ["my_own"]})


def test_lm_evals_names_are_found_without_its_index():
    pytest.importorskip("lm_eval", reason="lm-eval is not installed: make install")
    assert {"gsm8k", "mmlu", "mmlu_abstract_algebra", "kmmlu", "ifeval"} <= names.lm_eval_tasks()
    names.check_names("TASKS", ["gsm8k", "mmlu"])
    with pytest.raises(UsageError, match="gsm8q"):
        names.check_names("TASKS", ["gsm8q"])
