"""Small submissions, made by hand: two layers of the family, weights of zeros, nano's tokenizer. No torch needed."""

import json
from pathlib import Path

from exaone_nb.anatomy.logical import expectations
from exaone_nb.paths import NANO

CONFIG = {
    "architectures": ["Exaone4ForCausalLM"],
    "model_type": "exaone4",
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "vocab_size": 1024,
    "max_position_embeddings": 65536,
    "tie_word_embeddings": True,
    "layer_types": ["full_attention"] * 2,
    "sliding_window": None,
    "rope_theta": 1000000.0,
    "eos_token_id": 6,
    "torch_dtype": "bfloat16",
}
W8A8 = {
    "quant_method": "compressed-tensors",
    "format": "int-quantized",
    "quantization_status": "compressed",
    "ignore": ["lm_head"],
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True},
            "input_activations": {
                "num_bits": 8,
                "type": "int",
                "strategy": "token",
                "symmetric": True,
                "dynamic": True,
            },
        }
    },
}


def make_model(folder: Path, **changes) -> Path:
    """Write a W8A8 model of two layers; `changes` go into config.json after the weights were written for the plain one."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {**CONFIG, "quantization_config": W8A8}
    write_weights(folder / "model.safetensors", config)
    write(folder / "config.json", {**config, **changes})
    write(folder / "generation_config.json", {"eos_token_id": 6, "pad_token_id": 0})
    write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": "[|endofturn|]",
            "model_input_names": ["input_ids", "attention_mask"],
        },
    )
    for name in ("tokenizer.json", "chat_template.jinja"):
        (folder / name).write_bytes((NANO / name).read_bytes())
    return folder


def write(path: Path, document: dict) -> None:
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")


def write_weights(path: Path, config: dict, extra: dict | None = None) -> None:
    """Safetensors by hand: header, then zeros. No torch needed."""
    header, offset = {}, 0
    for name, wanted in {**expectations(config), **(extra or {})}.items():
        tensor = getattr(wanted, "tensor", wanted)
        header[name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + tensor.bytes],
        }
        offset += tensor.bytes
    content = json.dumps(header).encode()
    content += b" " * (-len(content) % 8)
    path.write_bytes(len(content).to_bytes(8, "little") + content + bytes(offset))


def edit(path: Path, **changes) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    write(path, {k: v for k, v in {**document, **changes}.items() if v != "DELETE"})


def quantized(**changes) -> dict:
    document = json.loads(json.dumps(W8A8))
    group = document["config_groups"]["group_0"]
    for key, value in changes.items():
        (group if key in group else document)[key] = value
    return document
