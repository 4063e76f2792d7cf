"""Tiny models with random weights of the families that the chapters meet, with nano's tokenizer and template.

    python tests/tiny_models.py qwen3 runs/models/qwen3

Random weights never end an answer on purpose, and each model has something nano lacks: `llama` and the hybrid have
widths that 128 does not divide, `qwen3` an untied head and norms before the blocks, the others experts, windows or two
norms on each side of a block. `wide` is not tiny: six layers of EXAONE-4.0-1.2B with its vocabulary and its head (0.85 GB),
for the costs of a real model on a small machine.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from exaone_nb.paths import NANO

FULL, SLIDING = "full_attention", "sliding_attention"
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 128}
# What all of them share: nano's vocabulary and the ids of its tokens.
COMMON: dict[str, Any] = {
    "vocab_size": 1024,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 32768,
    "bos_token_id": 1,
    "eos_token_id": 6,
    "pad_token_id": 0,
    "tie_word_embeddings": True,
    # Larger than usual: at 0.02 every next token is about as likely as every other.
    "initializer_range": 0.05,
}
# model_type and what differs from COMMON. Widths of 192 leave groups of 64 only, as SmolLM2's 576 do.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": (
        "llama",
        {"hidden_size": 192, "num_attention_heads": 3, "num_key_value_heads": 1},
    ),
    "qwen3": ("qwen3", {"tie_word_embeddings": False}),
    "qwen3_moe": ("qwen3_moe", {**EXPERTS, "norm_topk_prob": True}),
    "exaone4_hybrid": (
        "exaone4",
        {
            "tie_word_embeddings": False,
            "layer_types": [SLIDING, SLIDING, SLIDING, FULL],
            "sliding_window": 64,
        },
    ),
    "exaone_moe": (
        "exaone_moe",
        {
            **EXPERTS,
            "tie_word_embeddings": False,
            "layer_types": [SLIDING, SLIDING, SLIDING, FULL],
            "sliding_window": 64,
            "mlp_layer_types": ["dense", "sparse", "sparse", "sparse"],
            "num_shared_experts": 1,
            "n_group": 1,
            "topk_group": 1,
        },
    ),
    "gemma3": (
        "gemma3_text",
        {"layer_types": [SLIDING, SLIDING, SLIDING, FULL], "sliding_window": 64, "query_pre_attn_scalar": 64},
    ),
    "wide": (
        "exaone4",
        {
            "vocab_size": 102400,
            "hidden_size": 2048,
            "intermediate_size": 4096,
            "num_hidden_layers": 6,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "layer_types": [FULL] * 6,
            "sliding_window": None,
        },
    ),
}
# Written by the model itself; everything else of nano's folder is the tokenizer and its template.
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def make(family: str, folder: str | Path, seed: int = 0) -> Path:
    """Write a whole model folder in bfloat16, the same bytes for the same seed. KeyError for an unknown family."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    model_type, changes = FAMILIES[family]
    torch.manual_seed(seed)
    config = AutoConfig.for_model(model_type, **(COMMON | changes))
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:  # norms of one would hide a norm in the wrong place
                parameter.add_(torch.empty_like(parameter).uniform_(-0.3, 0.3))
    folder = Path(folder)
    model.save_pretrained(folder)
    for name in TOKENIZER_FILES:
        shutil.copyfile(NANO / name, folder / name)
    _fill_up(folder / "tokenizer.json", config.vocab_size)
    return folder


def _fill_up(path: Path, size: int) -> None:
    """Give a tokenizer as many entries as the model has: no text is cut into the new ones, but a model may write them."""
    document = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = document["model"]["vocab"]
    held = max([*vocabulary.values(), *(token["id"] for token in document["added_tokens"])]) + 1
    if size > held:
        vocabulary |= {f"filler{number}": number for number in range(held, size)}
        path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in FAMILIES:
        sys.exit(f"Usage: python {sys.argv[0]} FAMILY FOLDER, FAMILY one of {', '.join(FAMILIES)}.")
    print(make(*sys.argv[1:]))
