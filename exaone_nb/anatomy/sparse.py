"""Checkpoints of any size that take no disk: real headers, and data that is one long hole.

A file made with `truncate` has its full length but no blocks, so tools that read headers cannot tell it from the real
one. The data reads as zeros. They stand in for models whose weights are not on this disk.
"""

from pathlib import Path
from typing import Any

from exaone_nb.anatomy.predict import Prediction, predict_checkpoint
from exaone_nb.anatomy.reader import INDEX
from exaone_nb.anatomy.safetensors_layout import header_json
from exaone_nb.catalog import resolve
from exaone_nb.files import staged_directory, write_json

# What LLM Compressor writes into config.json for W4A16, as far as a reader of the weights needs it.
W4A16_CONFIG = {
    "quant_method": "compressed-tensors",
    "format": "pack-quantized",
    "ignore": ["lm_head"],
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {
                "num_bits": 4,
                "type": "int",
                "strategy": "group",
                "group_size": 128,
                "symmetric": True,
            },
        }
    },
}


def write_sparse(folder: str | Path, prediction: Prediction, config: dict[str, Any]) -> Path:
    """Write the predicted files, the index when there is more than one, and config.json; return the folder."""
    with staged_directory(folder) as staging:
        for shard in prediction.shards:
            header = header_json(shard.tensors)
            with (staging / shard.name).open("wb") as handle:
                handle.write(len(header).to_bytes(8, "little"))
                handle.write(header)
                handle.truncate(shard.file_bytes)
        if len(prediction.shards) > 1:
            weight_map = {tensor.name: shard.name for shard in prediction.shards for tensor in shard.tensors}
            total = {"total_size": prediction.data_bytes}
            write_json(staging / INDEX, {"metadata": total, "weight_map": dict(sorted(weight_map.items()))})
        write_json(staging / "config.json", config)
    return Path(folder)


def local_or_rebuilt(model: str, folder: Path) -> tuple[Path, bool]:
    """A folder with safetensors files: the model's own, or one with true headers and empty data built in `folder`.

    The second value is True when it was built (a catalog model whose weights are not on this disk).
    """
    place = resolve(model)
    if (local := place.local_weights()) is not None:
        return local, False
    config = place.config()
    return write_sparse(folder / place.name, predict_checkpoint(config), config), True


def rebuild_w4a16(model: str, folder: Path, *, untied_head: bool) -> Path:
    """The W4A16 file of a catalog model with its true header and empty data."""
    place = resolve(model)
    config = place.config()
    plan = predict_checkpoint(config, "W4A16", untied_head=untied_head)
    name = f"{place.name}-W4A16{'-head-twice' if untied_head else ''}"
    return write_sparse(folder / name, plan, {**config, "quantization_config": W4A16_CONFIG})
