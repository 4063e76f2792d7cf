"""A quick look at nano with plain transformers: exact answers by skill on the validation split.

The numbers that count come from lm-eval on the test split (the chapter on scoring); this only guides training.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from exaone_nb.nano.conversations import conversations
from exaone_nb.paths import NANO


def accuracy_by_skill(items: int = 150, folder: Path = NANO, batch: int = 50) -> dict[str, dict[str, float]]:
    """Share of replies that are right to the last character, and n, per skill. Greedy decoding."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    right: dict[str, list[bool]] = {}
    chosen = list(islice(conversations("validation", 7), items))
    for first in range(0, len(chosen), batch):
        group = chosen[first : first + batch]
        prompts = [
            tokenizer.apply_chat_template(
                c.messages,
                tools=c.tools or None,
                add_generation_prompt=True,
                enable_thinking=c.thought is not None,
                tokenize=False,
            )
            for c in group
        ]
        inputs = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        inputs.pop("token_type_ids", None)
        with torch.inference_mode():
            output = model.generate(**inputs, max_new_tokens=110, do_sample=False)
        for c, row in zip(group, output, strict=True):
            text = tokenizer.decode(row[inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            right.setdefault(c.skill, []).append(text.strip() == c.target().strip())
    return {k: {"accuracy": round(sum(v) / len(v), 3), "n": len(v)} for k, v in sorted(right.items())}
