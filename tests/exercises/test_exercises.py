"""Every exercise: the stub is "not yet", the right answer right, and each known mistake gets its own hint.

Right answers are held against numpy, torch, scipy, safetensors and published figures, not against the exercises themselves.
"""

import itertools
import json
import math
import re

import numpy as np
import pytest

from exaone_nb.errors import UsageError
from exaone_nb.exercises import (
    EXERCISES,
    attention,
    formats,
    grade,
    judge,
    memory,
    norms,
    recipes,
    scores,
    serving,
    tensors,
    words,
)
from exaone_nb.exercises.exercise import same
from exaone_nb.workbook.chapters import discover, has_tag

EVERY = pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES)


def named(function, name):
    def learner(*given):
        return function(*given)

    learner.__name__ = name
    return learner


def test_there_are_enough():
    assert len(EXERCISES) >= 22


@EVERY
def test_a_stub_is_not_yet_and_the_right_answer_right(exercise):
    def stub(*_):
        """What the notebook asks for."""
        ...  # your line

    stub.__name__ = exercise.name
    assert judge(stub).state == "not yet"
    assert judge(named(exercise.right, exercise.name)).state == "right"


@EVERY
def test_every_known_mistake_is_told_apart_and_gets_its_own_hint(exercise):
    answers = [exercise.answers(exercise.right), *(exercise.answers(wrong) for wrong, _ in exercise.mistakes)]
    hints = [hint for _, hint in exercise.mistakes]
    for (a, one), (b, other) in itertools.combinations(enumerate(answers), 2):
        equal = all(map(same, one, other))
        assert not equal or (a > 0 and hints[a - 1] == hints[b - 1]), (exercise.name, a, b)
    for wrong, hint in exercise.mistakes:
        verdict = judge(named(wrong, exercise.name))
        assert verdict.state == "wrong" and verdict.text.endswith(hint)


@EVERY
def test_an_unknown_mistake_shows_an_input(exercise):
    verdict = judge(named(lambda *_: "xyzzy", exercise.name))
    assert verdict.state == "wrong" and ("not" in verdict.text)


def test_a_line_that_raises_is_quoted_and_a_name_without_exercise_refused():
    assert "ZeroDivisionError" in judge(named(lambda *_: 1 / 0, "data_begins")).text
    with pytest.raises(UsageError, match="nobody_asked"):
        judge(named(len, "nobody_asked"))


def test_a_line_without_return_is_not_taken_for_none():
    def data_begins(header_length):
        header_length + 8

    verdict = judge(data_begins)
    assert verdict.state == "wrong" and "`return`" in verdict.text


def test_a_line_that_raises_is_told_with_the_input_at_which_it_did():
    verdict = judge(named(lambda shape, dtype: shape[0] * shape[1] * 4, "tensor_bytes"))
    assert "(128,), I8" in verdict.text and "IndexError" in verdict.text


def test_numbers_of_numpy_are_shown_as_numbers_and_one_value_in_place_of_two_is_named():
    verdict = judge(named(lambda weights: (np.float64(0.5), 0), "scale_and_zero"))
    assert "gives (0.5, 0), not (" in verdict.text
    assert "2 values" in judge(named(lambda weights: np.float64(0.5), "scale_and_zero")).text


def test_a_learner_cannot_spoil_the_inputs():
    def rms_norm(x, weight, eps):
        x *= 0
        return x

    judge(rms_norm)
    assert judge(norms.rms_norm).state == "right"


def test_grade_shows_the_verdict(capsys):
    grade(named(lambda *_: None, "score"))
    assert "HTML" in capsys.readouterr().out


def cells_tagged(tag):
    for chapter in discover():
        for cell in chapter.document["cells"]:
            if has_tag(cell, tag):
                yield chapter, cell["source"]


def test_every_chapter_from_config_to_scoreboard_asks_and_every_exercise_is_asked_once():
    asked = [re.search(r"def (\w+)", source)[1] for _, source in cells_tagged("exercise")]
    assert sorted(asked) == sorted(EXERCISES)
    assert [re.search(r"def (\w+)", source)[1] for _, source in cells_tagged("solution")] == asked
    numbers = {chapter.number for chapter, _ in cells_tagged("exercise")}
    assert numbers == {f"{n:02d}" for n in range(1, 12)}


