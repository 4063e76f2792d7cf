"""The measured cost of parts, on a tiny model where every pass can be made in full."""

from __future__ import annotations

import numpy as np
import pytest

from exaone_nb.compress import contest, damage
from exaone_nb.compress.budget import Choices, sum_of
from exaone_nb.compress.rounding import rounded
from exaone_nb.compress.search import frontier, measure, search, seconds_for, written_by
from exaone_nb.errors import WorkbookError
from exaone_nb.gpus import find_gpu
from exaone_nb.quantization.matching import KEPT
from exaone_nb.statistics.estimate import Estimate

torch = pytest.importorskip("torch")
SHAPE = {
    "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 320, "tie_word_embeddings": True, "bos_token_id": 1,
    "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip


@pytest.fixture(scope="module", params=["exaone4", "llama"])
def model(request):
    """Layers of two kinds in EXAONE: one with a window that the texts are longer than."""
    from transformers import AutoConfig, AutoModelForCausalLM

    more = {}
    if request.param == "exaone4":
        more = {
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
            "sliding_window": 4,
        }
    torch.manual_seed(0)
    config = AutoConfig.for_model(request.param, **SHAPE, **more)
    made = AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(3)
    return made


@pytest.fixture(scope="module")
def offer(model):
    return Choices.of(
        model.config.to_dict() | {"torch_dtype": "float32"}, ["W4A16", "W8A8", "BF16"], find_gpu("L4").machine
    )


TEXTS = [
    damage.Document(tuple(np.random.default_rng(n).integers(3, 320, 6 + 5 * n).tolist()), 1 + n % 3)
    for n in range(5)
]


def test_the_cost_of_a_part_is_the_kl_of_that_part_alone(model, offer):
    found = search(model, offer, TEXTS)
    exact = [damage.log_probabilities(model, text) for text in TEXTS]
    for part in offer.parts:
        for label, scheme in offer.options[part.name].items():
            if label == KEPT:
                assert not found.kl[part.name][label].any()
                continue
            with rounded(model, {module.name: scheme for module in part.modules}):
                kl = [
                    damage.divergence(e, damage.log_probabilities(model, t))[0]
                    for e, t in zip(exact, TEXTS, strict=True)
                ]
            # Rounded activations pass on what the last bit of a sum decides.
            assert found.kl[part.name][label] == pytest.approx(
                np.array(kl), rel=0.05 if scheme.activations else 2e-3
            )
    assert found.tokens.tolist() == [len(text.ids) - text.start for text in TEXTS]
    assert found.read == sum(len(text.ids) for text in TEXTS)
    assert seconds_for(offer, 10, 1e9) == pytest.approx(2 * 10 * found.passes * model.num_parameters() / 1e9)
    # One pass to begin with, then four parts under two schemes from layers 0, 1 and 2 of three on.
    assert found.passes == pytest.approx(1 + 8 * (3 + 2 + 1) / 3)
    assert found.foreseen(dict.fromkeys(offer.options, KEPT)).value == 0


def test_what_is_measured_in_memory_is_what_two_models_would_say(model, offer):
    choice = offer.schemes(offer.uniform()["W4A16"])
    found = measure(model, {"all": choice, "none": {}}, TEXTS)
    exact = [damage.log_probabilities(model, text) for text in TEXTS]
    with rounded(model, choice):
        other = [damage.log_probabilities(model, text) for text in TEXTS]
    wanted = damage.compared(exact, other, TEXTS)
    for name in ("kl", "candidate", "same_top"):
        assert sorted(found["all"][name][:, 0]) == pytest.approx(
            sorted(wanted[name][:, 0]), rel=5e-3, abs=1e-6
        )
    assert found["none"]["kl"][:, 0] == pytest.approx(0, abs=1e-9)


def test_the_model_writes_alike_with_one_seed_and_leaves_others_their_luck(model):
    state = torch.random.get_rng_state()
    first, again, other = (written_by(model, 3, 12, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [len(text.ids) for text in first] == [12, 12, 12] and all(text.ids[0] == 1 for text in first)
    assert first == again != other


def test_a_model_without_a_first_token_is_given_a_text(model, monkeypatch):
    monkeypatch.setattr(model.config, "bos_token_id", None)
    with pytest.raises(WorkbookError, match="no first token") as refused:
        written_by(model, 3, 12)
    assert "--text" in refused.value.remedy


def test_a_contest_judges_what_fits(model, offer):
    costs = search(model, offer, TEXTS).costs
    budget = offer.file_bytes(offer.uniform()["W8A8"]) - 1
    entered = contest.entrants(offer, costs, budget, count=4)
    found = contest.hold(model, offer, entered, TEXTS)
    kinds = [entrant.kind for entrant in entered.values()]
    assert (
        kinds == ["fitted", "uniform", *["random"] * 4] and max(e.bytes for e in entered.values()) <= budget
    )
    kl = {row["recipe"]: row["kl"].value for row in found.rows()}
    best, middle = found.pairs()
    assert (
        best["recipe"] == "W4A16"
        and sorted(kl[f"random {i}"] for i in range(1, 5))[1] == kl[middle["recipe"]]
    )
    for pair in (best, middle):
        assert pair["kl"].value == pytest.approx(kl["fitted"] - kl[pair["recipe"]])
    assert best["kl"].value < 0


def test_the_foreseen_line_passes_under_every_recipe():
    """Points of the frontier stand far apart in a small model: the one beyond the largest recipe is needed."""
    line = [
        (size, Estimate(1e6 / size, 0.9e6 / size, 1.1e6 / size))
        for size in (2_000_000, 2_500_000, 4_000_000, 6_000_000)
    ]
    rows = [
        {"bytes": size, "kind": "fitted", "kl": Estimate(0.4, 0.3, 0.5)} for size in (2_100_000, 2_600_000)
    ]
    figure = contest.picture(line, rows)
    axes = figure.axes[0]
    drawn = axes.lines[0].get_xdata()
    assert list(drawn) == [2.0, 2.5, 4.0] and 2.6 < axes.get_xlim()[1] < 4.0


def test_along_the_frontier_more_bytes_lose_no_more(model, offer):
    costs = search(model, offer, TEXTS).costs
    points = list(frontier(offer, costs, points=8))
    losses = [sum_of(costs, choice) for _, choice in points]
    assert losses == sorted(losses, reverse=True) and losses[-1] == 0
    assert points[0][0] == offer.cheapest_bytes
