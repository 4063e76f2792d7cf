"""llm-compressor's own recipe.yaml: what it dumps is read, and what is read back from our export has the same effect."""

from __future__ import annotations

import copy
import functools

import pytest

from exaone_nb.compress import recipe as recipes
from exaone_nb.compress.analysis import analyse
from exaone_nb.compress.plan import compare, make_plan
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.written import read_yaml

# As llm-compressor 0.9 saved it for the organisers' baseline notebook (224 bytes beside its weights) ...
ORGANISERS = """\
default_stage:
  default_modifiers:
    GPTQModifier:
      targets: [Linear]
      ignore: [embed_tokens, lm_head]
      scheme: W4A16
      block_size: 128
      dampening_frac: 0.01
      actorder: static
      offload_hessians: false
"""
# ... and three dumps of 0.14.0.1, which its own loader refuses for their Python objects.
CACHE = """\
default_stage:
  default_modifiers:
    QuantizationModifier:
      targets: [Linear]
      ignore: [lm_head]
      scheme: W8A8
      kv_cache_scheme:
        num_bits: 8
        type: float
        symmetric: true
        group_size: null
        strategy: !!python/object/apply:compressed_tensors.quantization.quant_args.QuantizationStrategy [
          tensor]
        block_structure: null
        dynamic: false
        actorder: null
        scale_dtype: null
        zp_dtype: null
        observer: null
        observer_kwargs: {}
      bypass_divisibility_checks: false
      requires_calibration_data: true
"""
GROUP_64 = """\
default_stage:
  default_modifiers:
    AWQModifier:
      requires_calibration_data: true
      mappings:
      - smooth_layer: re:.*up_proj
        balance_layers: ['re:.*down_proj']
        activation_hook_target: null
      offload_device: !!python/object/apply:llmcompressor.sentinel.Sentinel [not_provided,
        sentinel.py]
      duo_scaling: true
      n_grid: 20
    QuantizationModifier:
      config_groups:
        group_0:
          targets: [Linear]
          weights:
            num_bits: 4
            type: !!python/object/apply:compressed_tensors.quantization.quant_args.QuantizationType [
              int]
            symmetric: true
            group_size: 64
            strategy: !!python/object/apply:compressed_tensors.quantization.quant_args.QuantizationStrategy [
              group]
            block_structure: null
            dynamic: false
            actorder: null
            scale_dtype: null
            zp_dtype: null
            observer: mse
            observer_kwargs: {}
          input_activations: null
          output_activations: null
          format: null
      targets: [Linear]
      ignore: []
      weight_observer: mse
      bypass_divisibility_checks: false
      requires_calibration_data: false
"""
# Up to 0.12 AWQ held the scheme; a stage could be in capitals.
OLD_AWQ = """\
DEFAULT_stage:
  DEFAULT_modifiers:
    AWQModifier:
      config_groups:
        group_0:
          targets: [Linear]
          weights: {num_bits: 4, type: int, symmetric: false, group_size: 128, strategy: group, observer: minmax}
          input_activations: null
          output_activations: null
      targets: [Linear]
      ignore: [lm_head]
      duo_scaling: true
"""


