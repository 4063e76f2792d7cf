"""One GPU's share of the weights: in the file, and as vLLM 0.32 holds them.

Tensor parallelism divides matrices, and copies norms and routers. Key and value projections are divided by their heads
at most, and copied beyond (QKVParallelLinear); MLA's compressing projections are copied (they are ReplicatedLinear).
What a kernel pads is in `quantization.padding`.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from exaone_nb import fields
from exaone_nb.anatomy.layouts import expected_tensors, text_config
from exaone_nb.anatomy.predict import Prediction
from exaone_nb.messages import say
from exaone_nb.quantization.config import Quantization, read_quantization
from exaone_nb.quantization.kernels import split_problem
from exaone_nb.quantization.loading import NOT_LAST, joined_name
from exaone_nb.quantization.matching import CLASSES_OF_KIND
from exaone_nb.quantization.padding import VOCABULARY, marlin_experts, marlin_linear, mxfp4_experts, up
from exaone_nb.quantization.schemes import Scheme, find_scheme
from exaone_nb.quantization.stored import StoredTensor
from exaone_nb.tensors import TensorSpec

# Components that tensor parallelism divides. vLLM divides the matrices named so by inputs and adds the parts up, all
# others by outputs.
SPLIT = {"attention", "mlp", "experts", "shared_experts", "embedding", "head"}
BY_INPUTS = ("o_proj", "down_proj", "out_proj", "c_proj")
KEYS_AND_VALUES = ("k_proj", "v_proj")
COPIED = ("q_a_proj", "kv_a_proj_with_mqa")
TABLES = ("embedding", "head")


def _divider(config: dict[str, Any], tensor_parallel: int) -> Callable[[str, str], int]:
    """A function that tells over how many GPUs the tensors of (module, component) are divided."""
    text = text_config(config)
    heads = tensor_parallel if text.get("kv_lora_rank") else min(tensor_parallel, fields.heads(text)[1])

    def parts(module: str, component: str) -> int:
        if component not in SPLIT or module.endswith(COPIED):
            return 1
        return heads if module.endswith(KEYS_AND_VALUES) else tensor_parallel

    return parts


def file_share(config: dict[str, Any], prediction: Prediction, tensor_parallel: int = 1) -> int:
    """Bytes of the file that each of `tensor_parallel` GPUs holds."""
    if tensor_parallel == 1:
        return prediction.data_bytes
    parts, sums = _divider(config, tensor_parallel), Counter[int]()
    for tensor in prediction.tensors:
        sums[parts(tensor.name.rpartition(".")[0], tensor.component)] += tensor.bytes
    return sum(math.ceil(size / number) for number, size in sums.items())


def card_bytes(config: dict[str, Any], prediction: Prediction, kernel: str, tensor_parallel: int = 1) -> int:
    """Bytes of weights on each of `tensor_parallel` GPUs under vLLM, with what `kernel` pads."""
    added = sum(_of_table(tensor, tensor_parallel) for tensor in prediction.tensors)
    if kernel == "Marlin":
        added += _of_linears(config, prediction, tensor_parallel) + _of_mxfp4(prediction, tensor_parallel)
    return file_share(config, prediction, tensor_parallel) + added


def _of_table(tensor: StoredTensor, tensor_parallel: int) -> int:
    if tensor.component not in TABLES or len(tensor.shape) != 2:
        return 0
    rows = tensor.shape[0]
    return tensor.bytes * (up(rows, VOCABULARY) - rows) // rows // tensor_parallel


def _of_linears(config: dict[str, Any], prediction: Prediction, tensor_parallel: int) -> int:
    """Padding of quantized Linear modules, those that vLLM joins taken together, and of separate experts."""
    stored: dict[str, list[StoredTensor]] = defaultdict(list)
    for tensor in prediction.tensors:
        stored[tensor.name.rpartition(".")[0]].append(tensor)
    joined: dict[str, list[TensorSpec]] = defaultdict(list)
    for spec in expected_tensors(config):
        kept = any(
            tensor.name == spec.name and tensor.dtype in ("BF16", "F16") for tensor in stored[spec.module]
        )
        if spec.kind == "linear" and len(spec.shape) == 2 and stored[spec.module] and not kept:
            expert = spec.module if ".experts." in spec.module else joined_name(spec.module)
            joined[expert].append(spec)
    added, over = 0, _divider(config, tensor_parallel)
    for specs in joined.values():
        first = specs[0]
        size = sum(tensor.bytes for spec in specs for tensor in stored[spec.module])
        by_inputs = first.module.endswith(BY_INPUTS)
        rows = sum(s.shape[0] // (1 if by_inputs else over(s.module, s.component)) for s in specs)
        columns = first.shape[1] // (tensor_parallel if by_inputs else 1)
        group = _group(stored[first.module], first.shape[1])
        padded = _padded(first, rows, columns, group, by_inputs)
        added += size * (padded[0] * padded[1] - rows * columns) // (rows * columns) // tensor_parallel
    return added


def _padded(spec: TensorSpec, rows: int, columns: int, group: int, by_inputs: bool) -> tuple[int, int]:
    if ".experts." not in spec.module:
        return marlin_linear(rows, columns, group)
    return (rows, marlin_experts(columns, group)) if by_inputs else (marlin_experts(rows, group), columns)


def _group(tensors: list[StoredTensor], columns: int) -> int:
    """Inputs that share a scale, 0 when a row does."""
    scales = next(
        (t.shape for t in tensors if t.name.endswith(("weight_scale", ".scales", "_scale_inv"))), ()
    )
    return columns // scales[-1] if len(scales) == 2 and scales[-1] > 1 else 0


def _of_mxfp4(prediction: Prediction, tensor_parallel: int) -> int:
    """Padding of experts stored as gpt-oss does, all of a layer in one tensor: `_blocks` of 4 bits, `_scales` of 8."""
    added = 0
    for blocks in prediction.tensors:
        if not blocks.name.endswith("down_proj_blocks"):
            continue
        experts, hidden, groups, _ = blocks.shape
        width = groups * 32 / tensor_parallel
        wide = mxfp4_experts(hidden, math.ceil(width))
        before, after = (
            experts * (3 * h * w * (1 / 2 + 1 / 32) + 2 * (2 * w + h)) for h, w in ((hidden, width), wide)
        )
        # Of the two biases only the first is divided; `file_share` divides both.
        added += round(after - before + experts * 2 * hidden * (1 - 1 / tensor_parallel))
    return added


def unsplittable(config: dict[str, Any], scheme: str | Scheme, tensor_parallel: int) -> str:
    """Why vLLM refuses to divide the matrices over the GPUs, a matrix or what shares a scale being cut; "" when it can.

    A config that is quantized already decides for itself; otherwise all Linear modules have `scheme`, the head none.
    """
    stored, named = read_quantization(config), find_scheme(scheme)
    blocks = [s.weights for s, _ in stored.groups] if stored and stored.groups else [named.weights]
    if tensor_parallel == 1 and not any(args and args.strategy == "block" for args in blocks):
        return ""
    over = _divider(config, tensor_parallel)
    for spec in expected_tensors(config):
        if len(spec.shape) != 2 or spec.component not in SPLIT or spec.kind not in CLASSES_OF_KIND:
            continue
        parts = over(spec.module, spec.component)
        rows = spec.shape[0] if spec.kind == "linear" else up(spec.shape[0], VOCABULARY)
        given = _scheme_of(spec, stored, named)
        by_inputs = spec.module.endswith(BY_INPUTS)
        problem = split_problem(
            spec.module, (rows, spec.shape[1]), given, parts, by_inputs, spec.module.endswith(NOT_LAST)
        )
        if problem:
            return problem
    return ""


def _scheme_of(spec: TensorSpec, stored: Quantization | None, named: Scheme) -> Scheme:
    """What a tensor is quantized with; files of other libraries than compressed-tensors have one scheme for all."""
    found: Scheme | None = named
    if stored is not None and stored.method == "compressed-tensors":
        found = stored.scheme_for(spec.module, spec.kind)
    elif spec.kind != "linear" or (stored is not None and stored.skips(spec.module)):
        found = None
    elif stored is not None and stored.group_size and named.weights:
        found = named.with_groups(stored.group_size)
    return found or find_scheme(None)


def padding_words(in_file: int, on_card: int) -> str:
    """How the bytes on the card follow from those in the file."""
    if in_file == on_card:
        return say("as in the file")
    if on_card < in_file:
        return say("vLLM loads 32-bit weights as 16-bit ones")
    return say("vLLM 0.32 pads matrices for its kernels")
