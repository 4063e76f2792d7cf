"""The two kernel tables: complete, dated, and free of contradictions."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest

from exaone_nb.errors import UsageError
from exaone_nb.gpus import GPUS, find_gpu
from exaone_nb.hardware import Machine
from exaone_nb.paths import DATA
from exaone_nb.quantization import kernels
from exaone_nb.quantization.schemes import SCHEMES, find_scheme


@pytest.mark.parametrize("engine", [kernels.TODAY, kernels.JUDGE])
def test_every_preset_has_a_rule(engine) -> None:
    told = kernels.rules(engine)
    assert set(told["schemes"]) == (set(SCHEMES) - {"UNQUANTIZED"}) | {"BF16"}
    assert told["source"] and told["date"]


@pytest.mark.parametrize("engine", [kernels.TODAY, kernels.JUDGE])
@pytest.mark.parametrize("scheme", sorted(kernels.rules()["schemes"]))
def test_rules_are_well_formed(engine, scheme: str) -> None:
    rule = kernels.rules(engine)["schemes"][scheme]
    for entry in rule["cuda"]:
        assert set(entry) <= {"from", "to", "compute", "kernel", "note", "reported", "answer", "why"}
        assert entry.get("compute", "16-bit") in ("16-bit", "int8", "fp8", "fp4")
        assert entry.get("kernel") or (entry["answer"] == "unknown" and entry["why"])
        assert 7.0 <= entry["from"] <= entry.get("to", 99)
    assert rule["cuda"] or rule["why"], "nothing runs, and nothing says why"
    for entry in rule.get("cpu", ()):
        assert set(entry) <= {"needs", "unless", "compute", "kernel", "note", "runs_as"} and entry["kernel"]
        assert entry.get("runs_as", "W4A8") in SCHEMES
    assert engine == kernels.JUDGE or rule["cpu"] or rule["cpu_why"]


def test_unquantized_runs_everywhere() -> None:
    assert all(kernels.on_gpu("BF16", gpu).runs for gpu in GPUS.values())
    assert kernels.on_gpu("F16", find_gpu("T4")).scheme == "BF16"
    assert "half" in kernels.on_gpu("BF16", find_gpu("T4")).reason


def test_files_of_other_quantizers():
    """vLLM 0.32 said of nano's NF4 file `Unknown quantization method: bitsandbytes` (2026-11); 0.14.1's documentation lists it
    for NVIDIA cards and not for CPUs."""
    l4 = find_gpu("L4").machine
    for machine in (l4, PLAIN):
        assert kernels.support_of_format("bitsandbytes", machine).answer == "no"
    assert "0.28" in kernels.support_of_format("bitsandbytes", l4).reason
    then = [kernels.support_of_format("bitsandbytes", one, kernels.JUDGE).answer for one in (l4, PLAIN)]
    assert then == ["yes", "no"]
    assert (
        kernels.support_of_format("awq", l4).answer
        == kernels.support_of_format("gptq", PLAIN).answer
        == "yes"
    )
    # NVIDIA's release notes of CUDA 13.0: no more code for Volta, compute capability 7.0.
    assert kernels.support_of_format("gptq", find_gpu("V100-16GB").machine).answer == "no"
    assert kernels.support_of_format("hqq", l4).answer == "unknown"


AMX = Machine("CPU", flags=frozenset({"avx512f", "amx_tile"}))
PLAIN = Machine("CPU", flags=frozenset({"avx512f"}))


def test_cpu() -> None:
    assert kernels.support("W4A16", PLAIN).runs and kernels.support("W8A8", PLAIN).runs
    assert not kernels.support("W8A16", AMX).runs and "4-bit" in kernels.support("W8A16", AMX).reason
    assert kernels.support("W4A16", PLAIN, kernels.JUDGE).answer == "unknown"


def test_a_w4a16_file_is_called_what_a_cpu_with_amx_makes_of_it() -> None:
    off = replace(AMX, environment={"VLLM_CPU_INT4_W4A8": "0"})
    assert [kernels.runs_as("W4A16", machine) for machine in (AMX, off, PLAIN)] == ["W4A8", "W4A16", "W4A16"]
    assert kernels.runs_as("W4A16_ASYM", AMX) == "W4A8" and kernels.runs_as("W8A8", AMX) == "W8A8"
    assert kernels.runs_as("W4A16", find_gpu("L4").machine) == "W4A16"
    assert kernels.runs_as("W8A8, W4A16", AMX) == "W8A8, W4A8" and kernels.runs_as("mixed", AMX) == "mixed"


# data/hackathon: what the judging server loaded and refused; FP8_BLOCK and FP4 from the sources of its vLLM.
@pytest.mark.parametrize(
    ("scheme", "answer"),
    [("W4A16", "yes"), ("W8A8", "yes"), ("FP8", "yes"), ("FP8_BLOCK", "yes"), ("NVFP4A16", "yes"), ("MXFP4A16", "yes"),
     ("W4A8", "no"), ("W4AFP8", "no"), ("W3A16", "no"), ("MXFP8", "no"), ("NVFP4", "unknown"), ("MXFP4", "unknown")],
)  # fmt: skip
def test_the_judging_server(scheme, answer) -> None:
    assert kernels.on_gpu(scheme, find_gpu("L4"), kernels.JUDGE).answer == answer


def test_one_scale_for_a_whole_tensor_is_called_that_and_runs_nowhere() -> None:
    whole = find_scheme({"weights": {"num_bits": 4, "type": "int", "symmetric": True}})
    assert whole.label == "W4A16 per tensor"
    assert kernels.on_gpu(whole, find_gpu("L4")).answer == "no"


def test_a_group_must_stay_whole_on_each_gpu() -> None:
    """vLLM: 27,392 inputs over 4 GPUs are 53.5 groups of 128; over 2 they are 107."""
    w4a16, down = SCHEMES["W4A16"], ("model.layers.0.mlp.down_proj", (5120, 27392))
    assert "53.5 groups" in kernels.split_problem(*down, w4a16, 4, by_inputs=True)
    assert not kernels.split_problem(*down, w4a16, 2, by_inputs=True)
    assert not kernels.split_problem(*down, w4a16, 4, by_inputs=False)
    assert kernels.split_problem("x", (1088, 1024), SCHEMES["FP8_BLOCK"], 2, by_inputs=False)


def test_lecture_matrix_says_what_the_lecture_said() -> None:
    with open(DATA / "kernel_support_lecture.csv", encoding="utf-8", newline="") as handle:
        rows = {row["implementation"]: row for row in csv.DictReader(handle)}
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
    with pytest.raises(UsageError, match="Z9"):
        find_gpu("Z9")
    with pytest.raises(UsageError, match=r"0\.14\.1"):
        kernels.support("W4A16", find_gpu("L4").machine, "0.15")
    assert find_gpu("h100 sxm").name == "H100-SXM" and find_gpu("rtx4090").name == "RTX-4090"