def saved(folder, text, name="recipe.yaml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_organisers_recipe_runs_as_it_is(tmp_path):
    """Its plan has no error, the checkpoint weighs what their tied file would, and nothing in it differs from ours."""
    plan = make_plan("EXAONE-4.0-1.2B", saved(tmp_path, ORGANISERS))
    analysis = analyse(plan)
    assert not analysis.has_errors and plan.predicted_bytes == 971_261_368
    (unmatched,) = [f for f in analysis.findings if f.code == "unmatched"]
    assert unmatched.level == "note" and "embed_tokens" in unmatched.text
    assert compare(plan, make_plan("EXAONE-4.0-1.2B", "w4a16_gptq")) == []


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (CACHE, {"scheme": "W8A8", "ignore": ["lm_head"], "kv_cache": "fp8"}),
        (
            GROUP_64,
            {
                "scheme": {"weights": {"num_bits": 4, "strategy": "group", "group_size": 64}},
                "transform": {"type": "awq", "mappings": [{"smooth_layer": "re:.*up_proj", "balance_layers": ["re:.*down_proj"]}]},
                "settings": {"observer": "mse"},
            },
        ),
        (OLD_AWQ, {"scheme": "W4A16_ASYM", "ignore": ["lm_head"], "transform": "awq"}),
        (
            "a_stage: {q_modifiers: {QuantizationModifier: {scheme: {W8A16: 're:.*o_proj', W4A16: [Linear]}}}}",
            {"groups": [{"scheme": "W8A16", "targets": ["re:.*o_proj"]}, {"scheme": "W4A16"}]},
        ),
        (
            "a_stage: {q_modifiers: {SmoothQuantModifier: {smoothing_strength: 0.8}}}\n"
            "b_stage: {q_modifiers: {GPTQModifier: {scheme: W8A8, actorder: null}}}",
            {
                "method": "gptq", "scheme": "W8A8", "settings": {"actorder": None},
                "transform": {"type": "smoothquant", "smoothing_strength": 0.8},
            },
        ),
        (
            "a_stage: {q_modifiers: {QuantizationModifier: {scheme: W4A16, observer: {weights: mse}}}}",
            {"scheme": "W4A16", "settings": {"observer": "mse"}},
        ),
    ],
)  # fmt: skip
def test_what_llm_compressor_writes_means_what_our_keys_say(tmp_path, text, same):
    plan = make_plan("Qwen3-0.6B", saved(tmp_path, text))
    assert compare(plan, make_plan("Qwen3-0.6B", same)) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a_stage: {p_modifiers: {SparseGPTModifier: {sparsity: 0.5}}}", ["SparseGPTModifier", "GPTQModifier"]),
        ("a_stage: {p_modifiers: {GTPQModifier: {scheme: W4A16}}}", ["GTPQModifier", "Did you mean GPTQModifier"]),
        ("a_stage: {p_modifiers: {GPTQModifier: {scheme: W4A16, damping: 1}}}", ["damping", "dampening_frac"]),
        ("a_stage: {p_modifiers: {GPTQModifier: {scheme: W4A61}}}", ["W4A61", "W4A16"]),
        ("a_stage: {p_modifiers: {QuantizationModifier: {scheme: W4A16, block_size: 64}}}", ["block_size"]),
        ("a_stage: {p_modifiers: {GPTQModifier: {scheme: W4A16}, QuantizationModifier: {scheme: W8A8}}}", ["two modifiers"]),
        ("a_stage: {p_modifiers: {GPTQModifier: {scheme: W4A16}, AWQModifier: {}}}", ["AWQModifier stands after"]),
        ("a_stage: {p_modifiers: {AWQModifier: {}}}", ["quantizes nothing"]),
        ("a_stage: {}", ["quantizes nothing"]),
        ("a_stage: {p_modifiers: {GPTQModifier: {ignore: [lm_head]}}}", ["neither scheme nor groups"]),
        ("a_stage: {modifiers: {GPTQModifier: {scheme: W4A16}}}", ["'modifiers'", "_modifiers"]),
        ("a_stage: {p_modifiers: {GPTQModifier: {scheme: W4A16}}}\nscheme: W8A8", ["'scheme'", "_stage"]),
        ("a_stage: {p_modifiers: [GPTQModifier]}", ["p_modifiers is ['GPTQModifier']", "a mapping"]),
        ("a_stage: {p_modifiers: {GPTQModifier: W4A16}}", ["GPTQModifier is 'W4A16'"]),
        ("a_stage: {p_modifiers: {GPTQModifier: {scheme: W4A16, bypass_divisibility_checks: true}}}", ["bypass", "False"]),
        ("a_stage: {p_modifiers: {GPTQModifier: {scheme: W4A16, input_observer: mse}}}", ["input_observer", "config_groups"]),
        ("a_stage: {p_modifiers: {GPTQModifier: {scheme: W4A16, config_groups: {g: {weights: {num_bits: 4}}}}}}", ["stands beside"]),
        (
            "a_stage: {p_modifiers: {GPTQModifier: {config_groups: {g: {weights: {num_bits: 8}, output_activations: {num_bits: 8}}}}}}",
            ["output_activations"],
        ),
        (
            "a_stage: {p_modifiers: {GPTQModifier: {config_groups: {g: {weights: {num_bits: 4, group_size: 128}, format: dense}}}}}",
            ["dense", "pack-quantized"],
        ),
        ("a_stage: {p_modifiers: {GPTQModifier: {config_groups: {g: {weights: {num_bits: 99}}}}}}", ["num_bits", "99"]),
        ("a_stage: {p_modifiers: {GPTQModifier: {config_groups: {g: 4}}}}", ["g is 4"]),
        ("args: {lr: 1}\na_stage: {p_modifiers: {GPTQModifier: {scheme: W4A16}}}", ["args", "'lr'", "calibration"]),
        ("args: {calibration: {samples: 0}}\na_stage: {p_modifiers: {GPTQModifier: {scheme: W4A16}}}", ["samples"]),
        ("a_stage: {p_modifiers: {GPTQModifier: {scheme: !!python/name:os.system x}}}", ["cannot be read as YAML"]),
    ],
)  # fmt: skip
def test_what_our_keys_cannot_say_is_refused_by_name(tmp_path, text, words):
    with pytest.raises(UsageError) as caught:
        recipes.load(saved(tmp_path, text))
    for word in words:
        assert word in str(caught.value), str(caught.value)


