"""How fast it can be at best: the roofline. A pass takes the longer of moving its bytes and doing its arithmetic.

    seconds >= max(bytes / bandwidth, operations / peak)

Reading a prompt (prefill) handles many tokens per weight read and is bound by arithmetic; writing an answer
(decode) handles one token per request and is bound by bandwidth, until the batch is large enough. Nothing reaches
the roof: kernels, launches and the scheduler take their share, and a measured speed is quoted as a fraction of it.

    from exaone_nb import catalog
    from exaone_nb.anatomy.roofline import decode
    decode(catalog.resolve("EXAONE-4.0-1.2B").config(), "W4A16", "L4").tokens_per_second      # about 290, at 1,024 tokens of context
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from exaone_nb.anatomy.work import Work, work_of
from exaone_nb.fields import whole
from exaone_nb.gpus import Gpu, find_gpu
from exaone_nb.quantization.kernels import Support, on_gpu

LARGEST_BATCH = 1 << 16


@dataclass(frozen=True)
class Pass:
    """One forward pass on one GPU. Without a kernel, or without room for the weights, there is no number.

    `seconds`, `tokens_per_second` are bounds from below and above; `bound` names the side that binds.
    """

    phase: str
    gpu: str
    support: Support
    batch: int
    tokens: int
    bytes_moved: float = 0.0
    weight_bytes: float = 0.0
    operations: float = 0.0
    memory_seconds: float = 0.0
    compute_seconds: float = 0.0
    reason: str = ""

    @property
    def runs(self) -> bool:
        """False when no number can be given; `reason` says why."""
        return not self.reason

    @property
    def seconds(self) -> float | None:
        """Seconds of the pass at best, None when it does not run."""
        return max(self.memory_seconds, self.compute_seconds) if self.runs else None

    @property
    def bound(self) -> str:
        """ "bandwidth" or "compute"; empty when it does not run."""
        if not self.runs:
            return ""
        return "bandwidth" if self.memory_seconds >= self.compute_seconds else "compute"

    @property
    def tokens_per_second(self) -> float | None:
        """Decode: tokens written over all requests. Prefill: prompt tokens read."""
        made = self.batch if self.phase == "decode" else self.batch * self.tokens
        return made / self.seconds if self.runs else None

    @property
    def intensity(self) -> float | None:
        """Operations per byte moved, to be held against the GPU's ridge."""
        return self.operations / self.bytes_moved if self.runs else None


def decode(
    config: dict[str, Any],
    scheme: str = "BF16",
    gpu: str | Gpu = "L4",
    *,
    batch: int = 1,
    context: int = 1024,
    kv_dtype_bytes: int = 2,
    work: Work | None = None,
    support: Support | None = None,
) -> Pass:
    """One decode step: `batch` requests, each writing one token at `context` tokens.

    `work` saves reading the config again (see `work_of`); `support` replaces the table's verdict, for a machine
    that is in no table. Raises UsageError for numbers below 1 and unknown names.
    """
    for name, value in {"batch": batch, "context": context, "kv_dtype_bytes": kv_dtype_bytes}.items():
        whole(name, value)
    work = work or work_of(config, scheme)
    products = work.products.get("plain", 0) + work.products["head"] + work.attention_products(context)
    return _pass(
        "decode",
        scheme,
        gpu,
        work,
        support,
        batch=batch,
        tokens=context,
        weight_bytes=work.weight_bytes_read(batch),
        cache_bytes=batch * work.cache_bytes_read(context, kv_dtype_bytes),
        plain=2.0 * batch * products,
        quantized=2.0 * batch * work.products.get("quantized", 0),
    )


def prefill(
    config: dict[str, Any],
    scheme: str = "BF16",
    gpu: str | Gpu = "L4",
    *,
    batch: int = 1,
    tokens: int = 1024,
    kv_dtype_bytes: int = 2,
    work: Work | None = None,
    support: Support | None = None,
) -> Pass:
    """Reading `batch` prompts of `tokens` tokens at once; the head is computed for each last token only."""
    for name, value in {"batch": batch, "tokens": tokens, "kv_dtype_bytes": kv_dtype_bytes}.items():
        whole(name, value)
    work = work or work_of(config, scheme)
    total = batch * tokens
    attention = batch * work.attention_products_of_prompt(tokens)
    written = total * kv_dtype_bytes * sum(layer.values_per_token() for layer in work.layers)
    return _pass(
        "prefill",
        scheme,
        gpu,
        work,
        support,
        batch=batch,
        tokens=tokens,
        weight_bytes=work.weight_bytes_read(total),
        cache_bytes=written,
        plain=2.0 * (total * work.products.get("plain", 0) + batch * work.products["head"] + attention),
        quantized=2.0 * total * work.products.get("quantized", 0),
    )


def passes(
    config: dict[str, Any], schemes: Iterable[str], gpu: str | Gpu, *, batch: int = 1, context: int = 1024
) -> dict[str, tuple[Pass, Pass]]:
    """Scheme -> (a decode step at `context` tokens, the prefill of as many)."""
    works = {scheme: work_of(config, scheme) for scheme in schemes}
    return {
        scheme: (
            decode(config, scheme, gpu, batch=batch, context=context, work=work),
            prefill(config, scheme, gpu, batch=batch, tokens=context, work=work),
        )
        for scheme, work in works.items()
    }


def _pass(
    phase: str,
    scheme: str,
    gpu: str | Gpu,
    work: Work,
    support: Support | None,
    *,
    batch: int,
    tokens: int,
    weight_bytes: float,
    cache_bytes: float,
    plain: float,
    quantized: float,
) -> Pass:
    card = find_gpu(gpu) if isinstance(gpu, str) else gpu
    support = support or on_gpu(scheme, card)
    reason = "" if support.runs else support.reason
    rate = card.peak.get(support.compute) if support.runs else None
    if support.runs and rate is None:
        reason = f"data/gpus.csv has no {support.compute} figure for {card.name}"
    if not reason and card.memory_bytes and work.prediction.data_bytes > card.memory_bytes:
        reason = (
            f"the weights ({work.prediction.data_bytes / 1e9:.1f} GB) do not fit "
            f"({card.memory_bytes / 1e9:.1f} GB on {card.name})"
        )
    if reason:
        return Pass(phase, card.name, support, batch, tokens, reason=reason)
    moved = weight_bytes + cache_bytes
    return Pass(
        phase,
        card.name,
        support,
        batch,
        tokens,
        bytes_moved=moved,
        weight_bytes=weight_bytes,
        operations=plain + quantized,
        memory_seconds=moved / card.bandwidth,
        compute_seconds=plain / card.peak["16-bit"] + quantized / rate,
    )


def compute_bound_batch(
    config: dict[str, Any], scheme: str, gpu: str | Gpu, *, context: int = 1024, work: Work | None = None
) -> int | None:
    """The smallest batch at which decoding is bound by arithmetic; None when it never is or does not run.

    With a long context every request brings its own cache to read, and the batch may never be large enough.
    """
    work = work or work_of(config, scheme)

    def bound(batch: int) -> str:
        return decode(config, scheme, gpu, batch=batch, context=context, work=work).bound

    if bound(LARGEST_BATCH) != "compute":
        return None
    low, high = 1, LARGEST_BATCH
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if bound(middle) == "compute" else (middle + 1, high)
    return low
