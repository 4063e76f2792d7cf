"""A model folder without weights: config.json of any catalog model in any scheme, nothing else.

vLLM's dummy loader fills the tensors with small random numbers, so that a scheme's speed can be measured in minutes
on a machine that never sees the weights. Speed depends on shapes and kernels, not on values; quality is not measured.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from exaone_nb.anatomy.layouts import text_config
from exaone_nb.errors import UsageError
from exaone_nb.fields import unquantized
from exaone_nb.files import write_json
from exaone_nb.messages import say
from exaone_nb.quantization.schemes import UNQUANTIZED_NAMES, find_scheme


def quantization_config(scheme: str) -> dict[str, Any] | None:
    """The `quantization_config` that a one-scheme recipe over all Linear layers leaves in config.json.

    None for the unquantized names. Built by compressed-tensors itself. Raises UsageError for an unknown scheme.
    """
    found = find_scheme(scheme)
    if scheme.upper() in UNQUANTIZED_NAMES:
        return None
    from compressed_tensors.quantization import QuantizationConfig, preset_name_to_scheme

    group = preset_name_to_scheme(found.name, ["Linear"])
    group.format = found.format
    document = QuantizationConfig(
        config_groups={"group_0": group},
        ignore=["lm_head"],
        format=found.format,
        quantization_status="compressed",
    ).to_dict()
    return json.loads(json.dumps(document, default=str))  # enumerations and dtypes by their names


def shape_config(config: dict[str, Any], scheme: str = "BF16", *, layers: int = 0) -> dict[str, Any]:
    """`config` in `scheme`, cut to its first `layers` layers (0: all). A quantization it already has is replaced."""
    changed = unquantized(config)
    text = dict(text_config(changed))
    held = text.get("num_hidden_layers")
    if layers < 0 or (layers and isinstance(held, int) and layers > held):
        got = say("layers is {layers}.", layers=layers)
        raise UsageError(got, expected=say("0 (all) to {held}.", held=held))
    if layers:
        text["num_hidden_layers"] = layers
        for name, value in text.items():
            if name.endswith("layer_types") and isinstance(value, list):
                text[name] = value[:layers]
    changed |= {"text_config": text} if "text_config" in changed else text
    if (quantization := quantization_config(scheme)) is not None:
        changed["quantization_config"] = quantization
    return changed


@contextmanager
def shape_folder(
    config: dict[str, Any], scheme: str = "BF16", *, layers: int = 0, name: str = "shape"
) -> Iterator[Path]:
    """A temporary folder that holds the config and nothing else; gone when the block ends.

    It is called after the model and the scheme, since messages about a failure name it.
    """
    with tempfile.TemporaryDirectory(prefix="exaone-nb-") as parent:
        folder = Path(parent, f"{Path(name).name}-{scheme}")
        write_json(folder / "config.json", shape_config(config, scheme, layers=layers))
        yield folder
