"""One decoder layer in plain torch. Sizes: B batch, Q new tokens, K tokens seen so far, H query heads, D head_dim."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from exaone_nb.anatomy.arrangements import Arrangement
from exaone_nb.architecture.rope import rotate
from exaone_nb.architecture.shape import Shape


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

    def __init__(self, shape: Shape, layer: int, qk_norm: bool) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        self.heads, self.kv_heads = shape.num_attention_heads, shape.num_key_value_heads
        self.uses_rope = shape.uses_rope(layer)
        self.q_proj = nn.Linear(shape.hidden_size, self.heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(shape.hidden_size, self.kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(shape.hidden_size, self.kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(self.heads * self.head_dim, shape.hidden_size, bias=False)
        # One weight of length D, shared by all heads: it sees a single head's values at a time.
        self.q_norm = RMSNorm(self.head_dim, shape.rms_norm_eps) if qk_norm else nn.Identity()
        self.k_norm = RMSNorm(self.head_dim, shape.rms_norm_eps) if qk_norm else nn.Identity()

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
        q = self.q_norm(self.q_proj(x).unflatten(-1, (self.heads, self.head_dim)).transpose(1, 2))
        k = self.k_norm(self.k_proj(x).unflatten(-1, (self.kv_heads, self.head_dim)).transpose(1, 2))
        v = self.v_proj(x).unflatten(-1, (self.kv_heads, self.head_dim)).transpose(1, 2)
        if self.uses_rope:
            q, k = rotate(q, *angles), rotate(k, *angles)
        if cache is not None:
            k, v = cache.append(k, v)
        group = self.heads // self.kv_heads
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        return q @ k.transpose(2, 3) * self.head_dim**-0.5, v


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x)), through intermediate_size values."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.up_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.down_proj = nn.Linear(shape.intermediate_size, shape.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class DecoderLayer(nn.Module):
    """Attention and MLP around the residual stream, in the order the arrangement says."""

    def __init__(self, shape: Shape, layer: int, arrangement: Arrangement) -> None:
        super().__init__()
        self.order, self.norm_names = arrangement.order, arrangement.norms
        self.self_attn = Attention(shape, layer, arrangement.qk_norm)
        self.mlp = SwiGLU(shape)
        for name in arrangement.norms:
            self.add_module(name, RMSNorm(shape.hidden_size, shape.rms_norm_eps))

    def forward(
        self, stream: Tensor, angles: tuple[Tensor, Tensor], mask: Tensor, cache: LayerCache | None = None
    ) -> Tensor:
        """stream [B, Q, hidden] in and out."""

        def attention(x: Tensor) -> Tensor:
            return self.self_attn(x, angles, mask, cache)

        for block, name in zip((attention, self.mlp), self.norm_names, strict=True):
            x = stream
            for step in self.order:
                if step == "norm":
                    x = getattr(self, name)(x)
                elif step == "block":
                    x = block(x)
                else:
                    x = stream + x
            stream = x
        return stream
