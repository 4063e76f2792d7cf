"""The passport of a notebook: with what, on what and when its numbers were made. Meant for a chapter's second cell."""

from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from exaone_nb.catalog import read_config, resolve
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.messages import say
from exaone_nb.paths import NANO
from exaone_nb.workbook import record

MODES = {
    "nano": "the embedded practice model; its scores say nothing about EXAONE",
    "live": "measured on the model named here",
    "recorded": "numbers published or measured elsewhere, each with its source and date",
}
WEIGHTS = (".safetensors", ".gguf", ".bin", ".pt", ".pth")
SHAPE = (
    "model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size",
)  # fmt: skip


def facts(model: str = "nano", mode: str = "") -> dict[str, str]:
    """Label -> text. `mode` is nano, live or recorded; empty means what the model says. Raises UsageError otherwise."""
    mode = mode or mode_of(model)
    if mode not in MODES:
        raise UsageError(f"There is no mode {mode!r}.", expected=", ".join(MODES))
    made = record.origin()
    return {
        "Model": model or say("none"),
        "Mode": say("{mode}: {meaning}", mode=mode, meaning=MODES[mode]),
        "Machine": str(made.machine),
        "Made with": made.versions(),
        "Date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def mode_of(model: str) -> str:
    """nano for the practice model and what was made of it, recorded where only a published config is here, else live."""
    if model in ("nano", ""):
        return "nano"
    try:
        place = resolve(model)
    except WorkbookError:  # the chapter itself says what is wrong with the name
        return "live"
    if place.path is None:
        # Of a catalog model the chapters read the stored config, unless its weights were downloaded.
        return "live" if place.kind != "catalog" or _in_hub_cache(place.hub_id) else "recorded"
    folder = place.path if place.path.is_dir() else place.path.parent
    if _shape(folder) == _shape(NANO):
        return "nano"
    files = folder.iterdir() if place.path.is_dir() else [place.path]
    return "live" if any(file.suffix in WEIGHTS for file in files) else "recorded"


def _shape(folder: Path) -> dict[str, Any]:
    """What the copies and the quantized forms of a model have in common. Nobody else's model is as small as nano."""
    try:
        config = read_config(folder / "config.json")
    except WorkbookError:
        return {}
    return {name: config.get(name) for name in SHAPE}


def _in_hub_cache(hub_id: str) -> bool:
    """Whether the weights of a hub model were downloaded to this disk."""
    from huggingface_hub import try_to_load_from_cache

    names = ("model.safetensors", "model.safetensors.index.json")
    return any(isinstance(try_to_load_from_cache(hub_id, name), str) for name in names)


def passport(model: str = "nano", mode: str = "") -> None:
    """Display the facts as a small box. Call it once, right after the parameters: `passport(MODEL)`."""
    from IPython.display import display

    rows = facts(model, mode)
    items = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in rows.items())
    plain = "\n".join(f"{k}: {v}" for k, v in rows.items())
    display({"text/html": f'<dl class="passport">{items}</dl>', "text/plain": plain}, raw=True)
