"""A loaded model as if some of its modules had been quantized: weights rounded, activations too where the scheme says so.

The arithmetic is that of compressed-tensors, which llm-compressor's round-to-nearest uses, so that what is measured here
is what the checkpoint of the same recipe measures; a test holds the two together, bit by bit. Nothing is written. A file
that is opened in 32 bits differs in the last place: its codes times scales are then not rounded to the stored dtype.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from exaone_nb.errors import UsageError
from exaone_nb.messages import say
from exaone_nb.quantization.schemes import QuantArgs, Scheme

SHARED = ("tensor", "channel", "group")


@contextmanager
def rounded(model: Any, schemes: Mapping[str, Scheme], dtype: Any = None) -> Iterator[None]:
    """The model with these modules (name -> scheme) quantized; as before afterwards.

    Weights are rounded in `dtype`, the one that the checkpoint stores (default: the weight's own), whatever the model
    computes in. A tied head gets a table of its own while it is rounded, as it would in the file. Raises UsageError for
    what needs more than the weights or the current inputs: blocks, two levels of scales, static activation scales.
    """
    import torch

    for scheme in schemes.values():
        _check(scheme)
    with ExitStack() as undo:
        for name, scheme in schemes.items():
            module = model.get_submodule(name)
            undo.callback(setattr, module, "weight", module.weight)
            made = rounded_weight(module.weight.detach(), scheme.weights, dtype)
            module.weight = torch.nn.Parameter(made, requires_grad=False)
            if scheme.activations:
                undo.enter_context(module.register_forward_pre_hook(_round_input(scheme.activations)))
        yield


def rounded_weight(weight: Any, args: QuantArgs, dtype: Any = None) -> Any:
    """A weight [out, in] rounded to nearest as `args` says, in its own dtype; the arithmetic is done in `dtype`."""
    from compressed_tensors.quantization import dequantize, quantize
    from compressed_tensors.quantization.utils import calculate_qparams

    stored = weight.to(dtype or weight.dtype)
    groups = stored.unflatten(1, (-1, args.group_size)) if args.strategy == "group" else stored
    if args.strategy == "tensor":
        ends = stored.min(), stored.max()
    else:
        keep = args.strategy == "channel"
        ends = groups.amin(-1, keepdim=keep), groups.amax(-1, keepdim=keep)
    library = _library_args(args)
    scale, zero = calculate_qparams(*ends, library)
    # Not `fake_quantize`: on a GPU it divides in another dtype than the step that writes the file.
    codes = quantize(stored, scale, zero, library)
    return dequantize(codes, scale, zero, library).to(weight.dtype)


def _round_input(args: QuantArgs) -> Any:
    from compressed_tensors.quantization import fake_quantize
    from compressed_tensors.quantization.utils import compute_dynamic_scales_and_zp

    library = _library_args(args)

    def hook(module: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        scale, zero = compute_dynamic_scales_and_zp(given[0], library, module)
        return fake_quantize(given[0], scale, zero, library), *given[1:]

    return hook


def _library_args(args: QuantArgs) -> Any:
    from compressed_tensors.quantization import QuantizationArgs

    return QuantizationArgs(**args.document())


def _check(scheme: Scheme) -> None:
    static = scheme.activations and scheme.activations.dynamic is not True
    if scheme.weights.strategy in SHARED and not static:
        return
    raise UsageError(
        say("{scheme} cannot be tried in memory: {words}.", scheme=scheme.label, words=scheme.sentence()),
        expected=say(
            "one scale per tensor, channel or group of weights, and activation scales made at run time."
        ),
        remedy=say("Make the checkpoint (exaone-nb quantize) and judge that instead."),
    )
