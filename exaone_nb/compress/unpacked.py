"""A GPTQ file's numbers as an ordinary model folder, so that it is judged where its kernels are not installed.

    unpack("runs/gptqmodel", "runs/gptqmodel_plain")

transformers opens GPTQ files with GPTQModel alone, which lives in an environment of its own. A weight is
(code - zero - 1) x scale, with codes packed along the inputs and zeros along the outputs, 32 / bits to an int32.
"""

import shutil
from pathlib import Path
from typing import Any

from exaone_nb import catalog, fields
from exaone_nb.compress import manifest
from exaone_nb.compress.quantize import companions
from exaone_nb.errors import UsageError
from exaone_nb.files import staged_directory, write_json
from exaone_nb.library_types import Tensor
from exaone_nb.messages import say
from exaone_nb.quantization.config import read_quantization


def unpack(folder: str | Path, out: str | Path) -> dict[str, Any]:
    """Write the model with its weights [out, in] unpacked, in its own dtype, into `out`; returns its manifest.

    Raises UsageError when the folder holds no GPTQ file.
    """
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    folder, out = Path(folder), Path(out)
    config = catalog.read_config(folder / "config.json")
    quantization = read_quantization(config)
    if quantization is None or quantization.method != "gptq":
        raise UsageError(
            say("{name} holds no GPTQ file.", name=folder.name), expected=say("quant_method: gptq.")
        )
    manifest.check_out(out, folder)
    read: dict[str, Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as opened:
            read |= {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    dtype = getattr(torch, fields.named_dtype(config) or "bfloat16")
    packed = {name.removesuffix(".qweight") for name in read if name.endswith(".qweight")}
    made = {name: tensor for name, tensor in read.items() if name.rpartition(".")[0] not in packed}
    for module in packed:
        weight, zeros, scales, group = (
            read[f"{module}.{part}"] for part in ("qweight", "qzeros", "scales", "g_idx")
        )
        codes = _codes(weight, quantization.bits).transpose(1, 2).flatten(0, 1)  # [in, out]
        zero = _codes(zeros, quantization.bits).flatten(1) + 1  # [groups, out]
        exact = (codes - zero[group.long()]).float() * scales.float()[group.long()]
        made[f"{module}.weight"] = exact.T.to(dtype).contiguous()
    with staged_directory(out) as staging:
        for path in companions(folder):
            shutil.copy2(path, staging / path.name)
        save_file(made, staging / "model.safetensors", {"format": "pt"})
        write_json(staging / "config.json", fields.unquantized(config))
        return manifest.write_brief(staging, out.name, model=folder.name)


def _codes(words: Tensor, bits: int) -> Tensor:
    """int32 [a, b] as its codes [a, b, 32 / bits]; the lowest bits come first."""
    import torch

    shifts = torch.arange(0, 32, bits, dtype=torch.int32)
    return (words.unsqueeze(-1) >> shifts) & (2**bits - 1)