@pytest.mark.parametrize(("tag", "state"), [("exercise", "not yet"), ("solution", "right")])
def test_stubs_are_not_yet_and_the_page_s_solutions_right(tag, state):
    for chapter, source in cells_tagged(tag):
        said = []
        exec(
            source,
            {
                "np": np,
                "re": re,
                "comb": math.comb,
                "grade": lambda function, said=said: said.append(judge(function)),
            },
        )
        assert [one.state for one in said] == [state], (chapter.slug, source)


# -- the right answers, against others -----------------------------------------------------------------------------


def test_tensors_against_a_real_file(tmp_path):
    from safetensors.numpy import save_file

    save_file({"a": np.zeros((4, 3), np.float32)}, tmp_path / "x.safetensors")
    data = (tmp_path / "x.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    (entry,) = [e for name, e in json.loads(data[8 : 8 + length]).items() if name != "__metadata__"]
    assert (
        len(data) - tensors.data_begins(length)
        == tensors.tensor_bytes((4, 3), "F32")
        == entry["data_offsets"][1]
    )


def test_shapes_against_transformers():
    torch = pytest.importorskip("torch")
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        hidden_size=64, num_attention_heads=4, num_key_value_heads=2, head_dim=32, num_hidden_layers=1,
        intermediate_size=64, vocab_size=32,
    )  # fmt: skip
    with torch.device("meta"):
        model = Qwen3ForCausalLM(config)
    assert tuple(model.model.layers[0].self_attn.q_proj.weight.shape) == tensors.q_proj_shape(64, 4, 32)


def test_memory_against_published_figures():
    """61,440 bytes a token for the 1.2B and 32 GiB for 131,072 tokens of the 32B (vLLM's log); int4-g128 is 4.125 bits."""
    assert memory.kv_bytes_per_token(30, 8, 64, 2) == 61_440
    assert memory.kv_bytes_per_token(64, 8, 128, 2) * 131_072 == 32 * 2**30
    assert memory.bits_per_weight(4, 128) == 4.125 and memory.bits_per_weight(4, 32) == 4.5
    assert memory.tokens_per_second_at_best(2_558_821_288, 300) == pytest.approx(117.2, abs=0.1)
    assert memory.longest_context(1, 1.0, 2**30 - 100, 30) == 3
    assert words.table_bytes(102_400, 2_048, True) == 419_430_400


def test_norms_against_torch():
    torch = pytest.importorskip("torch")
    x, weight = np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32)
    theirs = torch.nn.functional.rms_norm(torch.tensor(x), (16,), torch.tensor(weight), 1e-5)
    assert np.allclose(norms.rms_norm(x, weight, 1e-5), theirs.numpy(), atol=1e-6)


def test_windows_against_transformers_mask():
    pytest.importorskip("torch")
    import torch
    from transformers.masking_utils import sliding_window_causal_mask_function

    allowed = sliding_window_causal_mask_function(4)
    for position in range(12):
        seen = sum(bool(allowed(0, 0, torch.tensor(position), torch.tensor(key))) for key in range(12))
        assert attention.keys_seen(position, 4) == seen
    # Through two layers of window 4 the last of seven tokens reaches the first, the eighth does not.
    sees = np.array([[0 <= i - j < 4 for j in range(12)] for i in range(12)])
    assert sees @ sees @ np.eye(12, dtype=bool)[0] @ np.eye(12, dtype=bool)[attention.reach(2, 4)]
    assert not (sees @ sees @ np.eye(12, dtype=bool)[0])[attention.reach(2, 4) + 1]
    assert attention.tokens_kept(131_072, 4_096, 48, 16) == 48 * 4_096 + 16 * 131_072


