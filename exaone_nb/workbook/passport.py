"""The passport of a notebook: with what, on what and when its numbers were made. Meant for a chapter's second cell."""

from datetime import UTC, datetime
from html import escape

from exaone_nb.catalog import recognised, resolve
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.messages import say
from exaone_nb.workbook import record

MODES = {
    "nano": "the embedded practice model; its scores say nothing about EXAONE",
    "live": "measured on the model named here",
    "recorded": "numbers published or measured elsewhere, each with its source and date",
}
WEIGHTS = (".safetensors", ".gguf", ".bin", ".pt", ".pth")


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
        return "live" if place.kind != "catalog" or place.local_weights() else "recorded"
    if recognised(place.path) == "nano":
        return "nano"
    files = place.path.iterdir() if place.path.is_dir() else [place.path]
    return "live" if any(file.suffix in WEIGHTS for file in files) else "recorded"


def passport(model: str = "nano", mode: str = "") -> None:
    """Display the facts as a small box. Call it once, right after the parameters: `passport(MODEL)`."""
    from IPython.display import display

    rows = facts(model, mode)
    items = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in rows.items())
    plain = "\n".join(f"{k}: {v}" for k, v in rows.items())
    display({"text/html": f'<dl class="passport">{items}</dl>', "text/plain": plain}, raw=True)
