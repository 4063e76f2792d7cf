"""All presets and recipes on the catalog's configs, asked in every place that knows something: one answer comes out.

A plan before the checkpoint is made, the check of what was made, the kernels, memory and speed, the name that a
measurement carries, doctor's table. Each asker used to keep a table of its own, and they disagreed.
"""

from __future__ import annotations

import json

import pytest

from exaone_nb import catalog
from exaone_nb.anatomy.logical import predict_as_stored
from exaone_nb.anatomy.memory import plan_memory
from exaone_nb.anatomy.modules import modules_of
from exaone_nb.anatomy.roofline import decode
from exaone_nb.compress import recipe as recipes
from exaone_nb.compress.analysis import analyse
from exaone_nb.compress.plan import plan_for
from exaone_nb.errors import WorkbookError
from exaone_nb.gpus import find_gpu
from exaone_nb.hardware import Machine
from exaone_nb.quantization import kernels
from exaone_nb.quantization.config import MIXED, preset_name, read_quantization
from exaone_nb.quantization.kernels import JUDGE, TODAY
from exaone_nb.quantization.loading import obstacles, serve
from exaone_nb.quantization.matching import Assignment
from exaone_nb.quantization.schemes import SCHEMES, QuantArgs, nearest_preset
from exaone_nb.results import RunFolder
from exaone_nb.score import scoreboard
from exaone_nb.score.submission.model import check_quantization
from exaone_nb.serve import bandwidth
from exaone_nb.workbook import doctor

