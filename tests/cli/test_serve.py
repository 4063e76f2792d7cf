"""The verb bench: help, wrong calls with exit code 2, and (heavy) one JSON document on stdout."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from exaone_nb.cli import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nano", "--scheme", "W4A16"], "--weights dummy"),
        (["nano", "--weights", "random"], "real or dummy"),
        (["nano", "--weights", "dummy", "--scheme", "W9A9"], "No scheme"),
        (["nano", "--weights", "dummy", "--layers", "99"], "0 (all) to 4"),
        (["nanoo"], "Did you mean"),
    ],
)
def test_wrong_calls(capsys, arguments, said) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", *arguments])
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert said in captured.err and captured.out == ""


@pytest.mark.heavy
def test_bench_prints_one_json_document_and_nothing_else() -> None:
    command = [sys.executable, "-m", "exaone_nb", "bench", "nano", "--weights", "dummy", "--scheme", "W8A8"]
    command += ["--batch", "1", "--output", "8", "--repeats", "2", "--kv-cache-gib", "0.25", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    document = json.loads(done.stdout)
    assert document["kernel"] == "CPUInt8ScaledMMLinearKernel" or "gpu" in document["machine"]
    assert document["decode"][0]["tokens_per_second"] > 0 and document["per_token"] is None
