"""The facts in data/: every file has its columns, sources and dates, and the figures agree with each other."""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict

import pytest
import yaml

from exaone_nb import catalog, published
from exaone_nb.anatomy.against import published_files
from exaone_nb.anatomy.layouts import count_parameters
from exaone_nb.errors import UsageError
from exaone_nb.paths import DATA

CSV_FILES = {
    "benchmarks.csv": [
        "task",
        "language",
        "what",
        "items",
        "choices",
        "requests",
        "answer_tokens",
        "shots",
        "source",
        "date",
    ],
    "recorded_answers.csv": ["model", "prompt", "answer", "sampling", "source", "date"],
    "config_sources.csv": ["file", "status", "source", "date"],
    "gpus.csv": [
        "gpu",
        "architecture",
        "compute_capability",
        "memory_gb",
        "memory_mib",
        "bandwidth_gbs",
        "fp16_tflops",
        "bf16",
        "fp8_tflops",
        "int8_tops",
        "fp4_tflops",
        "status",
        "source",
    ],
    "korean_english.csv": ["korean", "english"],
    "kernel_support_lecture.csv": [
        "implementation",
        "volta",
        "turing",
        "ampere",
        "ada",
        "hopper",
        "amd_gpu",
        "intel_gpu",
        "intel_gaudi",
        "x86_cpu",
        "google_tpu",
    ],
    "nemo_evaluator.csv": ["lost", "won", "n", "verdict", "p", "source", "date"],
    "published_scores.csv": ["model", "mode", "benchmark", "category", "value", "note", "source", "date"],
    "published_sizes.csv": [
        "model",
        "kind",
        "what",
        "value",
        "unit",
        "rounded",
        "scheme",
        "dtype",
        "head_twice",
        "source",
        "date",
    ],
    "report_exaone4.csv": ["row", "field", "EXAONE-4.0-32B", "EXAONE-4.0-1.2B", "source", "date"],
}
DATE = re.compile(r"20\d\d(-\d\d(-\d\d)?)?$")
MODELS = [name for name in catalog.names() if name != "nano"]


def rows_of(name: str) -> list[list[str]]:
    with open(DATA / name, encoding="utf-8", newline="") as handle:
        return list(csv.reader(handle))


@pytest.mark.parametrize("name", sorted(CSV_FILES))
def test_csv_columns_sources_and_dates(name: str) -> None:
    head, *rows = rows_of(name)
    assert head == CSV_FILES[name]
    assert rows
    for number, row in enumerate(rows, start=2):
        assert len(row) == len(head), f"{name} line {number} has {len(row)} cells"
        record = dict(zip(head, row, strict=True))
        if "source" in record:
            assert record["source"].strip(), f"{name} line {number} has no source"
        if "date" in record:
            assert DATE.match(record["date"]), f"{name} line {number}: {record['date']!r}"
    assert (DATA / name).read_bytes().endswith(b"\n") and b"\r" not in (DATA / name).read_bytes()


def test_every_csv_of_the_folder_is_checked_here() -> None:
    assert {path.name for path in DATA.glob("*.csv")} == set(CSV_FILES)


def test_gpus_are_plausible() -> None:
    head, *rows = rows_of("gpus.csv")
    names = set()
    for row in rows:
        gpu = dict(zip(head, row, strict=True))
        assert gpu["gpu"] not in names
        names.add(gpu["gpu"])
        assert 0.9 < int(gpu["memory_mib"]) * 2**20 / (float(gpu["memory_gb"]) * 1e9) < 1.09
        assert gpu["status"] in ("read", "to confirm") and gpu["bf16"] in ("yes", "no")
        assert (float(gpu["compute_capability"]) >= 8.0) == (gpu["bf16"] == "yes")
        assert bool(gpu["fp8_tflops"]) == (float(gpu["compute_capability"]) >= 8.9)
        assert bool(gpu["fp4_tflops"]) == (float(gpu["compute_capability"]) >= 10.0)
        # Each halving of the width doubles the rate; consumer cards with FP32 accumulation may gain four times.
        if gpu["int8_tops"]:
            assert 1.9 <= float(gpu["int8_tops"]) / float(gpu["fp16_tflops"]) <= 4.1


def test_scores_are_scores() -> None:
    rows = published.scores()
    assert len(rows) == 727
    for row in rows:
        assert row["mode"] in ("reasoning", "non-reasoning")
        assert (row["value"] is None) == (row["note"] == "N/A")
        assert row["value"] is None or 0 <= row["value"] <= 100
        assert row["category"] and row["benchmark"]
    keys = [(row["model"], row["mode"], row["benchmark"], row["source"]) for row in rows]
    assert len(set(keys)) == len(keys)


