"""A checkpoint opened in transformers: on the GPU where there is one, and without a word on the terminal."""

from pathlib import Path
from typing import Any

from exaone_nb.compress.llmcompressor_adapter import quiet, separate_experts
from exaone_nb.library_types import device


def best_device() -> device:
    """Where models are judged: the first NVIDIA GPU that torch can use, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def open_model(
    folder: str | Path, *, dtype: str = "auto", trust_remote_code: bool = False, **more: Any
) -> Any:
    """The checkpoint for evaluation on `best_device`. `more` goes to transformers' `from_pretrained`.

    Experts are modules of their own, as in the file; transformers by itself joins them to one tensor per layer.
    """
    with quiet():
        import torch
        from transformers import AutoModelForCausalLM

        where = best_device()
        if where.type != "cpu":
            more = {"device_map": {"": where}} | more
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, trust_remote_code=trust_remote_code, **more
        )
        separate_experts(model)
        model.eval()
        with torch.inference_mode():
            # Packed weights are unpacked, with progress bars, on the first pass.
            model(torch.tensor([[0]], device=model.device))
    return model
