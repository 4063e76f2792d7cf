"""The dry run; the second half holds each mistake that hackathon teams drew conclusions from."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import yaml

from exaone_nb.anatomy.predict import predict_schemes
from exaone_nb.compress import recipe as recipes
from exaone_nb.compress.analysis import analyse
from exaone_nb.compress.plan import Plan, compare, make_plan
from exaone_nb.compress.setting_checks import mappings, why_not
from exaone_nb.errors import WorkbookError


def codes(plan: Plan, level: str = "") -> set[str]:
    """Codes of a plan's findings, of one level if named."""
    return {finding.code for finding in analyse(plan).findings if level in ("", finding.level)}


def counts(plan: Plan) -> Counter[str]:
    """Modules per scheme label."""
    return Counter(map(plan.label_of, plan.assigned))


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [("w4a16_gptq", 971_261_368), ("w8a8", 1_490_219_184), ("fp8", 1_489_321_816), ("w4a16_asym", 975_464_584),
     ("nvfp4", 1_021_419_216), ("mxfp4", 987_948_288), ("w4a8", 1_506_009_488), ("w8a16", 1_506_035_888)],
)  # fmt: skip
def test_predicted_bytes_of_the_1_2b_model(recipe, expected):
    assert make_plan("EXAONE-4.0-1.2B", recipe).predicted_bytes == expected


