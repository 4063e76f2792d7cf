"""Layers left out and a vocabulary cut: the files fit their configs, load, and compute what the whole model would."""

from __future__ import annotations

import json
import shutil

import pytest

from exaone_nb.anatomy.inspection import inspect_model
from exaone_nb.catalog import read_config
from exaone_nb.compress.models import open_model
from exaone_nb.errors import UsageError
from exaone_nb.paths import NANO
from scripts import changed_models
from tests.tiny_models import make

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(
    not (NANO / "model.safetensors").is_file(), reason="data/nano is not there; see exaone_nb/nano"
)
IDS = torch.arange(10, 90)[None]


def logits(model):
    with torch.inference_mode():
        return model(IDS).logits


@pytest.mark.parametrize("family", ["llama", "exaone4_hybrid"])
def test_a_model_without_layers_is_the_model_whose_layers_were_taken_out(family, tmp_path):
    """Windows of 64 and 80 tokens: a window on the wrong layer would show."""
    source = make(family, tmp_path / "model")
    changed_models.without_layers(source, [1], tmp_path / "cut")
    whole = open_model(source)
    del whole.model.layers[1]
    for number, layer in enumerate(whole.model.layers):
        layer.self_attn.layer_idx = number
    whole.config.num_hidden_layers = 3
    if types := getattr(whole.config, "layer_types", None):
        whole.config.layer_types = [*types[:1], *types[2:]]
        assert read_config(tmp_path / "cut" / "config.json")["layer_types"] == whole.config.layer_types
    assert torch.equal(logits(open_model(tmp_path / "cut")), logits(whole))
    assert inspect_model(tmp_path / "cut").sound


def test_kinds_of_layers_that_only_a_pattern_tells_are_written_out(tmp_path):
    source = make("exaone4_hybrid", tmp_path / "model")
    config = read_config(source / "config.json")
    del config["layer_types"]
    config["sliding_window_pattern"] = "LLLG"
    (source / "config.json").write_text(json.dumps(config))
    changed_models.without_layers(source, [0], tmp_path / "cut")
    sliding, full = "sliding_attention", "full_attention"
    assert read_config(tmp_path / "cut" / "config.json")["layer_types"] == [sliding, sliding, full]


def test_a_cut_vocabulary_keeps_every_text_and_what_the_model_knew_of_its_tokens(tmp_path):
    from transformers import AutoTokenizer

    source = shutil.copytree(NANO, tmp_path / "model")
    settings = source / "generation_config.json"
    settings.write_text(json.dumps(read_config(settings) | {"eos_token_id": [6, 1019]}))  # </think>
    made = changed_models.with_vocabulary(source, 606, tmp_path / "cut")
    assert inspect_model(tmp_path / "cut").sound
    old, new = (AutoTokenizer.from_pretrained(place) for place in (NANO, tmp_path / "cut"))
    text = "민수는 사과 12개를 샀습니다. <think>\nHow many? #### 7[|endofturn|]"
    ids = new(text)["input_ids"]
    assert new.decode(ids) == text and len(ids) > len(old(text)["input_ids"])
    assert (
        new.convert_tokens_to_ids("<think>")
        < len(new)
        == 606
        == read_config(tmp_path / "cut" / "config.json")["vocab_size"]
    )
    # The same pieces, under their old numbers, are the same vectors: the same logits wherever a token stayed.
    same = old.convert_tokens_to_ids(new.convert_ids_to_tokens(range(606)))
    with torch.inference_mode():
        cut = open_model(tmp_path / "cut")(torch.tensor([ids])).logits
        whole = open_model(NANO)(torch.tensor([[same[i] for i in ids]])).logits[..., same]
    assert torch.allclose(cut.float(), whole.float(), atol=0.05)
    bytes_before = sum(path.stat().st_size for path in NANO.glob("*.safetensors"))
    assert bytes_before - made["actual_bytes"] == pytest.approx((1024 - 606) * 256 * 2, abs=16)
    assert cut.shape[-1] == 606
    ends = read_config(tmp_path / "cut" / "generation_config.json")["eos_token_id"]
    assert new.convert_ids_to_tokens(ends) == ["[|endofturn|]", "</think>"]


def test_wrong_calls_leave_nothing_behind(tmp_path):
    for call, words in (
        (lambda: changed_models.without_layers(NANO, [4, 9], tmp_path / "out"), "no layer 4, 9"),
        (lambda: changed_models.without_layers(NANO, range(4), tmp_path / "out"), "No layer would stay"),
        (lambda: changed_models.with_vocabulary(NANO, 100, tmp_path / "out"), "100 entries"),
        (lambda: changed_models.with_vocabulary(NANO, 2000, tmp_path / "out"), "cannot have 2,000"),
    ):
        with pytest.raises(UsageError, match=words):
            call()
    assert list(tmp_path.iterdir()) == []
    source = tmp_path / "model"
    shutil.copytree(NANO, source)
    tokenizer = read_config(source / "tokenizer.json")
    tokenizer["model"]["type"] = "Unigram"
    (source / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(UsageError, match="Unigram"):
        changed_models.with_vocabulary(source, 600, tmp_path / "out")
    assert not (tmp_path / "out").exists()
