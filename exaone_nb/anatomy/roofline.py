"""How fast it can be at best: the roofline. A pass takes the longer of moving its bytes and doing its arithmetic.

    seconds >= max(bytes / bandwidth, operations / peak)

Reading a prompt (prefill) handles many tokens per weight read and is bound by arithmetic; writing an answer
(decode) handles one token per request and is bound by bandwidth, until the batch is large enough. Nothing reaches
the roof: kernels, launches and the scheduler take their share, and a measured speed is quoted as a fraction of it.

    from exaone_nb import catalog
    from exaone_nb.anatomy.roofline import decode
    decode(catalog.resolve("EXAONE-4.0-1.2B").config(), "W4A16", "L4").tokens_per_second      # about 290, at 1,024 tokens of context
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from exaone_nb.anatomy.predict import fitted_schemes
from exaone_nb.anatomy.work import Work, work_of
from exaone_nb.fields import whole
from exaone_nb.gpus import Gpu, find_gpu
from exaone_nb.messages import say
from exaone_nb.quantization.kernels import Support, on_gpu
from exaone_nb.quantization.schemes import Scheme

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
    scheme: str | Scheme = "BF16",
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
    return _pass("decode", config, scheme, gpu, batch, context, kv_dtype_bytes, work, support)


def prefill(
    config: dict[str, Any],
    scheme: str | Scheme = "BF16",
    gpu: str | Gpu = "L4",
    *,
    batch: int = 1,
    tokens: int = 1024,
    kv_dtype_bytes: int = 2,
    work: Work | None = None,
    support: Support | None = None,
) -> Pass:
    """Reading `batch` prompts of `tokens` tokens at once; the head is computed for each last token only."""
    return _pass("prefill", config, scheme, gpu, batch, tokens, kv_dtype_bytes, work, support)


def passes(
    config: dict[str, Any], schemes: Iterable[str], gpu: str | Gpu, *, batch: int = 1, context: int = 1024
) -> dict[str, tuple[Pass, Pass]]:
    """Scheme -> (a decode step at `context` tokens, the prefill of as many)."""
    found = {}
    for label, scheme in fitted_schemes(config, schemes).items():
        work = work_of(config, scheme)
        found[label] = (
            decode(config, scheme, gpu, batch=batch, context=context, work=work),
            prefill(config, scheme, gpu, batch=batch, tokens=context, work=work),
        )
    return found


def _pass(
    phase: str,
    config: dict[str, Any],
    scheme: str | Scheme,
    gpu: str | Gpu,
    batch: int,
    tokens: int,
    kv_dtype_bytes: int,
    work: Work | None,
    support: Support | None,
) -> Pass:
    length = "context" if phase == "decode" else "tokens"
    for name, value in {"batch": batch, length: tokens, "kv_dtype_bytes": kv_dtype_bytes}.items():
        whole(name, value)
    work = work or work_of(config, scheme)
    card = find_gpu(gpu) if isinstance(gpu, str) else gpu
    support = support or on_gpu(scheme, card)
    rate = card.peak.get(support.compute)
    reason, stored = "", work.prediction.data_bytes
    if not support.runs:
        reason = support.reason
    elif rate is None:
        reason = say("data/gpus.csv has no {s.compute} figure for {card.name}", s=support, card=card)
    if not reason and card.memory_bytes and stored > card.memory_bytes:
        reason = say(
            "the weights ({weights:.1f} GB) do not fit ({memory:.1f} GB on {card.name})",
            weights=stored / 1e9,
            memory=card.memory_bytes / 1e9,
            card=card,
        )
    if reason:
        return Pass(phase, card.name, support, batch, tokens, reason=reason)
    if phase == "decode":
        passing, attention = batch, work.attention_products(tokens)
        cache_bytes = batch * work.cache_bytes_read(tokens, kv_dtype_bytes)
    else:
        passing, attention = batch * tokens, work.attention_products_of_prompt(tokens)
        cache_bytes = passing * kv_dtype_bytes * sum(layer.values_per_token() for layer in work.layers)
    plain = 2.0 * (passing * work.products["plain"] + batch * (work.products["head"] + attention))
    quantized = 2.0 * passing * work.products["quantized"]
    weight_bytes = work.weight_bytes_read(passing)
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

    def bound(batch: int) -> bool:
        return decode(config, scheme, gpu, batch=batch, context=context, work=work).bound == "compute"

    if not bound(LARGEST_BATCH):
        return None
    return bisect_left(range(LARGEST_BATCH), True, lo=1, key=bound)
