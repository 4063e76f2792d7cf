from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from exaone_nb.compress import llmcompressor_adapter
from exaone_nb.compress import recipe as recipes
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.quantization import arguments

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_loads_and_says_what_it_is_for(name):
    recipe = recipes.load(name)
    assert recipe.title and recipe.purpose and recipe.known


def test_name_and_prose_are_no_part_of_the_recipes_digest():
    first = recipes.parse({"scheme": "W4A16", "title": "a"}, "one")
    assert first.digest() == recipes.parse({"scheme": "w4a16", "title": "b"}, "two").digest()
    assert first.digest() != recipes.parse({"scheme": "W8A16"}, "one").digest()


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"scheme": "W4A61"}, ["W4A61", "W4A16"]),
        ({"scheme": "W4A16", "ignor": ["lm_head"]}, ["ignor", "Did you mean ignore"]),
        ({"scheme": "W4A16", "groups": []}, ["both scheme and groups"]),
        ({}, ["neither scheme nor groups"]),
        ({"scheme": "W4A16", "method": "gtpq"}, ["gtpq", "gptq"]),
        ({"scheme": "W4A16", "settings": {"blok_size": 1}}, ["blok_size", "block_size"]),
        ({"scheme": "W4A16", "settings": {"dampening_frac": -1}}, ["dampening_frac", "(0, 1]"]),
        ({"scheme": "W4A16", "settings": {"block_size": 0}}, ["block_size", "above 0"]),
        ({"scheme": "W4A16", "settings": {"observer": "mean"}}, ["mean", "minmax"]),
        ({"scheme": "W4A16", "ignore": [3]}, ["[3]", "list of patterns"]),
        ({"groups": [{"targets": ["Linear"]}]}, ["groups: number 1 has no scheme"]),
        ({"scheme": {"weight": {}}}, ["weights"]),
        ({"scheme": "W4A16", "kv_cache": "int3"}, ["int3", "fp8"]),
        ({"scheme": "W4A16", "transform": "smothquant"}, ["smothquant", "smoothquant"]),
        ({"scheme": "W4A16", "calibration": {"sample": 3}}, ["sample", "samples"]),
        ({"scheme": "W4A16", "calibration": {"samples": 0}}, ["0", "above 0"]),
        ({"scheme": "W4A16", "calibration": {"length": "long"}}, ["long"]),
        ({"scheme": "W4A16", "calibration": {"sources": 5}}, ["sources", "list"]),
        ({"scheme": "W4A16", "calibration": {"sources": "abc.jsonl"}}, ["sources", "list"]),
        ({"scheme": "W4A16", "calibration": {"sources": [{"nme": "x"}]}}, ["nme", "name"]),
        (
            {"scheme": "W4A16", "calibration": {"sources": [{"name": "x", "share": "a"}]}},
            ["share", "above 0"],
        ),
        (
            {"scheme": "W4A16", "calibration": {"sources": [{"name": "x", "share": INF}]}},
            ["share", "above 0"],
        ),
        ({"scheme": "W4A16", "calibration": {"source": "a", "sources": ["b"]}}, ["both source and sources"]),
        ({"scheme": "W4A16", "calibration": {"seed": 1.5}}, ["seed", "whole"]),
        ({"scheme": "W4A16", "calibration": {"seed": "abc"}}, ["seed", "whole"]),
        ({"scheme": "W4A16", "calibration": {"template": "no"}}, ["template", "true or false"]),
        ({"scheme": "W4A16", "calibration": 5}, ["calibration is 5"]),
        ({"scheme": "W4A16", "settings": 5}, ["settings is 5"]),
        ({"scheme": "W4A16", "settings": "abc"}, ["settings is 'abc'"]),
        ({"scheme": "W4A16", "settings": ["a"]}, ["settings is ['a']"]),
        ({"scheme": "W4A16", "settings": {"block_size": INF}}, ["block_size", "whole"]),
        ({"scheme": "W4A16", "settings": {"block_size": NAN}}, ["block_size", "whole"]),
        ({"scheme": "W4A16", "transform": 5}, ["transform is 5", "awq"]),
        ({"scheme": "W4A16", "transform": [1]}, ["transform is [1]", "awq"]),
        ({"scheme": "W4A16", "transform": {"type": "awq", "junk": 1}}, ["junk", "n_grid"]),
        *(
            ({"scheme": "W4A16", "transform": {"type": kind, "mappings": m}}, ["mapping", "balance"])
            for kind in ("awq", "smoothquant")
            for m in (["a"], 5, "ab", [{"foo": 1}], [])
        ),
        ({"scheme": "W4A16", "kv_cache": {"num_bits": 99}}, ["kv_cache", "99", "1 to 16"]),
        ({"scheme": "W4A16", "kv_cache": {"num_bits": 8}}, ["kv_cache", "int8", "type: float"]),
        ({"scheme": "W4A16", "kv_cache": {"num_bits": 8, "tpye": "float"}}, ["tpye", "type"]),
        ({"scheme": {"weights": 5}}, ["weights is 5"]),
        ({"scheme": {"input_activations": {}}}, ["no weights"]),
        ({"scheme": "W4A16", "targets": []}, ["targets is []"]),
        (
            {"scheme": {"weights": {"num_bits": 8}, "input_activations": {}}},
            ["input_activations is {}", "num_bits"],
        ),
        ({"scheme": "W4A16", "calibration": {"samples": 10**400}}, ["samples", "above 0"]),
        ({"scheme": "W4A16", "settings": {"actorder": ["static"]}}, ["actorder", "static"]),
        ({"scheme": "W8A8", "transform": {"type": "smoothquant", "ignore": 5}}, ["ignore is 5"]),
        *(
            ({"scheme": {"weights": weights}}, words)
            for weights, words in [
                ({"num_bits": 4, "block_size": 64}, ["block_size", "Did you mean group_size"]),
                ({"num_bits": 4, "groupsize": 64}, ["groupsize", "Did you mean group_size"]),
                ({"num_bits": 4, "strategy": "channel", "group_size": 64}, ["contradict", "strategy: group"]),
                (
                    {"num_bits": 4, "dynamic": True, "strategy": "group", "group_size": 64},
                    ["dynamic", "false"],
                ),
                ({"num_bits": 3, "type": "float"}, ["num_bits is 3", "4 or 8"]),
                ({"num_bits": 16}, ["num_bits is 16", "2 to 8"]),
                ({"num_bits": 4, "type": "float"}, ["4-bit floats", "NVFP4"]),
                ({"num_bits": 8, "strategy": "token", "dynamic": True}, ["token", "channel"]),
                ({"num_bits": 8, "block_structure": [128, 128]}, ["block_structure", "strategy: block"]),
                ({"num_bits": 4, "group_size": 64, "actorder": "group"}, ["actorder", "static"]),
                ({"num_bits": 4, "group_size": 64, "observer": "mean"}, ["observer", "minmax"]),
            ]
        ),
        *(
            ({"scheme": {"weights": {"num_bits": 8}, "input_activations": given}}, words)
            for given, words in [
                ({"num_bits": 8, "strategy": "token"}, ["token", "dynamic: true"]),
                ({"num_bits": 8, "strategy": "channel"}, ["channel", "token"]),
                ({"num_bits": 8, "actorder": "static"}, ["actorder", "weights only"]),
                ({"num_bits": 8, "dynamic": "locally"}, ["dynamic", "local"]),
                ({"num_bits": 8, "strategy": "token", "dynamic": 0}, ["dynamic is 0", "true"]),
            ]
        ),
    ],
)
def test_a_wrong_recipe_is_refused_with_the_key_named(document, words):
    with pytest.raises(UsageError) as caught:
        recipes.parse(document)
    for word in words:
        assert word in str(caught.value)


