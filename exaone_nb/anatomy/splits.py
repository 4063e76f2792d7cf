"""Whether a model's matrices can be divided among several GPUs without cutting what shares a scale."""

from __future__ import annotations

from typing import Any

from exaone_nb.anatomy.layouts import expected_tensors
from exaone_nb.quantization.config import read_quantization
from exaone_nb.quantization.kernels import split_problem
from exaone_nb.quantization.schemes import find_scheme

# vLLM divides these by inputs and adds the parts up; all others by outputs.
BY_INPUTS = ("o_proj", "down_proj", "out_proj", "c_proj")


def unsplittable(config: dict[str, Any], scheme: str, tensor_parallel: int) -> str:
    """Why vLLM refuses to divide the matrices over `tensor_parallel` GPUs; "" when it can.

    A config that is quantized already decides for itself; otherwise all Linear modules have `scheme`, the head none.
    """
    if tensor_parallel == 1:
        return ""
    stored, named = read_quantization(config), find_scheme(scheme)
    for spec in expected_tensors(config):
        if spec.kind != "linear" or len(spec.shape) != 2:
            continue
        given = stored.scheme_for(spec.module, spec.kind) if stored else named
        if given is not None:
            by_inputs = spec.module.endswith(BY_INPUTS)
            if problem := split_problem(spec.module, spec.shape, given, tensor_parallel, by_inputs):
                return problem
    return ""
