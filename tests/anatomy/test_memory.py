"""Does it fit: weights exact, budget as vLLM takes it, estimates named, and what would fit instead."""

from __future__ import annotations

import math

import pytest

from exaone_nb import catalog
from exaone_nb.anatomy.kv import kv_cache
from exaone_nb.anatomy.memory import plan_memory
from exaone_nb.anatomy.on_card import file_share
from exaone_nb.anatomy.predict import predict_checkpoint
from exaone_nb.anatomy.preflight import offers, words
from exaone_nb.errors import UsageError
from exaone_nb.gpus import find_gpu


def config_of(name: str) -> dict:
    return catalog.resolve(name).config()


def test_parts_add_up() -> None:
    plan = plan_memory(config_of("EXAONE-4.0-1.2B"), "BF16", "L4", context=8192, concurrency=4)
    assert plan.weights == 2_558_782_976
    assert plan.budget == math.ceil(23_034 * 2**20 * 0.92)
    assert plan.budget == plan.weights + plan.overhead + plan.left_for_cache
    assert plan.cache_needed == 4 * 8192 * 61_440
    assert plan.fits and offers(plan) == []
    assert all(part.basis and part.bytes > 0 for part in plan.overheads)


def test_longest_and_concurrency_are_consistent_with_the_cache() -> None:
    config = config_of("EXAONE-4.0-32B")
    plan = plan_memory(config, "FP8_DYNAMIC", "H100-SXM", concurrency=4)
    assert not plan.fits and 0 < plan.longest < plan.context
    shorter = plan_memory(config, "FP8_DYNAMIC", "H100-SXM", context=plan.longest, concurrency=4)
    assert shorter.fits
    assert not plan_memory(config, "FP8_DYNAMIC", "H100-SXM", context=plan.longest + 16, concurrency=4).fits
    assert plan.largest_concurrency == plan.left_for_cache // plan.kv.bytes_per_request


def test_in_flight_is_what_the_card_would_batch() -> None:
    config = config_of("EXAONE-4.0-32B")
    assert find_gpu("L4").batched_tokens() == 8192 and find_gpu("L4").batched_tokens(server=True) == 2048
    assert find_gpu("A100-80GB").batched_tokens() == 8192, "vLLM keeps the A100 at the small default"
    assert (
        find_gpu("H100-SXM").batched_tokens() == 16384
        and find_gpu("B200").batched_tokens(server=True) == 16384
    )
    plan = plan_memory(config, "W4A16", "H100-SXM")
    expected = kv_cache(config, max_num_batched_tokens=16384, concurrent_batches=2)
    assert plan.kv.bytes_per_request == expected.bytes_per_request


def test_tensor_parallel_splits_matrices_and_copies_norms() -> None:
    config = config_of("EXAONE-4.0-32B")
    prediction = predict_checkpoint(config, "BF16")
    norms = prediction.by_component()["norm"]
    assert file_share(config, prediction) == prediction.data_bytes
    assert file_share(config, prediction, 4) == math.ceil((prediction.data_bytes - norms) / 4) + norms
    # 64 layers, 8 heads of keys and as many of values, 128 x 5,120 x 2 bytes each: 16 GPUs hold one of each, not half.
    copied = 64 * 2 * 128 * 5120 * 2
    assert file_share(config, prediction, 16) == pytest.approx(
        (prediction.data_bytes - norms) / 16 + norms + copied / 2, abs=2
    )


def test_transformers_may_use_all_and_needs_no_graphs() -> None:
    plan = plan_memory(config_of("EXAONE-4.0-1.2B"), "BF16", "T4", engine="transformers", context=2048)
    assert plan.budget == plan.gpu.memory_bytes
    assert "CUDA graphs" not in [part.name for part in plan.overheads]