def test_formats_against_compressed_tensors():
    torch = pytest.importorskip("torch")
    pytest.importorskip("compressed_tensors")
    from compressed_tensors.quantization import QuantizationArgs
    from compressed_tensors.quantization.lifecycle.forward import quantize
    from compressed_tensors.quantization.utils import calculate_qparams

    group = np.random.default_rng(1).normal(size=32).astype(np.float32)
    low, high = (torch.tensor([f(group)]) for f in (np.min, np.max))
    symmetric = QuantizationArgs(num_bits=4, type="int", strategy="tensor", symmetric=True)
    scale, zero = calculate_qparams(low, high, symmetric)
    assert formats.scale_of(group) == pytest.approx(float(scale), rel=1e-6)
    theirs = quantize(torch.tensor(group), scale, zero, symmetric, dtype=torch.int8)
    assert np.array_equal(formats.codes_of(group, float(scale)), theirs.numpy())
    lopsided = np.abs(group) + 0.1
    low, high = (torch.tensor([f(lopsided)]) for f in (np.min, np.max))
    asymmetric = QuantizationArgs(num_bits=4, type="int", strategy="tensor", symmetric=False)
    scale, zero = calculate_qparams(low, high, asymmetric)
    ours = formats.scale_and_zero(lopsided)
    # Their codes run from -8 to 7, ours from 0 to 15.
    assert ours == (pytest.approx(float(scale), rel=1e-6), float(zero) + 8)


def test_the_line_of_gptq_is_the_best_that_can_be_done():
    """Against least squares: with a column fixed, the best values of the columns behind it."""
    rng = np.random.default_rng(2)
    inputs, weights = rng.normal(size=(50, 4)), rng.normal(size=4)
    hessian = inputs.T @ inputs
    factor = np.linalg.cholesky(np.linalg.inv(hessian)).T
    rounded = np.round(weights[0])
    ours = formats.pass_on(weights, rounded, 0, factor)
    wanted = inputs @ weights - inputs[:, 0] * rounded
    best = np.linalg.lstsq(inputs[:, 1:], wanted, rcond=None)[0]
    assert np.allclose(ours, [rounded, *best])


def test_patterns_against_compressed_tensors():
    pytest.importorskip("compressed_tensors")
    import torch
    from compressed_tensors.utils import match_named_modules

    model = torch.nn.Module()
    for name in recipes.MODULES:
        at, parts = model, name.split(".")
        for part in parts[:-1]:
            if not hasattr(at, part):
                at.add_module(part, torch.nn.Module())
            at = getattr(at, part)
        at.add_module(parts[-1], torch.nn.Linear(1, 1))
    every = (recipes.EXERCISES[0], recipes.EXERCISES[1])
    patterns = [e.right() for e in every] + [wrong() for e in every for wrong, _ in e.mistakes]
    for pattern in patterns:
        found = match_named_modules(model, [pattern])
        theirs = {name for name, module in found if isinstance(module, torch.nn.Linear)}
        assert recipes.ignored(pattern) == theirs, pattern


def test_packed_bytes_of_the_lecture_s_layer():
    assert recipes.packed_bytes(2_048, 4_096, 128) == 2_048 * 4_096 // 8 * 4 + 2_048 * 32 * 2


def test_scores_against_scipy_and_the_lecture():
    stats = pytest.importorskip("scipy.stats")
    for lost, won in ((9, 2), (3, 3), (0, 6), (20, 31)):
        assert scores.sign_test(lost, won) == pytest.approx(stats.binomtest(lost, lost + won).pvalue)
    # The lecture's gsm8k table: 0.5330 of 1,319 questions with a standard error of 0.0137.
    assert scores.standard_error(703, 1_319) == pytest.approx(0.0137, abs=5e-5)
    assert scores.score(0.8, 0.8, 0.01, 0.01) == 0.5 and scores.score(0.8, 0.8, 0.005, 0.01) == 0.75
    assert serving.speed_norm(0.005, 0.01) == 0.5
    assert math.isclose(serving.time_per_output_token(0.5, 2.5, 21), 0.1)


def test_thought_and_answer_against_vllm_s_own_rule():
    """deepseek_v3 without thinking hands the whole text over; deepseek_r1 splits at the end tag."""
    assert serving.answer_of("<think>\na\n</think>\n\n7") == "7" and serving.answer_of("Seoul.") == "Seoul."
