"""What nano consists of and is measured with, from a training folder and seeds.

`publish` writes data/nano: BF16 weights, tokenizer, checksums. `write_all` writes lm-eval tasks, calibration and held-out
conversations. `accuracy_by_skill` has a quick look at what is there.
"""

import json
import random
import shutil
from itertools import islice
from pathlib import Path
from typing import Any

from exaone_nb import older_names
from exaone_nb.conversation.prompt import prompt_ids
from exaone_nb.errors import WorkbookError
from exaone_nb.files import sha256_of, staged_directory, write_json, write_text
from exaone_nb.messages import say
from exaone_nb.nano import problems
from exaone_nb.nano.conversations import DIRECT, assistant, conversations
from exaone_nb.nano.problems import Language, Problem, Split
from exaone_nb.nano.train import TEMPLATE, WORK, new_model
from exaone_nb.paths import DATA, NANO

CHECKSUMS, CARD = "SHA256SUMS", "README.md"
WRITTEN_BY_HAND = (CARD, "config.json", "generation_config.json", TEMPLATE.name)
ITEMS = 600
# (steps, whether the numbers are larger than most that nano learned on). The last two keep the tasks from being
# saturated: nano gets most of them, not all.
GRADES = ((1, False), (2, False), (3, False), (1, True), (2, True))


def publish(work: Path = WORK, destination: Path = NANO) -> dict[str, Any]:
    """Write the model folder whole, or not at all, and return its facts (parameters, bytes, steps).

    What is written by hand is taken from data/nano. Raises WorkbookError when `work` holds no trained state.
    """
    import torch
    from safetensors.torch import save_file

    state_file = work / "state.pt"
    if not state_file.exists():
        got = say("There is no trained state in {work}.", work=work)
        raise WorkbookError(got, remedy="Run: python -m exaone_nb.nano train")
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
        prompts = [prompt_ids(tokenizer, i.messages, i.thought is not None, i.tools) for i in group]
        inputs = tokenizer.pad({"input_ids": prompts}, return_tensors="pt")
        with torch.inference_mode():
            output = model.generate(**inputs, max_new_tokens=110, do_sample=False)
        for item, row in zip(group, output, strict=True):
            text = tokenizer.decode(row[inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            right.setdefault(item.skill, []).append(text.strip() == item.target().strip())
    return {k: {"accuracy": round(sum(v) / len(v), 3), "n": len(v)} for k, v in sorted(right.items())}


def distinct_problems(
    split: Split, language: Language | None, seed: str, grades: tuple[tuple[int, bool], ...] = GRADES
) -> list[Problem]:
    """ITEMS problems of `split` with different arithmetic, the grades in equal parts."""
    rng, found = random.Random(seed), dict[str, Problem]()
    while len(found) < ITEMS:
        problem = problems.draw(rng, split, language, *grades[len(found) % len(grades)])
        found.setdefault(problem.key, problem)
    return list(found.values())


def generative_rows(language: Language) -> list[dict[str, Any]]:
    """Items of nano_gsm (en) or nano_gsm_ko (ko): id, question, worked answer, grade (1 to 5), arithmetic."""
    return [
        {
            "id": f"nano_gsm_{language}-{i:04d}",
            "question": p.question(),
            "answer": p.short_answer(),
            "grade": i % len(GRADES) + 1,
            "arithmetic": p.key,
            "template": p.template(),
        }
        for i, p in enumerate(distinct_problems("test", language, f"gsm-{language}"))
    ]


def choice_rows() -> list[dict[str, Any]]:
    """Items of nano_mc: a one-step problem and four numbers, one of them right."""
    rng, rows = random.Random("mc"), []
    for i, p in enumerate(distinct_problems("test", None, "mc", GRADES[:1])):
        choices = [p.answer, *problems.distractors(p, rng)]
        rng.shuffle(choices)
        rows.append(
            {
                "id": f"nano_mc-{i:04d}",
                "question": f"{p.question()} {DIRECT[p.language]}",
                "choices": [str(c) for c in choices],
                "answer": choices.index(p.answer),
                "arithmetic": p.key,
                "template": p.template(),
            }
        )
    return rows


def conversation_rows(split: Split, count: int, seed: int) -> list[dict[str, Any]]:
    """Conversations as {"messages": [...]} with the reply as the last message; tool use is left out, so that
    any chat template can render them."""
    rows = []
    for item in islice((item for item in conversations(split, seed) if not item.tools), count):
        reply = item.reply if item.thought is None else f"<think>\n{item.target()}"
        rows.append({"messages": [*item.messages, assistant(reply)], "skill": item.skill})
    return rows


def write_all(data: Path = DATA) -> list[Path]:
    files = {
        "tasks/nano_gsm": generative_rows("en"),
        "tasks/nano_gsm_ko": generative_rows("ko"),
        "tasks/nano_mc": choice_rows(),
        "calibration/nano_calibration": conversation_rows("calibration", 512, seed=1),
        "calibration/nano_heldout": conversation_rows("validation", 256, seed=2),
    }
    return [
        write_text(
            data / f"{name}.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        )
        for name, rows in files.items()
    ]
