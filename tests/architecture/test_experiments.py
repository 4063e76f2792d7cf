"""The experiments of the chapters on QK-Reorder-LN and hybrid attention against what can be known without them."""

import itertools
import math

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.path import Path

from exaone_nb import catalog
from exaone_nb.anatomy.arrangements import (
    ARRANGEMENTS,
    FAMILIES,
    POST_LN,
    PRE_LN,
    QK_PRE_LN,
    QK_REORDER_LN,
    REORDER_LN,
    SANDWICH_LN,
)
from exaone_nb.architecture import pictures, probes, race, receptive, rope, smoothing
from exaone_nb.architecture.model import Decoder
from exaone_nb.architecture.shape import FULL, SLIDING, Experts, Shape, layer_pattern
from exaone_nb.errors import UsageError

SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.3,
}
IDS = torch.randint(1, 64, (2, 20), generator=torch.Generator().manual_seed(0))


def model(arrangement=QK_REORDER_LN, layers=4, **changes):
    return Decoder(Shape(**SIZES | {"layer_types": (FULL,) * layers} | changes), arrangement).eval()


def verdict(of, source, *targets, across_layers=False):
    return smoothing.prove(of, IDS, smoothing.Pair(source, targets, across_layers))


def test_valid_and_invalid_smoothing_pairs():
    pre, exaone = model(PRE_LN), model()
    assert verdict(pre, "input_layernorm", *smoothing.QKV).valid is True
    assert verdict(pre, "post_attention_layernorm", *smoothing.GATE_UP).valid is True
    wrong = verdict(exaone, "post_attention_layernorm", *smoothing.GATE_UP)
    assert wrong.valid is False and wrong.change > 0.05 and wrong.same_top < 1
    assert verdict(exaone, "post_feedforward_layernorm", *smoothing.QKV, across_layers=True).valid is False
    missing = verdict(exaone, "input_layernorm", *smoothing.QKV)
    assert missing.valid is None and "input_layernorm" in missing.reason
    for either in (pre, exaone):
        assert verdict(either, "mlp.up_proj", "mlp.down_proj").valid is True
        assert verdict(either, "self_attn.v_proj", "self_attn.o_proj").valid is True
        assert smoothing.prove_free_columns(either, IDS).valid is False
        assert verdict(either, "mlp.gate_proj", "mlp.down_proj").valid is False  # silu stands in between
    # One reader left out: the others then see a scaled input.
    assert verdict(pre, "input_layernorm", *smoothing.QKV[:2]).valid is False


def test_without_gqa_free_columns_are_fine():
    multi_head = model(num_key_value_heads=4)
    assert smoothing.prove_free_columns(multi_head, IDS).valid is True


VALID = {"up_proj → down_proj", "v_proj → o_proj"}


