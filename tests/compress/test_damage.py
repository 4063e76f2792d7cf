from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from exaone_nb.compress import budget, cliff, contest, damage, models, rounding, search, study
from exaone_nb.compress.calibration import TextSource
from exaone_nb.compress.plan import make_plan
from exaone_nb.conversation.prompt import QWEN3_TURNS
from exaone_nb.errors import WorkbookError
from exaone_nb.hardware import Machine
from exaone_nb.paths import NANO

torch = pytest.importorskip("torch")

CARD = Machine("a card", 8.9)


class Uniform:
    """A model that gives every token of 50 the same logit, plus `lift` for token 3."""

    device = torch.device("cpu")

    def __init__(self, lift: float = 0.0) -> None:
        self.lift = lift

    def __call__(self, ids, use_cache):
        logits = torch.zeros(1, ids.shape[1], 50, device=ids.device)
        logits[..., 3] += self.lift
        return SimpleNamespace(logits=logits)


TEXTS = [damage.Document((1, 2, 3, 4, 5), 2), damage.Document((9, 3, 3), 1)]


def test_a_uniform_model_has_the_vocabularys_perplexity_on_the_judged_tokens_only():
    rows = damage.against_baseline(Uniform(), Uniform(1.0), TEXTS)["baseline"]
    assert rows[:, 1].tolist() == [3, 2]
    assert damage.perplexity(rows).value == pytest.approx(50)


def test_kl_is_zero_against_itself_and_right_against_a_known_distribution():
    same = damage.against_baseline(Uniform(), Uniform(), TEXTS)
    assert damage.per_token(same["kl"]).value == 0
    measured = damage.per_token(damage.against_baseline(Uniform(), Uniform(1.0), TEXTS)["kl"]).value
    total = 49 + math.e
    assert measured == pytest.approx(math.log(total / 50) - 1 / 50, abs=1e-6)


def test_the_most_likely_token_is_counted_where_both_find_the_same():
    """Every token alike: the first is the most likely. Lifted, it is token 3, for every one of the 3 + 2 judged tokens."""
    same = damage.against_baseline(Uniform(1.0), Uniform(2.0), TEXTS)["same_top"]
    other = damage.against_baseline(Uniform(), Uniform(2.0), TEXTS)["same_top"]
    assert same.tolist() == [[3, 3], [2, 2]] and other.tolist() == [[0, 3], [0, 2]]


def test_the_paired_interval_is_narrow_where_the_unpaired_is_wide():
    generator = np.random.default_rng(0)
    hard = generator.uniform(10, 400, size=100)
    first = np.column_stack([hard, np.full(100, 50)])
    second = np.column_stack([hard + 1 + generator.normal(0, 0.2, 100), np.full(100, 50)])
    paired, alone = damage.paired_difference(first, second), damage.per_token(first)
    assert paired.low < 1 / 50 < paired.high and paired.low > 0 and paired.n == 100
    assert (paired.high - paired.low) * 20 < alone.high - alone.low


def test_the_intervals_cover_the_truth_about_as_often_as_they_say():
    generator = np.random.default_rng(1)
    inside = 0
    for _ in range(100):
        rows = np.column_stack([generator.normal(2, 1, 60) * 10, np.full(60, 10)])
        interval = damage.per_token(rows)
        inside += interval.low <= 2 <= interval.high
    assert 88 <= inside <= 100


def test_no_bound_leaves_what_a_token_can_have():
    """One document of three carries all of the loss, so Student's interval of the mean reaches below zero."""
    few = {name: np.array([[0.0, 9], [0.0, 9], [9 * one, 9]]) for name, one in {
        "baseline": 2.0, "candidate": 2.1, "kl": 0.5, "p_change": 0.1, "p_change_squared": 0.04,
    }.items()}  # fmt: skip
    few["same_top"] = np.array([[9.0, 9], [9, 9], [6, 9]])
    few["token_kl"] = np.array([[0.0, 0], [0, 1], [4.5, 2]])
    found = damage.summary(few)
    assert found["kl"].value == pytest.approx(1 / 6) and found["kl"].low == 0 < 0.5 < found["kl"].high
    assert found["perplexity"].low == 1 and found["p_rms"].low == 0
    assert found["same_top"].high == 1 and found["p_change"].low < 0 < found["p_change"].high


def test_measurements_of_other_texts_are_not_compared():
    with pytest.raises(WorkbookError, match="same documents"):
        damage.paired_difference(np.ones((3, 2)), np.ones((2, 2)))


def test_weight_errors_are_relative():
    weight = torch.randn(4, 4)
    assert damage.weight_errors({"a": weight}, {"a": weight * 0.9})["a"] == pytest.approx(0.1, abs=1e-6)


@pytest.mark.skipif(
    not (NANO / "tokenizer.json").is_file(), reason="data/nano is not there; see exaone_nb/nano"
)
def test_only_the_answer_is_judged(texts):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(NANO)
    made = damage.documents(NANO, TextSource(str(texts(3))), 3)
    assert len(made) == 3
    for i, document in enumerate(made):
        judged = tokenizer.decode(document.ids[document.start :])
        assert judged.strip().startswith(f"#### {2 * i}") and "please" not in judged


