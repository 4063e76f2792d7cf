"""Where a plan can be served. Each "no" and "unknown" stands for a checkpoint that vLLM 0.32 refused or nobody tried."""

from __future__ import annotations

import pytest

from exaone_nb import catalog
from exaone_nb.compress.analysis import analyse
from exaone_nb.compress.plan import make_plan
from exaone_nb.hardware import Machine
from exaone_nb.quantization.loading import joined_name
from exaone_nb.quantization.schemes import SCHEMES, nearest_preset

TOKEN8 = {"num_bits": 8, "type": "int", "strategy": "token", "dynamic": True}


def answers(plan, gpu: str = "L4") -> list[str]:
    return [verdict.answer for verdict in analyse(plan, gpu).verdicts]


def findings(plan, *codes: str) -> list:
    return [finding for finding in analyse(plan).findings if not codes or finding.code in codes]


@pytest.fixture(autouse=True)
def a_cpu_without_amx(monkeypatch):
    """What this CPU serves must not depend on the machine that tests it."""
    cpu = Machine("CPU", flags=frozenset({"avx2", "avx512f"}), memory_bytes=2 * 10**12)
    monkeypatch.setattr("exaone_nb.compress.analysis.this_machine", lambda: cpu)


def ints(bits: int, **rest) -> dict:
    return {"num_bits": bits, "type": "int", **rest}


def grouped(bits: int, size: int) -> dict:
    return {"weights": ints(bits, strategy="group", group_size=size)}


# --- what vLLM joins, and how it reads targets ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "joined"),
    [
        ({"ignore": ["lm_head", "re:.*v_proj$"]}, "qkv_proj"),
        ({"scheme": "W8A8", "ignore": ["lm_head", "re:.*gate_proj"]}, "gate_up_proj"),
        ({"targets": ["re:.*(q|k|o|gate|up|down)_proj$"]}, "qkv_proj"),
    ],
)
def test_a_joined_layer_needs_one_scheme(plan_of, recipe, joined):
    plan = plan_of(**recipe)
    finding = findings(plan, "fused-split")[0]
    assert finding.level == "error" and joined in finding.text and "29 more layers" in finding.text
    assert "model.layers.0." in finding.text and "(kept)" in finding.text
    assert answers(plan) == ["no"] * 3


@pytest.mark.parametrize("other", ["W8A8", "W8A16", "W4A8"])
def test_two_schemes_inside_joined_layers_are_both_named(plan_of, other):
    groups = [
        {"scheme": other, "targets": [r"re:.*\.(v_proj|gate_proj)$"]},
        {"scheme": "W4A16", "targets": ["Linear"]},
    ]
    plan = plan_of(groups=groups)
    texts = " ".join(f.text for f in findings(plan, "fused-split"))
    assert "qkv_proj" in texts and "gate_up_proj" in texts and answers(plan) == ["no"] * 3


def test_one_scheme_under_two_names_is_no_split(plan_of):
    preset = {"weights": ints(4, strategy="group", group_size=128)}
    groups = [{"scheme": preset, "targets": [r"re:.*\.v_proj$"]}, {"scheme": "W4A16", "targets": ["Linear"]}]
    assert not findings(plan_of(groups=groups), "fused-split")
    whole_layers = plan_of(ignore=["lm_head", r"re:model\.layers\.0\..*"])
    assert answers(whole_layers) == ["yes"] * 3


def test_experts_of_a_layer_are_joined_too(plan_of):
    assert joined_name("model.layers.1.mlp.experts.7.up_proj") == "model.layers.1.mlp.experts"
    experts = catalog.resolve("K-EXAONE-236B-A23B").config()
    plan = plan_of(on=experts, ignore=["lm_head", r"re:.*experts\.7\.down_proj"])
    assert "fused-split" in {f.code for f in findings(plan)}


def test_the_first_verdict_is_of_the_card_where_there_is_one(plan_of, monkeypatch):
    """A page made on an H200 said "this CPU"."""
    assert analyse(plan_of()).verdicts[0].where.startswith("this CPU")
    card = Machine("NVIDIA B200", 10.0, memory_bytes=2 * 10**11)
    monkeypatch.setattr("exaone_nb.compress.analysis.this_machine", lambda: card)
    there = analyse(plan_of(scheme="W8A8")).verdicts[0]
    assert there.where.startswith("this NVIDIA B200") and there.answer == "no"  # no INT8 kernel on Blackwell


