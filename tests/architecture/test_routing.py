"""Routers: what they give, against transformers; and the tiny mixture that the chapter watches."""

import matplotlib.pyplot as plt
import pytest
import torch

from exaone_nb.architecture import probes, routing
from exaone_nb.architecture.model import read_model
from exaone_nb.show.figures import HANGUL


def test_the_experts_of_every_token_are_those_of_transformers(tmp_path):
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    torch.manual_seed(0)
    sizes = {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 48,
        "head_dim": 8,
        "num_hidden_layers": 3,
    }
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    experts = {
        "num_experts": 6,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "norm_topk_prob": True,
    }
    config = Qwen3MoeConfig(**sizes, **heads, **experts, mlp_only_layers=[1], initializer_range=0.3)
    theirs = Qwen3MoeForCausalLM(config).eval()
    theirs.save_pretrained(tmp_path)  # the file has each expert on its own
    ours = read_model(tmp_path, config.to_dict())
    ids = torch.randint(1, 64, (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = [one for one in theirs(ids, output_router_logits=True).router_logits if one is not None]
    given = probes.routing(ours, ids)
    assert len(given) == len(logits) == 2  # the middle layer has no experts
    for mine, wanted in zip(given, logits, strict=True):
        probabilities = wanted.view(2, 9, 6).softmax(-1)
        best, where = probabilities.topk(2, dim=-1)
        expected = torch.zeros_like(mine).scatter(-1, where, best / best.sum(-1, keepdim=True))
        assert torch.allclose(mine, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("piece", "kind"),
    [
        ("7", "digits"),
        (" 12", "digits"),
        ("사과", "Korean"),
        ("\ufffd", "Korean"),
        (" the", "English"),
        ("+", "signs"),
    ],
)
def test_kinds_of_tokens(piece, kind):
    assert routing.kind_of(piece) == kind


def test_the_watched_mixture_sends_each_token_to_two_experts_and_says_how_they_are_shared(monkeypatch):
    seen = routing.watch(steps=12)
    again = routing.watch(steps=12)
    assert torch.equal(seen.weights, again.weights) and seen.loss == again.loss
    assert seen.weights.shape == (len(seen.pieces), 8) and "".join(seen.pieces).startswith("What is 12")
    assert ((seen.weights > 0).sum(-1) == 2).all() and torch.allclose(
        seen.weights.sum(-1), torch.ones(len(seen.pieces))
    )
    assert seen.kinds == ["English", "Korean", "digits", "signs"]
    assert torch.allclose(seen.shares.sum(-1), torch.ones(4)) and float(seen.load.sum()) == pytest.approx(1)
    assert seen.loss[1] < seen.loss[0]
    for font in ("", "NanumGothic"):
        monkeypatch.setattr(routing, "korean_font", lambda font=font: font)
        figure = routing.picture(seen)
        left, right = figure.axes
        drawn = [text.get_text() for text in right.texts]
        names = [label.get_text() for label in left.get_yticklabels()]
        plt.close(figure)
        assert len(drawn) == int((seen.shares > 0).sum())
        assert any(HANGUL.search(name) for name in names) == bool(font) and "(Korean)" in names
        assert not any("\ufffd" in name for name in names)
