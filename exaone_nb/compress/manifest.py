"""The manifest beside a checkpoint: how it was made, what it weighs, and what was found wrong with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from exaone_nb.anatomy.duplicates import equal_tensors
from exaone_nb.anatomy.reader import read_headers
from exaone_nb.compress.recipe import Recipe
from exaone_nb.files import sha256_of
from exaone_nb.findings import Finding
from exaone_nb.messages import say

NAME = "quantize.json"


def read(folder: str | Path) -> dict[str, Any] | None:
    """The manifest of a checkpoint folder, or None when there is none that can be read."""
    try:
        document = json.loads((Path(folder) / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return (
        document if isinstance(document, dict) and "fingerprint" in document and "files" in document else None
    )


def unchanged(folder: str | Path, document: dict[str, Any]) -> bool:
    """True when every file the manifest lists is there with the recorded size and SHA-256."""
    return "beside" in document and all(
        (path := Path(folder) / name).is_file()
        and path.stat().st_size == entry["bytes"]
        and sha256_of(path) == entry["sha256"]
        for name, entry in (document["files"] | document["beside"]).items()
    )


def listed(document: dict[str, Any]) -> set[str]:
    """Names of all files of the checkpoint, the manifest's own included."""
    return {NAME, *document["files"], *document.get("beside", ())}


def file_entries(folder: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """{files: weight files, beside: all others}, each name -> {bytes, sha256}."""
    entries = {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != NAME
    }
    weights = {name: entry for name, entry in entries.items() if name.endswith(".safetensors")}
    return {"files": weights, "beside": {k: v for k, v in entries.items() if k not in weights}}


def make(
    folder: Path,
    *,
    plan: Any,
    recipe: Recipe,
    seconds: float,
    fallback: list[str],
    findings: Sequence[Finding] = (),
    **facts: Any,
) -> dict[str, Any]:
    """Describe the checkpoint in `folder`. Reads the files just written; `problems` lists what is wrong."""
    entries = file_entries(folder)
    actual = sum(entry["bytes"] for entry in entries["files"].values())
    duplicates = equal_tensors(read_headers(folder))
    names = {path.name for path in folder.iterdir()}
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    problems = []
    if actual != plan.predicted_bytes:
        problems.append(
            say(
                "predicted {predicted:,} bytes, written {actual:,} ({more:+,})",
                predicted=plan.predicted_bytes,
                actual=actual,
                more=actual - plan.predicted_bytes,
            )
        )
    problems += [say("stored twice: {names}", names=" = ".join(group)) for group in duplicates]
    tokenizer = any(name.startswith("tokenizer") for name in names)
    if not tokenizer:
        problems.append(say("no tokenizer beside the weights"))
    template = "chat_template.jinja" in names or _template_inside(folder)
    if not template:
        problems.append(say("no chat template: lm-eval and chat servers will fail or use a wrong one"))
    if fallback:
        problems.append(
            say(
                "GPTQ could only round {count} modules to nearest, since their inputs leave nothing to invert: {names}",
                count=len(fallback),
                names=", ".join(fallback[:10]) + (", …" if len(fallback) > 10 else ""),
            )
        )
    problems += [finding.text for finding in findings if finding.level == "error"]
    return {
        "schema": 1,
        "recipe_name": recipe.name,
        "recipe": recipe.effective(),
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 2),
        **facts,
        "predicted_bytes": plan.predicted_bytes,
        "actual_bytes": actual,
        "unquantized_bytes": plan.unquantized_bytes,
        **entries,
        "tied": bool(config.get("tie_word_embeddings")),
        "quantization_config": config.get("quantization_config"),
        "duplicates": duplicates,
        "tokenizer": tokenizer,
        "chat_template": template,
        "findings": [finding.text for finding in findings],
        "problems": problems,
    }


def generations(folder: Path, *, trust_remote_code: bool = False, new_tokens: int = 40) -> dict[str, str]:
    """A short greedy answer to "Who are you?" from the saved files, with thinking off and on."""
    from exaone_nb.compress.models import open_model, quiet

    with quiet():
        import torch
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
        if not tokenizer.chat_template:
            return {}
        model = open_model(folder, trust_remote_code=trust_remote_code)
        answers = {}
        for mode, thinking in (("thinking_off", False), ("thinking_on", True)):
            text = tokenizer.apply_chat_template(
                [{"role": "user", "content": "Who are you?"}],
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=thinking,
            )
            inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt").to(model.device)
            with torch.inference_mode():
                made = model.generate(**inputs, max_new_tokens=new_tokens, do_sample=False)
            answers[mode] = tokenizer.decode(
                made[0, inputs["input_ids"].shape[1] :], skip_special_tokens=False
            )
    return answers


def _template_inside(folder: Path) -> bool:
    try:
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(config.get("chat_template"))
