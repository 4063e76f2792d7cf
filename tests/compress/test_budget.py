from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from exaone_nb import catalog
from exaone_nb.anatomy.predict import predict_checkpoint
from exaone_nb.compress.analysis import analyse
from exaone_nb.compress.budget import Choices, sum_of
from exaone_nb.compress.contest import draw
from exaone_nb.compress.parts import parts_of, read_bytes, targets_of
from exaone_nb.compress.plan import plan_for
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.gpus import find_gpu
from exaone_nb.hardware import Machine
from exaone_nb.paths import DATA
from exaone_nb.quantization.matching import KEPT, matches
from exaone_nb.quantization.schemes import SCHEMES

L4 = find_gpu("L4").machine
CPU = Machine("CPU", flags=frozenset({"avx512f"}))
TINY = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 128, "intermediate_size": 256,
    "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 320,
    "tie_word_embeddings": True, "rms_norm_eps": 1e-5, "torch_dtype": "bfloat16", "max_position_embeddings": 512,
}  # fmt: skip


def offer(config=TINY, schemes=("W4A16", "W8A8", "BF16"), machine=L4):
    return Choices.of(config, list(schemes), machine)


def random_costs(made, seed):
    generator = np.random.default_rng(seed)
    return {
        name: {label: 0.0 if label == KEPT else generator.uniform() for label in options}
        for name, options in made.options.items()
    }


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1.2GB", 1_200_000_000),
        ("1 GiB", 2**30),
        ("900mib", 900 * 2**20),
        ("971,261,368", 971_261_368),
        ("971_261_368", 971_261_368),
        (".5MB", 500_000),
        ("5 kB", 5000),
    ],
)
def test_sizes_are_read_as_people_write_them(text, size):
    assert read_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "0", "-1GB", "1.2GiG", "lots", "1.2.3MB", "nan", "_5", "1__0MB", "1,2GB"]
)
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UsageError, match="not a size"):
        read_bytes(text)


def test_blanks_in_the_list_of_schemes_change_nothing():
    assert offer(schemes=(" W4A16", "BF16 ")).options == offer(schemes=("W4A16", "BF16")).options


def test_what_an_engine_joins_is_one_part(config):
    parts = {part.name: [m.part for m in part.modules] for part in parts_of(config)}
    assert len(parts) == 30 * 4 + 1
    assert parts["model.layers.3.self_attn.qkv_proj"] == ["q_proj", "k_proj", "v_proj"]
    assert parts["model.layers.3.mlp.gate_up_proj"] == ["gate_proj", "up_proj"]
    assert parts["table"] == ["embed_tokens", "lm_head"]
    untied = {part.name for part in parts_of(catalog.resolve("EXAONE-4.0-32B").config())}
    assert {"model.embed_tokens", "lm_head"} <= untied and "table" not in untied
    experts = catalog.resolve("K-EXAONE-236B-A23B").config()
    counts = [len(p.modules) for p in parts_of(experts) if p.name.endswith(".experts")]
    assert counts and set(counts) == {3 * experts["num_experts"]}


def test_the_smallest_file_of_the_real_model_is_the_published_one(config):
    made = offer(config)
    assert made.cheapest_bytes == 971_261_368
    with pytest.raises(WorkbookError, match="at most 900,000,000 bytes") as refused:
        made.choose(random_costs(made, 0), 900_000_000)
    assert "971,261,368" in refused.value.expected


def test_only_what_the_target_serves_is_offered(config):
    names = ["W4A16", "W8A16", "W8A8", "BF16"]
    card, cpu = offer(config, names), offer(config, names, CPU)
    part = "model.layers.0.self_attn.o_proj"
    assert set(card.options[part]) == {"W4A16", "W8A16", "W8A8", KEPT}
    assert set(cpu.options[part]) == {"W4A16", "W8A8", KEPT}
    assert {r.part for r in cpu.refused if r.scheme == "W8A16" and "4-bit" in r.why} >= {
        "o_proj",
        "down_proj",
    }
    # A packed table is read by no engine of today.
    assert set(card.options["table"]) == {KEPT}
    assert {r.scheme for r in card.refused} == {"W4A16", "W8A16", "W8A8"}