def test_a_plan_loads_nothing_heavy():
    """In a process of its own: planning and comparing must not import torch."""
    import subprocess
    import sys

    program = (
        "import sys; from exaone_nb.compress.plan import compare, make_plan;"
        "compare(make_plan('EXAONE-4.0-1.2B', 'w4a16_gptq'), make_plan('EXAONE-4.0-1.2B', 'fp8'));"
        "sys.exit('torch' in sys.modules or 'compressed_tensors' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_what_stays_unquantized_is_the_table_and_the_norms(plan_of):
    plan = plan_of()
    norms = 30 * (2 * 2048 + 2 * 64) + 2048
    assert plan.kept_bytes == 2 * (102_400 * 2048 + norms)
    assert counts(plan) == {"-": 2, "W4A16": 210}
    assert set(plan.assigned) - set(plan.by_module) == {"model.embed_tokens", "lm_head"}


@pytest.mark.parametrize("name", recipes.names())
@pytest.mark.parametrize("model", ["EXAONE-4.0-1.2B", "EXAONE-4.0-32B", "Qwen3-0.6B"])
def test_the_workbooks_recipes_fit_without_errors(model, name):
    found = analyse(make_plan(model, name))
    if name == "w8a8_smoothquant" and model.startswith("EXAONE"):  # it says why, and fits Qwen
        with pytest.raises(WorkbookError, match="needs a norm that feeds q, k, v"):
            found.raise_if_errors()
        return
    found.raise_if_errors()
    # One recipe is there for its size; vLLM makes EXAONE's embedding without a name, and cannot load it.
    unloadable = {"embedding-by-name"} if (name, model[:6]) == ("w4a16_embedding", "EXAONE") else set()
    assert {finding.code for finding in found.unloadable} == unloadable


def test_a_plan_with_errors_raises_them_all(plan_of):
    settings = {"settings": {"actorder": "group"}, "method": "gptq", "transform": "smoothquant"}
    with pytest.raises(WorkbookError) as caught:
        analyse(plan_of(**settings)).raise_if_errors()
    assert "actorder" in str(caught.value) and "SmoothQuant" in str(caught.value)


def test_serving_on_this_cpu_the_l4_and_the_hackathons_server(plan_of):
    def answers(**document):
        return [v.answer for v in analyse(plan_of(**document)).verdicts]

    assert answers() == ["yes", "yes", "yes"]
    assert answers(scheme="W8A16")[0] == "no"
    assert answers(scheme="W4A8") == ["yes", "no", "no"]
    assert answers(scheme="W4AFP8")[1:] == ["no", "no"]
    assert answers(ignore=[])[2] == "no"
    assert analyse(plan_of(scheme="W8A8"), "B200").verdicts[1].answer == "no"


# --- what the hackathon's teams stumbled over -------------------------------------------------------------------


def test_actorder_values_that_were_removed_and_those_that_are_the_default(plan_of):
    assert "actorder-removed" in codes(plan_of(method="gptq", settings={"actorder": "group"}), "error")
    assert "actorder-removed" in codes(plan_of(method="gptq", settings={"actorder": "dynamic"}), "error")
    assert "setting-actorder" in codes(plan_of(method="gptq", settings={"actorder": "weight"}), "no-op")
    assert "setting-actorder" not in codes(plan_of(method="gptq", settings={"actorder": None}))
    static, weight = (plan_of(method="gptq", settings={"actorder": v}) for v in ("static", "weight"))
    assert compare(static, weight) == []
    assert compare(static, plan_of(method="gptq", settings={"actorder": None}))


def test_actorder_on_a_channel_scheme_is_commented(plan_of):
    assert "actorder-channel" in codes(plan_of(scheme="W8A8", method="gptq", settings={"actorder": "static"}))


def test_settings_of_gptq_on_a_rounding_recipe_are_no_ops(plan_of):
    plan = plan_of(settings={"actorder": "static", "block_size": 64, "dampening_frac": 0.1})
    assert codes(plan, "no-op") == {"setting-actorder", "setting-block_size", "setting-dampening_frac"}
    assert compare(plan, plan_of()) == []


def test_block_size_is_not_the_group_size(plan_of):
    plan = plan_of(method="gptq", settings={"block_size": 64})
    finding = next(f for f in analyse(plan).findings if f.code == "setting-block_size")
    assert finding.level == "no-op" and "W4A16: 128" in finding.text
    assert compare(plan, plan_of(method="gptq")) == []
    explicit = {
        "weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 64, "symmetric": True}
    }
    assert compare(plan_of(method="gptq", scheme=explicit), plan_of(method="gptq"))


def test_a_group_size_in_the_settings_is_a_no_op(plan_of):
    assert "setting-group_size" in codes(plan_of(settings={"group_size": 64}), "no-op")


def test_a_parent_in_ignore_protects_nothing(plan_of):
    plan = plan_of(ignore=["lm_head", "model.layers.0"])
    finding = next(f for f in analyse(plan).findings if f.code == "parent-only")
    assert finding.level == "warning" and r"re:model\.layers\.0\..*" in finding.remedy
    assert compare(plan, plan_of()) == []
    fixed = plan_of(ignore=["lm_head", r"re:model\.layers\.0\..*"])
    assert not codes(fixed) and counts(fixed)["-"] == 9


def test_ignoring_what_no_target_asks_for_is_a_no_op(plan_of):
    plan = plan_of(ignore=["lm_head", "model.embed_tokens"])
    assert codes(plan, "no-op") == {"ignore-untargeted"} and compare(plan, plan_of()) == []


def test_the_slides_ignore_list_names_a_module_that_is_not_there_and_changes_nothing(plan_of):
    plan = plan_of(method="gptq", ignore=["embed_tokens", "lm_head"])
    (finding,) = analyse(plan).findings
    assert (finding.level, finding.code, finding.remedy) == ("note", "unmatched", "Leave it out.")
    assert compare(plan, plan_of(method="gptq")) == [] and not analyse(plan).has_errors
    # The same words where an embedding is a target: then they were meant to change something.
    groups = [{"scheme": "W8A16", "targets": ["Embedding"]}, {"scheme": "W4A16", "targets": ["Linear"]}]
    aimed = analyse(plan_of(groups=groups, ignore=["embed_tokens", "lm_head"])).findings
    (missed,) = [f for f in aimed if f.code == "unmatched"]
    assert missed.level == "warning" and "`model.embed_tokens`" in missed.remedy


@pytest.mark.parametrize("pattern", ["nothing", "zzz", r"re:.*layers\.31\..*", "wte", "model.norm2"])
def test_what_matches_nothing_and_changes_nothing_is_a_note(plan_of, pattern):
    found = [f for f in analyse(plan_of(ignore=["lm_head", pattern])).findings if f.code == "unmatched"]
    assert [f.level for f in found] == ["note"]


def test_a_doubled_backslash_never_matches(plan_of):
    plan = plan_of(ignore=["lm_head", r"re:.*layers\\.29\\..*"])
    assert "unmatched" in codes(plan, "warning") and compare(plan, plan_of()) == []
    (finding,) = [f for f in analyse(plan).findings if f.code == "unmatched"]
    assert "matches 7 modules that can be quantized" in finding.remedy, "q, k, v, o, gate, up, down"


def test_a_target_that_matches_nothing_is_a_warning_and_nothing_at_all_an_error(plan_of):
    assert "unmatched" in codes(plan_of(targets=["Linear", "o_proj"]), "warning")
    assert codes(plan_of(targets=["o_proj"]), "error") == {"nothing"}


def test_layers_that_the_model_does_not_have(plan_of):
    finding = next(
        f for f in analyse(plan_of(ignore=[r"re:model\.layers\.31\..*"])).findings if f.code == "unmatched"
    )
    assert "0 to 29" in finding.remedy


def test_smoothquant_has_no_norm_to_work_with(plan_of):
    plan = plan_of(scheme="W8A8", transform="smoothquant")
    assert "smoothquant" in codes(plan, "error")


def test_the_norms_of_an_image_model_are_those_of_its_text_part(plan_of):
    """EXAONE 4.5: QK-Reorder-LN and 40 query heads on 8, both written inside text_config."""
    from exaone_nb import catalog

    config = catalog.resolve("EXAONE-4.5-33B").config()
    plan = plan_of(on=config, scheme="W8A8", transform="smoothquant")
    assert "smoothquant" in codes(plan, "error")
    assert "v_proj" not in dict(mappings(config))


@pytest.mark.parametrize(
    ("model_type", "readers", "left_out"),
    [("qwen3", ["q_proj", "k_proj"], "v_proj"), ("cohere2", ["gate_proj", "up_proj"], "q_proj")],
)
def test_whoever_reads_a_scaled_norm_must_be_scaled_back(model_type, readers, left_out):
    config = {"model_type": model_type, "num_attention_heads": 8}
    assert left_out in why_not(config, "re:.*input_layernorm", [f"re:.*{name}$" for name in readers])


@pytest.mark.parametrize("smooth", ["post_attention_layernorm", "post_feedforward_layernorm"])
def test_forcing_a_post_norm_mapping_is_refused_because_it_changes_the_model(plan_of, smooth):
    mapping = [["re:.*gate_proj", "re:.*up_proj"], f"re:.*{smooth}"]
    plan = plan_of(scheme="W8A8", transform={"type": "smoothquant", "mappings": [mapping]})
    finding = next(f for f in analyse(plan).findings if f.code == "smoothing-mapping")
    assert finding.level == "error" and "residual" in finding.text


def test_q_norm_does_not_feed_q_proj(plan_of):
    mapping = {"smooth_layer": "re:.*q_norm$", "balance_layers": ["re:.*q_proj$"]}
    plan = plan_of(transform={"type": "awq", "mappings": [mapping]})
    assert "smoothing-mapping" in codes(plan, "error")


def test_awq_reaches_only_up_to_down(plan_of):
    finding = next(f for f in analyse(plan_of(transform="awq")).findings if f.code == "awq-mappings")
    assert "up_proj -> down_proj" in finding.text and "v_proj -> o_proj is skipped" in finding.text


def test_a_pre_norm_model_may_be_smoothed(plan_of):
    from exaone_nb import catalog

    qwen = catalog.resolve("Qwen3-0.6B").config()
    assert not codes(plan_of(on=qwen, scheme="W8A8", transform="smoothquant"), "error")


def test_a_smaller_max_position_embeddings_is_not_faster(plan_of):
    assert "setting-max_position_embeddings" in codes(
        plan_of(settings={"max_position_embeddings": 16384}), "no-op"
    )


def test_quantizing_the_head_alone_unties_it(plan_of):
    plan = plan_of(ignore=[])
    assert "tied-split" in codes(plan, "warning")
    assert plan.predicted_bytes > plan_of().predicted_bytes + 100_000_000
    both = plan_of(ignore=[], groups=[{"scheme": "W8A16", "targets": ["Linear", "Embedding"]}])
    assert "tied-both" in codes(both) and both.prediction.tied


def test_w4a8_is_stored_at_eight_bits(plan_of):
    assert "int4-stored-as-int8" in codes(plan_of(scheme="W4A8"))


def test_the_kv_cache_note_says_that_the_old_server_ignores_it(plan_of):
    found = {f.code: f for f in analyse(plan_of(scheme="W8A8", kv_cache="fp8")).findings}
    assert "0.14.1" in found["kv-cache-ignored"].text and found["kv-cache-ignored"].level == "no-op"
    assert "0.32" in found["kv-cache"].text and "half the bytes" in found["kv-cache"].text


def test_calibration_text_for_rounding_is_a_no_op(plan_of):
    plan = plan_of(calibration={"samples": 512})
    assert "calibration" in codes(plan, "no-op") and compare(plan, plan_of()) == []
    assert compare(plan_of(method="gptq", calibration={"samples": 512}), plan_of(method="gptq"))


def test_a_group_size_that_does_not_divide_names_the_modules(plan_of):
    weights = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 96, "symmetric": True}
    plan = plan_of(scheme={"weights": weights})
    finding = next(f for f in analyse(plan).findings if f.code == "group-size")
    assert (
        finding.level == "error"
        and "model.layers.0.self_attn.q_proj" in finding.text
        and "128" in finding.remedy
    )
    assert plan.to_dict()["predicted_bytes"] is None


