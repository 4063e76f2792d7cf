"""Memory of host and card: estimates against what was measured, and what is said when there is too little."""

import psutil
import pytest

from exaone_nb import catalog
from exaone_nb.compress import footprint
from exaone_nb.compress import recipe as recipes
from exaone_nb.compress.footprint import check_memory, estimate_card, estimate_host
from exaone_nb.errors import WorkbookError
from exaone_nb.hardware import Machine
from exaone_nb.paths import NANO
from exaone_nb.show.measured import record

CONFIG = catalog.resolve("EXAONE-4.0-1.2B").config()
WEIGHTS, FOUR_BITS, EIGHT_BITS = 2_558_821_288, 971_261_368, 1_490_219_184
H200 = record("nvidia-h200")
NEEDS_NANO = pytest.mark.skipif(
    not (NANO / "model.safetensors").is_file(), reason="data/nano is not there; see exaone_nb/nano"
)


def has_free(monkeypatch, count):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"available": count})())


@pytest.fixture(autouse=True)
def no_card(monkeypatch):
    monkeypatch.setattr(footprint, "this_gpu", lambda: None)


@NEEDS_NANO
def test_too_little_memory_is_said_before_anything_is_loaded(monkeypatch):
    has_free(monkeypatch, 10**8)
    recipe = recipes.load("w4a16_gptq")
    with pytest.raises(WorkbookError, match=r"there are 0\.1 GB"):
        check_memory(NANO, recipe, 5_000_000)
    found = check_memory(NANO, recipe, 5_000_000, ignore=True)
    assert found["estimated_peak_bytes"] > 10**8 and found["estimated_gpu_peak_bytes"] == 0


@NEEDS_NANO
def test_a_card_that_is_too_small_is_said_by_name(monkeypatch):
    has_free(monkeypatch, 10**11)
    monkeypatch.setattr(footprint, "this_gpu", lambda: Machine("Tiny", 8.0, memory_bytes=5 * 10**7))
    with pytest.raises(WorkbookError, match=r"on the Tiny, and there are 0\.1 GB"):
        check_memory(NANO, recipes.load("w4a16_rtn"), 5_000_000)
    assert check_memory(NANO, recipes.load("w4a16_rtn"), 5_000_000, ignore=True)["estimated_gpu_peak_bytes"]


def test_the_estimate_grows_with_weights_method_and_text():
    gptq, nearest = recipes.load("w4a16_gptq"), recipes.load("w4a16_rtn")
    estimate = estimate_host(CONFIG, WEIGHTS, FOUR_BITS, gptq)
    assert estimate > estimate_host(CONFIG, WEIGHTS, FOUR_BITS, nearest) > 2 * WEIGHTS
    more = gptq.with_calibration(samples=1024, length=2048)
    assert estimate_host(CONFIG, WEIGHTS, FOUR_BITS, more) > estimate + 10**9
    assert estimate_card(CONFIG, more) >= estimate_card(CONFIG, gptq) > estimate_card(CONFIG, nearest)
    # Measured with make bench-quantize, 2026-11-23: 4.70 and 6.93 GB. Too high is a warning, too low is a dead process.
    assert 4.70e9 < estimate_host(CONFIG, WEIGHTS, FOUR_BITS, nearest) < 8e9
    assert 6.93e9 < estimate_host(CONFIG, WEIGHTS, EIGHT_BITS, recipes.load("w8a8")) < 8.5e9


@pytest.mark.parametrize("row", H200["quantize"], ids=lambda row: row["recipe"])
def test_the_estimates_hold_on_the_card_that_was_measured(row):
    """Not less than what was measured and not more than twice that; without a figure the row is not judged."""
    recipe = recipes.load(row["recipe"])
    estimates = {
        "peak_bytes": estimate_host(CONFIG, WEIGHTS, row["actual_bytes"], recipe, card=True),
        "gpu_peak_bytes": estimate_card(CONFIG, recipe),
    }
    for name, estimate in estimates.items():
        assert row[name] is None or row[name] <= estimate <= 2 * row[name]


def test_what_cudas_libraries_take_was_measured_with_nano():
    """The two chapters that load llm-compressor and a model of 7 MB."""
    peaks = [row["peak_bytes"] for row in H200["nano_chapters"] if row["chapter"][:2] in ("06", "07")]
    assert len(peaks) == 2 and max(peaks) <= footprint.CUDA_LIBRARIES_BYTES <= 1.1 * max(peaks)
