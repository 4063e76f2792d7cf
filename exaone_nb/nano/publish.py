"""From a training folder to data/nano: BF16 weights, config, tokenizer, template, model card, checksums."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from exaone_nb.errors import WorkbookError
from exaone_nb.files import sha256_of, staged_directory, write_json
from exaone_nb.nano.train import TEMPLATE, WORK, config_dict, new_model
from exaone_nb.paths import NANO

CHECKSUMS = "SHA256SUMS"


def publish(work: Path = WORK, destination: Path = NANO) -> dict[str, Any]:
    """Write the model folder whole, or not at all, and return its facts (parameters, bytes, steps).

    Raises WorkbookError when `work` holds no trained state.
    """
    import torch
    from safetensors.torch import save_file

    state_file = work / "state.pt"
    if not state_file.exists():
        raise WorkbookError(
            f"There is no trained state in {work}.", remedy="Run: python -m exaone_nb.nano train"
        )
    state = torch.load(state_file, weights_only=True)
    settings = json.loads((work / "settings.json").read_text())
    model = new_model(0)
    model.load_state_dict(state["model"])
    tensors = {
        name: value.detach().to(torch.bfloat16).contiguous()
        for name, value in model.state_dict().items()
        if name != "lm_head.weight"  # tied: stored once, as embed_tokens
    }
    template, card = TEMPLATE.read_text(encoding="utf-8"), destination / "README.md"
    card_text = card.read_text(encoding="utf-8") if card.exists() else ""
    with staged_directory(destination) as folder:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "model.safetensors").chmod(0o644)
        write_json(folder / "config.json", config_dict())
        write_json(
            folder / "generation_config.json",
            {
                "bos_token_id": 1,
                "do_sample": False,
                "eos_token_id": config_dict()["eos_token_id"],
                "pad_token_id": 0,
            },
        )
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_bytes((work / "tokenizer" / name).read_bytes())
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
        write_json(folder / "training.json", {**settings, "steps_done": state["step"]})
        if card_text:
            (folder / "README.md").write_text(card_text, encoding="utf-8")
        # The card is prose that may be corrected later; everything a program reads is covered.
        names = sorted(p.name for p in folder.iterdir() if p.name not in (CHECKSUMS, "README.md"))
        lines = [f"{sha256_of(folder / name)}  {name}\n" for name in names]
        (folder / CHECKSUMS).write_text("".join(lines))
    return {
        "parameters": sum(t.numel() for t in tensors.values()),
        "bytes": (destination / "model.safetensors").stat().st_size,
        "steps": state["step"],
    }