def test_all_that_is_wrong_is_said_at_once():
    document = {"scheme": "W4A16", "method": "gtpq", "calibration": {"seed": "a", "sources": [{"name": ""}]}}
    with pytest.raises(UsageError) as caught:
        recipes.parse(document, "mine")
    assert caught.value.got.splitlines() == [
        "Recipe mine: method is 'gtpq'. Expected: one of rtn, gptq, autoround.",
        "Recipe mine: calibration: sources: number 1: name is ''. Expected: a JSONL file or a hub id ORG/NAME.",
        "Recipe mine: calibration: seed is 'a'. Expected: a whole number.",
    ]
    assert caught.value.remedy == "Did you mean gptq?"


def test_numbers_and_single_names_may_be_written_either_way():
    short = {"scheme": "w4a16", "ignore": "lm_head", "settings": {"block_size": 64.0}, "calibration": None}
    long = {"groups": [{"scheme": "W4A16", "targets": ["Linear"]}], "ignore": ["lm_head"]}
    first, second = recipes.parse(short), recipes.parse(long | {"settings": {"block_size": 64}})
    assert first == second and first.digest() == second.digest()


def test_reading_and_planning_take_nothing_that_was_compiled():
    """So that a browser can do it; PyYAML works without its compiled part."""
    program = """
import importlib.machinery as m, sys
from exaone_nb.compress import plan, recipe
for name in recipe.names():
    plan.make_plan("EXAONE-4.0-1.2B", name)
theirs = {"a_stage": {"b_modifiers": {"GPTQModifier": {"config_groups": {"g": {"weights": {"num_bits": 4, "group_size": 64}}}}}}}
plan.make_plan("EXAONE-4.0-1.2B", theirs)
try:
    recipe.parse({"scheme": "W4A16", "calibration": {"samples": 0}})
except recipe.UsageError:
    pass
own = [n for n, x in list(sys.modules.items()) if "site-packages" in (getattr(x, "__file__", None) or "")]
ends = tuple(m.EXTENSION_SUFFIXES)
print([n for n in own if sys.modules[n].__file__.endswith(ends) and not n.startswith(("yaml", "_yaml"))])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(UsageError, match="w4a16_gptq"):
        recipes.load("w4a16_gptk")


@pytest.mark.parametrize(
    "text", ["- a\n- b\n", "scheme: [unclosed", "", "scheme: W4A16\nscheme: W8A8\n", "a: {b: 1, b: 2}"]
)
def test_a_file_that_is_no_recipe(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(WorkbookError):
        recipes.load(path)
    with pytest.raises(WorkbookError, match=r"There is no file .*missing\.yaml"):
        recipes.load(tmp_path / "missing.yaml")
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(WorkbookError, match="cannot be read"):
        recipes.load(tmp_path / "folder.yaml")


@pytest.mark.heavy
def test_the_keys_of_explicit_arguments_are_those_of_the_library():
    from compressed_tensors.quantization import QuantizationArgs
    from llmcompressor.modifiers.transform.awq import AWQModifier
    from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier

    assert set(arguments.Arguments.__annotations__) == set(QuantizationArgs.model_fields)
    for kind, modifier in {"awq": AWQModifier, "smoothquant": SmoothQuantModifier}.items():
        assert set(arguments.TRANSFORMS[kind].__annotations__) - {"type"} <= set(modifier.model_fields)


def test_modifiers_of_the_slides_recipe():
    ((name, values),) = recipes.load("w4a16_gptq").modifiers()
    assert name == "GPTQModifier"
    assert values == {"ignore": ["lm_head"], "scheme": "W4A16", "targets": ["Linear"], "dampening_frac": 0.01}


def test_a_transform_runs_before_the_quantization_and_settings_of_gptq_stay_out_of_rounding():
    recipe = recipes.parse({"scheme": "W4A16", "transform": "awq", "settings": {"block_size": 64}})
    steps = recipe.modifiers()
    assert [name for name, _ in steps] == ["AWQModifier", "QuantizationModifier"]
    assert "block_size" not in steps[1][1]
    exported = yaml.safe_load(recipe.to_yaml())["default_stage"]["default_modifiers"]
    assert list(exported) == ["AWQModifier", "QuantizationModifier"]


@pytest.mark.parametrize(
    ("name", "needed"),
    [("w4a16_rtn", False), ("w8a8", False), ("fp8_dynamic", False), ("fp8", True), ("nvfp4", True), ("w4a16_gptq", True),
     ("w8a8_kv_fp8", True), ("w4a16_awq", True), ("mxfp4", False), ("w8a8_smoothquant", True),
     ("w4a16_autoround", True)],
)  # fmt: skip
def test_which_recipes_need_text(name, needed):
    assert recipes.load(name).needs_data is needed


@pytest.mark.heavy
@pytest.mark.parametrize("name", recipes.names())
def test_llm_compressor_accepts_every_recipe_and_agrees_on_needing_text(name):
    recipe = recipes.load(name)
    built = llmcompressor_adapter.build(recipe)
    assert any(m.requires_calibration_data for m in built) is recipe.needs_data