@pytest.mark.parametrize("scheme", ["W4A16", "W8A8"])
def test_experts_need_amx_on_a_cpu(plan_of, scheme, monkeypatch):
    """Seen in vLLM 0.32 without AMX: "No WNA16 MoE backend supports the deployment configuration", and of Int8 alike."""
    moe = catalog.resolve("Qwen3-30B-A3B").config()
    verdict = analyse(plan_of(on=moe, scheme=scheme)).verdicts[0]
    assert verdict.answer == "no" and f"experts in {scheme}" in verdict.why and "amx_tile" in verdict.why
    without = plan_of(on=moe, scheme=scheme, ignore=["lm_head", r"re:.*\.experts\..*"])
    assert analyse(without).verdicts[0].answer == "yes"
    amx = Machine("CPU", flags=frozenset({"avx512f", "amx_tile"}), memory_bytes=2 * 10**12)
    monkeypatch.setattr("exaone_nb.compress.analysis.this_machine", lambda: amx)
    assert analyse(plan_of(on=moe, scheme=scheme)).verdicts[0].answer == "unknown"


@pytest.mark.parametrize(
    "expressions", [("re:.*proj", "re:.*o_proj"), (r"re:.*proj$", r"re:.*\.(q_proj|k_proj|v_proj)$")]
)
def test_vllm_takes_the_first_target_in_the_file_not_in_the_alphabet(plan_of, expressions):
    broad, narrow = expressions
    plan = plan_of(groups=[{"scheme": "W4A16", "targets": [broad]}, {"scheme": "W8A8", "targets": [narrow]}])
    finding = findings(plan, "file-order")[0]
    assert broad in finding.text and "W8A8" in finding.text and answers(plan) == ["no"] * 3


def test_an_order_in_the_file_that_happens_to_fit_is_no_obstacle(plan_of):
    """q_proj comes first in the model, so its group comes first in the file; loaded by vLLM in test_vllm_loads."""
    groups = [
        {"scheme": "W4A16", "targets": ["re:.*proj"]},
        {"scheme": "W8A8", "targets": ["re:.*(q|k|v)_proj"]},
    ]
    plan = plan_of(groups=groups)
    assert "overlap" in {f.code for f in findings(plan)} and answers(plan) == ["yes"] * 3


def test_the_workbooks_mixed_recipe_is_read_as_it_was_made():
    plan = make_plan("EXAONE-4.0-1.2B", "mixed_w8a16_w4a16")
    assert {f.code for f in findings(plan)} <= {"setting-dampening_frac"} and answers(plan) == [
        "no",
        "yes",
        "yes",
    ]


@pytest.mark.parametrize("scheme", ["W8A8", "W4A16"])
def test_a_head_that_a_class_hits_stops_vllm(plan_of, scheme):
    plan = plan_of(scheme=scheme, ignore=[])
    assert answers(plan) == ["no"] * 3 and "head-by-class" in {f.code for f in findings(plan)}
    assert "Add lm_head to ignore." in analyse(plan).verdicts[1].why
    assert "lm_head.weight_" in findings(plan, "head-by-class")[0].text
    named = plan_of(scheme=scheme, ignore=[], targets=["Linear", "lm_head"])
    assert answers(named) == ["unknown", "unknown", "no"]


def test_the_packed_table_can_be_served_nowhere_as_its_recipe_says():
    assert answers(make_plan("EXAONE-4.0-1.2B", "w4a16_embedding")) == ["no"] * 3
    assert answers(make_plan("nano", "w4a16_embedding")) == ["no"] * 3


def test_an_embedding_that_a_class_hits_was_never_tried(plan_of):
    groups = [{"scheme": "W8A16", "targets": ["Embedding"]}, {"scheme": "W4A16", "targets": ["Linear"]}]
    assert answers(plan_of(groups=groups)) == ["no", "unknown", "no"]  # 0.14.1 quantizes Linear layers alone


# --- strategy, groups, shapes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in SCHEMES if SCHEMES[name].weights])
def test_a_preset_is_its_own_nearest(name):
    assert SCHEMES[nearest_preset(SCHEMES[name])].weights == SCHEMES[name].weights


@pytest.mark.parametrize(
    "scheme",
    [
        {"weights": ints(8, strategy="group", group_size=128), "input_activations": TOKEN8},
        {
            "weights": {"num_bits": 8, "type": "float", "strategy": "channel"},
            "input_activations": {"num_bits": 8, "type": "float", "strategy": "tensor"},
        },
        {"weights": ints(8, strategy="channel"), "input_activations": ints(8, strategy="tensor")},
        {"weights": ints(4, strategy="channel", symmetric=False)},
    ],
)
def test_other_strategies_than_a_presets_are_unknown(plan_of, scheme):
    plan = plan_of(scheme=scheme)
    assert not analyse(plan).has_errors and answers(plan) == ["unknown"] * 3


@pytest.mark.parametrize(
    ("bits", "size", "on_cpu", "on_l4"),
    [
        (4, 16, "yes", "unknown"), (4, 32, "yes", "yes"), (4, 64, "yes", "yes"), (4, 256, "yes", "unknown"),
        (8, 64, "no", "yes"), (8, 256, "no", "unknown"), (3, 64, "no", "unknown"),
    ],
)  # fmt: skip
def test_marlin_takes_some_group_sizes_only(plan_of, bits, size, on_cpu, on_l4):
    plan = plan_of(scheme=grouped(bits, size))
    assert answers(plan)[:2] == [on_cpu, on_l4] and answers(plan)[2] == ("no" if bits == 3 else on_l4)


