"""Ctrl-C while the in-process engine writes, in a process of its own."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

import psutil
import pytest

from exaone_nb.paths import NANO

pytestmark = pytest.mark.heavy

CHILD = """
import sys
from exaone_nb.errors import UsageError
from exaone_nb.conversation.answers import Sampling
from exaone_nb.engines.vllm_engine import VllmEngine

long = Sampling(max_tokens=2000, ignore_eos=True)
engine = VllmEngine(sys.argv[1], max_model_len=2048, kv_cache_gib=0.5)
print("generating", flush=True)
try:
    engine.generate([[20, 21, 22]] * 64, long)
    print("finished: it was too short to be interrupted", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    try:
        engine.generate([[20, 21, 22]], long)
    except UsageError as error:
        print(error, flush=True)
    engine.close()
    if sys.argv[2] == "again":
        with VllmEngine(sys.argv[1], max_model_len=64, kv_cache_gib=0.25) as fresh:
            made = fresh.generate([[20, 21, 22]], Sampling(max_tokens=2, ignore_eos=True))
            print("fresh", len(made), made[0].output_tokens, flush=True)
    else:
        raise
"""


@dataclass
class Outcome:
    """What the child said and wrote as errors, its exit status, seconds from Ctrl-C to its end, its processes."""

    said: str
    errors: str
    status: int
    seconds: float
    family: list[psutil.Process]


def interrupted(then: str) -> Outcome:
    with tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(NANO), then],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        outcome = _interrupt(child)
        errors.seek(0)
        outcome.errors = errors.read()
        return outcome


def _interrupt(child: subprocess.Popen) -> Outcome:
    try:
        while (line := child.stdout.readline()) and line != "generating\n":
            pass
        time.sleep(1.5)
        family = [psutil.Process(child.pid), *psutil.Process(child.pid).children(recursive=True)]
        sent = time.monotonic()
        os.kill(child.pid, signal.SIGINT)
        said, _ = child.communicate(timeout=120)
        return Outcome(said, "", child.returncode, time.monotonic() - sent, family)
    finally:
        child.kill()
        child.wait()


def test_it_ends_within_seconds_and_leaves_nobody_behind():
    out = interrupted("raise")
    assert out.said.startswith("interrupted\nThe engine was interrupted") and "Open it again" in out.said
    assert out.status != 0 and out.errors.rstrip().endswith("KeyboardInterrupt"), out.errors[-2000:]
    assert out.seconds < 30  # about six on two quiet cores, most of it Python taking vLLM and torch down
    assert not [process for process in out.family if process.is_running()]
    with pytest.raises(ProcessLookupError):
        os.killpg(out.family[0].pid, 0)


def test_an_engine_opened_afterwards_answers_only_what_it_is_asked():
    out = interrupted("again")
    assert out.said.splitlines()[-1] == "fresh 1 2" and out.status == 0