def test_overlapping_expressions_are_decided_by_the_alphabet(plan_of):
    groups = [{"scheme": "W4A16", "targets": ["re:.*proj"]}, {"scheme": "W8A16", "targets": ["re:.*o_proj"]}]
    plan = plan_of(groups=groups)
    assert "overlap" in codes(plan, "warning")
    assert plan.label_of("model.layers.0.self_attn.o_proj") == "W8A16"


def test_a_target_that_decides_nothing(plan_of):
    groups = [{"scheme": "W4A16", "targets": ["Linear"]}, {"scheme": "W8A16", "targets": ["lm_head"]}]
    assert "target-overruled" in codes(plan_of(groups=groups), "no-op")


def test_the_same_target_twice_belongs_to_the_later_group(plan_of):
    groups = [{"scheme": "W4A16", "targets": ["Linear"]}, {"scheme": "W8A16", "targets": ["Linear"]}]
    plan = plan_of(groups=groups)
    assert counts(plan) == {"-": 2, "W8A16": 210} and "target-overruled" in codes(plan, "no-op")


def test_norms_cannot_be_quantized_and_nothing_left_is_an_error(plan_of):
    norms = plan_of(targets=["re:.*layernorm"], ignore=[])
    assert "target-not-quantizable" in codes(norms, "warning") and "nothing" in codes(norms, "error")
    assert "nothing" in codes(plan_of(ignore=["Linear"]), "error")