def test_groups_that_do_not_divide_the_inputs_become_smaller():
    odd = TINY | {"hidden_size": 576, "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64}
    made = offer(odd)
    assert {"W4A16 g64", "W8A8", KEPT} == set(made.options["model.layers.0.mlp.down_proj"])
    assert {"W4A16 g32", KEPT} == set(
        offer(odd, ["W4A16 g32", "BF16"]).options["model.layers.1.mlp.down_proj"]
    )
    with pytest.raises(UsageError, match="W8A8 g32"):
        offer(odd, ["W8A8 g32"])


@pytest.mark.parametrize("scheme", ["W4A16", "W8A8", "BF16"])
def test_uniform_recipes_weigh_what_the_predictor_says(config, scheme):
    made = offer(config)
    choice = made.uniform()[KEPT if scheme == "BF16" else scheme]
    assert made.file_bytes(choice) == predict_checkpoint(config, scheme).file_bytes


def test_the_choice_is_the_best_of_all():
    """Against every one of the 6,561 recipes, weighed by the exact predictor."""
    made = offer()
    names = list(made.options)
    every = [dict(zip(names, labels, strict=True)) for labels in product(*made.options.values())]
    assert len(every) == 3**8
    sizes = np.array([made.total(choice) for choice in every])
    exact = {}
    for seed in range(4):
        costs = random_costs(made, seed)
        loss = np.array([sum_of(costs, choice) for choice in every])
        for share in (0.03, 0.3, 0.7):
            budget = int(made.cheapest_bytes + share * (sizes.max() - sizes.min()))
            chosen = made.choose(costs, budget)
            assert made.file_bytes(chosen) <= budget
            for i in np.argsort(loss):
                if sizes[i] + made.rest > budget:  # the bound from below says that it cannot fit
                    continue
                size = exact.setdefault(i, made.file_bytes(every[i]))
                if size <= budget:
                    best = loss[i]
                    break
            # The last bytes of the header may cost one exchange; more they may not.
            assert sum_of(costs, chosen) <= best + 1e-9


def test_the_bound_is_from_below_and_close():
    made, generator = offer(), np.random.default_rng(0)
    for _ in range(20):
        choice = draw(made, 10**9, generator)
        over = made.file_bytes(choice) - made.rest - made.total(choice)
        tensors = len(plan_for(TINY, made.recipe(choice)).prediction.tensors)
        assert 0 <= over <= 2 * 6 * tensors + 7  # offsets of at most seven digits, and the header's padding


def test_a_uniform_recipe_that_just_fits_is_not_missed():
    made = offer()
    costs = {
        name: {label: float(label != "W8A8") for label in options} for name, options in made.options.items()
    }
    choice = made.uniform()["W8A8"]
    size = made.file_bytes(choice)
    assert made.choose(costs, size) == choice
    assert made.file_bytes(made.choose(costs, size - 1)) < size


def test_where_the_header_of_others_is_longer_the_uniform_recipe_is_still_found(monkeypatch):
    """The bound says that a mixed recipe fits; the exact size, here exaggerated, says that it does not."""
    made, costs = offer(), {}
    choice, plain = made.uniform()["W8A8"], Choices.file_bytes
    size = made.file_bytes(choice)
    longer = lambda self, other: plain(self, other) + 200_000 * (other not in list(self.uniform().values()))  # noqa: E731
    monkeypatch.setattr(Choices, "file_bytes", longer)
    for name, options in made.options.items():
        costs[name] = {label: {"W4A16": 1.0, "W8A8": 0.1, KEPT: 0.0}[label] for label in options}
    costs["model.layers.0.self_attn.o_proj"]["W4A16"] = 0.0
    assert made.choose(costs, size) == choice


SOLVE = """
import json, sys
from exaone_nb import catalog
from exaone_nb.compress.budget import Choices
from exaone_nb.compress.search import frontier
from exaone_nb.gpus import find_gpu
made = Choices.of(catalog.resolve("nano").config(), ["W4A16", "W8A8", "BF16"], find_gpu("L4").machine)
assert len(list(frontier(made, json.load(open(sys.argv[1]))["costs"]))) == 12
"""


def test_the_solver_writes_nothing():
    """HiGHS wrote a line of its own past Python, into what --json prints; these costs made it do so."""
    record = DATA / "measured" / "fit_nano.json"
    done = subprocess.run(
        [sys.executable, "-c", SOLVE, str(record)], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_a_table_that_is_offered_a_scheme_is_counted_once():
    made = offer()
    table = {"table": {KEPT: None, "W8A8": SCHEMES["W8A8"]}}
    made = replace(made, options=made.options | table)
    for label in table["table"]:
        choice = made.cheapest | {"table": label}
        assert 0 <= made.file_bytes(choice) - made.rest - made.total(choice) < 1000


def test_a_recipe_names_the_modules_of_its_choice_and_no_others(config):
    for model in (config, TINY, catalog.resolve("EXAONE-4.0-32B").config()):
        made = offer(model)
        budget = int(made.cheapest_bytes * 1.3)
        for choice in (
            made.choose(random_costs(made, 1), budget),
            draw(made, budget, np.random.default_rng(2)),
        ):
            plan = plan_for(model, made.recipe(choice))
            got = {name: plan.groups[i][0] for name, i in plan.assigned.items() if i is not None}
            wanted = made.schemes(choice)
            assert got.keys() == wanted.keys()
            assert all(got[name].same_numbers(wanted[name]) for name in wanted)
            assert plan.predicted_bytes == made.file_bytes(choice) <= budget
            assert not [finding for finding in analyse(plan).findings if finding.level == "no-op"]


def test_the_passes_of_the_real_model_can_be_said_beforehand(config):
    """30 layers of four parts under two schemes; from layer k on a pass runs (30 - k) / 30 of the layers."""
    assert offer(config).passes == pytest.approx(1 + 4 * 2 * sum((30 - k) / 30 for k in range(30)))
    assert offer(config).passes == pytest.approx(125)


def test_the_experts_of_a_layer_take_one_expression():
    every = parts_of(catalog.resolve("K-EXAONE-236B-A23B").config())
    layers = {part.layer for part in every if part.layer is not None}
    some = [part for part in every if part.name.endswith(".experts") and part.layer in (1, 12)]
    (target,) = targets_of(some, layers)
    assert len(target) < 200
    fitting = {m.name for part in every for m in part.modules if matches(m.name, m.kind, (target,))}
    assert fitting == {m.name for part in some for m in part.modules} and len(fitting) > 500


def test_random_recipes_use_the_budget_and_differ(config):
    made = offer(config)
    drawn = [draw(made, 1_100_000_000, np.random.default_rng(seed)) for seed in (0, 0, 1, 2)]
    sizes = [made.file_bytes(choice) for choice in drawn]
    assert drawn[0] == drawn[1] and drawn[1] != drawn[2] != drawn[3]
    assert all(0.98 * 1_100_000_000 < size <= 1_100_000_000 for size in sizes)


def test_a_quantized_model_is_refused(config):
    with pytest.raises(WorkbookError, match="already quantized"):
        offer(config | {"quantization_config": {"quant_method": "compressed-tensors"}})
