"""The two kernel tables: complete, dated, and free of contradictions."""

from __future__ import annotations

import pytest

from exaone_nb.errors import UsageError
from exaone_nb.gpus import GPUS, find_gpu
from exaone_nb.quantization import kernels
from exaone_nb.quantization.schemes import SCHEMES


def test_every_preset_has_a_rule() -> None:
    known = set(kernels.rules()["schemes"])
    assert known == (set(SCHEMES) - {"UNQUANTIZED"}) | {"BF16"}
    assert kernels.rules()["source"] and kernels.rules()["date"]


@pytest.mark.parametrize("scheme", sorted(kernels.rules()["schemes"]))
def test_rules_are_well_formed(scheme: str) -> None:
    rule = kernels.rules()["schemes"][scheme]
    for entry in rule["cuda"]:
        assert set(entry) <= {"from", "to", "compute", "kernel", "note"}
        assert entry["compute"] in ("16-bit", "int8", "fp8", "fp4")
        assert 7.0 <= entry["from"] <= entry.get("to", 99)
    assert rule["cuda"] or rule["why"], "nothing runs, and nothing says why"
    assert isinstance(rule["cpu"]["runs"], bool)
    assert rule["cpu"]["runs"] or rule["cpu"]["note"]


def test_unquantized_runs_everywhere() -> None:
    assert all(kernels.on_gpu("BF16", gpu).runs for gpu in GPUS.values())
    assert kernels.on_gpu("F16", find_gpu("T4")).scheme == "BF16"
    assert "half" in kernels.on_gpu("BF16", find_gpu("T4")).reason


def test_cpu() -> None:
    assert kernels.on_cpu("W4A16").runs and kernels.on_cpu("W8A8").runs
    assert not kernels.on_cpu("W8A16").runs and "4-bit" in kernels.on_cpu("W8A16").reason


def test_lecture_matrix_says_what_the_lecture_said() -> None:
    rows = {row["implementation"]: row for row in kernels.lecture_matrix()}
    assert len(rows) == 11
    assert rows["GPTQ"]["volta"] == "yes" and rows["AWQ"]["volta"] == "no"
    assert rows["FP8 (W8A8)"]["ampere"] == "no" and rows["FP8 (W8A8)"]["ada"] == "yes"
    assert {value for row in rows.values() for key, value in row.items() if key != "implementation"} == {
        "yes",
        "no",
    }
    # where the lecture and 0.32 differ: a compressed-tensors W4A16 file does not run on Volta
    assert not kernels.on_gpu("W4A16", find_gpu("V100-16GB")).runs


def test_unknown_names() -> None:
    with pytest.raises(UsageError, match="W5"):
        kernels.on_gpu("W5", find_gpu("L4"))
    with pytest.raises(UsageError, match="H100"):
        find_gpu("h100")
    assert find_gpu("h100 sxm").name == "H100-SXM" and find_gpu("rtx4090").name == "RTX-4090"
