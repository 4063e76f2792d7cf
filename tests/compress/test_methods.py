"""SmoothQuant and AutoRound as recipes: what they do to a model that they fit, made by llm-compressor."""

from __future__ import annotations

import shutil

import pytest

from exaone_nb.compress import quantize as maker
from exaone_nb.compress import recipe as recipes
from exaone_nb.compress.models import open_model
from exaone_nb.paths import NANO
from tests.compress.quick import quick

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        not (NANO / "model.safetensors").is_file(), reason="data/nano is not there; see exaone_nb/nano"
    ),
]
FEW = {"samples": 8, "length": 64}


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """A tiny Llama with nano's tokenizer, in which one channel behind each norm is 60 times larger than the others: what
    SmoothQuant is for. The matrices that read it are divided by 60, so that the channel weighs as much as any other."""
    from transformers import LlamaConfig, LlamaForCausalLM, set_seed

    set_seed(0)
    folder = tmp_path_factory.mktemp("tiny") / "llama"
    config = LlamaConfig(
        vocab_size=1024, hidden_size=256, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=64, initializer_range=0.1, eos_token_id=6, bos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    with torch.no_grad():
        for layer in model.model.layers:
            attention, mlp = layer.self_attn, layer.mlp
            for norm, readers in (
                (layer.input_layernorm, (attention.q_proj, attention.k_proj, attention.v_proj)),
                (layer.post_attention_layernorm, (mlp.gate_proj, mlp.up_proj)),
            ):
                norm.weight[7] *= 60
                for reader in readers:
                    reader.weight[:, 7] /= 60
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        shutil.copy(NANO / name, folder / name)
    return folder


def error(folder, reference):
    """Relative error of the logits on 4 x 32 fixed random tokens. Twenty lines of torch that round as W8A8 does gave 0.60
    without and 0.064 with smoothing on this model."""
    ids = torch.randint(10, 1000, (4, 32), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        wanted, got = (open_model(place)(ids).logits.float() for place in (reference, folder))
    return ((got - wanted).norm() / wanted.norm()).item()


def test_smoothquant_fits_a_llama_and_takes_most_of_the_error_of_an_outlier_away(llama, tmp_path):
    errors = {}
    for name in ("w8a8", "w8a8_smoothquant"):
        recipe = recipes.load(name).with_calibration(**FEW)
        document = maker.quantize(llama, recipe, tmp_path / name, sanity=False)
        assert document["problems"] == [] and document["actual_bytes"] == document["predicted_bytes"]
        errors[name] = error(tmp_path / name, llama)
    assert errors["w8a8_smoothquant"] < 0.3 * errors["w8a8"], errors


def test_autoround_gives_the_same_codes_twice_and_others_than_rounding_to_nearest(tmp_path):
    """Learned by gradients, drawn with a seed; llm-compressor's own rounding is what it starts from."""
    made = []
    for name in ("w4a16_rtn", "w4a16_autoround", "w4a16_autoround"):
        out = tmp_path / str(len(made))
        document = maker.quantize("nano", quick(recipes.load(name)), out, sanity=False)
        assert document["problems"] == [] and document["actual_bytes"] == document["predicted_bytes"]
        made.append(document["files"]["model.safetensors"]["sha256"])
    nearest, learned, again = made
    assert learned == again != nearest
