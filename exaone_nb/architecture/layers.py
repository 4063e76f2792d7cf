"""One decoder layer in plain torch. Sizes: B batch, Q new tokens, K tokens seen so far, H query heads, D head_dim."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from exaone_nb.anatomy.arrangements import Arrangement
from exaone_nb.architecture.rope import rotate
from exaone_nb.architecture.shape import Experts, Shape


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight over the last axis, computed in float32."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


class LayerCache:
    """Keys and values of one layer, all tokens so far: each [B, kv_heads, K, D]."""

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    @property
    def tokens(self) -> int:
        return 0 if self.keys is None else self.keys.shape[2]

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        if self.keys is not None:
            keys = torch.cat((self.keys, keys), dim=2)
            values = torch.cat((self.values, values), dim=2)
        self.keys, self.values = keys, values
        return keys, values


class Attention(nn.Module):
    """Grouped-query attention: H query heads share fewer key/value heads, in neighbouring groups."""

    def __init__(self, shape: Shape, layer: int, arrangement: Arrangement) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        self.heads, self.kv_heads = shape.num_attention_heads, shape.num_key_value_heads
        self.uses_rope, self.scale = shape.uses_rope(layer), shape.score_scale
        self.q_proj = nn.Linear(shape.hidden_size, self.heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(shape.hidden_size, self.kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(shape.hidden_size, self.kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(self.heads * self.head_dim, shape.hidden_size, bias=False)
        # Usually one weight of length D, shared by all heads: it sees a single head's values at a time.
        self.qk_whole = arrangement.qk_whole
        for name, heads in (("q_norm", self.heads), ("k_norm", self.kv_heads)):
            width = heads * self.head_dim if self.qk_whole else self.head_dim
            norm = RMSNorm(width, shape.rms_norm_eps) if arrangement.qk_norm else nn.Identity()
            self.add_module(name, norm)

    def forward(
        self, x: Tensor, angles: tuple[Tensor, Tensor], mask: Tensor, cache: LayerCache | None = None
    ) -> Tensor:
        """x [B, Q, hidden], mask [B or 1, 1, Q, K] with True for visible; returns [B, Q, hidden]."""
        scores, values = self.scores(x, angles, cache)  # [B, H, Q, K], [B, H, K, D]
        # The smallest number, not -inf: a row of padding then stays finite instead of becoming NaN.
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        weights = scores.float().softmax(dim=-1).to(x.dtype)
        mixed = (weights @ values).transpose(1, 2)  # [B, Q, H, D]
        return self.o_proj(mixed.flatten(2))

    def scores(
        self, x: Tensor, angles: tuple[Tensor, Tensor], cache: LayerCache | None = None
    ) -> tuple[Tensor, Tensor]:
        """Attention logits before the mask, and the values repeated for every query head."""
        q, k = self._normalised(self.q_norm, self.q_proj(x)), self._normalised(self.k_norm, self.k_proj(x))
        v = self._by_head(self.v_proj(x))
        if self.uses_rope:
            q, k = rotate(q, *angles), rotate(k, *angles)
        if cache is not None:
            k, v = cache.append(k, v)
        group = self.heads // self.kv_heads
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        return q @ k.transpose(2, 3) * self.scale, v

    def _by_head(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

    def _normalised(self, norm: nn.Module, x: Tensor) -> Tensor:
        return self._by_head(norm(x)) if self.qk_whole else norm(self._by_head(x))


class GatedMLP(nn.Module):
    """down(activation(gate(x)) * up(x)), through `width` values (SwiGLU where the activation is silu)."""

    def __init__(self, shape: Shape, width: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden_size, width, bias=False)
        self.up_proj = nn.Linear(shape.hidden_size, width, bias=False)
        self.down_proj = nn.Linear(width, shape.hidden_size, bias=False)
        self.activation = F.silu if shape.hidden_act == "silu" else partial(F.gelu, approximate="tanh")

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.activation(self.gate_proj(x)) * self.up_proj(x))


class MixtureOfExperts(nn.Module):
    """A router gives each token to `per_token` of the experts; what they say is added up by the router's scores."""

    def __init__(self, shape: Shape, experts: Experts) -> None:
        super().__init__()
        self.rules = experts
        self.gate = nn.Linear(shape.hidden_size, experts.count, bias=False)
        self.experts = nn.ModuleList(GatedMLP(shape, experts.width) for _ in range(experts.count))
        if experts.sigmoid:  # moves the choice, not the scores
            self.e_score_correction_bias = nn.Parameter(torch.zeros(experts.count))
        self.shared_experts = GatedMLP(shape, experts.width * experts.shared) if experts.shared else None

    def given(self, x: Tensor) -> Tensor:
        """What the router gives each expert for each token: [B, Q, experts], 0 where it was not chosen."""
        logits = self.gate(x)
        scores = logits.sigmoid() if self.rules.sigmoid else logits.softmax(-1)
        chosen = scores + self.e_score_correction_bias if self.rules.sigmoid else scores
        best = chosen.topk(self.rules.per_token, dim=-1).indices
        given = torch.zeros_like(scores).scatter(-1, best, scores.gather(-1, best))
        return given / given.sum(-1, keepdim=True) if self.rules.normalised else given

    def forward(self, x: Tensor) -> Tensor:
        given = self.given(x)
        # Every expert sees every token here: the sizes are small, and a score of 0 leaves it out of the sum.
        mixed = sum(
            given[..., i, None] * self.rules.scaling * expert(x) for i, expert in enumerate(self.experts)
        )
        return mixed if self.shared_experts is None else mixed + self.shared_experts(x)


class DecoderLayer(nn.Module):
    """Attention and MLP around the residual stream, in the order the arrangement says."""

    def __init__(self, shape: Shape, layer: int, arrangement: Arrangement) -> None:
        super().__init__()
        self.order, self.block_norms = arrangement.order, arrangement.block_norms
        self.self_attn = Attention(shape, layer, arrangement)
        sparse = shape.experts is not None and layer in shape.experts.layers
        self.mlp = (
            MixtureOfExperts(shape, shape.experts) if sparse else GatedMLP(shape, shape.intermediate_size)
        )
        for name in arrangement.norms:
            self.add_module(name, RMSNorm(shape.hidden_size, shape.rms_norm_eps))

    def forward(
        self, stream: Tensor, angles: tuple[Tensor, Tensor], mask: Tensor, cache: LayerCache | None = None
    ) -> Tensor:
        """stream [B, Q, hidden] in and out."""

        def attention(x: Tensor) -> Tensor:
            return self.self_attn(x, angles, mask, cache)

        for block, names in zip((attention, self.mlp), self.block_norms, strict=True):
            x, norms = stream, iter(names)
            for step in self.order:
                if step == "norm":
                    x = getattr(self, next(norms))(x)
                elif step == "block":
                    x = block(x)
                else:
                    x = stream + x
            stream = x
        return stream