def test_an_already_quantized_model_is_refused(plan_of, config):
    plan = plan_of(on=config | {"quantization_config": {"quant_method": "gptq"}})
    assert "already-quantized" in codes(plan, "error")


# --- what an audit of the plan itself found ---------------------------------------------------------------------


@pytest.mark.parametrize(("size", "bad"), [(1024, 28), (512, 28), (96, 24)])
def test_a_group_larger_than_the_inputs_is_named_and_the_remedy_works(plan_of, size, bad):
    from exaone_nb import catalog

    nano = catalog.resolve("nano").config()

    def grouped(group_size):
        weights = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": group_size}
        return plan_of(on=nano, scheme={"weights": weights})

    plan = grouped(size)
    finding = next(f for f in analyse(plan).findings if f.code == "group-size")
    assert finding.level == "error" and f"of {bad} modules" in finding.text
    assert plan.to_dict()["predicted_bytes"] is None
    advised = int(finding.remedy.removeprefix("Use a group size of ").partition(",")[0])
    assert not analyse(grouped(advised)).has_errors and grouped(advised).predicted_bytes


def test_the_advised_group_size_divides_the_inputs_that_were_right_too(plan_of, config):
    """4128 = 43 x 96 is no multiple of 128."""
    weights = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 96}
    plan = plan_of(on=config | {"intermediate_size": 4128}, scheme={"weights": weights})
    assert "of 32," in next(f for f in analyse(plan).findings if f.code == "group-size").remedy


