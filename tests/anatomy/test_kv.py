"""KV arithmetic against figures worked out by hand; test_kv_against_vllm.py holds it against vLLM itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exaone_nb import catalog
from exaone_nb.anatomy.kv import kv_cache, longest_context
from exaone_nb.errors import UsageError

GIB = 2**30


def config_of(name: str) -> dict:
    return catalog.resolve(name).config()


def test_full_attention_by_hand() -> None:
    cache = kv_cache(config_of("EXAONE-4.0-1.2B"))
    # 30 layers x 2 x 8 heads x 64 x 2 bytes = 61,440 bytes a token; 16 tokens a block
    assert cache.every_token_every_layer == 61_440
    assert cache.bytes_per_block == 983_040
    assert cache.bytes_per_request == 65_536 * 61_440 == 3.75 * GIB
    assert cache.if_multi_head == 4 * cache.every_token_every_layer, (
        "the 4x of the Qwen3 note, 32 over 8 heads"
    )


@pytest.mark.parametrize(("tokens", "gib"), [(2048, 9.13), (8192, 10.25), (16384, 11.75)])
def test_hybrid_32b_depends_on_tokens_in_flight(tokens: int, gib: float) -> None:
    cache = kv_cache(config_of("EXAONE-4.0-32B"), max_num_batched_tokens=tokens)
    # one group of 16 full layers, three of 16 sliding ones
    full, sliding = 131_072 // 16, -(-(4095 + tokens) // 16) + 1
    assert cache.blocks_per_request == full + 3 * sliding
    assert cache.bytes_per_request == cache.blocks_per_request * 16 * 16 * 2 * 8 * 128 * 2
    assert cache.bytes_per_request / GIB == pytest.approx(gib, abs=0.005)
    assert cache.without_windows == 32 * GIB


def test_a_window_keeps_one_token_less_than_its_name() -> None:
    # 127 past tokens + 17 in flight fill 9 blocks of 16; one more would need a tenth. One block more for the start.
    cache = kv_cache(config_of("gpt-oss-20b"), max_num_batched_tokens=17)
    assert {group.kind: group.blocks for group in cache.groups} == {"sliding": 9 + 1, "full": 8192}


def test_two_batches_in_flight_are_as_one_twice_as_large() -> None:
    config = config_of("EXAONE-4.0-32B")
    twice = kv_cache(config, max_num_batched_tokens=4096, concurrent_batches=2)
    assert twice.bytes_per_request == kv_cache(config, max_num_batched_tokens=8192).bytes_per_request


def test_manager_off_and_other_engines_keep_everything() -> None:
    config = config_of("EXAONE-4.0-32B")
    assert kv_cache(config, hybrid_manager=False).bytes_per_request == 32 * GIB
    assert kv_cache(config, "sglang").bytes_per_request == 32 * GIB
    # transformers: 16 full layers of 131,072 tokens and 48 of 4,095, 4,096 bytes a token and layer
    assert kv_cache(config, "transformers").bytes_per_request == 4096 * (16 * 131_072 + 48 * 4095)


def test_sglang_windowed_pool_only_where_it_has_one() -> None:
    config = config_of("gpt-oss-120b")
    per_token = 2 * 8 * 64 * 2
    assert kv_cache(config, "sglang").bytes_per_block == round(per_token * (18 + 0.8 * 18))


def test_chunked_attention_follows_vllms_default() -> None:
    config = config_of("Llama-4-Maverick-17B-128E-Instruct")
    off = kv_cache(config, max_model_len=131_072)
    assert off.without_windows == off.bytes_per_request, "vLLM switches its hybrid manager off for chunks"
    assert (
        kv_cache(config, max_model_len=131_072, hybrid_manager=True).bytes_per_request < off.bytes_per_request
    )


def test_fp8_and_tensor_parallel_halve_it() -> None:
    config = config_of("EXAONE-4.0-32B")
    whole = kv_cache(config).bytes_per_request
    assert kv_cache(config, dtype_bytes=1).bytes_per_request * 2 == whole
    assert kv_cache(config, tensor_parallel=2).bytes_per_request * 2 == whole
    assert kv_cache(config_of("DeepSeek-R1"), tensor_parallel=8).bytes_per_request == (
        kv_cache(config_of("DeepSeek-R1")).bytes_per_request
    ), "the latent vector is copied to every rank"


def test_logged_capacity_of_one_gib() -> None:
    # A tiny model of 2,048 bytes a token: vLLM's log said 524,288 tokens.
    tiny = config_of("EXAONE-4.0-1.2B") | {
        "num_hidden_layers": 4,
        "layer_types": ["full_attention"] * 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 64,
    }
    assert kv_cache(tiny, max_model_len=1024, block_size=128).capacity_tokens(GIB) == 524_288


@given(
    model=st.sampled_from(["EXAONE-4.0-1.2B", "EXAONE-4.0-32B", "gpt-oss-20b", "gemma-3-1b-it"]),
    available=st.integers(0, 30 * GIB),
    concurrency=st.integers(1, 40),
    engine=st.sampled_from(["vllm", "transformers", "sglang"]),
)
def test_longest_context_is_the_longest(model: str, available: int, concurrency: int, engine: str) -> None:
    config = config_of(model)
    found = longest_context(config, available, concurrency=concurrency, engine=engine)
    limit = config["max_position_embeddings"]

    def needed(length: int) -> int:
        return kv_cache(config, engine, max_model_len=length).bytes_per_request * concurrency

    assert found == 0 or needed(found) <= available
    assert found == limit or needed(found + 1) > available


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_model_len": 0},
        {"max_model_len": "4096"},
        {"block_size": 0},
        {"max_num_batched_tokens": -1},
        {"dtype_bytes": 0.5},
        {"tensor_parallel": 3},
        {"engine": "tgi"},
    ],
)
def test_impossible_arguments(arguments: dict) -> None:
    with pytest.raises(UsageError):
        kv_cache(config_of("EXAONE-4.0-32B"), **arguments)
    with pytest.raises(UsageError):
        longest_context(config_of("EXAONE-4.0-32B"), GIB, concurrency=0)
