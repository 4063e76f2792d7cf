"""The reference modules equal transformers; and each way of getting them slightly wrong is noticed."""

import dataclasses

import pytest
import torch

from exaone_nb.anatomy.arrangements import POST_LN, PRE_LN, QK_REORDER_LN, REORDER_LN
from exaone_nb.architecture import masks
from exaone_nb.architecture.layers import DecoderLayer
from exaone_nb.architecture.model import Decoder
from exaone_nb.architecture.shape import FULL, SLIDING, Shape

TOLERANCE = 1e-5
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 16.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
SIZES = {
    "vocab_size": 96,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 1024,
    "rms_norm_eps": 1e-5,
    "rope_parameters": LLAMA3,
    "initializer_range": 0.2,
}


def exaone(layer_types=(SLIDING, SLIDING, SLIDING, FULL), window=5, tied=True):
    from transformers import Exaone4Config, Exaone4ForCausalLM

    torch.manual_seed(0)
    config = Exaone4Config(
        **SIZES,
        layer_types=list(layer_types),
        sliding_window=window,
        tie_word_embeddings=tied,
        pad_token_id=0,
    )
    config._attn_implementation = "eager"
    return with_uneven_norms(Exaone4ForCausalLM(config).eval())


def llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(**SIZES, tie_word_embeddings=False, pad_token_id=0)
    config._attn_implementation = "eager"
    return with_uneven_norms(LlamaForCausalLM(config).eval())