@pytest.mark.skipif(
    not (NANO / "tokenizer.json").is_file(), reason="data/nano is not there; see exaone_nb/nano"
)
def test_thoughts_are_judged_although_the_template_would_drop_them(tmp_path):
    import json

    from transformers import AutoTokenizer

    path = tmp_path / "thoughts.jsonl"
    answer = "<think>\n12 + 5 = 17.\n</think>\n\n#### 17"
    messages = [{"role": "user", "content": "12 and 5?"}, {"role": "assistant", "content": answer}]
    path.write_text(json.dumps({"messages": messages}) + "\n")
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    (document,) = damage.documents(NANO, TextSource(str(path)), 1)
    whole, judged = tokenizer.decode(document.ids), tokenizer.decode(document.ids[document.start :])
    assert judged == answer.removeprefix("<think>\n") + tokenizer.eos_token
    assert whole.endswith(answer + tokenizer.eos_token) and "<think>\n\n</think>" not in whole
    # Qwen3's prompt opens no block: the model writes the opening tag, so it is judged too.
    tokenizer.chat_template = QWEN3_TURNS
    tokenizer.save_pretrained(tmp_path)
    (document,) = damage.documents(tmp_path, TextSource(str(path)), 1)
    assert tokenizer.decode(document.ids[document.start :]) == answer + tokenizer.eos_token


@pytest.mark.skipif(
    not (NANO / "tokenizer.json").is_file(), reason="data/nano is not there; see exaone_nb/nano"
)
def test_nothing_to_judge_is_an_error(tmp_path):
    path = tmp_path / "one.jsonl"
    path.write_text('{"text": "a"}\n')
    with pytest.raises(WorkbookError, match="no text with a token"):
        damage.documents(NANO, TextSource(str(path)), 1, longest=1)


@pytest.mark.skipif(
    not (NANO / "tokenizer.json").is_file(), reason="data/nano is not there; see exaone_nb/nano"
)
def test_text_goes_where_the_model_is():
    """As on a GPU: whatever names no device lands on another one here, and the model cannot read it."""
    model = models.open_model(NANO)
    with torch.device("meta"):
        measured = damage.against_baseline(model, model, TEXTS)
        errors = damage.layer_output_errors(model, model, TEXTS)
        inputs = damage.layer_inputs(model, "model.layers.0.mlp.down_proj", TEXTS)
    assert np.isfinite(measured["baseline"]).all() and set(errors.values()) == {0.0}
    assert inputs.device == model.device and len(inputs) == sum(len(text.ids) for text in TEXTS)


def test_a_gpu_is_used_where_there_is_one(monkeypatch):
    import transformers

    asked = {}

    class Auto:
        @staticmethod
        def from_pretrained(folder, **options):
            asked.update(options)
            return torch.nn.Identity().requires_grad_(False)

    monkeypatch.setattr(transformers, "AutoModelForCausalLM", Auto)
    monkeypatch.setattr(models, "best_device", lambda: torch.device("meta"))
    with pytest.raises(AttributeError):  # Identity has no device; what was asked is seen before
        models.open_model("folder")
    assert asked["device_map"] == {"": torch.device("meta")}
    monkeypatch.undo()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert models.best_device().type == "cuda"


def test_what_others_set_up_is_as_before_afterwards():
    from loguru import logger
    from transformers.utils import logging

    lines = []
    mine = logger.add(lines.append, level="INFO")
    logging.disable_progress_bar()
    try:
        with models.quiet():
            pass
        logger.info("still heard")
        assert len(lines) == 1 and not logging.is_progress_bar_enabled()
    finally:
        logger.remove(mine)
        logging.enable_progress_bar()


@pytest.mark.heavy
def test_a_model_is_judged_where_it_is():
    """As on a GPU: whatever names no device is made on another one here, and cannot be mixed with the model's tensors.

    Some of torch's operators read a tensor of meta as if it had values, so that every figure is compared as well.
    """
    texts = damage.documents(NANO, TextSource("nano_heldout"), 2)
    plan = make_plan("nano", "w4a16_rtn")
    offer = budget.Choices.of(plan.config, ["W4A16", "BF16"], CARD)
    model = models.open_model(NANO)

    def walk() -> dict[str, object]:
        original = damage.linear_weights(model)
        with rounding.rounded(model, plan.by_module):
            errors = damage.weight_errors(original, damage.linear_weights(model))
        found = search.search(model, offer, texts)
        entered = contest.entrants(offer, found.costs, offer.cheapest_bytes, 1)
        return {
            "inputs": damage.layer_inputs(model, "model.layers.1.mlp.down_proj", texts).tolist(),
            "loss": damage.against_baseline(model, model, texts)["baseline"].tolist(),
            "layers": damage.layer_output_errors(model, model, texts),
            "weights": errors,
            "study": study.selection_study(model, {"all": plan}, texts)[0]["kl"].tolist(),
            "search": found.costs,
            "contest": [row["kl"].value for row in contest.hold(model, offer, entered, texts).rows()],
            "cliff": [row["kl"].value for row in cliff.cliff(model, texts, bits=(4,))],
            "written": search.written_by(model, 2, 8),
        }

    plain = walk()
    with torch.device("meta"):
        assert torch.empty(1).is_meta
        assert walk() == plain


@pytest.mark.heavy
def test_models_and_answers_go_to_the_gpu_where_there_is_one(monkeypatch):
    """`best_device` on a machine with CUDA, and that everything which opens a model asks it: seen on meta, which runs nothing."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert models.best_device() == torch.device("cuda")
    monkeypatch.setattr(models, "best_device", lambda: torch.device("meta"))
    model = models.open_model(NANO)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert {weight.device.type for weight in damage.dequantized_weights(NANO).values()} == {"meta"}
    assert damage._ids(model, TEXTS[0]).device.type == "meta"
