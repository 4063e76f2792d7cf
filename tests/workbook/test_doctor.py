"""doctor tells the truth about this environment, and notices what is wrong."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from exaone_nb.cli import command_line
from exaone_nb.errors import UsageError
from exaone_nb.hardware import Machine
from exaone_nb.paths import ROOT
from exaone_nb.show import figures
from exaone_nb.workbook import doctor


def test_our_own_environment_has_no_failure():
    found = doctor.diagnose()
    assert found.healthy, [c for c in found.checks if c.verdict == "FAIL"]
    assert {"python", "packages", "memory", "disk", "gpu", "engine", "fonts", "browser"} <= {
        c.name for c in found.checks
    }


def test_every_shortcoming_names_a_remedy():
    assert all(c.remedy for c in doctor.diagnose().checks if c.verdict != "OK")


def test_json_is_one_document():
    done = subprocess.run(
        [sys.executable, "-c", "from exaone_nb.cli import main; main(['doctor', '--json'])"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["healthy"] is True


def test_a_package_of_another_version_is_named(monkeypatch):
    monkeypatch.setattr(doctor, "version", lambda name: "0.0.1")
    check = doctor._packages(False)
    assert check.verdict == "WARN" and "0.0.1" in check.found and check.remedy


def test_a_missing_package_fails(monkeypatch):
    def missing(name):
        raise doctor.PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", missing)
    assert doctor._packages(False).verdict == "FAIL"


def test_the_judges_list_is_compared_line_by_line(monkeypatch):
    listed = (ROOT / "requirements" / "hackathon-l4.txt").read_text().split(doctor.NOT_THE_JUDGES)[0]
    wanted = dict(line.split("==") for line in listed.splitlines() if "==" in line and line[0] != "#")
    assert len(wanted) == 25 and "lm-eval" not in wanted
    monkeypatch.setattr(doctor, "version", lambda name: wanted[name] + "+cu128" * (name == "torch"))
    assert doctor.compare_with_judge().healthy
    monkeypatch.setattr(doctor, "version", lambda name: "5.17.0" if name == "transformers" else wanted[name])
    (other,) = [c for c in doctor.compare_with_judge().checks if c.verdict != "OK"]
    assert (other.name, other.found) == ("transformers", "5.17.0")
    assert "4.57.3" in other.remedy and "make env-judge" in other.remedy


def test_for_judge_exits_with_1_where_something_differs():
    runner, app = CliRunner(), command_line()
    done = runner.invoke(app, ["doctor", "--for", "judge", "--json"])
    rows = {row["name"]: row for row in json.loads(done.stdout)["checks"]}
    assert done.exit_code == 1 and rows["vllm"]["verdict"] == "FAIL" and "0.14.1" in rows["vllm"]["remedy"]
    equal = sum(row["verdict"] == "OK" for row in rows.values())
    told = " ".join(runner.invoke(app, ["doctor", "--for", "judge"]).stdout.split())
    assert f"{equal} of {len(rows)} packages are the server's." in told
    refused = runner.invoke(app, ["doctor", "--for", "nobody"])
    assert isinstance(refused.exception, UsageError)


CARD = Machine("a card", 8.9, memory_bytes=24 * doctor.GB, driver="580.65")
AMX = Machine("CPU", flags=frozenset({"avx2", "avx512f", "amx_tile"}), memory_bytes=64 * doctor.GB)
PLAIN = replace(AMX, flags=AMX.flags - {"amx_tile"})


@pytest.mark.parametrize(
    ("machine", "served"),
    [(CARD, True), (replace(CARD, compute_capability=8.0), True), (replace(CARD, compute_capability=7.0), False), (PLAIN, True)],
)  # fmt: skip
def test_w4a16_is_served_where_there_is_a_kernel(machine, served):
    rows = {row.scheme: row for row in doctor._schemes(machine)}
    assert rows["W4A16"].serve is served
    assert rows["W4A16"].serve_why


def test_the_flags_that_doctor_lists_decide_what_a_cpu_serves():
    plain, amx = ({row.scheme: row for row in doctor._schemes(cpu)} for cpu in (PLAIN, AMX))
    assert [
        name for name in ("W8A16", "MXFP4", "NVFP4", "MXFP8") if plain[name].serve or amx[name].serve
    ] == []
    assert not plain["FP8_BLOCK"].serve and "amx_tile" in plain["FP8_BLOCK"].serve_why
    assert (
        amx["FP8_BLOCK"].serve and "CPUFp8BlockScaledMM" in amx["FP8_BLOCK"].serve_why
    )  # seen running there
    assert "W4A8" in amx["W4A16"].serve_why and "W4A8" not in plain["W4A16"].serve_why
    assert "amx_tile" in doctor._processor(AMX).found


def test_a_turing_card_is_told_about_bfloat16():
    rows = {row.scheme: row for row in doctor._schemes(replace(CARD, compute_capability=7.5))}
    assert "--dtype half" in rows["BF16"].serve_why


@pytest.fixture
def torchs_answer(monkeypatch):
    """A function: what the process that asks torch prints from then on."""

    def answers(stdout: str, stderr: str = "") -> None:
        done = subprocess.CompletedProcess([], 0, stdout, stderr)
        monkeypatch.setattr(doctor.subprocess, "run", lambda *_, **__: done)

    answers("13.0 True\n")
    return answers


def test_the_least_driver_is_that_of_the_locked_cuda():
    """NVIDIA's release notes: CUDA 13.x needs driver 580 on Linux, 12.x 525."""
    assert any(
        line.startswith("cuda-toolkit==13.")
        for line in (ROOT / "requirements/cuda.txt").read_text().splitlines()
    )
    assert doctor.locked_cuda() == "13.0" and doctor.least_driver() == 580


