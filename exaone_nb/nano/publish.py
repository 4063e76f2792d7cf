"""From a training folder to data/nano: BF16 weights, tokenizer, checksums; and a quick look at what is there."""

import json
import shutil
from itertools import islice
from pathlib import Path
from typing import Any

from exaone_nb import older_names
from exaone_nb.errors import WorkbookError
from exaone_nb.files import sha256_of, staged_directory, write_json
from exaone_nb.nano.conversations import conversations
from exaone_nb.nano.tokenizer import prompt_of
from exaone_nb.nano.train import TEMPLATE, WORK, new_model
from exaone_nb.paths import NANO

CHECKSUMS, CARD = "SHA256SUMS", "README.md"
WRITTEN_BY_HAND = (CARD, "config.json", "generation_config.json", TEMPLATE.name)


def publish(work: Path = WORK, destination: Path = NANO) -> dict[str, Any]:
    """Write the model folder whole, or not at all, and return its facts (parameters, bytes, steps).

    What is written by hand is taken from data/nano. Raises WorkbookError when `work` holds no trained state.
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
    with staged_directory(destination) as folder:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "model.safetensors").chmod(0o644)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(work / "tokenizer" / name, folder / name)
        for name in WRITTEN_BY_HAND:
            shutil.copyfile(NANO / name, folder / name)
        older_names.make_readable(folder)
        write_json(folder / "training.json", {**settings, "steps_done": state["step"]})
        # The card is prose that may be corrected later; everything a program reads is covered.
        names = sorted(p.name for p in folder.iterdir() if p.name != CARD)
        lines = [f"{sha256_of(folder / name)}  {name}\n" for name in names]
        (folder / CHECKSUMS).write_text("".join(lines))
    return {
        "parameters": sum(t.numel() for t in tensors.values()),
        "bytes": (destination / "model.safetensors").stat().st_size,
        "steps": state["step"],
    }


def accuracy_by_skill(items: int = 150, folder: Path = NANO, batch: int = 50) -> dict[str, dict[str, float]]:
    """Share of replies on the validation split that are right to the last character, and n, per skill. Greedy decoding.

    The numbers that count come from lm-eval on the test split (the chapter on scoring); this only guides training.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    right: dict[str, list[bool]] = {}
    chosen = list(islice(conversations("validation", 7), items))
    for first in range(0, len(chosen), batch):
        group = chosen[first : first + batch]
        prompts = [prompt_of(tokenizer, item) for item in group]
        inputs = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        inputs.pop("token_type_ids", None)
        with torch.inference_mode():
            output = model.generate(**inputs, max_new_tokens=110, do_sample=False)
        for item, row in zip(group, output, strict=True):
            text = tokenizer.decode(row[inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            right.setdefault(item.skill, []).append(text.strip() == item.target().strip())
    return {k: {"accuracy": round(sum(v) / len(v), 3), "n": len(v)} for k, v in sorted(right.items())}
