"""Tables and figures of sizes and speeds, the explorer, and predictions against files that are there."""

from __future__ import annotations

import json
import struct

import pytest

from exaone_nb import catalog
from exaone_nb.anatomy import against
from exaone_nb.anatomy.predict import predict_checkpoint, predict_schemes
from exaone_nb.anatomy.roofline import decode, passes, prefill
from exaone_nb.anatomy.sparse import local_or_rebuilt, write_sparse
from exaone_nb.anatomy.work import work_of
from exaone_nb.quantization.schemes import find_scheme
from exaone_nb.show import memory as tables
from exaone_nb.show import memory_figures as pictures
from exaone_nb.show.checkpoint import scheme_table

SCHEMES = ["BF16", "W8A8", "W4A16", "W4AFP8"]
GPUS = ["V100-16GB", "L4", "H100-SXM", "B200-SXM"]


def config_of(name: str) -> dict:
    return catalog.resolve(name).config()


@pytest.fixture(autouse=True)
def headless():
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


def shown(table) -> list[dict[str, str]]:
    """The rows as a person reads them, by heading."""
    return [dict(zip(table.headings(), cells, strict=True)) for cells in table.cells()]


def test_widths_that_128_does_not_divide_get_the_largest_group_that_does() -> None:
    """SmolLM2-135M's 576: its grids, rates and roofs stand under W4A16 g64, with the bytes of that scheme."""
    config = config_of("EXAONE-4.0-1.2B") | {"hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9,
                                             "num_key_value_heads": 3, "head_dim": 64}  # fmt: skip
    names = ["BF16", "W8A8", "W4A16 g64"]
    for table in (
        tables.fit_table(config, ["BF16", "W8A8", "W4A16"], ["L4"], context=1024),
        tables.rate_table(config, ["BF16", "W8A8", "W4A16"], ["L4"]),
    ):
        assert [column.name for column in table.columns if column.name in names] == names
    group = {"weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 64}}
    found = passes(config, ["BF16", "W8A8", "W4A16"], "L4")
    assert list(found) == names
    assert found["W4A16 g64"] == passes_of(config, find_scheme(group))
    assert list(bars(pictures.gains(config, ["BF16", "W4A16"], "L4"))) == ["BF16", "W4A16 g64"]


def bars(figure) -> dict[str, list[float]]:
    """Label -> heights of its bars."""
    return {group.get_label(): [bar.get_height() for bar in group] for group in figure.axes[0].containers}


def passes_of(config: dict, scheme) -> tuple:
    work = work_of(config, prediction=predict_checkpoint(config, scheme))
    return decode(config, scheme, "L4", work=work), prefill(config, scheme, "L4", work=work)


def test_parameters_by_component() -> None:
    table = tables.parameter_table({name: config_of(name) for name in ("EXAONE-4.0-1.2B", "EXAONE-4.0-32B")})
    small, large = shown(table)
    assert small["parameters"] == "1,279,391,488" and small["embedding and head"] == "16.4%"
    assert large["embedding and head"] == "3.3%", "its head is a table of its own"
    assert table.records()[0]["parameters"] == 1_279_391_488


def test_schemes_and_one_that_does_not_apply() -> None:
    config = config_of("EXAONE-4.0-1.2B")
    rows = {row["scheme"]: row for row in shown(scheme_table(*predict_schemes(config, SCHEMES)))}
    assert rows["W4A16"]["file bytes"] == "971,261,368" and rows["W4A16"]["embedding and head"] == "43.2%"
    assert (rows["W4A16"]["GB"], rows["W4A16"]["GiB"]) == ("0.971", "0.905")
    odd = predict_schemes(config | {"intermediate_size": 4100}, ["BF16", "W4A16"])
    _, row = shown(scheme_table(*odd))
    assert row["file bytes"] == "" and "4100" in row["remark"]


def test_the_cache_in_every_engine() -> None:
    rows = shown(tables.cache_table(config_of("EXAONE-4.0-32B")))
    assert [row["GiB"] for row in rows] == ["9.13", "10.25", "11.75", "32.00", "8.75", "32.00"]
    assert all(row["how"] for row in rows)


def test_the_parts_of_a_cards_memory_add_up() -> None:
    plan = tables.plan_memory(config_of("EXAONE-4.0-32B"), "W4A16", "H100-SXM", context=8192, concurrency=2)
    table = tables.memory_table(plan)
    parts = {row["part"]: row["bytes"] for row in table.rows}
    overheads = [row["bytes"] for row in table.rows if row["how"].startswith("estimate")]
    assert parts["budget"] - parts["weights on the card"] - sum(overheads) == parts["left for the cache"]
    assert parts["2 x 8,192 tokens"] == plan.cache_needed
    assert shown(table)[0]["GiB"] == "79.65" and len(overheads) == 4


def test_what_fits_says_why_not() -> None:
    table = tables.fit_table(config_of("EXAONE-4.0-32B"), SCHEMES, GPUS, context=8192, concurrency=2)
    cells = {row["GPU"]: row for row in shown(table)}
    assert cells["L4"]["BF16"] == "weights too large" and cells["L4"]["GiB"] == "22.5"
    assert cells["V100-16GB"]["W4A16"] == "no kernel"
    assert cells["B200-SXM"]["W8A8"] == "no kernel"
    assert cells["H100-SXM"]["W4A16"].startswith("fits, up to ")


def test_speed_tables_give_no_number_without_a_kernel() -> None:
    config = config_of("EXAONE-4.0-1.2B")
    rates = tables.rate_table(config, SCHEMES, GPUS, batch=1, context=64)
    grid = {row["GPU"]: row for row in shown(rates)}
    assert grid["L4"]["W4AFP8"] == "no kernel" and grid["L4"]["bound by"] == "bandwidth"
    assert all(rates.is_number(column) for column in rates.columns if column.name in ("BF16", "W4A16"))
    rows = {row["scheme"]: row for row in tables.speed_table(passes(config, SCHEMES, "L4")).records()}
    assert [key for key, value in rows["W4AFP8"].items() if value is not None] == ["scheme", "remark"]
    assert rows["BF16"]["rate"] == pytest.approx(114, abs=0.5)
    kernels = {row["GPU"]: row for row in shown(tables.kernel_table(SCHEMES, GPUS))}
    assert kernels["H100-SXM"]["W4A16"] == "16-bit, Machete" and kernels["L4"]["W4AFP8"] == "no kernel"


def test_bars_fill_to_one_hundred_and_print_totals() -> None:
    parts = predict_checkpoint(config_of("EXAONE-4.0-1.2B"), "W4A16").by_component()
    axes = pictures.component_bars([("one", parts), ("two", {"embedding": 1, "vision": 3})]).axes[0]
    widths = [patch.get_width() for patch in axes.patches]
    assert sum(widths) == pytest.approx(200)
    said = [text.get_text() for text in axes.texts]
    assert "43 %" in said and "0.97 GB" in said
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two"]


@pytest.mark.parametrize(("model", "lines"), [("EXAONE-4.0-32B", 3), ("EXAONE-4.0-1.2B", 2)])
def test_cache_curves_draw_windows_only_where_there_are_some(model: str, lines: int) -> None:
    axes = pictures.cache_curves(config_of(model), [1024, 4096, 65_536]).axes[0]
    assert len(axes.lines) == lines
    ends = [line.get_ydata()[-1] for line in axes.lines]
    assert ends == sorted(ends, reverse=True)


def test_smaller_weights_gain_less_the_more_of_the_bytes_is_cache_and_nothing_for_a_prompt() -> None:
    """The bytes are the published files' without their headers, and 2 x 8 x 64 x 30 numbers a token in the cache."""
    figure = pictures.gains(config_of("EXAONE-4.0-1.2B"), SCHEMES, "L4", (1, 64), 1024)
    found = bars(figure)
    assert list(found) == ["BF16", "W8A8", "W4A16"], "no kernel for W4AFP8"
    for batch, place in ((1, 0), (64, 1)):
        cache = batch * 1024 * 2 * 8 * 64 * 30 * 2
        whole, int8, four = (size + cache for size in (2_558_800_000, 1_490_200_000, 971_200_000))
        assert found["W4A16"][place] == pytest.approx(whole / four, rel=1e-3)
        assert found["W8A8"][place] == pytest.approx(whole / int8, rel=1e-3)
    assert found["W4A16"][-1] == pytest.approx(1) and 1.8 < found["W8A8"][-1] < 2, "242 against 121 TFLOP/s"
    names = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert "cache: 2%" in names[0] and "cache: 61%" in names[1]
    assert bars(pictures.gains(config_of("EXAONE-4.0-32B"), ["BF16"], "L4")) == {}


def test_a_card_without_bfloat16_says_what_to_do() -> None:
    t4, l4 = shown(tables.kernel_table(["BF16", "W4A16"], ["T4", "L4"]))
    assert "--dtype half" in t4["remark"] and l4["remark"] == ""


def test_files_of_a_local_model(tmp_path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    config = config_of("EXAONE-4.0-1.2B") | {
        "num_hidden_layers": 1,
        "layer_types": ["full_attention"],
        "hidden_size": 32,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "intermediate_size": 64,
        "vocab_size": 64,
    }
    (model / "config.json").write_text(json.dumps(config))
    assert against.local_files(str(model)) == [], "no weights, no row"
    expected = predict_checkpoint(config, "BF16").file_bytes
    (model / "model.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}" + b"\0" * (expected - 10 - 1))
    (row,) = against.local_files(str(model))
    assert row["off"] == 1
    (cells,) = shown(tables.files_table([row]))
    assert cells["off by"] == "+1" and cells["predicted"] == f"{expected:,}"


def test_a_snapshot_in_the_hub_cache_is_local(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert against.local_files("EXAONE-4.0-1.2B") == []
    config = config_of("EXAONE-4.0-1.2B")
    repository = tmp_path / "models--LGAI-EXAONE--EXAONE-4.0-1.2B"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    snapshot = repository / "snapshots" / "abc"
    write_sparse(snapshot, predict_checkpoint(config, max_shard_size=2_000_000_000), config)
    (row,) = against.local_files("EXAONE-4.0-1.2B")
    assert row["real"] == sum(path.stat().st_size for path in snapshot.glob("*.safetensors")) > 2e9
    # The chapter on config and tensors opens the file itself, by either of the model's names.
    for name in ("EXAONE-4.0-1.2B", "LGAI-EXAONE/EXAONE-4.0-1.2B"):
        assert local_or_rebuilt(name, tmp_path / "scratch") == (snapshot, False)
    shard = sorted(snapshot.glob("*.safetensors"))[0]
    shard.unlink()
    assert against.local_files("EXAONE-4.0-1.2B") == [], "a download that was cut short is no model"
    assert local_or_rebuilt("EXAONE-4.0-1.2B", tmp_path / "scratch")[1]