def test_a_card_that_torch_cannot_use_is_no_card(torchs_answer):
    """NVML answers with any driver, so nvidia-smi lists the card, while torch's CUDA finds it too old."""
    assert doctor._gpu_check(CARD).verdict == "OK"
    old = (
        "UserWarning: CUDA initialization: The NVIDIA driver on your system is too old (found version 12040)."
    )
    torchs_answer("13.0 False\n", f"torch/cuda/__init__.py:180: {old}\n")
    check = doctor._gpu_check(CARD)
    assert check.verdict == "FAIL" and "too old" in check.found and check.remedy
    torchs_answer("cpu False\n")
    check = doctor._gpu_check(CARD)
    assert check.verdict == "FAIL" and "build for a CPU" in check.found


def test_the_process_that_is_asked_answers_as_torch_does_here():
    import torch

    assert (doctor._unseen_by_torch() == "") is torch.cuda.is_available()


def test_a_torch_that_does_not_answer_is_said(monkeypatch):
    def hangs(command, **options):
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(doctor.subprocess, "run", hangs)
    assert "does not answer" in doctor._gpu_check(CARD).found


@pytest.mark.parametrize("lacking", ["compiler", "header"])
def test_triton_needs_a_compiler_and_pythons_headers(monkeypatch, lacking, tmp_path):
    monkeypatch.delenv("CC", raising=False)
    there = tmp_path / "include"
    there.mkdir()
    (there / "Python.h").touch()
    monkeypatch.setattr(doctor.sysconfig, "get_path", lambda name: str(there))
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/gcc" if name == "gcc" else None)
    assert doctor._compiler(CARD).verdict == "OK"
    if lacking == "compiler":
        monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    else:
        (there / "Python.h").unlink()
    check = doctor._compiler(CARD)
    assert (
        check.verdict == "FAIL"
        and {"compiler": "no C compiler", "header": "no Python.h"}[lacking] in check.found
    )
    assert doctor._compiler(None).verdict == "OK"  # a CPU builds nothing


def test_an_old_driver_and_a_build_for_the_cpu_are_named(monkeypatch, torchs_answer):
    assert doctor._gpu_check(CARD).verdict == "OK"
    old = doctor._gpu_check(replace(CARD, driver="550.54.14"))
    assert old.verdict == "FAIL" and "580 or newer" in old.remedy
    monkeypatch.setattr(doctor, "locked", lambda accelerator: {"torch": "2.13.0"})
    monkeypatch.setattr(doctor, "version", lambda name: "2.13.0+cpu")
    assert doctor._packages(False).verdict == "OK"
    assert "2.13.0+cpu" in doctor._packages(True).found and doctor._packages(True).verdict == "WARN"


def test_a_font_that_matplotlibs_cache_does_not_know_is_found_on_disk(monkeypatch):
    from matplotlib import font_manager

    if not figures.korean_font():
        pytest.skip("no Korean font is installed here; Debian's fonts-nanum has one")
    stale = [font for font in font_manager.fontManager.ttflist if font.name not in figures.HANGUL_FONTS]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", stale)
    assert doctor._fonts().verdict == "OK"


def test_small_machine_is_told():
    assert doctor._memory(replace(PLAIN, memory_bytes=4 * doctor.GB)).verdict == "FAIL"