def test_readme_and_lecture_agree() -> None:
    shared = defaultdict(dict)
    for row in published.scores():
        for source in ("README", "lecture"):
            if source in row["source"] and "lm-eval" not in row["source"]:
                shared[row["model"], row["mode"], row["benchmark"]][source] = row["value"]
    both = [values for values in shared.values() if len(values) == 2]
    assert len(both) == 195
    assert all(values["README"] == values["lecture"] for values in both)
    assert sum(row["note"] == "*" for row in published.scores(source="lecture")) == 40


def test_published_sizes_are_predicted_to_the_byte() -> None:
    rows = published_files()
    assert len(rows) == 10
    assert [row["file"] for row in rows if row["off"]] == []


TEMPERATURES = {"temperature", "temperature_below", "temperature_in_korean"}


@pytest.mark.parametrize("model", MODELS)
def test_every_config_has_a_source_and_a_record(model: str) -> None:
    record = catalog.record(model)
    assert record.config_source["status"] in ("verbatim", "complete", "assembled", "derived")
    assert record.licence["name"] and record.licence["source"]
    assert record.citation.startswith("@") and record.citation.count("{") == record.citation.count("}")
    assert record.deployment["source"]
    for setting in record.sampling["settings"]:
        assert record.sampling["source"]
        assert (
            set(setting)
            <= {"mode", "top_p", "top_k", "remark", "presence_penalty_if_repeating"} | TEMPERATURES
        )
        assert ("temperature" in setting) != ("temperature_below" in setting)
        assert all(isinstance(setting[name], int | float) for name in TEMPERATURES & set(setting))
    json.loads((DATA / "configs" / record.config_source["file"]).read_text(encoding="utf-8"))


@pytest.mark.parametrize("model", MODELS)
def test_published_parameters_agree_with_the_count(model: str) -> None:
    text = catalog.record(model).published_parameters
    count = count_parameters(catalog.resolve(model).config())
    units = {"M": 1e6, "B": 1e9, "T": 1e12}
    found = re.findall(r"([\d.]+)([MBT])( active| without embedding| with vision)?", text)
    assert found, text
    for number, unit, what in found:
        if what == " active":
            # Makers count the embedding in or out as they like; both readings are close enough to tell a typo.
            ours = count.active
            assert float(number) * units[unit] == pytest.approx(ours, rel=0.15), text
            continue
        ours = count.non_embedding if what == " without embedding" else count.total
        # Rounded or cut off after the last digit given; the vision tower of Llama 4 is not laid out here.
        slack = 10 ** -len(number.partition(".")[2]) + (
            0.005 * float(number) if what == " with vision" else 0
        )
        assert abs(float(number) * units[unit] - ours) < slack * units[unit], (text, ours)


def test_models_file_has_no_strangers() -> None:
    document = yaml.safe_load((DATA / "models.yaml").read_text(encoding="utf-8"))
    assert set(document["models"]) == set(catalog.names())
    assert {entry["family"] for entry in document["models"].values()} == set(document["families"])
    with pytest.raises(UsageError, match="not in the catalog"):
        catalog.record("LGAI-EXAONE/EXAONE-9.0")


def test_scores_of_catalog_models_use_the_catalogs_names() -> None:
    stored = {row["model"].lower() for row in published.scores()}
    for name in MODELS:
        short = name.lower().removesuffix("-instruct")
        assert not (short in stored and name.lower() not in stored), f"{name} is called {short} in the scores"


def test_nothing_here_is_large_or_from_this_machine() -> None:
    for path in DATA.rglob("*"):
        if not path.is_file() or "nano" in path.parts:
            continue
        assert path.stat().st_size <= 1_000_000, path
        if path.suffix in (".csv", ".yaml", ".json", ".md"):
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"(^|[\s\"'(])/(work|tmp|home|root)/", text), path


def test_readme_names_every_file_and_figure() -> None:
    text = (DATA / "README.md").read_text(encoding="utf-8")
    for path in DATA.iterdir():
        if path.name != "README.md" and not path.name.startswith((".", "__")):
            assert f"`{path.name}" in text, f"data/README.md does not name {path.name}"
    _, *rows = rows_of("gpus.csv")
    assert f"{len(rows)} GPUs" in text