def places(document, path=()):
    """The path to every value of a document."""
    parts = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    for key, value in parts:
        yield (*path, key)
        yield from places(value, (*path, key))


@pytest.mark.parametrize("text", [ORGANISERS, CACHE, GROUP_64, OLD_AWQ])
def test_whatever_stands_anywhere_is_read_and_comes_back_or_is_refused(text):
    document, read = read_yaml(text, dumped=True), 0
    for path in places(document):
        for odd in (None, -1, "x", [], {}, [{}], True, {1: 2}, float("nan"), 10**400, "W8A8", ["Linear"]):
            changed = copy.deepcopy(document)
            inside = functools.reduce(lambda part, key: part[key], path[:-1], changed)
            inside[path[-1]] = odd
            try:
                plan = make_plan("nano", recipes.parse(changed))
                analyse(plan)
            except WorkbookError:
                continue
            read += 1
            back = recipes.parse(read_yaml(plan.recipe.to_yaml()))
            assert compare(plan, make_plan("nano", back)) == [], (path, odd)
    assert read > 10


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_comes_back_from_its_export(tmp_path, name):
    recipe = recipes.load(name).with_calibration(samples=7, seed=3)
    back = recipes.load(saved(tmp_path, recipe.to_yaml()))
    for model in ("EXAONE-4.0-1.2B", "nano"):
        first, second = make_plan(model, recipe), make_plan(model, back)
        assert compare(first, second) == [] and first.predicted_bytes == second.predicted_bytes
        assert first.assigned == second.assigned


@pytest.mark.parametrize("name", recipes.PRESETS)
def test_a_preset_that_was_written_out_is_the_preset(tmp_path, name):
    """Two groups of one preset can only be exported as explicit arguments, dtypes of scales and zero points included."""
    groups = [{"scheme": name, "targets": ["re:.*o_proj$"]}, {"scheme": name, "targets": ["Linear"]}]
    recipe = recipes.parse({"groups": groups, "ignore": ["lm_head"]})
    text = recipe.to_yaml()
    assert "config_groups" in text
    back = recipes.load(saved(tmp_path, text))
    assert compare(make_plan("EXAONE-4.0-1.2B", recipe), make_plan("EXAONE-4.0-1.2B", back)) == []


@pytest.mark.heavy
@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_comes_back_from_llm_compressors_own_dump(tmp_path, name):
    from llmcompressor.recipe import Recipe

    recipe = recipes.load(name)
    theirs = Recipe.create_instance(str(saved(tmp_path, recipe.to_yaml(), "export.yaml")))
    dumped = theirs.yaml()
    back = recipes.load(saved(tmp_path, dumped)).with_calibration(**vars(recipe.calibration))
    assert compare(make_plan("nano", recipe), make_plan("nano", back)) == []
