"""A small random hybrid EXAONE 4.0 in a real vLLM engine: what it says about its cache, beside what we predict.

The engine runs in a process of its own (`engines.apart`), so that a crash or its threads cannot take a notebook along,
and its memory is free again afterwards.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exaone_nb import catalog
from exaone_nb.anatomy.kv import kv_cache
from exaone_nb.architecture.costs import design
from exaone_nb.conversation.answers import Sampling
from exaone_nb.engines.apart import run_apart
from exaone_nb.engines.vllm_engine import VllmEngine
from exaone_nb.files import write_json
from exaone_nb.paths import NANO
from exaone_nb.show.table import Column, Table

IN_FLIGHT, CACHE_BYTES = 512, 2**30


@dataclass(frozen=True)
class Served:
    """The engine's own figures and our prediction of them, for the same bytes of cache."""

    theirs: dict[str, Any]
    ours: dict[str, Any]

    @property
    def agree(self) -> bool:
        return self.ours.items() <= self.theirs.items()


def report_table(served: Served) -> Table:
    """Predicted beside reported, figure by figure."""
    pairs = [(key, ours, served.theirs[key]) for key, ours in served.ours.items()]
    rows = [{"what": key, "predicted": a, "theirs": b, "match": a == b} for key, a, b in pairs]
    shown = [
        Column("what", "", code=True),
        Column("predicted", form=","),
        Column("theirs", "vLLM says", ","),
        Column("match"),
    ]
    return Table(shown, rows)


def small_hybrid(layers: int = 8, window: int = 256) -> dict[str, Any]:
    """The config.json of a random 3:1 EXAONE 4.0 of a few MB. Raises UsageError for a pattern that does not fit."""
    sizes = {"hidden_size": 128, "intermediate_size": 256, "head_dim": 32, "vocab_size": 512}
    nano = catalog.read_config(NANO / "config.json") | sizes | {"max_position_embeddings": 4096}
    return design(nano, "3:1", layers=layers, window=window)


def serve(config: dict[str, Any], *, dtype: str = "auto") -> Served:
    """Start the engine, generate a few tokens past the window, and compare. Raises WorkbookError when it fails."""
    theirs = run_apart("exaone_nb.architecture.engine:probe", {"config": config, "dtype": dtype}, timeout=240)
    cache = kv_cache(
        config,
        max_model_len=config["max_position_embeddings"],
        block_size=theirs["block_size"],
        max_num_batched_tokens=IN_FLIGHT,
        concurrent_batches=theirs.pop("concurrent_batches"),
        hybrid_manager=theirs.pop("hybrid_manager"),
        dtype_bytes=4 if theirs["dtype"] == "float32" else 2,
    )
    ours = {
        "groups": len(cache.groups),
        "layers_per_group": [group.layers for group in cache.groups],
        "num_blocks": cache.num_blocks(CACHE_BYTES),
        "capacity_tokens": cache.capacity_tokens(CACHE_BYTES),
        "concurrency": round(cache.concurrency(CACHE_BYTES), 2),
    }
    return Served(theirs, ours)


def probe(request: dict[str, Any]) -> dict[str, Any]:
    """The engine's side, in its own process: load random weights, generate past the window, report the cache."""
    config = request["config"]
    length = config["max_position_embeddings"]
    options = {
        "max_model_len": length,
        "max_num_batched_tokens": IN_FLIGHT,
        # Asked for in bytes, so that the prediction holds on a GPU as well, whatever share of it is free.
        "kv_cache_memory_bytes": CACHE_BYTES,
        "dtype": request["dtype"],
        "eager": True,
    }
    prompt = [3 + i % 500 for i in range(min(length - 8, 2 * config["sliding_window"]))]
    with tempfile.TemporaryDirectory() as folder:
        write_json(Path(folder, "config.json"), config)
        with VllmEngine(folder, dummy_weights=True, **options) as engine:
            (answer,) = engine.generate([prompt], Sampling(max_tokens=4, ignore_eos=True))
            return {
                **engine.cache_report(),
                "dtype": engine.dtype,
                "dtype_reason": engine.dtype_reason,
                "prompt_tokens": len(prompt),
                "generated_tokens": answer.output_tokens,
            }
