"""The preset whose kernels run a scheme: one rule for everybody who asks."""

from __future__ import annotations

from dataclasses import replace

from exaone_nb.quantization.config import Quantization
from exaone_nb.quantization.schemes import SCHEMES, Scheme

MIXED = "mixed"


def nearest_preset(scheme: Scheme) -> str:
    """The preset whose kernel a scheme needs, "" when there is none.

    All arguments must be equal, but weight-only integers may have groups of any size, or one scale per channel: those
    are one kind of kernel, and `kernels` knows which sizes it takes.
    """
    mine = scheme.weights
    if mine is None:
        return ""
    for preset in SCHEMES.values():
        theirs = preset.weights
        if theirs is None or scheme.activations != preset.activations:
            continue
        if mine == theirs:
            return preset.name
        loose = scheme.activations is None and mine.type == theirs.type == "int"
        grouped = mine.strategy == "group" or (mine.strategy == "channel" and mine.symmetric)
        if loose and grouped and replace(mine, strategy="group", group_size=theirs.group_size) == theirs:
            return preset.name
    return ""


def presets_of(quantization: Quantization | None) -> list[tuple[str, Scheme | None]]:
    """(preset or "", scheme) of every group of a quantization_config; BF16 alone when nothing is quantized.

    mxfp4, fp8, AWQ and GPTQ files have the storage and the kernels of a preset, and no compressed-tensors scheme.
    """
    if quantization is None:
        return [("BF16", None)]
    if quantization.method == "mxfp4":
        return [("MXFP4A16", None)]
    if quantization.method == "fp8":
        return [("FP8_BLOCK" if quantization.block[0] else "FP8_DYNAMIC", None)]
    if quantization.method in ("awq", "gptq"):
        return [(f"W{quantization.bits}A16", None)]
    return [(nearest_preset(scheme), scheme) for scheme, _ in quantization.groups if scheme.weights]


def preset_name(quantization: Quantization | None) -> str:
    """One name for a table: the preset, BF16 when nothing is quantized, "mixed" for several, "" for none known."""
    names = list(dict.fromkeys(name for name, _ in presets_of(quantization)))
    return names[0] if len(names) == 1 else MIXED if names else ""


def neediest(quantization: Quantization | None) -> str:
    """The preset that decides where a checkpoint runs: of several the one with most bits per weight; "" for none known."""
    found = presets_of(quantization)
    return max(found, key=lambda pair: pair[1].weights.num_bits if pair[1] else 0)[0] if found else ""
