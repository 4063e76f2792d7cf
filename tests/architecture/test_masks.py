"""Masks equal transformers' element by element; windows and patterns that cannot be are refused by name."""

import pytest
import torch

from exaone_nb.architecture import masks
from exaone_nb.architecture.shape import FULL, SLIDING, Shape, layer_pattern
from exaone_nb.errors import UsageError


def their_mask(window, tokens, padding=None, past=0):
    """transformers' own mask as booleans [batch or 1, 1, query, key], and the number of keys it covers."""
    from transformers import DynamicCache, Exaone4Config
    from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask

    kinds = [SLIDING if window else FULL]
    config = Exaone4Config(
        hidden_size=8,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=8,
        num_hidden_layers=1,
        layer_types=kinds,
        sliding_window=window,
    )
    config._attn_implementation = "eager"
    cache = DynamicCache(config=config)
    if past:
        cache.update(torch.zeros(2, 1, past, 8), torch.zeros(2, 1, past, 8), 0)
    build = create_sliding_window_causal_mask if window else create_causal_mask
    mask = build(
        config=config,
        inputs_embeds=torch.zeros(2, tokens, 8),
        attention_mask=padding,
        past_key_values=cache,
        position_ids=(torch.arange(tokens) + past)[None],
    )
    return mask == 0


def our_mask(window, tokens, padding=None, past=0):
    slots = torch.arange(past + tokens)
    return masks.visible(slots[past:], slots, window, padding)


@pytest.mark.parametrize("window", [None, 1, 2, 5, 12, 40])
@pytest.mark.parametrize("tokens", [1, 12])
def test_prompt(window, tokens):
    theirs, found = their_mask(window, tokens), our_mask(window, tokens)
    assert torch.equal(theirs, found.expand_as(theirs))


@pytest.mark.parametrize("window", [None, 3, 5])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padded_prompt(window, side):
    padding = torch.ones(2, 10, dtype=torch.long)
    padding[0, slice(0, 4) if side == "left" else slice(6, 10)] = 0
    theirs, found = their_mask(window, 10, padding), our_mask(window, 10, padding)
    assert torch.equal(theirs, found.expand_as(theirs))


@pytest.mark.parametrize("window", [None, 3, 5])
@pytest.mark.parametrize("past", [1, 4, 9])
@pytest.mark.parametrize("tokens", [1, 3])
def test_decode_with_a_cache(window, past, tokens):
    theirs, found = their_mask(window, tokens, past=past), our_mask(window, tokens, past=past)
    # transformers' sliding cache holds the last window - 1 tokens only: compare those, and see nothing else in ours.
    keys = theirs.shape[-1]
    assert torch.equal(theirs, found[..., -keys:].expand_as(theirs))
    assert not found[..., :-keys].any()


def test_a_window_holds_the_query_and_window_minus_one_before_it():
    mask = masks.square(9, 4)
    assert mask.sum(-1).tolist() == [1, 2, 3, 4, 4, 4, 4, 4, 4]
    assert mask[8].nonzero().flatten().tolist() == [5, 6, 7, 8]


def test_the_pattern_of_exaone_4_32b():
    kinds = layer_pattern(64, 3)
    assert [i for i, kind in enumerate(kinds) if kind == FULL] == list(range(3, 64, 4))
    assert layer_pattern(2, 0) == (FULL, FULL)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: layer_pattern(30, 3), "3:1"),
        (lambda: layer_pattern(8, -1), "local layers per global"),
        (lambda: layer_pattern(0, 3), "number of layers"),
        (lambda: masks.square(4, 0), "sliding_window is 0"),
        (lambda: masks.square(0), "number of tokens"),
        (lambda: Shape(layer_types=(SLIDING,), sliding_window=0), "sliding_window is 0"),
        (lambda: Shape(layer_types=(SLIDING,)), "sliding_window is None"),
        (lambda: Shape(layer_types=()), "layer_types"),
        (lambda: Shape(layer_types=("local",)), "layer_types"),
        (lambda: Shape(head_dim=15), "head_dim is 15"),
        (lambda: Shape(hidden_size=0), "hidden_size is 0"),
        (lambda: Shape(vocab_size=2.5), "vocab_size is 2.5"),
        (lambda: Shape(num_key_value_heads=3), "num_key_value_heads is 3"),
        (lambda: Shape(rms_norm_eps=0), "rms_norm_eps"),
    ],
)
def test_what_cannot_be_is_refused_by_name(call, named):
    with pytest.raises(UsageError) as caught:
        call()
    assert named in caught.value.got
    assert caught.value.expected


def test_reach_of_local_layers_grows_by_window_minus_one_per_layer():
    for layers in (1, 2, 3):
        row = masks.reach((SLIDING,) * layers, 4, 20)[19]
        assert row.nonzero().min() == 19 - layers * 3
    assert masks.reach((SLIDING, FULL), 4, 20)[19].all()