AMX = Machine("CPU", flags=frozenset({"avx512f", "amx_tile"}), memory_bytes=2 * 10**12)
PLAIN = Machine("CPU", flags=frozenset({"avx2", "avx512f"}), memory_bytes=2 * 10**12)
CARDS = ("T4", "L4", "H100-SXM", "B200")
PRESETS = [name for name, scheme in SCHEMES.items() if scheme.weights]
# What people write beside presets: two schemes that vLLM joins, other groups, one scale for all, a head left in.
OWN = {
    "split": {"scheme": "W4A16", "ignore": ["lm_head", "re:.*v_proj$"]},
    "head": {"scheme": "W8A8", "ignore": []},
    "g64": {"scheme": {"weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 64}}},
    "tensor": {"scheme": {"weights": {"num_bits": 4, "type": "int", "symmetric": True}}},
    "kv_int": {"scheme": "W4A16", "ignore": ["lm_head", "embed_tokens", "model.layers.0"]},
}
# Every preset and recipe on the models that the chapters use, a few of each kind on every other config.
THOROUGH = ("EXAONE-4.0-1.2B", "nano", "Qwen3-0.6B")
FEW = ("w8a8", "w4a16_gptq", "mixed_w8a16_w4a16", "split", "FP8_BLOCK")
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


def documents() -> dict[str, object]:
    made = {name: {"scheme": name, "ignore": ["lm_head"]} for name in PRESETS}
    made |= {name: {"ignore": ["lm_head"]} | document for name, document in OWN.items()}
    return made | {name: name for name in recipes.names()}


def pairs() -> list[tuple[str, str]]:
    every = [(model, name) for model in THOROUGH for name in documents()]
    others = [name for name in sorted(catalog.names()) if name.rpartition("/")[2] not in THOROUGH]
    return every + [(model, name) for model in others for name in FEW]


@pytest.fixture(scope="module")
def config_of():
    """Configs without a quantization of their own; the many layers of mixtures of experts say nothing that two do not."""
    known = {}

    def read(model: str) -> dict:
        if model not in known:
            config = dict(catalog.resolve(model).config())
            config.pop("quantization_config", None)
            if any(config.get(name) for name in EXPERTS):
                config |= {name: min(config[name], 8) for name in EXPERTS if config.get(name)}
            known[model] = config
        return known[model]

    return read


@pytest.fixture(autouse=True)
def known_machine(monkeypatch):
    monkeypatch.setattr("exaone_nb.compress.analysis.this_machine", lambda: PLAIN)


def arguments(args: QuantArgs | None) -> dict | None:
    """As llm-compressor writes them."""
    if args is None:
        return None
    dtypes = {"U8": "torch.uint8", "F8_E4M3": "torch.float8_e4m3fn"}
    return {
        "num_bits": args.num_bits, "type": args.type, "strategy": args.strategy, "group_size": args.group_size,
        "symmetric": args.symmetric, "dynamic": args.dynamic, "scale_dtype": dtypes.get(args.scale_dtype),
        "block_structure": list(args.block_structure) if args.block_structure else None,
    }  # fmt: skip


def finished(plan) -> dict:
    """The config.json that the plan's checkpoint would have."""
    groups = {
        f"group_{i}": {
            "targets": list(targets),
            "weights": arguments(scheme.weights),
            "input_activations": arguments(scheme.activations),
        }
        for i, (scheme, targets) in enumerate(plan.groups)
        if i in plan.used
    }
    document = {
        "quant_method": "compressed-tensors",
        "config_groups": groups,
        "ignore": list(plan.recipe.ignore),
        "kv_cache_scheme": plan.recipe.kv_cache,
    }
    return plan.config | {"quantization_config": document, "tie_word_embeddings": plan.prediction.tied}


@pytest.mark.parametrize(("model", "name"), pairs())
def test_plan_check_memory_and_names_agree(config_of, tmp_path, model, name):
    document = documents()[name]
    recipe = recipes.load(document) if isinstance(document, str) else recipes.parse(document, name)
    plan = plan_for(config_of(model), recipe, model)
    analysis = analyse(plan)
    unmakeable = [f for f in analysis.findings if f.level == "error" and not f.where]
    try:
        plan.prediction  # noqa: B018
    except WorkbookError:
        # A matrix that does not divide into the groups: llm-compressor refuses it, and so does the plan.
        assert unmakeable
    if unmakeable:
        assert {verdict.answer for verdict in analysis.verdicts} == {"unknown"}
        return
    config = finished(plan)
    quantization = read_quantization(config)
    made = Assignment(
        modules_of(config), quantization.groups, quantization.ignore, config.get("model_type", "")
    )

    # Every module has the scheme it was planned with, and the bytes.
    assert {n: plan.label_of(n) for n in plan.assigned} == {n: made.label_of(n) for n in made.assigned}
    used = list(plan.used.values())
    nearest = {nearest_preset(scheme) for scheme in used}
    assert preset_name(quantization) == (nearest.pop() if len(nearest) == 1 else MIXED)
    if preset_name(quantization):
        label, stored = predict_as_stored(config)
        assert stored.data_bytes == plan.prediction.data_bytes
        # Memory and speed ask for the preset that needs most.
        for card in (find_gpu("L4"), find_gpu("T4")):
            expected = kernels.support(label, card.machine)
            assert plan_memory(config, label, card, context=64, prediction=stored).support == expected
            assert decode(config, label, card, context=64).support == expected

        # The scoreboard says the same of the checkpoint in a run folder.
        run = RunFolder.at(tmp_path / "run")
        (run.checkpoints / name).mkdir(parents=True)
        (run.checkpoints / name / "config.json").write_text(json.dumps(config), encoding="utf-8")
        _, loaded = predict_as_stored(config, loaded=True)
        shown, there = (
            scoreboard._on_card(run, name, "L4"),
            plan_memory(config, label, "L4", prediction=loaded),
        )
        if there.support.runs:
            assert (shown["concurrency"], shown["context"]) == (there.largest_concurrency, there.context)
        else:
            assert there.support.reason in shown["memory_remark"]

    # The plan's places and the finished checkpoint's.
    card = find_gpu("L4").machine
    for verdict, machine, engine in zip(
        analysis.verdicts, (PLAIN, card, card), (TODAY, TODAY, JUDGE), strict=True
    ):
        again = serve(made, machine, engine)
        assert serve(plan, machine, engine).answer == again.answer
        # A plan may know more: that there is no room, or that nobody tried the model there.
        assert verdict.answer == again.answer or (again.answer, verdict.answer) in (
            ("yes", "no"), ("yes", "unknown"), ("unknown", "no"),
        )  # fmt: skip

    # The check of a finished folder says of the judging server what the plan says.
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    found = check_quantization(tmp_path)
    errors = {f.code for f in found if f.level == "error"}
    judged = serve(plan, card, JUDGE).answer
    assert bool(errors) == (judged == "no")
    assert (judged == "unknown") == any(f.code == "kernels" and f.level == "warning" for f in found)
    # What no vLLM of today can load is an error before and after.
    unloadable = {f.code for f in analysis.unloadable}
    assert unloadable == {f.code for f in obstacles(made, TODAY) if f.level == "error"}
    assert unloadable <= errors and analysis.has_errors == bool(unloadable)
    # And patterns are read alike; targets that got no module do not reach the file.
    shared = ("unmatched", "parent-only", "ignore-untargeted")
    before, after = (
        {(f.level, f.text) for f in said if f.code in shared and " in ignore " in f.text}
        for said in (analysis.findings, found)
    )
    assert before == after


@pytest.mark.parametrize("scheme", ["BF16", *PRESETS])
def test_doctor_the_measurement_and_the_cards_say_what_the_kernels_say(monkeypatch, scheme):
    for machine in (PLAIN, AMX, *(find_gpu(name).machine for name in CARDS)):
        expected = kernels.support(scheme, machine)
        monkeypatch.setattr(bandwidth, "this_machine", lambda machine=machine: machine)
        assert bandwidth.Roof(1.0, {}, "", "cuda").support(scheme) == expected
        rows = {row.scheme: row for row in doctor._schemes(machine)}
        assert scheme not in rows or rows[scheme].serve is expected.runs
        assert kernels.runs_as(scheme, machine) == (expected.runs_as or scheme)
    for name in CARDS:
        assert kernels.on_gpu(scheme, find_gpu(name)) == kernels.support(scheme, find_gpu(name).machine)