def test_bytes_that_cannot_be_predicted_are_an_error(plan_of):
    """Static activations per group: llm-compressor's storage of them is not known here."""
    static = {"num_bits": 8, "type": "int", "strategy": "group", "group_size": 128}
    plan = plan_of(scheme={"weights": {"num_bits": 8, "type": "int"}, "input_activations": static})
    assert codes(plan, "error") == {"unpredictable"} and plan.to_dict()["predicted_bytes"] is None


@pytest.mark.parametrize("observer", ["memoryless_minmax", "static_minmax", "minmax"])
@pytest.mark.parametrize("method", ["rtn", "gptq"])
def test_observers_that_find_the_same_ranges_of_weights_are_no_ops(plan_of, method, observer):
    plan = plan_of(method=method, settings={"observer": observer})
    assert "setting-observer" in codes(plan, "no-op") and compare(plan, plan_of(method=method)) == []


def test_settings_of_autoround(plan_of):
    """Steps and rate decide the codes; an observer and what belongs to GPTQ are read by nobody."""
    plain = plan_of(method="autoround")
    assert compare(plain, plan_of(method="autoround", settings={"iters": 200, "batch_size": 8})) == []
    (difference,) = compare(plain, plan_of(method="autoround", settings={"iters": 20}))
    assert difference.what == "iters" and difference.second == "20.0"
    for settings in ({"observer": "mse"}, {"dampening_frac": 0.1}):
        plan = plan_of(method="autoround", settings=settings)
        assert codes(plan, "no-op") == {f"setting-{next(iter(settings))}"}
    assert "setting-iters" in codes(plan_of(method="gptq", settings={"iters": 20}), "no-op")


@pytest.mark.parametrize(
    "document", [{"ignore": []}, {"targets": ["Linear", "re:.*embed_tokens"]}, {"kv_cache": "fp8"}]
)
def test_what_autoround_never_touches_is_an_error(plan_of, document):
    """Read in llm-compressor 0.14.0.1: no observer is registered, and scales begin as torch.empty."""
    found = {"autoround-reach"} & codes(plan_of(method="autoround", **document), "error")
    assert found and not {"autoround-reach"} & codes(plan_of(method="gptq", **document))
    assert codes(plan_of(method="autoround"), "error") == set()


def test_other_observers_differ_wherever_they_are_written(plan_of):
    weights = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128}
    setting = plan_of(settings={"observer": "mse"})
    inside = plan_of(scheme={"weights": weights | {"observer": "mse"}})
    assert "setting-observer" not in codes(setting) and compare(setting, inside) == []
    (difference,) = compare(setting, plan_of())
    assert "by mse" in difference.first and "mse" not in difference.second


