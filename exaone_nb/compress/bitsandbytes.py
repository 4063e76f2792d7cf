"""Checkpoints by bitsandbytes: rounded while transformers loads the model, read and sized like any other.

    make("nano", "nf4", "runs/mine/checkpoints/nf4")

No calibration text is read, so a model takes seconds. What is stored: `exaone_nb.quantization.bitsandbytes`.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from exaone_nb import catalog, older_names
from exaone_nb.anatomy.layouts import expected_tensors
from exaone_nb.anatomy.logical import predict_stored
from exaone_nb.compress import manifest
from exaone_nb.compress.footprint import measured
from exaone_nb.compress.models import quiet
from exaone_nb.compress.quantize import copy_companions
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.files import require_free_space, staged_directory
from exaone_nb.messages import say
from exaone_nb.paths import COMPLETE
from exaone_nb.quantization.bitsandbytes import METHOD, OFFSET_BYTES

FOUR = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": "bfloat16"}
FORMS: dict[str, dict[str, Any]] = {
    "nf4": FOUR,
    "nf4_double": FOUR | {"bnb_4bit_use_double_quant": True},
    "int8": {"load_in_8bit": True},
}


def predicted_bytes(config: dict[str, Any], form: str) -> tuple[int, int]:
    """(bytes of the file, by how many more or fewer it may be) of the model with this config in one of FORMS."""
    options = _options(form)
    file = predict_stored(config | {"quantization_config": {"quant_method": METHOD, **options}})
    matrices = sum(spec.kind == "linear" for spec in expected_tensors(config))
    return file.file_bytes, OFFSET_BYTES * matrices if options.get("bnb_4bit_use_double_quant") else 0


def make(model: str | Path, form: str, out: str | Path) -> dict[str, Any]:
    """Quantize `model` in one of FORMS into the folder `out`, and return what `quantize` returns, as far as it applies.

    Raises UsageError for another form and for a folder that may not be replaced, WorkbookError where bitsandbytes is not
    installed or the model cannot be loaded.
    """
    options, source, out = _options(form), catalog.weights_folder(model), Path(out)
    manifest.check_out(out, source)
    if find_spec("bitsandbytes") is None:
        raise WorkbookError(say("bitsandbytes is not installed."), remedy=COMPLETE)
    predicted, margin = predicted_bytes(catalog.read_config(source / "config.json"), form)
    require_free_space(out.parent, predicted + 1_000_000, say("the checkpoint {name}", name=out.name))
    with staged_directory(out) as staging:
        with measured() as used:
            _convert(source, options, staging)
        copy_companions(source, staging)
        older_names.make_readable(staging)
        sizes = {"predicted_bytes": predicted, "margin_bytes": margin}
        return manifest.write_brief(staging, f"{METHOD}_{form}", model=str(model), **sizes, **used)


def _options(form: str) -> dict[str, Any]:
    if form not in FORMS:
        raise UsageError(
            say("bitsandbytes has no form {form!r}.", form=form), expected=", ".join(FORMS) + "."
        )
    return FORMS[form]


def _convert(source: Path, options: dict[str, Any], folder: Path) -> None:
    with quiet():
        from transformers import AutoModelForCausalLM, BitsAndBytesConfig

        try:
            model = AutoModelForCausalLM.from_pretrained(
                source, dtype="auto", quantization_config=BitsAndBytesConfig(**options)
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise WorkbookError(
                say("{model} cannot be loaded with bitsandbytes: {error}", model=source.name, error=error),
                expected=say("an unquantized model folder with its weights."),
            ) from error
        model.save_pretrained(folder)
