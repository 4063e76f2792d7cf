"""doctor tells the truth about this environment, and notices what is wrong."""

import json
import subprocess
import sys

import pytest

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


@pytest.mark.parametrize(("capability", "served"), [(8.9, True), (8.0, True), (7.0, False), (0.0, True)])
def test_w4a16_is_served_where_there_is_a_kernel(capability, served):
    rows = {row.scheme: row for row in doctor._schemes(capability)}
    assert rows["W4A16"].serve is served
    assert rows["W4A16"].serve_why


def test_cpu_has_no_kernel_for_these():
    rows = {row.scheme: row for row in doctor._schemes(0.0)}
    assert [name for name in ("W8A16", "MXFP4", "NVFP4", "MXFP8") if rows[name].serve] == []


def test_small_machine_is_told(monkeypatch):
    import psutil

    class Tiny:
        total = 4 * doctor.GB

    monkeypatch.setattr(psutil, "virtual_memory", lambda: Tiny)
    assert doctor._memory().verdict == "FAIL"
