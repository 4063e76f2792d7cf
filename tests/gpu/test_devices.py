"""Models, studies, answers and bandwidth on the card: there, and the same as on the CPU."""

import pytest

from exaone_nb.compress import budget, cliff, contest, damage, models, rounding, search, study
from exaone_nb.compress import quantize as maker
from exaone_nb.compress.calibration import TextSource
from exaone_nb.compress.formats import dequantize, output_error, read_tensor, stored_codes
from exaone_nb.compress.plan import make_plan
from exaone_nb.hardware import this_machine
from exaone_nb.paths import NANO
from tests.page import gptq_functions

torch = pytest.importorskip("torch")
MODULE = "model.layers.1.mlp.down_proj"
round_to_nearest, hessian, gptq = gptq_functions()


@pytest.fixture(scope="module")
def texts():
    return damage.documents(NANO, TextSource("nano_heldout"), 16)


@pytest.fixture(scope="module")
def both(card):
    """nano in float32 on the CPU and on the card."""
    there = models.open_model(NANO, dtype="float32")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "best_device", lambda: torch.device("cpu"))
        here = models.open_model(NANO, dtype="float32")
    assert (here.device.type, there.device.type) == ("cpu", "cuda")
    return here, there


def test_both_devices_judge_alike(both, texts, measured):
    here, there = both
    lost = damage.summary(damage.against_baseline(here, there, texts))
    measured("CPU against CUDA, float32", kl=lost["kl"].value, same_top=lost["same_top"].value)
    assert lost["kl"].value < 1e-6 and lost["same_top"].value > 0.999


def test_what_a_layer_reads_is_the_same(both, texts):
    seen = [damage.layer_inputs(model, MODULE, texts) for model in both]
    assert seen[1].is_cuda
    assert torch.allclose(seen[0], seen[1].cpu(), atol=1e-3, rtol=1e-3)


def test_gptq_writes_the_same_codes(both, texts, measured):
    weights = [damage.linear_weights(model)[MODULE] for model in both]
    codes = [
        gptq(weight, hessian(damage.layer_inputs(model, MODULE, texts)), 128)[0].cpu()
        for weight, model in zip(weights, both, strict=True)
    ]
    same = float((codes[0] == codes[1]).float().mean())
    measured("codes of GPTQ that are equal, CPU and CUDA", share=same)
    assert same > 0.99  # sums in another order tip a code here and there


def test_the_studies_of_the_chapter_run_there_and_find_what_they_find_here(both, texts, measured):
    found = []
    offer = budget.Choices.of(make_plan("nano", "w8a8").config, ["W4A16", "W8A8", "BF16"], this_machine())
    plan = make_plan("nano", "w4a16_rtn")
    for model in both:
        seen = damage.layer_inputs(model, MODULE, texts[:8])
        unseen = damage.layer_inputs(model, MODULE, texts[8:])
        weight = damage.linear_weights(model)[MODULE]

        def error(inputs, weight=weight, unseen=unseen):
            codes, scale = gptq(weight, hessian(inputs), 128)
            return output_error(weight, dequantize(codes, scale.float()), unseen)

        study.library_study(weight, hessian(seen))
        study.sharing_study(weight)
        study.calibration_study({"text": seen.split(20)}, error, sizes=(2,))
        row = study.selection_study(model, {"all": plan}, texts)[0]
        with rounding.rounded(model, plan.by_module):
            worst = max(damage.layer_output_errors(model, model, texts[:2]).values())
        fall = cliff.cliff(model, texts[:4], torch.bfloat16)
        costs = search.search(model, offer, texts[:4], torch.bfloat16)
        contest.hold(model, offer, contest.entrants(offer, costs.costs, offer.cheapest_bytes, 2), texts[:4])
        found.append(
            {
                "held out": error(seen),
                "kl": damage.per_token(row["kl"]).value,
                "cliff": fall[-1]["kl"].value,
                "search": sum(float(kl.sum()) for part in costs.kl.values() for kl in part.values()),
            }
        )
        assert worst == 0
    here, there = found
    measured("studies", cpu=here, cuda=there)
    assert there == pytest.approx(here, rel=0.05)


@pytest.mark.parametrize("recipe", ["w4a16_rtn", "w4a16_gptq", "w8a8"])
def test_a_recipe_runs_on_the_card_and_weighs_what_was_predicted(recipe, card, tmp_path, measured):
    made = maker.quantize("nano", recipe, tmp_path / recipe)
    measured(
        f"nano, {recipe}",
        **{
            name: made[name]
            for name in ("seconds", "gpu_peak_bytes", "peak_bytes", "problems", "generations")
        },
    )
    assert made["actual_bytes"] == made["predicted_bytes"] and made["problems"] == []
    assert made["gpu_peak_bytes"] > 0 and set(made["generations"]) == {"thinking_off", "thinking_on"}
    if recipe == "w4a16_rtn":
        stored, scale = stored_codes(tmp_path / recipe, MODULE)
        # llm-compressor divides in float32 on the card and in bfloat16 on the CPU, so the codes are those of the card.
        weight = read_tensor(NANO, f"{MODULE}.weight").to(models.best_device())
        codes, expected = (tensor.cpu() for tensor in round_to_nearest(weight, 128))
        measured("five lines on the card", equal_codes=float((stored == codes).float().mean()))
        assert torch.equal(scale, expected) and torch.equal(stored, codes.to(stored))
    if recipe != "w4a16_gptq":
        # What is tried in memory is what the file holds.
        there = damage.linear_weights(models.open_model(NANO))[MODULE]
        tried = rounding.rounded_weight(there, make_plan("nano", recipe).by_module[MODULE].weights)
        written = damage.dequantized_weights(tmp_path / recipe)[MODULE]
        assert torch.equal(tried.cpu(), written.cpu())


def test_transformers_answers_on_the_card_as_on_the_cpu(card, monkeypatch, measured):
    from exaone_nb.conversation.answers import Sampling
    from exaone_nb.engines import transformers_engine

    questions = ("3 + 4?", "12 * 3?", "Who are you?")
    said = {}
    for device, gpu in (("cuda", True), ("cpu", False)):
        monkeypatch.setattr(transformers_engine, "has_gpu", lambda gpu=gpu: gpu)
        with transformers_engine.TransformersEngine(NANO, dtype="float32") as engine:
            asked = [[{"role": "user", "content": question}] for question in questions]
            said[device] = [engine.chat(q, "non-reasoning", Sampling(max_tokens=48)).text for q in asked]
    measured("answers", **said)
    assert said["cuda"] == said["cpu"] and all(said["cuda"])


def test_the_roof_is_measured_in_the_cards_own_arithmetic(card, measured):
    from exaone_nb.serve.bandwidth import measure_roof

    roof = measure_roof()
    measured("roof", bandwidth=roof.bandwidth, how=roof.how, operations=dict(roof.operations))
    assert roof.device == "cuda" and roof.bandwidth > 100e9 and roof.operations["16-bit"] > 1e12
    if torch.cuda.get_device_capability() >= (8, 9):
        assert roof.operations["fp8"] > roof.operations["16-bit"]


def test_doctor_finds_the_card(card, measured):
    from exaone_nb.workbook import doctor

    checks = {check.name: check for check in doctor.diagnose().checks}
    measured("doctor", **{name: f"{one.verdict}: {one.found}" for name, one in checks.items()})
    assert card.split()[-1] in checks["gpu"].found and checks["gpu"].verdict == "OK"
