"""A small random hybrid EXAONE 4.0 in a real vLLM engine: what it says about its cache, beside what we predict.

The engine runs in a process of its own (`python -m exaone_nb.architecture.engine`), so that a crash or its threads
cannot take a notebook along, and its memory is free again afterwards.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exaone_nb.anatomy.kv import kv_cache
from exaone_nb.architecture.shape import layer_pattern, whole
from exaone_nb.errors import WorkbookError

MARK = "EXAONE-NB-KV "
GIB = 2**30


@dataclass(frozen=True)
class Served:
    """The engine's own figures and our prediction of them, for the same `available` bytes of cache."""

    theirs: dict[str, Any]
    ours: dict[str, Any]

    @property
    def agree(self) -> bool:
        return all(self.theirs[key] == value for key, value in self.ours.items())


def small_hybrid(layers: int = 8, local: int = 3, window: int = 256, context: int = 4096) -> dict[str, Any]:
    """A config.json of a random hybrid EXAONE 4.0 of a few MB. Raises UsageError for a pattern that does not fit."""
    return {
        "architectures": ["Exaone4ForCausalLM"],
        "model_type": "exaone4",
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "vocab_size": 512,
        "sliding_window": whole("sliding_window", window),
        "layer_types": list(layer_pattern(layers, local)),
        "max_position_embeddings": whole("The context", context),
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
        "tie_word_embeddings": True,
        "hidden_act": "silu",
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }


def has_vllm() -> bool:
    """Whether vLLM can be imported here; nothing is loaded to find out."""
    return importlib.util.find_spec("vllm") is not None


def serve(
    config: dict[str, Any], *, batched_tokens: int = 512, cache_gib: int = 1, timeout_s: float = 240
) -> Served:
    """Start the engine, generate a few tokens past the window, and compare. Raises WorkbookError when it fails."""
    request = {"config": config, "batched_tokens": whole("batched_tokens", batched_tokens)}
    environment = os.environ | {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": str(whole("cache_gib", cache_gib)),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    command = [sys.executable, "-m", "exaone_nb.architecture.engine", json.dumps(request)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise WorkbookError(
            f"The engine did not finish in {timeout_s:g} s.",
            remedy="Run it while the machine is idle, or raise the limit.",
        ) from error
    lines = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode or not lines:
        tail = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise WorkbookError(f"The engine stopped with exit code {done.returncode}: {tail}")
    theirs = json.loads(lines[-1].removeprefix(MARK))
    cache = kv_cache(
        config,
        max_model_len=config["max_position_embeddings"],
        block_size=theirs["block_size"],
        max_num_batched_tokens=batched_tokens,
        concurrent_batches=theirs.pop("concurrent_batches"),
        hybrid_manager=theirs.pop("hybrid_manager"),
    )
    available = theirs.pop("available")
    ours = {
        "groups": len(cache.groups),
        "layers_per_group": [group.layers for group in cache.groups],
        "num_blocks": cache.num_blocks(available),
        "capacity_tokens": cache.capacity_tokens(available),
        "concurrency": round(cache.concurrency(available), 2),
    }
    return Served(theirs, ours)


def _child(request: dict[str, Any]) -> dict[str, Any]:
    import torch
    from transformers import Exaone4Config, Exaone4ForCausalLM
    from vllm import LLM, SamplingParams
    from vllm.v1.core.kv_cache_utils import get_kv_cache_capacity

    config = request["config"]
    length = config["max_position_embeddings"]
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        model = Exaone4ForCausalLM(Exaone4Config(**config)).to(torch.bfloat16)
        model.save_pretrained(Path(folder))
        llm = LLM(
            folder,
            skip_tokenizer_init=True,
            enforce_eager=True,
            max_model_len=length,
            max_num_batched_tokens=request["batched_tokens"],
            dtype="bfloat16",
        )
    prompt = [3 + i % 500 for i in range(min(length - 8, 2 * config["sliding_window"]))]
    sampling = SamplingParams(temperature=0, max_tokens=4, ignore_eos=True, detokenize=False)
    tokens = llm.generate([{"prompt_token_ids": prompt}], sampling)[0].outputs[0].token_ids
    theirs = llm.llm_engine.vllm_config
    report = llm.llm_engine.engine_core.engine_core.scheduler.kv_cache_config
    capacity, concurrency = get_kv_cache_capacity(theirs, report)
    return {
        "groups": len(report.kv_cache_groups),
        "layers_per_group": [len(group.layer_names) for group in report.kv_cache_groups],
        "num_blocks": theirs.cache_config.num_gpu_blocks,
        "capacity_tokens": capacity,
        "concurrency": round(concurrency, 2),
        "block_size": theirs.cache_config.block_size,
        "prompt_tokens": len(prompt),
        "generated_tokens": len(tokens),
        "available": int(os.environ["VLLM_CPU_KVCACHE_SPACE"]) * GIB,
        "concurrent_batches": theirs.max_concurrent_batches,
        "hybrid_manager": not theirs.scheduler_config.disable_hybrid_kv_cache_manager,
    }


if __name__ == "__main__":
    print(MARK + json.dumps(_child(json.loads(sys.argv[1]))))