def test_gptq_on_the_shared_table_unties_it(plan_of):
    from exaone_nb import catalog

    groups = [
        {"scheme": "W8A16", "targets": ["lm_head", "model.embed_tokens"]},
        {"scheme": "W4A16", "targets": ["Linear"]},
    ]
    nano = catalog.resolve("nano").config()
    by_method = {
        method: plan_of(on=nano, method=method, groups=groups, ignore=[]) for method in ("rtn", "gptq")
    }
    assert by_method["rtn"].predicted_bytes == 1_905_496 and "tied-both" in codes(by_method["rtn"])
    assert by_method["gptq"].predicted_bytes == 2_172_016  # as written on 2026-11
    assert "tied-split" in codes(by_method["gptq"], "warning") and "tied-both" not in codes(by_method["gptq"])
    seen = plan_of(on=nano, groups=groups, ignore=[], settings={"observer": "imatrix_mse"})
    assert seen.predicted_bytes == 2_172_016


def test_calibration_files_are_looked_at_when_something_reads_them(plan_of, texts):
    few = str(texts(4))
    for calibration, words in (
        ({"source": "nope.jsonl"}, "nope.jsonl"),
        ({"source": few, "samples": 5}, "has 4 samples, but 5"),
    ):
        finding = next(
            f
            for f in analyse(plan_of(method="gptq", calibration=calibration)).findings
            if f.code == "calibration-source"
        )
        assert finding.level == "error" and words in finding.text and finding.remedy
        assert "calibration-source" not in codes(plan_of(calibration=calibration))
    assert not codes(plan_of(method="gptq", calibration={"source": few, "samples": 4}), "error")
    assert not codes(plan_of(method="gptq", calibration={"source": "LGAI-EXAONE/MANTA-1M"}), "error")


def test_differences_are_words(plan_of):
    mapping = {"smooth_layer": "re:.*up_proj$", "balance_layers": ["re:.*down_proj$"]}
    first = plan_of(
        method="gptq",
        transform={"type": "awq", "n_grid": 5, "mappings": [mapping]},
        kv_cache="fp8",
        calibration={
            "sources": ["nano_calibration", {"name": "A/B", "share": 3, "field": "x"}],
            "template": False,
        },
    )
    found = {difference.what: difference for difference in compare(first, plan_of(method="gptq"))}
    assert found["transform"].first == "AWQ; n_grid 5; re:.*up_proj$ -> re:.*down_proj$"
    assert found["KV cache"].first.startswith("fp8, one scale per tensor")
    assert found["calibration"].first == (
        "32 from nano_calibration, 96 from A/B (field x), 256 tokens each, seed 0, without the chat template"
    )
    assert not [d for d in found.values() if set("{}") & set(d.first + d.second)]


@pytest.mark.parametrize("model", ["K-EXAONE-236B-A23B", "Kimi-K2-Instruct"])
def test_experts_share_rows(model):
    rows = make_plan(model, "w8a8").by_part()
    assert len(rows) < 30 and "mlp.experts.0-" in " ".join(row["module"] for row in rows)


def test_experts_treated_differently_are_told_apart(plan_of):
    from exaone_nb import catalog

    config = catalog.resolve("K-EXAONE-236B-A23B").config()
    rows = plan_of(on=config, ignore=["lm_head", r"re:.*experts\.[01]\.up_proj"]).by_part()
    found = {row["module"]: row["scheme"] for row in rows if row["module"].endswith("up_proj")}
    assert found["mlp.experts.0-1.up_proj"] == "-" and found["mlp.experts.2-127.up_proj"] == "W4A16"


def test_one_text_under_two_paths_is_no_difference_and_another_text_is(plan_of, texts, tmp_path):
    path = texts(9)
    (tmp_path / "copy.jsonl").write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))

    def reading(name, **more):
        return plan_of(method="gptq", calibration={"source": str(name), "samples": 4} | more)

    assert compare(reading(path), reading(tmp_path / "copy.jsonl")) == []
    assert [d.what for d in compare(reading(path), reading(path, seed=1))] == ["calibration"]
    assert [d.what for d in compare(reading(path), reading(texts(10, "other.jsonl")))] == ["calibration"]


