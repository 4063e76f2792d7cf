"""Our KV arithmetic against vLLM's own functions: same groups, same bytes, same blocks, same capacity.

Which layer slides is taken from transformers' config classes here, not from our reading of the config, so that
both halves of the prediction are held against somebody else's code.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from exaone_nb import catalog
from exaone_nb.anatomy.kv import kv_cache, longest_context
from exaone_nb.anatomy.layouts import text_config

pytestmark = pytest.mark.heavy

MODELS = ("EXAONE-4.0-1.2B", "EXAONE-4.0-32B", "K-EXAONE-236B-A23B", "gpt-oss-120b", "gemma-3-1b-it")
# Latent attention (one vector for all heads), and chunks (Llama 4).
OTHERS = ("DeepSeek-R1", "Llama-4-Maverick-17B-128E-Instruct")
LENGTHS = (1, 17, 1000, 4096, 20_001, 32_768)
# One of them odd: with multiples of the block alone, a window that is off by one would go unseen.
IN_FLIGHT = (2048, 8193, 2 * 8192)
BLOCK = 16


def vllm_modules():
    """vLLM's functions, imported once and late: they bring torch with them."""
    utils = pytest.importorskip("vllm.v1.core.kv_cache_utils", reason="vLLM is not installed here")
    import vllm.v1.kv_cache_interface as interface
    from vllm.v1.kv_cache_layout import KVCacheLayout

    return utils, interface, KVCacheLayout


def layer_types(config: dict) -> list[str]:
    from transformers import AutoConfig

    fields = {key: value for key, value in config.items() if key not in ("model_type", "quantization_config")}
    types = getattr(AutoConfig.for_model(config["model_type"], **fields), "layer_types", None)
    return list(types or ["full_attention"] * config["num_hidden_layers"])


def vllm_config(interface, layout, length: int, in_flight: int, disabled: bool) -> SimpleNamespace:
    return SimpleNamespace(
        model_config=SimpleNamespace(max_model_len=length),
        parallel_config=SimpleNamespace(decode_context_parallel_size=1, pipeline_parallel_size=1),
        scheduler_config=SimpleNamespace(
            disable_hybrid_kv_cache_manager=disabled, max_num_batched_tokens=in_flight
        ),
        cache_config=SimpleNamespace(
            block_size=BLOCK,
            num_gpu_blocks_override=None,
            prefix_cache_retention_interval=None,
            get_resolved_kv_cache_layout=lambda: layout,
        ),
        attention_config=SimpleNamespace(hisparse_config=None),
        speculative_config=None,
        max_in_flight_tokens=in_flight,
    )


