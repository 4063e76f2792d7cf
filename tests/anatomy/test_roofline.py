"""The roofline against sums done by hand and by brute force."""

from __future__ import annotations

import pytest

from exaone_nb import catalog
from exaone_nb.anatomy.roofline import compute_bound_batch, decode, prefill
from exaone_nb.anatomy.work import work_of
from exaone_nb.errors import UsageError
from exaone_nb.gpus import GPUS, find_gpu
from exaone_nb.quantization.kernels import on_gpu


def config_of(name: str) -> dict:
    return catalog.resolve(name).config()


def test_tied_embedding_is_read_in_full() -> None:
    step = decode(config_of("EXAONE-4.0-1.2B"), "BF16", "L4", context=1024)
    assert step.weight_bytes == 2_558_782_976
    assert step.bytes_moved == 2_558_782_976 + 1024 * 61_440
    assert step.seconds == step.bytes_moved / 300e9
    assert step.tokens_per_second == pytest.approx(114.4, abs=0.1)
    assert step.bound == "bandwidth"


def test_untied_embedding_is_looked_up() -> None:
    work = work_of(config_of("EXAONE-4.0-32B"))
    table = 102_400 * 5120 * 2
    assert work.row_bytes == 5120 * 2
    assert work.weight_bytes_read(3) == work.prediction.data_bytes - table + 3 * 5120 * 2


def test_four_bits_are_not_four_times_faster() -> None:
    config = config_of("EXAONE-4.0-1.2B")
    ratio = decode(config, "W4A16", "L4").tokens_per_second / decode(config, "BF16", "L4").tokens_per_second
    assert 2.4 < ratio < 2.7, "43 % of the W4A16 bytes are the BF16 table"
    assert prefill(config, "W4A16", "L4").seconds == prefill(config, "BF16", "L4").seconds
    assert prefill(config, "W8A8", "L4").seconds < prefill(config, "BF16", "L4").seconds


def test_operations_of_a_dense_step() -> None:
    config = config_of("EXAONE-4.0-1.2B")
    work = work_of(config)
    linear = 30 * (2048 * 2048 * 2 + 2 * 512 * 2048 + 3 * 2048 * 4096)
    assert work.products == {"plain": linear, "head": 102_400 * 2048}
    step = decode(config, "BF16", "L4", batch=2, context=100)
    assert step.operations == 2 * 2 * (linear + 102_400 * 2048 + 30 * 32 * 128 * 100)
    assert work_of(config, "W8A8").products == {"quantized": linear, "head": 102_400 * 2048}


def test_head_and_attention_stay_16_bit_under_a_quantized_scheme() -> None:
    step = decode(config_of("EXAONE-4.0-1.2B"), "W8A8", "L4", batch=4, context=100)
    linear = 30 * (2048 * 2048 * 2 + 2 * 512 * 2048 + 3 * 2048 * 4096)
    plain = 102_400 * 2048 + 30 * 32 * 128 * 100
    assert step.compute_seconds == pytest.approx(2 * 4 * (linear / 242e12 + plain / 121e12))


@pytest.mark.parametrize("model", ["EXAONE-4.0-1.2B", "gemma-3-1b-it", "gpt-oss-20b"])
@pytest.mark.parametrize("tokens", [1, 127, 128, 129, 700])
def test_attention_of_a_prompt_is_the_sum_over_its_tokens(model: str, tokens: int) -> None:
    work = work_of(config_of(model))
    assert work.attention_products_of_prompt(tokens) == sum(
        work.attention_products(length) for length in range(1, tokens + 1)
    )


def test_windows_cap_the_cache_read() -> None:
    work = work_of(config_of("EXAONE-4.0-32B"))
    assert work.cache_bytes_read(131_072) == 4096 * (16 * 131_072 + 48 * 4096)
    assert work.cache_bytes_read(131_072, 1) * 2 == work.cache_bytes_read(131_072)


def test_experts_read_grow_with_the_batch_towards_all() -> None:
    work = work_of(config_of("Qwen3-30B-A3B"))
    one = work.weight_bytes_read(1) - work.every_pass_bytes - work.row_bytes
    assert one == pytest.approx(work.expert_bytes * 8 / 128), (
        "one token reads exactly the experts it is routed to"
    )
    read = [work.weight_bytes_read(batch) - batch * work.row_bytes for batch in (1, 4, 16, 64, 1024)]
    assert read == sorted(read)
    assert read[-1] == pytest.approx(work.every_pass_bytes + work.expert_bytes)


def test_prefill_of_long_prompts_is_bound_by_compute() -> None:
    config = config_of("EXAONE-4.0-1.2B")
    assert prefill(config, "BF16", "L4", tokens=4096).bound == "compute"
    assert prefill(config, "BF16", "L4", tokens=1).bound == "bandwidth"


def test_compute_bound_batch_is_where_it_turns() -> None:
    config = config_of("EXAONE-4.0-32B")
    batch = compute_bound_batch(config, "BF16", "B200-SXM", context=16)
    assert batch and batch > 1
    assert decode(config, "BF16", "B200-SXM", batch=batch, context=16).bound == "compute"
    assert decode(config, "BF16", "B200-SXM", batch=batch - 1, context=16).bound == "bandwidth"
    assert compute_bound_batch(config_of("EXAONE-4.0-1.2B"), "BF16", "L4", context=4096) is None


@pytest.mark.parametrize(
    ("model", "scheme", "gpu", "why"),
    [
        ("EXAONE-4.0-1.2B", "W4AFP8", "L4", "9.0 alone"),
        ("EXAONE-4.0-1.2B", "W4A16", "V100-16GB", "7.5 or newer"),
        ("EXAONE-4.0-1.2B", "W8A8", "B200-SXM", "INT8"),
        ("EXAONE-4.0-1.2B", "W4A8", "H100-SXM", "Arm"),
        ("EXAONE-4.0-32B", "BF16", "L4", "do not fit"),
    ],
)
def test_no_number_without_kernel_or_room(model: str, scheme: str, gpu: str, why: str) -> None:
    config = config_of(model)
    for one in (decode(config, scheme, gpu), prefill(config, scheme, gpu)):
        assert not one.runs and why in one.reason
        assert one.seconds is None and one.tokens_per_second is None and one.intensity is None
        assert one.bound == ""
    assert compute_bound_batch(config, scheme, gpu) is None


def test_weight_only_kernels_compute_in_16_bit() -> None:
    assert on_gpu("FP8_DYNAMIC", find_gpu("A100-80GB")).compute == "16-bit"
    assert on_gpu("FP8_DYNAMIC", find_gpu("L4")).compute == "fp8"
    config = config_of("EXAONE-4.0-1.2B")
    a100 = {s: prefill(config, s, "A100-80GB", tokens=8192).seconds for s in ("BF16", "FP8_DYNAMIC", "W8A8")}
    assert a100["FP8_DYNAMIC"] == a100["BF16"] > a100["W8A8"]


def test_every_scheme_that_runs_has_a_rate() -> None:
    from exaone_nb.quantization.schemes import SCHEMES

    for gpu in GPUS.values():
        for scheme in SCHEMES:
            support = on_gpu(scheme, gpu)
            assert support.runs or support.reason
            if support.runs:
                assert gpu.peak.get(support.compute), f"{scheme} on {gpu.name}: no {support.compute} figure"


@pytest.mark.parametrize("bad", [{"batch": 0}, {"context": 0}, {"kv_dtype_bytes": 0}, {"batch": 2.5}])
def test_impossible_numbers(bad: dict) -> None:
    with pytest.raises(UsageError):
        decode(config_of("EXAONE-4.0-1.2B"), **bad)