# --- shapes that a preset's groups do not divide -------------------------------------------------------------------

# HuggingFaceTB/SmolLM2-135M-Instruct: 576 columns are 4.5 groups of 128 and 9 of 64.
SMOLLM2 = {
    "model_type": "llama",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}


@pytest.fixture
def smollm2(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(SMOLLM2))
    return tmp_path


def test_the_remedy_for_a_group_that_does_not_divide_can_be_copied_into_the_recipe(smollm2):
    analysis = analyse(make_plan(smollm2, "w4a16_rtn"))
    (finding,) = [f for f in analysis.findings if f.code == "group-size"]
    assert "does not divide the inputs (576) of 180 modules" in finding.text  # all but 30 down_proj
    assert finding.remedy.startswith("Use a group size of 64,")
    written = yaml.safe_load(finding.remedy.split("`")[1])
    advised = make_plan(smollm2, {**written, "ignore": ["lm_head"]})
    assert not analyse(advised).has_errors
    # Packed words, one 16-bit scale for each 64 weights, and three numbers for the shape, of 106,168,320 weights.
    linear = 30 * (576 * (576 + 2 * 192 + 576) + 3 * 576 * 1536)
    quantized = sum(t.bytes for t in advised.prediction.tensors if "_proj.weight_" in t.name)
    assert quantized == linear // 2 + 2 * linear // 64 + 210 * 16
    assert make_plan(smollm2, "w4a16_rtn", fit_groups=True).predicted_bytes == advised.predicted_bytes


@pytest.mark.parametrize("name", recipes.names())
def test_the_workbooks_recipes_are_fitted_to_a_model_of_576_columns(smollm2, name):
    plan, wide = (make_plan(model, name, fit_groups=True) for model in (smollm2, "EXAONE-4.0-1.2B"))
    assert not {f.code for f in analyse(plan).findings if f.level == "error"} - {"embedding-by-name"}
    assert plan.predicted_bytes
    assert wide.recipe == recipes.load(name) and wide.fitted == ""  # 128 divides everything there
    integers = {
        s.weights.num_bits for s in wide.schemes if s.weights.strategy == "group" and s.weights.type == "int"
    }
    assert bool(plan.fitted) == bool(integers)
    if integers:
        assert "groups of 64, since 128 does not divide 576 inputs" in plan.fitted and name in plan.fitted
        assert {s.weights.group_size for s in plan.schemes} == {64}
        # Nothing but the group changed.
        assert [s.label.replace(" g64", "").replace(" asym", "_ASYM") for s in plan.schemes] == [
            s.label for s in wide.schemes
        ]


def test_a_group_that_somebody_wrote_out_is_not_changed(smollm2):
    scheme = {"weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128}}
    plan = make_plan(smollm2, {"scheme": scheme, "ignore": ["lm_head"]}, fit_groups=True)
    assert plan.fitted == "" and "group-size" in codes(plan, "error")


def test_no_group_is_offered_where_none_divides_or_the_format_fixes_it(plan_of, config):
    for scheme, width in (("W4A16", 4100), ("MXFP4A16", 4080)):
        plan = plan_of(on=config | {"intermediate_size": width}, scheme=scheme)
        (finding,) = [f for f in analyse(plan).findings if f.code == "group-size"]
        assert finding.remedy == "Ignore these modules."


def test_the_predicted_schemes_of_a_model_name_the_group_that_fits():
    found, refused = predict_schemes(SMOLLM2, ["BF16", "W4A16", "W8A8", "MXFP4"])
    assert list(found) == ["BF16", "W4A16 g64", "W8A8", "MXFP4"] and list(refused) == ["W4A16"]
    assert refused["W4A16"].remedy.startswith("Use groups of 64,")
