"""What transformers' own cache holds after a prompt, counted in its tensors."""

from __future__ import annotations

import pytest

from exaone_nb.anatomy.kv import kv_cache


@pytest.mark.parametrize("tokens", [1, 15, 16, 17, 100])
@pytest.mark.parametrize("steps", [0, 3])
def test_dynamic_cache(tokens: int, steps: int) -> None:
    torch = pytest.importorskip("torch")
    from transformers import DynamicCache, Exaone4Config

    types = ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"]
    config = Exaone4Config(
        num_hidden_layers=4,
        layer_types=types,
        sliding_window=16,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        hidden_size=32,
    )
    cache = DynamicCache(config=config)
    for count in (tokens, *[1] * steps):
        for layer in range(4):
            piece = torch.zeros(1, 2, count, 8, dtype=torch.bfloat16)
            cache.update(piece, piece, layer)
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    ours = kv_cache(config.to_dict(), "transformers", max_model_len=tokens + steps)
    assert ours.bytes_per_request == held
