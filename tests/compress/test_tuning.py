"""Training after rounding, and a GPTQ file's numbers unpacked."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from exaone_nb.catalog import read_config
from exaone_nb.compress import damage
from exaone_nb.compress.calibration import TextSource
from exaone_nb.compress.models import open_model
from exaone_nb.compress.search import measure
from exaone_nb.errors import UsageError
from exaone_nb.paths import NANO
from exaone_nb.quantization.schemes import QuantArgs, Scheme
from scripts import changed_models

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(
    not (NANO / "model.safetensors").is_file(), reason="data/nano is not there; see exaone_nb/nano"
)


def test_training_makes_the_rounded_model_better_on_the_text_it_reads():
    """Two bits, where rounding alone breaks nano. The weights that come out are rounded by nobody yet."""
    texts = damage.documents(NANO, TextSource("nano_calibration"), 8, longest=96)
    before, model = (open_model(NANO, dtype="float32") for _ in range(2))
    names = [name for name, _ in damage.linear_weights(model).items()]
    schemes = dict.fromkeys(names, Scheme("two", QuantArgs(2, "int", "group", 128)))
    (start,) = measure(before, {"rounded": schemes}, texts).values()
    losses = changed_models.tune(model, schemes, texts, steps=12, texts_per_step=4, rate=5e-4)
    assert losses[0] == pytest.approx(damage.per_token(start["kl"]).value, rel=0.6)
    assert np.mean(losses[-3:]) < 0.6 * losses[0]
    assert all(not hasattr(module, "parametrizations") for module in model.modules())
    moved, was = damage.linear_weights(model), damage.linear_weights(before)
    assert all(not torch.equal(moved[name], was[name]) for name in names)
    assert len(moved[names[0]].unique()) > 1000
    assert torch.equal(model.model.norm.weight, before.model.norm.weight)


@pytest.mark.heavy
def test_codes_that_vllm_packed_for_gptq_are_unpacked(tmp_path):
    """vLLM's own test helpers round and pack; what they say the numbers are is what comes out."""
    tools = pytest.importorskip("vllm.model_executor.layers.quantization.utils.quant_utils")
    from safetensors.torch import load_file, save_file
    from vllm.scalar_type import scalar_types

    folder = tmp_path / "gptq"
    shutil.copytree(NANO, folder)
    tensors, wanted, config = load_file(folder / "model.safetensors"), {}, read_config(folder / "config.json")
    for name in [name for name in tensors if name.endswith("_proj.weight")]:
        weight, module = tensors.pop(name).float().T, name.removesuffix(".weight")
        exact, codes, scales, _ = tools.quantize_weights(weight, scalar_types.uint4b8, 128)
        wanted[name] = exact.T.to(torch.bfloat16)
        rows, columns = weight.shape
        tensors |= {
            f"{module}.qweight": tools.gptq_pack(codes, 4, rows, columns),
            f"{module}.qzeros": torch.full((rows // 128, columns // 8), 0x77777777, dtype=torch.int32),
            f"{module}.scales": scales,
            f"{module}.g_idx": torch.arange(rows, dtype=torch.int32) // 128,
        }
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    stored = {"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True, "desc_act": False}
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": stored}))
    changed_models.unpack(folder, tmp_path / "plain")
    made = load_file(tmp_path / "plain" / "model.safetensors")
    assert made.keys() == load_file(NANO / "model.safetensors").keys()
    assert all(torch.equal(made[name], weight) for name, weight in wanted.items())
    open_model(tmp_path / "plain")


def test_what_is_no_gptq_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no GPTQ file"):
        changed_models.unpack(NANO, tmp_path / "plain")
    assert not (tmp_path / "plain").exists()