def test_one_scale_per_tensor_is_refused_everywhere_and_the_remedy_named(plan_of):
    plan = plan_of(scheme={"weights": ints(4)})
    (finding,) = findings(plan, "kernels")
    assert answers(plan) == ["no"] * 3 and finding.level == "error" and "group_size: 128" in finding.remedy
    assert "per tensor" in plan.schemes[0].label and "per tensor" in finding.text


@pytest.mark.parametrize(
    ("scheme", "level"),
    [("W3A8", "error"), ("W2A4", "error"), ("W3A16", None), ("W4A8", None), ("W4AFP8", None)],
)
def test_what_no_machine_runs_is_an_error_and_what_one_runs_is_none(plan_of, scheme, level):
    """vLLM's compressed-tensors has no scheme for 3-bit weights with 8-bit activations on any device; 3 bits alone run
    where humming is, W4A8 on CPUs, W4AFP8 on Hopper."""
    found = [f.level for f in findings(plan_of(scheme=scheme), "kernels")]
    assert found == ([level] if level else [])


def test_on_hopper_marlin_takes_what_machete_does_not(plan_of):
    def kernel(size):
        return analyse(plan_of(scheme=grouped(4, size)), "H100-SXM").verdicts[1].why

    assert "Machete" in kernel(64) and "Marlin" in kernel(32) and "takes no groups of 16" in kernel(16)


def test_one_scale_per_channel_runs(plan_of):
    assert answers(plan_of(scheme={"weights": ints(4, strategy="channel")})) == ["yes"] * 3


def test_the_cpu_kernel_wants_multiples_of_32(plan_of, config):
    odd = plan_of(on=config | {"intermediate_size": 4080}, scheme=grouped(4, 16))
    assert "gate_proj is 4080 x 2048" in analyse(odd).verdicts[0].why and answers(odd)[0] == "unknown"


# --- size, model, errors ----------------------------------------------------------------------------------------


def test_weights_that_do_not_fit_are_a_no():
    plan = make_plan("EXAONE-4.0-32B", "w8a8")
    assert answers(plan)[1] == "no" and "33.1 GB" in analyse(plan).verdicts[1].why
    assert answers(plan, "H100-SXM")[1] == "yes"
    small = analyse(make_plan("EXAONE-4.0-32B", "w4a16_rtn")).verdicts[1]
    assert small.answer == "yes" and "contexts up to" in small.why


def test_weights_larger_than_this_machine_are_a_no(plan_of, monkeypatch):
    small = Machine("CPU", flags=frozenset({"avx512f"}), memory_bytes=10**9)
    monkeypatch.setattr("exaone_nb.compress.analysis.this_machine", lambda: small)
    assert answers(plan_of(scheme="W8A8"))[0] == "no" and answers(plan_of())[0] == "yes"


@pytest.mark.parametrize("model", ["EXAONE-4.0-32B", "K-EXAONE-236B-A23B", "Qwen3-0.6B"])
def test_only_the_judged_model_is_known_to_run_on_the_hackathons_server(model):
    assert answers(make_plan(model, "w8a8"))[2] == "unknown"


def test_kernels_for_experts_are_not_guessed():
    here = analyse(make_plan("K-EXAONE-236B-A23B", "fp8_dynamic")).verdicts[0]
    assert here.answer == "unknown" and "experts" in here.why


@pytest.mark.parametrize(
    "recipe",
    [{"scheme": grouped(4, 96)}, {"ignore": ["Linear"]}],
)
def test_a_plan_with_errors_gets_no_verdict(plan_of, recipe):
    assert analyse(plan_of(**recipe)).has_errors and answers(plan_of(**recipe)) == ["unknown"] * 3


def test_an_already_quantized_model_gets_no_verdict(plan_of, config):
    assert answers(plan_of(on=config | {"quantization_config": {"quant_method": "gptq"}})) == ["unknown"] * 3


def test_a_block_that_reaches_over_joined_matrices_is_refused(plan_of):
    """vLLM's validate_fp8_block_shape (0.32 and 0.14.1): 4,096 rows of gate_proj are whole blocks of 128, 4,000 are not."""
    config = catalog.resolve("EXAONE-4.0-1.2B").config()
    assert not findings(plan_of(scheme="FP8_BLOCK"), "fused-blocks")
    (finding,) = findings(
        plan_of(on=config | {"intermediate_size": 4000}, scheme="FP8_BLOCK"), "fused-blocks"
    )
    assert finding.level == "error" and "mlp.gate_proj: 4,000 outputs" in finding.text