@pytest.mark.parametrize(
    ("arrangement", "valid", "invalid"),
    [
        (
            QK_PRE_LN,
            {"input_layernorm → q_proj, k_proj, v_proj", "post_attention_layernorm → gate_proj, up_proj"},
            set(),
        ),
        (
            SANDWICH_LN,
            {"input_layernorm → q_proj, k_proj, v_proj", "pre_feedforward_layernorm → gate_proj, up_proj"},
            {
                "post_attention_layernorm → gate_proj, up_proj",
                "post_feedforward_layernorm → next q_proj, k_proj, v_proj",
            },
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_pairs_of_qwen3_and_of_gemma(arrangement, valid, invalid):
    proofs = smoothing.prove_all(model(arrangement), IDS)
    assert {p.pair.name for p in proofs if p.valid} == valid | VALID
    assert {p.pair.name for p in proofs if p.valid is False} == invalid


def test_a_bias_is_scaled_with_its_rows():
    biased = model(PRE_LN)
    for layer in biased.layers:
        layer.self_attn.v_proj.bias = torch.nn.Parameter(torch.ones(SIZES["head_dim"] * 2))
    assert smoothing.prove(biased, IDS, smoothing.VALUES).valid


def test_experts_are_no_pair_and_no_input():
    experts = Experts(count=4, per_token=2, width=16, layers=frozenset({1}))
    mixture = model(QK_PRE_LN, experts=experts)
    by_name = {p.pair.name: p for p in smoothing.prove_all(mixture, IDS)}
    assert by_name["up_proj → down_proj"].valid is None and by_name["v_proj → o_proj"].valid
    seen = {(i.layer, i.module) for i in probes.linear_inputs(mixture, IDS)}
    assert (0, "mlp.down_proj") in seen and not any(layer == 1 and "mlp" in name for layer, name in seen)


def test_the_prover_leaves_the_model_alone():
    exaone = model()
    before = {name: tensor.clone() for name, tensor in exaone.state_dict().items()}
    smoothing.prove_all(exaone, IDS)
    smoothing.prove_free_columns(exaone, IDS)
    assert all(torch.equal(before[name], tensor) for name, tensor in exaone.state_dict().items())


def test_the_prover_keeps_no_second_model(monkeypatch):
    """The real 1.2B takes 5 GB in float32: only the weights that a pair scales may be there twice."""
    exaone, seen = model(), []
    plain = smoothing._logits
    monkeypatch.setattr(
        smoothing,
        "_logits",
        lambda of, ids: (
            seen.append((of, {n: p.data_ptr() for n, p in of.named_parameters()})) or plain(of, ids)
        ),
    )
    smoothing.prove(exaone, IDS, smoothing.VALUES)
    (first, before), (second, scaled) = seen
    assert first is second is exaone
    changed = {name for name in before if before[name] != scaled[name]}
    assert {name.partition(".self_attn.")[2] for name in changed} == {"v_proj.weight", "o_proj.weight"}


def test_stream_of_post_ln_is_one_and_of_reorder_ln_bounded_by_its_additions():
    assert all(math.isclose(rms, 1, abs_tol=1e-3) for rms in probes.stream_rms(model(POST_LN), IDS)[1:])
    rms = probes.stream_rms(model(REORDER_LN, layers=8), IDS)
    for before, after in itertools.pairwise(rms):
        assert after <= before + 2 + 1e-4  # two additions of RMS 1


def test_qk_norm_cancels_the_gain_and_without_it_logits_grow_with_its_square():
    for arrangement, factor in ((QK_REORDER_LN, 1), (REORDER_LN, 9)):
        plain = model(arrangement, layers=1)
        grown = probes.with_larger_queries_and_keys(plain, 3)
        a, b = probes.attention_stats(plain, IDS)[0], probes.attention_stats(grown, IDS)[0]
        assert b.largest_logit == pytest.approx(factor * a.largest_logit, rel=1e-2)
        assert 0 <= b.entropy <= a.entropy + 1e-3 <= 1 + 1e-3
    assert probes.attention_stats(model(), IDS)[0].largest_logit <= SIZES["head_dim"] ** 0.5 + 1e-4


def test_entropy_is_one_where_all_keys_are_equal():
    flat = model()
    with torch.no_grad():
        for layer in flat.layers:
            layer.self_attn.q_proj.weight.zero_()
    assert all(s.entropy == pytest.approx(1, abs=1e-5) for s in probes.attention_stats(flat, IDS))


def test_gradient_norms_equal_autograd_and_are_cleared():
    one = model(layers=2)
    norms = probes.gradient_norms(one, IDS)
    assert all(parameter.grad is None for parameter in one.parameters())
    probes.next_token_loss(one, IDS).backward()
    wanted = torch.cat([p.grad.flatten() for p in one.layers[1].parameters() if p.dim() == 2]).norm()
    assert norms[1] == pytest.approx(wanted.item(), rel=1e-4)


@pytest.mark.parametrize("arrangement", [*ARRANGEMENTS.values(), SANDWICH_LN], ids=lambda a: a.name)
def test_diagrams_draw_the_steps_that_the_modules_run(arrangement):
    """Follow the real order of calls through hooks, and compare with the drawing's boxes."""
    one = model(arrangement, layers=1)
    layer, calls = one.layers[0], []
    watched = {name: getattr(layer, name) for name in arrangement.norms}
    watched |= {"attention": layer.self_attn, "MLP": layer.mlp}
    for name, module in watched.items():
        module.register_forward_hook(lambda m, a, o, name=name: calls.append(name))
    one(IDS)
    boxes = [label.split("\n")[0] if step == "block" and block == "attention" else label
             for block, step, label in pictures.layer_steps(arrangement) if step != "add"]  # fmt: skip
    assert [b if b != "block" else "MLP" for b in boxes] == calls
    figure = pictures.draw_arrangements([arrangement])
    drawn = " ".join(text.get_text().replace("\n", "") for text in figure.axes[0].texts)
    assert all(name in drawn for name in arrangement.norms)
    assert ("q_norm" in drawn) == arrangement.qk_norm == hasattr(layer.self_attn.q_norm, "weight")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_layer_of_every_family_can_be_drawn(family):
    """Those too that the modules do not run: Cohere's attention and MLP stand side by side behind one norm."""
    arrangement = FAMILIES[family]
    steps = pictures.layer_steps(arrangement)
    assert [label for _, step, label in steps if step == "norm"] == list(arrangement.norms)
    assert len([step for _, step, _ in steps if step == "add"]) == (1 if arrangement.parallel else 2)
    figure = pictures.draw_arrangements([arrangement])
    drawn = " ".join(text.get_text() for text in figure.axes[0].texts)
    figure.draw_without_rendering()
    boxes = [box.get_window_extent() for box in figure.axes[0].patches]
    labels = [text.get_window_extent() for text in figure.axes[0].texts if len(text.get_text()) > 1]
    plt.close(figure)
    assert "attention" in drawn and "MLP" in drawn
    for label in (one for one in labels if any(box.contains(*one.get_points().mean(0)) for box in boxes)):
        assert any(box.x0 + 3 < label.x0 and label.x1 < box.x1 - 3 for box in boxes), (
            "a name keeps off the edge"
        )


def test_outliers_find_the_channel_that_was_made_large():
    one = model(PRE_LN, layers=2)
    quiet = probes.linear_inputs(one, IDS)
    with torch.no_grad():
        one.layers[1].input_layernorm.weight[7] = 60.0
    loud = probes.linear_inputs(one, IDS)
    assert [(i.layer, i.module) for i in loud[:4]] == [
        (0, "self_attn.q_proj"),
        (0, "self_attn.o_proj"),
        (0, "mlp.gate_proj"),
        (0, "mlp.down_proj"),
    ]
    a, b = quiet[4], loud[4]
    assert b.channel_max.argmax() == 7
    assert b.peak > 10 * a.peak and b.kurtosis > 3 * a.kurtosis


@pytest.mark.parametrize(("layers", "named"), [(4, [0, 1, 2, 3]), (9, [0, 8])])
def test_the_figure_of_outliers_has_one_scale_and_names_few_lines_all_and_many_by_their_ends(layers, named):
    figure = pictures.channel_maxima(probes.linear_inputs(model(PRE_LN, layers=layers), IDS))
    heights = {axes.get_ylim() for axes in figure.axes}
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    plt.close(figure)
    assert len(heights) == 1 and names == [f"layer {layer}" for layer in named]


def test_the_ribbon_has_a_square_per_layer_and_one_shape_per_kind():
    """A browser makes a picture of every hatched shape in a PDF: a shape per layer made 16 MB of one page."""
    figure = pictures.ribbon({"32B": catalog.resolve("EXAONE-4.0-32B").config()}, 131_072)
    (axes,) = figure.axes
    corners = [len(shape.get_path().vertices) for shape in axes.patches]
    hatched = [bool(shape.get_hatch()) for shape in axes.patches]
    plt.close(figure)
    square = len(Path.unit_rectangle().vertices)
    assert dict(zip(hatched, corners, strict=True)) == {True: 48 * square, False: 16 * square}


def test_int8_rounding_keeps_what_int8_can_hold():
    exact = torch.tensor([[127.0, -3.0, 50.0], [12.7, 0.1, -0.2]])
    assert torch.allclose(probes.rounded_per_row(exact), exact)
    assert probes.rounded_per_row(torch.tensor([[127.0, 0.4]])).tolist() == [[127.0, 0.0]]


@pytest.mark.parametrize("window", [1, 2, 5])
def test_receptive_field_by_gradient_equals_the_formula(window):
    ids = torch.randint(1, 64, (1, 30), generator=torch.Generator().manual_seed(1))
    local = model(layer_types=(SLIDING,) * 4, sliding_window=window)
    for layers in range(1, 5):
        wanted = receptive.furthest((SLIDING,) * layers, window)
        assert receptive.furthest_measured(local, ids, layers) == wanted == layers * (window - 1)
    mixed = model(layer_types=layer_pattern(4, 3), sliding_window=window, rope_on_full=False)
    assert receptive.furthest(mixed.shape.layer_types, window) is None
    assert receptive.furthest_measured(mixed, ids) == 29
    assert {value.dtype for value in local.state_dict().values()} == {torch.float32}  # measured on a copy


def test_the_table_of_reaches_has_equal_columns():
    local, mixed, ids = receptive.small_models(layers=4, window=3)
    rows = receptive.table(local, mixed, ids).rows
    assert [row["local_measured"] for row in rows] == [2, 4, 6, 8]
    assert all(row["local"] == row["local_measured"] for row in rows)
    assert (
        all(row["mixed"] == row["mixed_measured"] for row in rows) and rows[-1]["mixed"] == ids.shape[1] - 1
    )


def test_the_stream_of_independent_blocks_is_told_from_the_norms_weights():
    """By hand: two additions of RMS 3 per layer to an embedding of RMS 4."""
    one = model(REORDER_LN, layers=2)
    with torch.no_grad():
        one.embed_tokens.weight.fill_(-4.0)
        for layer in one.layers:
            for name in REORDER_LN.norms:
                getattr(layer, name).weight.fill_(3.0)
    assert probes.stream_if_independent(one) == pytest.approx([4, math.sqrt(34), math.sqrt(52)])


def raced(*validations):
    """(arrangement, learning rate, losses of the seeds) as runs."""
    return [
        race.Run(name, rate, seed, (9.0,), loss, 10.0 * rate + seed, 1.0)
        for name, rate, losses in validations
        for seed, loss in enumerate(losses)
    ]


def test_the_race_says_who_is_lowest_and_whom_the_larger_rate_harms_least():
    runs = raced(
        ("Post-LN", 0.001, (3.4, 3.5)), ("Reorder-LN", 0.001, (3.9, 4.0)), ("Pre-LN", 0.001, (3.45, 3.8)),
        ("Post-LN", 0.01, (4.6, 4.7)), ("Reorder-LN", 0.01, (4.15, 4.25)), ("Pre-LN", 0.01, (4.0, 4.1)),
    )  # fmt: skip
    assert [name for name, *_ in race.rises(runs)] == ["Reorder-LN", "Pre-LN", "Post-LN"]
    first, second, third = race.conclusions(runs)
    assert "0.001 Post-LN ends lowest, 3.45" in first and first.endswith("apart from Pre-LN.")
    assert "0.01 Pre-LN ends lowest, 4.05" in second and "every seed below every other's" in second
    assert third.endswith("Reorder-LN 3.95 to 4.20; Pre-LN 3.62 to 4.05; Post-LN 3.45 to 4.65.")
    assert race.standings(runs)[0].largest_gradient == pytest.approx(1.01)
    assert len(race.conclusions(raced(("Pre-LN", 0.1, (2.0,))))) == 1


def test_an_arrangement_has_one_look_in_all_figures_of_the_chapter():
    import matplotlib.pyplot as plt

    names = ("Pre-LN", "Pre-LN with QK norm", "Post-LN", "Reorder-LN", "QK-Reorder-LN")
    depth = pictures.curves({name: ([0, 1], [1, 2]) for name in names}, x="layer", y="RMS")
    races = pictures.race_curves(raced(("Post-LN", 0.001, (3.4,)), ("QK-Reorder-LN", 0.001, (3.9,))))
    looks = [
        {line.get_label(): (line.get_color(), line.get_linestyle()) for line in figure.axes[0].get_lines()}
        for figure in (depth, races)
    ]
    plt.close("all")
    assert set(looks[1]) == {"Post-LN", "QK-Reorder-LN"} and looks[1].items() <= looks[0].items()


def test_the_drawing_of_attention_has_the_parts_in_the_order_they_run():
    one = model(layers=1)
    calls = []
    for name, module in one.layers[0].self_attn.named_children():
        module.register_forward_hook(lambda m, a, o, name=name: calls.append(name))
    one(IDS)
    figure = pictures.draw_attention()
    without, with_norm = ({t.get_text(): t.get_position()[1] for t in axes.texts} for axes in figure.axes)
    plt.close(figure)
    heights = [with_norm[name] for name in calls if name.startswith("q_") or name == "o_proj"]
    assert set(calls) <= set(with_norm) and heights == sorted(heights)
    assert with_norm["q_norm"] < with_norm["RoPE"] < with_norm["queries x keys"]
    assert not {"q_norm", "k_norm"} & set(without) and set(calls) - {"q_norm", "k_norm"} <= set(without)


def test_rope_scores_depend_on_the_distance_alone():
    turning = rope.Rope(theta=1e4)
    x = torch.randn(1, 1, 1, 16, generator=torch.Generator().manual_seed(0)).expand(1, 1, 9, 16)
    turned = rope.rotate(x, *turning.angles(torch.arange(9)[None], 16))[0, 0]
    scores = turned @ turned.T
    for distance in range(9):
        assert torch.allclose(scores.diagonal(distance), scores[0, distance], atol=1e-4)
    ones = rope.rotate(torch.ones(1, 1, 9, 16), *turning.angles(torch.arange(9)[None], 16))[0, 0]
    shares = rope.scores_over_distance(turning, 16, torch.arange(9))
    assert torch.allclose((ones @ ones[0]).double() / 16, shares, atol=1e-5)
    assert rope.scores_over_distance(None, 16, torch.arange(9)).tolist() == [1.0] * 9


def test_llama3_scaling_keeps_fast_pairs_and_slows_slow_ones_by_the_factor():
    scaled = rope.Rope(theta=1e6, factor=16.0)
    ratio = scaled.wavelengths(128) / scaled.unscaled().wavelengths(128)
    assert ratio[0] == 1 and ratio[-1] == pytest.approx(16)
    assert (ratio.diff() >= -1e-6).all()


@pytest.mark.parametrize("values", [{"theta": 0}, {"factor": 0.5}, {"low_freq_factor": 5.0}])
def test_impossible_rope(values):
    with pytest.raises(UsageError):
        rope.Rope(**values)


def test_odd_head_dim_has_no_pairs():
    with pytest.raises(UsageError, match="head_dim is 7"):
        rope.Rope().inverse_frequencies(7)


@pytest.mark.parametrize("arrangement", ARRANGEMENTS.values(), ids=ARRANGEMENTS)
def test_training_learns_and_repeats_itself(arrangement):
    data = torch.arange(64).repeat(4).view(-1, 16)  # counting: the next token is always one more
    shape = Shape(**SIZES | {"layer_types": (FULL,) * 2, "initializer_range": 0.05})
    runs = [
        race.train(arrangement, shape, data, data[:4], learning_rate=5e-3, steps=30, seed=3) for _ in range(2)
    ]
    assert runs[0].losses == runs[1].losses
    assert runs[0].validation < 0.7 * runs[0].losses[0]


@pytest.mark.parametrize("values", [{"steps": 0}, {"learning_rate": 0.0}, {"batch": 0}])
def test_impossible_race(values):
    settings = {"learning_rate": 1e-3, "steps": 1, "seed": 0} | values
    with pytest.raises(UsageError):
        race.train(PRE_LN, Shape(**SIZES), IDS, IDS, **settings)


def test_levels_are_drawn_across_and_named():
    import matplotlib

    matplotlib.use("agg")
    figure = pictures.curves({"a": ([0, 1, 2], [1, 2, 3])}, x="x", y="y", levels={"limit": 2.5})
    (axes,) = figure.axes
    curve, level = axes.get_lines()
    assert list(level.get_ydata()) == [2.5, 2.5] and level.get_transform() == axes.get_yaxis_transform()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "limit"]
    assert len(curve.get_xdata()) == 3
