"""GPTQ on one layer, small enough to read (Frantar et al. 2022, arXiv 2210.17323).

Rounding a weight makes an error in the layer's output. GPTQ rounds column after column and lets the columns that
are still to come make up for it. How they should is in the Hessian of the squared output error, H = 2 X^T X, which
needs nothing but the layer's inputs X [tokens, in]. The grid stays that of round-to-nearest: same scales, same
bytes, other codes.
"""

from exaone_nb.compress.formats import dequantize, relative_error, round_to_nearest
from exaone_nb.library_types import Tensor


def hessian(inputs: Tensor) -> Tensor:
    """H = 2 X^T X / tokens, float32 [in, in], for the layer's inputs [tokens, in]."""
    x = inputs.float()
    return 2 * x.T @ x / len(x)


def gptq(
    weight: Tensor,
    hessian: Tensor,
    bits: int = 4,
    group_size: int = 128,
    dampening_frac: float = 0.01,
    ordered: bool = True,
    block_size: int = 128,
) -> tuple[Tensor, Tensor]:
    """Codes int8 [out, in] and scales [out, groups] by GPTQ, on the device of the Hessian.

    `dampening_frac` adds that fraction of H's mean diagonal to it, so that it can be inverted and single inputs are
    not trusted too much. `ordered` takes the columns with the largest inputs first (llm-compressor: actorder
    static). `block_size` delays the updates of far columns until a block is done; the result is the same up to the
    order of floating-point sums, which is why it is a matter of speed and not of quality. 0 updates at once.
    """
    import torch

    weight, device = weight.to(hessian.device), hessian.device
    _, scale = round_to_nearest(weight, bits, group_size)
    columns = weight.shape[1]
    natural = torch.arange(columns, device=device)
    order = torch.argsort(hessian.diagonal(), descending=True) if ordered else natural
    work = weight.float()[:, order]
    damped = hessian[order][:, order].clone()
    dead = damped.diagonal() == 0
    damped.diagonal()[dead] = 1
    work[:, dead] = 0
    damped.diagonal().add_(dampening_frac * damped.diagonal().mean())
    # Row i of the upper Cholesky factor of the inverse says how columns after i make up for an error in column i.
    factor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True)
    column_scale = scale.float().repeat_interleave(group_size, dim=1)[:, order]
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    codes = torch.empty_like(work)
    block = block_size or columns
    for start in range(0, columns, block):
        stop = min(start + block, columns)
        errors = torch.zeros(len(work), stop - start, device=device)
        for i in range(start, stop):
            codes[:, i] = (work[:, i] / column_scale[:, i]).round().clamp(low, high)
            error = (work[:, i] - codes[:, i] * column_scale[:, i]) / factor[i, i]
            work[:, i:stop] -= error[:, None] * factor[i, i:stop]
            errors[:, i - start] = error
        work[:, stop:] -= errors @ factor[start:stop, stop:]
    return codes[:, order.argsort()].to(torch.int8), scale


def output_error(weight: Tensor, rounded: Tensor, inputs: Tensor) -> float:
    """Relative error of the layer's output, ||X W^T - X Q^T|| / ||X W^T||, for inputs [tokens, in]."""
    x = inputs.float()
    return relative_error(x @ weight.to(x).T, x @ rounded.to(x).T)


def compare_on_layer(
    weight: Tensor, calibration: Tensor, held_out: Tensor, group: int = 128
) -> dict[str, dict[str, float]]:
    """Relative errors of round-to-nearest and of GPTQ: of the weights, and of the output on inputs that GPTQ saw and
    on inputs that it did not see."""
    weight = weight.to(calibration.device)
    made = {
        "round to nearest": round_to_nearest(weight, 4, group),
        "GPTQ": gptq(weight, hessian(calibration), 4, group),
    }
    rounded = {name: dequantize(*pair) for name, pair in made.items()}
    return {
        name: {
            "calibration": output_error(weight, matrix, calibration),
            "held out": output_error(weight, matrix, held_out),
            "weights": relative_error(weight, matrix),
        }
        for name, matrix in rounded.items()
    }
