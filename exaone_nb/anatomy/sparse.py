"""Checkpoints of any size that take no disk: real headers, and data that is one long hole.

A file made with `truncate` has its full length but no blocks, so tools that read headers cannot tell it from the real
one. The data reads as zeros. Used by chapter 01, the tests and the benchmark.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from exaone_nb.anatomy.predict import Prediction
from exaone_nb.anatomy.safetensors_layout import header_json
from exaone_nb.anatomy.sources import INDEX
from exaone_nb.files import staged_directory


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
            index = {
                "metadata": {"total_size": prediction.data_bytes},
                "weight_map": dict(sorted(weight_map.items())),
            }
            (staging / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
        (staging / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return Path(folder)