def with_uneven_norms(model):
    """Norm weights of one would hide a norm that is left out or swapped with another."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)
    return model


def ours(theirs, arrangement=QK_REORDER_LN, **changes):
    shape = Shape.from_config(theirs.config.to_dict())
    return Decoder(dataclasses.replace(shape, **changes), arrangement).load(theirs.state_dict()).eval()


def tokens(batch=2, length=17):
    return torch.randint(1, 96, (batch, length), generator=torch.Generator().manual_seed(1))


def difference(theirs, reference):
    ids = tokens()
    with torch.no_grad():
        return (theirs(ids).logits - reference(ids).logits).abs().max().item()


MODELS = {
    "exaone hybrid": (lambda: exaone(), QK_REORDER_LN),
    "exaone hybrid, untied": (lambda: exaone(tied=False), QK_REORDER_LN),
    "exaone full attention": (lambda: exaone((FULL,) * 4, None), QK_REORDER_LN),
    "llama": (llama, PRE_LN),
}


@pytest.mark.parametrize("name", MODELS)
def test_forward_and_gradients_of_the_whole_model(name):
    build, arrangement = MODELS[name]
    theirs = build()
    reference = ours(theirs, arrangement)
    ids = tokens()
    direction = torch.randn(2, 17, 96, generator=torch.Generator().manual_seed(2)) / 100
    for model in (theirs, reference):
        (model(ids).logits * direction).sum().backward()
    assert difference(theirs, reference) < TOLERANCE
    wanted = {n.removeprefix("model."): p.grad for n, p in theirs.named_parameters()}
    found = {n: p.grad for n, p in reference.named_parameters()}
    assert wanted.keys() == found.keys()
    for tensor, gradient in wanted.items():
        assert torch.allclose(gradient, found[tensor], atol=TOLERANCE, rtol=1e-4), tensor


@pytest.mark.parametrize("name", MODELS)
def test_cached_decode_in_uneven_steps(name):
    build, arrangement = MODELS[name]
    theirs = build()
    reference = ours(theirs, arrangement)
    ids = tokens(length=23)
    with torch.no_grad():
        wanted = theirs(ids).logits
        cache, past, start = reference.new_cache(), None, 0
        for step in (9, 1, 1, 4, 1, 7):
            part = ids[:, start : start + step]
            found = reference(part, cache=cache).logits
            answer = theirs(part, past_key_values=past, use_cache=True)
            past = answer.past_key_values
            assert (found - answer.logits).abs().max() < TOLERANCE
            assert (found - wanted[:, start : start + step]).abs().max() < TOLERANCE
            start += step


@pytest.mark.parametrize("side", ["left", "right"])
def test_padded_batches(side):
    theirs = exaone()
    reference = ours(theirs)
    ids, keep = tokens(length=14), torch.ones(2, 14, dtype=torch.long)
    keep[0, slice(0, 6) if side == "left" else slice(8, 14)] = 0
    with torch.no_grad():
        wanted, found = theirs(ids, attention_mask=keep).logits, reference(ids, keep).logits
    assert ((wanted - found).abs().amax(-1) * keep).max() < TOLERANCE
    assert torch.isfinite(found).all()
    # Padding must really be invisible: the row alone, without padding, gives the same logits.
    real = keep[0].bool()
    with torch.no_grad():
        alone = reference(ids[:1, real]).logits
    assert (found[0, real] - alone[0]).abs().max() < 1e-4


@pytest.mark.parametrize("index", [0, 3])
def test_one_decoder_layer(index):
    theirs = exaone()
    layer = theirs.model.layers[index]
    reference = DecoderLayer(Shape.from_config(theirs.config.to_dict()), index, QK_REORDER_LN)
    reference.load_state_dict(layer.state_dict())
    stream = torch.randn(2, 11, 48, generator=torch.Generator().manual_seed(3))
    slots = torch.arange(11)
    cos, sin = theirs.model.rotary_emb(stream, slots[None])
    mask = masks.visible(slots, slots, 5 if index == 0 else None)
    added = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
    with torch.no_grad():
        wanted = layer(stream, attention_mask=added, position_embeddings=(cos, sin))
        found = reference(stream, (cos.unsqueeze(1), sin.unsqueeze(1)), mask)
    assert (wanted - found).abs().max() < TOLERANCE


# Each mutation below is a plausible mistake. All weights fit, nothing crashes: only the numbers tell.


def moved_norm(theirs):
    """The two norms before the blocks instead of after them, under the same tensor names."""
    return ours(theirs, dataclasses.replace(QK_REORDER_LN, order=("norm", "block", "add")))


def normalised_stream(theirs):
    return ours(theirs, dataclasses.replace(QK_REORDER_LN, order=("block", "add", "norm")))


def swapped_norms(theirs):
    return ours(theirs, dataclasses.replace(QK_REORDER_LN, norms=QK_REORDER_LN.norms[::-1]))


def rope_everywhere(theirs):
    return ours(theirs, rope_on_full=True)


def unscaled_rope(theirs):
    shape = Shape.from_config(theirs.config.to_dict())
    return ours(theirs, rope=shape.rope.unscaled())


def other_eps(theirs):
    return ours(theirs, rms_norm_eps=1e-6)


def no_qk_norm(theirs):
    reference = ours(theirs)
    for layer in reference.layers:
        layer.self_attn.q_norm = layer.self_attn.k_norm = torch.nn.Identity()
    return reference


def qk_norm_after_rope(theirs):
    """Same norm, wrong side of the rotation: differs because the norm's weight is not constant."""
    reference = ours(theirs)
    for layer in reference.layers[:3]:
        attention = layer.self_attn
        norms, attention.q_norm, attention.k_norm = (
            (attention.q_norm, attention.k_norm),
            torch.nn.Identity(),
            torch.nn.Identity(),
        )

        def scores(x, angles, cache=None, attention=attention, norms=norms):
            from exaone_nb.architecture.rope import rotate

            q = attention.q_proj(x).unflatten(-1, (6, 16)).transpose(1, 2)
            k = attention.k_proj(x).unflatten(-1, (2, 16)).transpose(1, 2)
            v = attention.v_proj(x).unflatten(-1, (2, 16)).transpose(1, 2)
            q, k = norms[0](rotate(q, *angles)), norms[1](rotate(k, *angles))
            k, v = k.repeat_interleave(3, 1), v.repeat_interleave(3, 1)
            return q @ k.transpose(2, 3) / 4, v

        attention.scores = scores
    return reference


MUTATIONS = [
    moved_norm,
    normalised_stream,
    swapped_norms,
    rope_everywhere,
    unscaled_rope,
    other_eps,
    no_qk_norm,
    qk_norm_after_rope,
]


@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda f: f.__name__)
def test_a_mutation_is_noticed(mutate):
    theirs = exaone()
    assert difference(theirs, ours(theirs)) < TOLERANCE
    assert difference(theirs, mutate(theirs)) > 3 * TOLERANCE


def test_a_window_with_one_key_too_many_is_noticed(monkeypatch):
    theirs = exaone()
    reference = ours(theirs)
    right = masks.visible

    def inclusive(queries, keys, window=None, padding=None):  # `<=` in place of `<`
        return right(queries, keys, None if window is None else window + 1, padding)

    assert difference(theirs, reference) < TOLERANCE
    monkeypatch.setattr(masks, "visible", inclusive)
    assert difference(theirs, reference) > 3 * TOLERANCE


@pytest.mark.parametrize("arrangement", [PRE_LN, POST_LN, REORDER_LN])
def test_weights_of_another_arrangement_do_not_load(arrangement):
    from exaone_nb.errors import WorkbookError

    theirs = exaone()
    with pytest.raises(WorkbookError, match=f"do not fit {arrangement.name}"):
        ours(theirs, arrangement)
