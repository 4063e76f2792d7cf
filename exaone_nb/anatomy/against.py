"""Predictions held against real files: the model's own, and published sizes."""

from typing import Any

from exaone_nb import catalog, published
from exaone_nb.anatomy.predict import predict_checkpoint
from exaone_nb.fields import model_dtype
from exaone_nb.messages import say, translated


def local_files(model: str) -> list[dict[str, Any]]:
    """The unquantized model's own safetensors on this disk against the prediction; empty when none are here."""
    place = catalog.resolve(model)
    folder = place.local_weights()
    config = catalog.read_config(folder / "config.json") if folder else {}
    if folder is None or "quantization_config" in config:
        return []
    real = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    dtype = model_dtype(config)
    return [
        _row(place.name, dtype, predict_checkpoint(config, dtype).file_bytes, real, say("this disk, now"))
    ]


def published_files() -> list[dict[str, Any]]:
    """Every published file or index total that is given to the byte, against the prediction."""
    rows = []
    for entry in published.sizes():
        if entry["unit"] == "bytes" and entry["rounded"] != "yes" and (scheme := entry["scheme"]):
            config = catalog.resolve(entry["model"]).config()
            twice = entry["head_twice"] == "yes"
            prediction = predict_checkpoint(config, scheme, untied_head=twice, dtype=entry["dtype"])
            predicted = prediction.file_bytes if entry["kind"] == "file" else prediction.data_bytes
            origin = say("{source}, {date}", source=translated(entry["source"]), date=entry["date"])
            what = say("{model}, {what}", model=entry["model"], what=translated(entry["what"]))
            rows.append(_row(what, scheme, predicted, int(entry["value"]), origin) | {"head_twice": twice})
    return rows


def _row(file: str, scheme: str, predicted: int, real: int, origin: str) -> dict[str, Any]:
    values = (file, scheme, predicted, real, predicted - real, origin)
    return dict(zip(("file", "scheme", "predicted", "real", "off", "origin"), values, strict=True))
