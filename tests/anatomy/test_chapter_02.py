"""What chapter 02 shows: its tables, its figures, its explorer, and predictions against files that are there."""

from __future__ import annotations

import json
import struct

import pytest

from exaone_nb import catalog
from exaone_nb.anatomy import against
from exaone_nb.anatomy.predict import predict_checkpoint
from exaone_nb.show import explorer
from exaone_nb.show import memory as grids
from exaone_nb.show import memory_figures as pictures

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


def test_parameter_rows() -> None:
    rows = grids.parameter_rows({name: config_of(name) for name in ("EXAONE-4.0-1.2B", "EXAONE-4.0-32B")})
    assert rows[0]["parameters"] == "1,279,391,488" and rows[0]["head"] == "tied"
    assert rows[1]["head"] == "1.6%" and rows[1]["embedding"] == "1.6%"


def test_scheme_rows_and_a_scheme_that_does_not_apply() -> None:
    rows = {row["scheme"]: row for row in grids.scheme_rows(config_of("EXAONE-4.0-1.2B"), SCHEMES)}
    assert rows["W4A16"]["file bytes"] == "971,261,368" and rows["W4A16"]["embedding, head"] == "43.2%"
    odd = config_of("EXAONE-4.0-1.2B") | {"intermediate_size": 4100}
    (row,) = grids.scheme_rows(odd, ["W4A16"])
    assert row["file bytes"] == "" and "4100" in row["remark"]


def test_cache_rows_name_every_engine() -> None:
    rows = grids.cache_rows(config_of("EXAONE-4.0-32B"))
    assert [row["GiB"] for row in rows] == ["9.13", "10.25", "11.75", "32.00", "8.75", "32.00"]
    assert all(row["how"] for row in rows)


def test_fit_grid_says_why_not() -> None:
    rows = grids.fit_grid(config_of("EXAONE-4.0-32B"), SCHEMES, GPUS, context=8192, concurrency=2)
    cells = {row["GPU"].split(" ")[0]: row for row in rows}
    assert cells["L4"]["BF16"] == "weights too large"
    assert cells["V100-16GB"]["W4A16"] == "no kernel"
    assert cells["B200-SXM"]["W8A8"] == "no kernel"
    assert cells["H100-SXM"]["W4A16"].startswith("fits, up to ")


def test_speed_tables_give_no_number_without_a_kernel() -> None:
    grid = {
        row["GPU"]: row
        for row in grids.speed_grid(config_of("EXAONE-4.0-1.2B"), SCHEMES, GPUS, batch=1, context=64)
    }
    assert grid["L4"]["W4AFP8"] == "no kernel" and grid["L4"]["BF16"].endswith("(bandwidth)")
    rows = {row["scheme"]: row for row in grids.speed_rows(config_of("EXAONE-4.0-1.2B"), SCHEMES, "L4")}
    assert set(rows["W4AFP8"]) == {"scheme", "remark"} and rows["BF16"]["decode, tokens/s"] == "114"
    kernels = {row["GPU"].split(" ")[0]: row for row in grids.kernels_grid(SCHEMES, GPUS)}
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


def test_roofline_points_stand_on_or_under_the_roof() -> None:
    axes = pictures.roofline(config_of("EXAONE-4.0-1.2B"), SCHEMES, "L4").axes[0]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert any(label.startswith("W8A8") for label in labels) and not any(
        "W4AFP8" in label for label in labels
    )
    for scheme, passes in pictures.roofline_points(
        config_of("EXAONE-4.0-1.2B"), SCHEMES, "L4", (1, 8), 512
    ).items():
        for one in passes:
            roof = 242e12 if scheme == "W8A8" else 121e12
            assert one.operations / one.seconds <= min(roof, one.intensity * 300e9) * 1.000001


def test_explorer_answers_and_reports_what_cannot_be(monkeypatch) -> None:
    pytest.importorskip("ipywidgets")
    box = explorer.fit_explorer("EXAONE-4.0-32B", "L4")
    controls, answer = box.children
    chosen = {widget.description: widget for widget in controls.children}
    assert "weights too large" in answer.value
    chosen["scheme"].value = "W4A16"
    assert "only up to" in answer.value or "fits" in answer.value or "at once" in answer.value
    chosen["GPU"].value = "B200-SXM"
    chosen["scheme"].value = "W8A8"
    assert "no kernel" in answer.value
    chosen["model"].value = "EXAONE-3.0-7.8B-Instruct"
    chosen["context"].value = 2**18
    assert "4,096 tokens" in answer.value, "the context stops at the model's limit"
    for name in ("JPY_SESSION_NAME", "VSCODE_PID"):
        monkeypatch.delenv(name, raising=False)
    assert not explorer.is_live()
    monkeypatch.setenv("JPY_SESSION_NAME", "02.ipynb")
    assert explorer.is_live()


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
    assert row["off by"] == 1
    assert against.local_files("EXAONE-4.0-32B") == []
