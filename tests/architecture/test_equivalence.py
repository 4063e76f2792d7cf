"""The reference modules equal transformers; and each way of getting them slightly wrong is noticed."""

import dataclasses
import json

import pytest
import torch

from exaone_nb.anatomy.arrangements import POST_LN, PRE_LN, QK_REORDER_LN, REORDER_LN, arrangement_of
from exaone_nb.architecture import masks
from exaone_nb.architecture.layers import DecoderLayer
from exaone_nb.architecture.model import Decoder, read_model, tiny_qwen3
from exaone_nb.architecture.shape import DESCRIBED, FULL, SLIDING, Shape, why_not_described

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


EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
HYBRID = {"layer_types": [SLIDING, SLIDING, SLIDING, FULL], "sliding_window": 5}
ALIKE = {"rope_type": "default", "rope_theta": 10000.0}
# What each family has beyond SIZES; every one of `shape.DESCRIBED` is here.
FAMILIES = {
    "exaone4": HYBRID,
    "exaone_moe": {
        **HYBRID,
        **EXPERTS,
        "mlp_layer_types": ["dense", "sparse", "sparse", "sparse"],
        "num_shared_experts": 2,
        "n_group": 1,
        "topk_group": 1,
    },
    "gemma3_text": {
        **HYBRID,
        "query_pre_attn_scalar": 40,
        "rope_parameters": {FULL: {**ALIKE, "rope_theta": 1e6}, SLIDING: ALIKE},
    },
    "llama": {"attention_bias": True},
    "mistral": {"sliding_window": 5},
    "olmo2": {},
    "qwen2": {},
    "qwen3": {"tie_word_embeddings": False},
    "qwen3_moe": {**EXPERTS, "norm_topk_prob": True, "mlp_only_layers": [1]},
}


def saved(family, folder, **changes):
    """A random model of a family with uneven norms and biases, in a folder as transformers writes it."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    values = {**SIZES, "pad_token_id": 0, **FAMILIES[family], **changes}
    theirs = with_uneven_norms(
        AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **values)).eval()
    )
    with torch.no_grad():
        for name, tensor in (*theirs.named_parameters(), *theirs.named_buffers()):
            if name.endswith("bias"):
                tensor.uniform_(-0.5, 0.5)
    theirs.save_pretrained(folder)
    return theirs


def read(folder):
    return read_model(folder, json.loads((folder / "config.json").read_text()))


def test_every_described_family_is_tested():
    assert set(FAMILIES) == set(DESCRIBED)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_described_family_equals_transformers(family, tmp_path):
    theirs = saved(family, tmp_path)
    reference = read(tmp_path)
    ids = tokens()
    with torch.no_grad():
        wanted, found = theirs(ids).logits, reference(ids).logits
    assert (wanted - found).abs().max() < TOLERANCE * max(1.0, wanted.abs().max().item())
    assert reference.arrangement is arrangement_of(reference_config(tmp_path))


def reference_config(folder):
    return json.loads((folder / "config.json").read_text())


@pytest.mark.parametrize(
    ("family", "change"),
    [
        ("gemma3_text", {"local_rope": None}),
        ("gemma3_text", {"query_scale": None}),
        ("gemma3_text", {"embedding_scale": 1.0}),
        ("gemma3_text", {"hidden_act": "silu"}),
        ("gemma3_text", {"norms_less_one": False}),
        ("exaone_moe", {"rope_on_full": True}),
        ("mistral", {"layer_types": (FULL,) * 4}),
        ("qwen3_moe", {"experts": {"normalised": False}}),
        ("exaone_moe", {"experts": {"scaling": 1.0}}),
        ("exaone_moe", {"experts": {"per_token": 1}}),
    ],
)
def test_a_familys_own_ways_are_noticed_when_they_are_left_out(family, change, tmp_path):
    from safetensors.torch import load_file

    theirs = saved(family, tmp_path)
    shape = Shape.from_config(reference_config(tmp_path))
    if "experts" in change:
        change = {"experts": dataclasses.replace(shape.experts, **change["experts"])}
    reference = Decoder(dataclasses.replace(shape, **change), arrangement_of(reference_config(tmp_path)))
    assert difference(theirs, reference.load(load_file(tmp_path / "model.safetensors")).eval()) > 1e-3


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "phi3"}, "model_type 'phi3'"),
        ({"model_type": "gemma3_text", "final_logit_softcapping": 30.0}, "final_logit_softcapping"),
        ({"model_type": "llama", "hidden_act": "relu"}, "hidden_act"),
        ({"model_type": "llama", "rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "'yarn'"),
    ],
)
def test_what_is_not_described_is_said_and_not_computed(config, words):
    assert words in why_not_described({**SIZES, "rope_parameters": None, **config})
    assert why_not_described({**SIZES, "model_type": "llama"}) == ""


def test_a_model_that_is_read_stands_in_memory_once(tmp_path, monkeypatch):
    """Neither drawn at random first nor copied: a billion parameters are 5 GB each time."""
    from safetensors.torch import load_file

    saved("llama", tmp_path)
    held = {name: tensor.float() for name, tensor in load_file(tmp_path / "model.safetensors").items()}
    monkeypatch.setattr("safetensors.torch.load_file", lambda path: held)

    def draw(tensor, *_, **__):
        assert tensor.is_meta, "drawn at random"

    monkeypatch.setattr("torch.nn.init.normal_", draw)
    model = read_model(tmp_path, reference_config(tmp_path))
    assert model.embed_tokens.weight.data_ptr() == held["model.embed_tokens.weight"].data_ptr()
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}


def test_the_contrast_of_the_chapter_is_a_qwen3_and_equals_transformers():
    theirs, reference = tiny_qwen3()
    assert type(theirs).__name__ == "Qwen3ForCausalLM" and not theirs.config.tie_word_embeddings
    with torch.no_grad():
        wanted, found = theirs(tokens()).logits, reference(tokens()).logits
    assert (wanted - found).abs().max() < TOLERANCE * wanted.abs().max()
