"""A card's record: which rounds are measured in which order, what is left out, and what a stranger's file says."""

import json

import pytest
from typer.testing import CliRunner

from exaone_nb import catalog
from exaone_nb.cli import command_line
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.files import write_json
from exaone_nb.serve.bandwidth import Roof
from exaone_nb.serve.bench import Bench
from exaone_nb.serve.speed import Decode
from exaone_nb.show import measured
from exaone_nb.workbook import card

STEP = 0.010  # seconds per decode step in the first round; a millisecond more in each later one
SMALL = card.RecordOptions(
    models=("nano",),
    schemes=("BF16", "W8A8", "NVFP4"),
    batches=(1, 2),
    contexts=(16, 32),
    rounds=3,
    repeats=2,
    output_tokens=8,
)


class Engine:
    def cache_report(self):
        return {"capacity_tokens": 999, "num_blocks": 10, "block_size": 16}


@pytest.fixture
def measurements(monkeypatch):
    """Measuring without an engine; returns the (model, scheme) of each start."""
    starts = []

    def decode(batch, context):
        seconds = STEP + 0.001 * ((len(starts) - 1) // 2)
        return Decode(batch, context, 8, (0.2,) * 2, (seconds,) * 2, (1.0,) * 2)

    def bench(model, options, first):
        if options.scheme == "NVFP4":
            raise WorkbookError("no kernel here")
        starts.append(options.scheme)
        first(Engine())
        decodes = tuple(decode(batch, options.prompt_tokens) for batch in options.batches)
        roof = Roof(1e10, {"16-bit": 1e12, "int8": 1e12}, "reading", "cpu")
        return Bench(
            model=model, scheme=options.scheme, runs_as=options.scheme, weights="dummy", engine="vllm", dtype="bfloat16",
            kernel="SomeKernel", start_seconds=1.0, decodes=decodes, limits=(None,) * 2, roof=roof, per_token=None,
            parameters={}, layers=4,
        )  # fmt: skip

    monkeypatch.setattr(card, "bench", bench)
    monkeypatch.setattr(
        card, "measure_decode", lambda engine, batch, prompt_tokens, **_: decode(batch, prompt_tokens)
    )
    monkeypatch.setattr(card, "library_codes", lambda *_: None)
    monkeypatch.setattr(card, "this_gpu", lambda: None)
    return starts


def test_rounds_go_forth_and_back_and_a_round_counts_once(measurements):
    told = []
    record = card.measure_card(SMALL, told.append)
    assert measurements == ["BF16", "W8A8", "W8A8", "BF16", "BF16", "W8A8"]
    assert record["left_out"] == [{"model": "nano", "scheme": "NVFP4", "why": "no kernel here"}]
    assert any("left out" in line for line in told)
    rows = record["speed"]
    assert len(rows) == 2 * 2 * 2 * 2  # schemes, phases, batches, contexts
    assert all(row["seconds"]["n"] == 3 for row in rows)
    step = next(row for row in rows if (row["scheme"], row["phase"], row["batch"]) == ("BF16", "decode", 1))
    assert step["seconds"]["value"] == pytest.approx(STEP + 0.001, rel=0.01)  # the mean of three rounds
    assert step["kernel"] == "SomeKernel"
    # 6,821,376 bytes of weights at 1e10 bytes/s take 0.68 ms; the cache adds a little.
    assert step["roofline_seconds"] == pytest.approx(6_821_376 / 1e10, rel=0.02)
    assert step["share_of_roofline"] == pytest.approx(step["roofline_seconds"] / step["seconds"]["value"])
    assert [row["measured"]["kv_tokens"] for row in record["memory"]] == [999, 999]
    assert {row["module"].rsplit(".", 1)[1] for row in record["gptq"]} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip


def test_a_record_is_shown_with_its_card_its_date_and_the_errors_of_its_predictions(
    measurements, tmp_path, monkeypatch
):
    (tmp_path / "measured").mkdir()
    monkeypatch.setattr(catalog, "DATA", tmp_path)
    record = card.measure_card(SMALL)
    write_json(tmp_path / "measured" / "l4.json", record | {"card": "NVIDIA L4"})
    write_json(tmp_path / "measured" / "other.json", {"what": "another kind of record"})
    (found,) = measured.card_records()
    speeds, errors, layer = measured.card_tables(found)
    assert all(
        "NVIDIA L4" in table.caption and record["date"] in table.caption for table in (speeds, errors, layer)
    )
    tokens = next(row for row in errors.rows if row["what"] == "tokens in the cache")
    assert tokens["ratio"] == 999 / tokens["predicted"]
    assert sum("seconds per step" in row["what"] for row in errors.rows) == 8


@pytest.mark.parametrize(
    ("driver", "name"),
    [
        ("NVIDIA L4", "L4"), ("NVIDIA L40S", "L40S"), ("Tesla T4", "T4"), ("NVIDIA A100-SXM4-40GB", "A100-40GB"),
        ("NVIDIA A100 80GB PCIe", "A100-80GB"), ("NVIDIA H100 80GB HBM3", "H100-SXM"), ("NVIDIA H100 PCIe", "H100-PCIe"),
        ("NVIDIA GeForce RTX 2080 Ti", "RTX-2080-Ti"), ("NVIDIA A10", "A10"), ("NVIDIA A10G", None), ("Orin", None),
    ],
)  # fmt: skip
def test_a_card_is_known_by_the_name_its_driver_gives(driver, name):
    found = card.card_of(driver)
    assert (found and found.name) == name


def test_what_cannot_be_measured_is_refused_before_anything_starts(tmp_path):
    with pytest.raises(UsageError):
        card.RecordOptions(models=("no-such-model",))
    with pytest.raises(UsageError):
        card.RecordOptions(batches=(0,))
    assert "GB of weights" in card._impossible("DeepSeek-R1", "BF16", 0)
    (tmp_path / "file").write_text("x")
    done = CliRunner().invoke(
        command_line("record"), ["record", "--out", str(tmp_path / "file" / "x.json"), "--model", "nano"]
    )
    assert isinstance(done.exception, UsageError) and (tmp_path / "file").read_text() == "x"


@pytest.mark.heavy
def test_a_tiny_shape_is_recorded_on_this_machine(tmp_path):
    """The cache that vLLM makes on a CPU is the one that was asked for, so its tokens are predicted exactly."""
    pytest.importorskip("vllm", reason="vLLM is not installed here")
    words = [
        "--model",
        "nano",
        "--scheme",
        "W8A8",
        "--batch",
        "2",
        "--context",
        "16",
        "--rounds",
        "1",
        "--repeats",
        "1",
        "--output",
        "4",
    ]
    out = tmp_path / "cpu.json"
    done = CliRunner().invoke(command_line("record"), ["record", "--out", str(out), "--layers", "2", *words])
    assert done.exit_code == 0, done.output
    record = json.loads(out.read_text())
    assert {row["phase"] for row in record["speed"]} == {"prefill", "decode"} and record["versions"]
    assert all(row["seconds"]["value"] > 0 and row["kernel"] for row in record["speed"])
    if record["card"] == "CPU":
        (memory,) = record["memory"]
        assert memory["measured"]["kv_tokens"] == memory["predicted"]["kv_tokens"]
    assert all(row["seconds"] > 0 for row in record["gptq"])
