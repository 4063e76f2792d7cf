"""The settings that `memory` takes from vLLM when nobody gives them, asked of vLLM."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import pytest

from exaone_nb import catalog
from exaone_nb.anatomy.kv import kv_cache
from exaone_nb.anatomy.memory import overheads, plan_memory
from exaone_nb.gpus import GPUS

pytestmark = pytest.mark.heavy


@pytest.mark.parametrize("name", GPUS)
def test_batches_of_a_card(name: str, monkeypatch) -> None:
    arguments = pytest.importorskip("vllm.engine.arg_utils", reason="vLLM is not installed here")
    from vllm.usage.usage_lib import UsageContext

    card = GPUS[name]
    platform = SimpleNamespace(
        get_device_total_memory=lambda: card.memory_bytes,
        get_device_name=lambda: f"NVIDIA {card.name}",
        is_tpu=lambda: False,
        is_cpu=lambda: False,
    )
    monkeypatch.setattr(arguments, "current_platform", platform)
    tokens, sequences = arguments.EngineArgs.get_batch_defaults(1)
    assert card.batched_tokens() == tokens[UsageContext.LLM_CLASS]
    assert card.batched_tokens(server=True) == tokens[UsageContext.OPENAI_API_SERVER]
    config = catalog.resolve("EXAONE-4.0-1.2B").config()
    plan = plan_memory(config, "BF16", card)
    asked = {"batched_tokens": plan.batched_tokens, "sequences": sequences[UsageContext.LLM_CLASS]}
    assert plan.overheads == overheads(config, "vllm", **asked)


def test_share_of_the_memory_blocks_and_batches_in_flight() -> None:
    cache = pytest.importorskip("vllm.config.cache", reason="vLLM is not installed here").CacheConfig
    from vllm.config.vllm import VllmConfig

    ours = inspect.signature(plan_memory).parameters["utilization"].default
    assert ours == cache().gpu_memory_utilization
    assert inspect.signature(kv_cache).parameters["block_size"].default == cache.DEFAULT_BLOCK_SIZE
    asynchronous = SimpleNamespace(
        parallel_config=SimpleNamespace(pipeline_parallel_size=1),
        scheduler_config=SimpleNamespace(async_scheduling=True),
        use_v2_model_runner=False,
    )
    plan = plan_memory(catalog.resolve("EXAONE-4.0-1.2B").config(), "BF16", "L4")
    batches = VllmConfig.max_concurrent_batches.fget(asynchronous)
    assert plan.kv.in_flight_tokens == batches * plan.batched_tokens
