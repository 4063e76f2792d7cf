"""What one forward pass has to move and to compute: bytes of weights and cache, operations by kind of arithmetic.

Every generated token reads all weights it passes through once, whatever the batch size: that is why decoding waits
for memory. A tied embedding counts fully, because the output head is a product with the whole table; an untied one
is only looked up, a row per token. Of a mixture of experts a batch reads the experts that at least one of its
tokens is routed to, on average `held * (1 - (1 - used / held) ** tokens)`, if the router is even-handed.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exaone_nb.anatomy.attention import CachedLayer, cached_layers
from exaone_nb.anatomy.layouts import count_parameters, expected_tensors
from exaone_nb.anatomy.predict import Prediction, predict_checkpoint
from exaone_nb.quantization.schemes import Scheme

NOT_TEXT = ("vision", "projector")
PLAIN = ("BF16", "F16", "F32")


@dataclass(frozen=True)
class Work:
    """A model in one scheme, as the arithmetic sees it. Bytes are data bytes; products are multiply-adds per token.

    `quantized` products run in the scheme's arithmetic, `plain` ones in 16-bit, `head` once per output token.
    """

    prediction: Prediction
    every_pass_bytes: int
    expert_bytes: int
    row_bytes: int
    experts_used: int
    experts_held: int
    products: Mapping[str, int]
    layers: tuple[CachedLayer, ...]

    def weight_bytes_read(self, tokens: int) -> float:
        """Bytes of weights that a pass over `tokens` tokens reads, each at most once."""
        touched = 1 - (1 - self.experts_used / self.experts_held) ** tokens if self.experts_held else 0
        return self.every_pass_bytes + self.expert_bytes * touched + self.row_bytes * tokens

    def cache_bytes_read(self, context: int, dtype_bytes: int = 2) -> int:
        """Bytes of keys and values that one decode step at `context` reads for one request."""
        return dtype_bytes * sum(
            layer.values_per_token() * layer.tokens_kept(context) for layer in self.layers
        )

    def attention_products(self, context: int) -> int:
        """Multiply-adds of one token's attention at `context` (scores and weighted sum)."""
        return sum(_per_kept_token(layer) * layer.tokens_kept(context) for layer in self.layers)

    def attention_products_of_prompt(self, tokens: int) -> int:
        """Multiply-adds of attention over a prompt of `tokens`, causal: token i looks at min(i, window) tokens."""
        total = 0
        for layer in self.layers:
            window = min(layer.window or tokens, tokens)
            pairs = window * (window + 1) // 2 + (tokens - window) * window
            total += _per_kept_token(layer) * pairs
        return total


def _per_kept_token(layer: CachedLayer) -> int:
    # MLA decodes in the compressed space: scores and sum both over the latent vector.
    return layer.num_heads * (2 * layer.latent if layer.latent else layer.width)


def work_of(
    config: dict[str, Any],
    scheme: str | Scheme = "BF16",
    *,
    prediction: Prediction | None = None,
    **options: Any,
) -> Work:
    """The Work of `config` stored in `scheme`, or as `prediction` has it; `options` go to `predict_checkpoint`.

    Raises what `predict_checkpoint` raises.
    """
    prediction = prediction or predict_checkpoint(config, scheme, **options)
    specs = expected_tensors(config)
    counts = count_parameters(config)
    sizes = Counter(prediction.by_component())
    plain = {tensor.name for tensor in prediction.tensors if tensor.dtype in PLAIN}
    table = next(spec for spec in specs if spec.kind == "embedding")
    products: Counter[str] = Counter()
    share = counts.experts_used / counts.experts_held if counts.experts_held else 1.0
    for spec in specs:
        if spec.buffer or len(spec.shape) < 2 or spec.component in NOT_TEXT or spec.kind == "embedding":
            continue
        elements = int(spec.elements * share) if spec.component == "experts" else spec.elements
        kind = "plain" if spec.name in plain else "quantized"
        products["head" if spec.kind == "head" else kind] += elements
    if not products["head"]:
        products["head"] = table.elements
    looked_up = 0 if prediction.tied or "head" not in sizes else sizes["embedding"]
    every = prediction.data_bytes - sizes["experts"] - looked_up - sum(sizes[name] for name in NOT_TEXT)
    return Work(
        prediction=prediction,
        every_pass_bytes=every,
        expert_bytes=sizes["experts"],
        row_bytes=looked_up // table.shape[0],
        experts_used=counts.experts_used,
        experts_held=counts.experts_held,
        products=products,
        layers=tuple(cached_layers(config)),
    )