def vllm_specs(interface, config: dict, types: list[str], dtype, tensor_parallel: int) -> dict:
    specs = {}
    for index, kind in enumerate(types):
        if config.get("kv_lora_rank"):
            width = config["kv_lora_rank"] + config["qk_rope_head_dim"]
            common = {"block_size": BLOCK, "num_kv_heads": 1, "head_size": width, "dtype": dtype}
            specs[f"layer.{index}"] = interface.MLAAttentionSpec(**common)
            continue
        heads = max(1, config["num_key_value_heads"] // tensor_parallel)
        common = {"block_size": BLOCK, "num_kv_heads": heads, "head_size": config["head_dim"], "dtype": dtype}
        more = {
            "sliding_attention": (interface.SlidingWindowSpec, "sliding_window"),
            "chunked_attention": (interface.ChunkedLocalAttentionSpec, "attention_chunk_size"),
        }
        made, name = more.get(kind, (interface.FullAttentionSpec, ""))
        specs[f"layer.{index}"] = made(**common, **({name: config[name]} if name else {}))
    return specs


@pytest.mark.parametrize("model", [*MODELS, *OTHERS])
@pytest.mark.parametrize("in_flight", IN_FLIGHT)
@pytest.mark.parametrize("disabled", [False, True], ids=["hybrid", "hybrid-off"])
def test_kv_equals_vllm(model: str, in_flight: int, disabled: bool) -> None:
    import torch

    utils, interface, layouts = vllm_modules()
    layout = layouts.LBNHC
    config = text_config(catalog.resolve(model).config())
    types = layer_types(config)
    available = 20 * 2**30 + 12_345
    for tensor_parallel, dtype in ((1, torch.bfloat16), (2, torch.float8_e4m3fn)):
        for length in (*LENGTHS, config["max_position_embeddings"]):
            theirs = vllm_config(interface, layout, length, in_flight, disabled)
            specs = vllm_specs(interface, config, types, dtype, tensor_parallel)
            groups = utils.get_kv_cache_groups(theirs, specs)
            allocated = utils.get_kv_cache_config_from_groups(theirs, groups, available)
            tokens, concurrency = utils.get_kv_cache_capacity(theirs, allocated)
            ours = kv_cache(
                config,
                max_model_len=length,
                block_size=BLOCK,
                max_num_batched_tokens=in_flight,
                dtype_bytes=dtype.itemsize,
                tensor_parallel=tensor_parallel,
                hybrid_manager=not disabled,
            )
            where = (model, length, in_flight, tensor_parallel)
            assert sorted(len(group.layer_names) for group in groups) == sorted(
                group.layers for group in ours.groups
            ), where
            assert ours.bytes_per_request == utils._max_memory_usage_bytes_from_groups(theirs, groups), where
            assert ours.num_blocks(available) == allocated.num_blocks, where
            assert ours.concurrency(available) == concurrency, where
            assert ours.capacity_tokens(available) == tokens, where


@pytest.mark.parametrize("model", MODELS)
def test_longest_context_equals_vllm(model: str) -> None:
    import torch

    utils, interface, layouts = vllm_modules()
    config = catalog.resolve(model).config()
    for available in (2**28, 2**31 + 77, 9 * 2**30):
        theirs = vllm_config(interface, layouts.LBNHC, config["max_position_embeddings"], 8192, False)
        specs = vllm_specs(interface, config, layer_types(config), torch.bfloat16, 1)
        groups = utils.get_kv_cache_groups(theirs, specs)
        expected = utils._estimate_max_model_len_from_groups(theirs, groups, available)
        assert longest_context(config, available, max_num_batched_tokens=8192) == expected


def test_a_started_engine_has_the_blocks_we_said(tmp_path, monkeypatch) -> None:
    """A real engine on the CPU, with windows in three of four layers: blocks and capacity as it logs them."""
    pytest.importorskip("vllm", reason="vLLM is not installed here")
    import torch
    from transformers import Exaone4Config, Exaone4ForCausalLM, PreTrainedTokenizerFast

    if torch.cuda.is_available():
        pytest.skip("this checks the CPU backend; on a GPU the blocks have another size")
    for name, value in {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }.items():
        monkeypatch.setenv(name, value)
    config = Exaone4Config(
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        vocab_size=512,
        sliding_window=256,
        layer_types=["sliding_attention"] * 3 + ["full_attention"],
        max_position_embeddings=2048,
        tie_word_embeddings=True,
    )
    Exaone4ForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path)
    from tokenizers import Tokenizer, models

    words = {f"w{i}": i for i in range(512)}
    PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="w0")), unk_token="w0"
    ).save_pretrained(tmp_path)
    from vllm import LLM

    llm = LLM(
        str(tmp_path), enforce_eager=True, max_model_len=2048, max_num_batched_tokens=512, dtype="bfloat16"
    )
    theirs = llm.llm_engine.vllm_config
    ours = kv_cache(
        config.to_dict(),
        max_model_len=2048,
        block_size=theirs.cache_config.block_size,
        max_num_batched_tokens=512,
        concurrent_batches=theirs.max_concurrent_batches,
        hybrid_manager=not theirs.scheduler_config.disable_hybrid_kv_cache_manager,
    )
    assert len(ours.groups) == 4, "the hybrid manager is on, so that this test says something"
    assert theirs.cache_config.num_gpu_blocks == ours.num_blocks(2**30)
    del llm
