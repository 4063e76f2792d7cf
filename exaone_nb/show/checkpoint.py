"""Chapter 01's tables and its map of a file. Tables are plain rows, the map a matplotlib figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exaone_nb.anatomy.inspection import Inspection
from exaone_nb.anatomy.layouts import text_config
from exaone_nb.anatomy.predict import predict_checkpoint
from exaone_nb.anatomy.reader import Checkpoint
from exaone_nb.anatomy.sparse import write_sparse
from exaone_nb.catalog import resolve
from exaone_nb.show.memory_figures import COMPONENTS, label_strips

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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


def local_or_rebuilt(model: str, folder: Path) -> tuple[Path, bool]:
    """A folder with safetensors files: the model's own, or one with true headers and empty data built in `folder`.

    The second value is True when it was built (a catalog model whose weights are not on this disk).
    """
    place = resolve(model)
    if place.path is not None and place.path.exists():
        return (place.path if place.path.is_dir() else place.path.parent), False
    config = place.config()
    return write_sparse(folder / place.name, predict_checkpoint(config), config), True


def rebuild_w4a16(model: str, folder: Path, *, untied_head: bool) -> Path:
    """The W4A16 file of a catalog model with its true header and empty data."""
    config = resolve(model).config()
    plan = predict_checkpoint(config, "W4A16", untied_head=untied_head)
    name = f"{resolve(model).name}-W4A16{'-head-twice' if untied_head else ''}"
    return write_sparse(folder / name, plan, {**config, "quantization_config": W4A16_CONFIG})


def tensor_rows(inspection: Inspection, layer: int | None) -> list[dict[str, str]]:
    """The tensors of one decoder layer, or those outside the layers for None."""
    return [
        {
            "tensor": row.name,
            "dtype": row.dtype,
            "shape": " x ".join(map(str, row.shape)),
            "bytes": f"{row.bytes:,}",
            "component": row.component,
        }
        for row in inspection.rows
        if row.layer == layer
    ]


def shape_rows(inspections: dict[str, Inspection], layer: int = 0) -> list[dict[str, str]]:
    """The shapes of one layer, one column per model; tensors that only some have leave a gap."""
    columns = {
        name: {row.name: " x ".join(map(str, row.shape)) for row in inspection.rows if row.layer == layer}
        for name, inspection in inspections.items()
    }
    tensors = dict.fromkeys(tensor for column in columns.values() for tensor in column)
    return [
        {"tensor": tensor, **{name: column.get(tensor, "") for name, column in columns.items()}}
        for tensor in tensors
    ]


def outline_rows(
    inspections: dict[str, Inspection], configs: dict[str, dict[str, Any]]
) -> list[dict[str, str]]:
    """One row per model: what the config says beside what the tensors add up to."""
    rows = []
    for name, inspection in inspections.items():
        config = text_config(configs[name])
        total, parts = inspection.total, inspection.by(lambda row: row.component)
        tables = sum(parts[part].bytes for part in ("embedding", "head") if part in parts)
        rows.append(
            {
                "model": name,
                "tensors": f"{total.tensors:,}",
                "layers": str(config.get("num_hidden_layers", config.get("num_layers"))),
                "hidden size": f"{config['hidden_size']:,}",
                "head": "stored apart" if "head" in parts else "tied",
                "parameters": f"{total.logical:,}",
                "bytes of data": f"{total.bytes:,}",
                "embedding and head": f"{tables / total.bytes:.1%}",
            }
        )
    return rows


def counting_rows(inspections: dict[str, Inspection]) -> list[dict[str, str]]:
    """Stored elements beside the parameters they stand for, and bits per parameter over everything."""
    return [
        {
            "model": name,
            "stored elements": f"{inspection.total.elements:,}",
            "parameters": f"{inspection.total.logical:,}",
            "a plain sum is off by": f"{inspection.total.elements / inspection.total.logical - 1:+.0%}",
            "bytes of data": f"{inspection.total.bytes:,}",
            "bits per parameter": f"{inspection.total.bytes * 8 / inspection.total.logical:.2f}",
        }
        for name, inspection in inspections.items()
    ]


def _stretches(checkpoint: Checkpoint, component: dict[str, str]) -> list[tuple[int, int, str]]:
    """(begin, bytes, component) of neighbours that belong together, in the order of the data."""
    found: list[tuple[int, int, str]] = []
    start = 0
    for file in checkpoint.files:
        for entry in file.entries:
            name, begin = component[entry.name], start + entry.begin
            if found and found[-1][2] == name:
                found[-1] = (found[-1][0], begin + entry.bytes - found[-1][0], name)
            else:
                found.append((begin, entry.bytes, name))
        start += file.data_bytes
    return found


def file_map(inspections: Sequence[tuple[str, Inspection]]) -> Figure:
    """One strip per file, from its first byte of data to its last, coloured by component. Needs read headers."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8.5, 0.8 * len(inspections) + 1.3))
    used: set[str] = set()
    for place, (_, inspection) in enumerate(inspections):
        component = {row.name: row.component for row in inspection.rows}
        total = inspection.checkpoint.data_bytes
        for begin, size, name in _stretches(inspection.checkpoint, component):
            kind = name if name in COMPONENTS else "other"
            colour, hatch = COMPONENTS[kind]
            wide = size > total / 100
            axes.barh(
                place,
                size / 1e6,
                left=begin / 1e6,
                height=0.6,
                color=colour,
                hatch=hatch if wide else "",
                edgecolor="white" if wide else "none",
                linewidth=0.5 if wide else 0,
                snap=False,  # otherwise thin stretches are moved to whole pixels and some vanish
            )
            used.add(kind)
    axes.set_xlim(left=0)
    axes.set_xlabel("position in the file, MB after the header")
    label_strips(axes, [label for label, _ in inspections], used)
    return figure