@pytest.mark.parametrize(
    ("scheme", "gpu", "options", "helps"),
    [
        ("BF16", "L4", {}, {"tensor_parallel"}),
        ("BF16", "L4", {"context": 4096}, {"tensor_parallel"}),
        ("W4A16", "L4", {"context": 32768}, {"context", "tensor_parallel"}),
        ("W4A16", "L4", {"context": 4096}, {"context", "batched_tokens", "tensor_parallel"}),
        ("BF16", "L40S", {"context": 8192}, {"scheme", "tensor_parallel"}),
        ("FP8_DYNAMIC", "H100-SXM", {"concurrency": 30, "context": 8192}, {"context", "concurrency", "kv_dtype_bytes"}),
        ("W4A16", "L40S", {"context": 65536, "engine": "sglang", "concurrency": 2}, {"engine"}),
    ],
)  # fmt: skip
def test_what_would_fit_does(scheme: str, gpu: str, options: dict, helps: set) -> None:
    """Each offer is planned anew from scratch, with that one argument changed."""
    config = config_of("EXAONE-4.0-32B")
    plan = plan_memory(config, scheme, gpu, **options)
    assert not plan.fits
    found = offers(plan)
    assert helps <= {offer.what for offer in found}
    for offer in found:
        asked = {"scheme": scheme, "gpu": gpu, **options, offer.what: offer.value}
        assert plan_memory(config, **asked).fits, offer
        assert offer.text in words(plan)
    context = next((offer.value for offer in found if offer.what == "context"), None)
    if context:
        assert not plan_memory(config, scheme, gpu, **{**options, "context": context + 16}).fits
    cards = next((offer.value for offer in found if offer.what == "tensor_parallel"), None)
    if cards and cards > 2:
        assert not plan_memory(config, scheme, gpu, **options, tensor_parallel=cards // 2).fits


def test_nothing_is_offered_that_does_not_help() -> None:
    plan = plan_memory(config_of("Kimi-K2-Thinking"), "BF16", "T4")
    assert not plan.fits and offers(plan) == [] and "Neither a shorter context" in words(plan)


def test_batching_fewer_tokens_really_helps() -> None:
    config = config_of("EXAONE-4.0-32B")
    before = plan_memory(config, "W4A16", "L4", context=4096)
    after = plan_memory(config, "W4A16", "L4", context=4096, batched_tokens=2048)
    assert after.left_for_cache > before.left_for_cache + 2**30
    assert after.longest > before.longest


@pytest.mark.parametrize(
    "options",
    [
        {"utilization": 0},
        {"utilization": 1.5},
        {"utilization": "all"},
        {"concurrency": 0},
        {"concurrency": True},
        {"context": 65_537},
        {"engine": "ollama"},
        {"gpu": "A100"},
        {"gpu": "TPU"},
        {"gpu": ""},
        {"scheme": "W5"},
    ],
)
def test_impossible_arguments(options: dict) -> None:
    with pytest.raises(UsageError) as caught:
        plan_memory(config_of("EXAONE-4.0-1.2B"), **options)
    assert caught.value.expected


@pytest.mark.parametrize(
    ("model", "scheme", "parallel", "runs"),
    [
        ("EXAONE-4.0-32B", "W4A16", 4, False),  # 27,392 / 4 = 53.5 groups of 128
        ("EXAONE-4.0-32B", "W4A16", 2, True),
        ("EXAONE-4.0-32B", "FP8_BLOCK", 4, False),
        ("EXAONE-4.0-32B", "W8A8", 4, True),  # one scale per row: nothing is cut
        ("K-EXAONE-236B-A23B", "W4A16", 32, False),  # the experts' 2,048 inputs in 32 parts of half a group
        (
            "DeepSeek-R1",
            "FP8_BLOCK",
            16,
            True,
        ),  # 2,048 / 16 = one block of 128; the compressing projections are whole
        ("DeepSeek-R1", "FP8_BLOCK", 32, False),
    ],
)
def test_what_shares_a_scale_stays_on_one_gpu(model, scheme, parallel, runs):
    plan = plan_memory(
        catalog.resolve(model).config(), scheme, "L40S", tensor_parallel=parallel, context=4096
    )
    assert plan.support.runs is runs and (runs or not plan.fits)
    assert runs or "cannot be split" in plan.support.reason
    if (model, parallel) == ("EXAONE-4.0-32B", 4) and not runs:
        assert any(offer.what == "tensor_parallel" and offer.value in (1, 2) for offer in offers(plan))


def test_a_stored_cache_scheme_halves_the_cache_in_todays_vllm():
    """Seen in vLLM 0.32: under --kv-cache-dtype auto the page is half as large."""
    config = catalog.resolve("EXAONE-4.0-1.2B").config()
    scheme = {"num_bits": 8, "type": "float", "strategy": "tensor", "symmetric": True}
    document = {"quant_method": "compressed-tensors", "config_groups": {}, "kv_cache_scheme": scheme}
    plain = plan_memory(config, "BF16", "L4")
    stored = plan_memory(config | {"quantization_config": document}, "BF16", "L4")
    assert stored.kv.bytes_per_request * 2 == plain.kv.bytes_per_request
    other = plan_memory(config | {"quantization_config": document}, "BF16", "L4", engine="sglang")
    assert other.kv.dtype_bytes == 2
