"""The manifest beside a checkpoint: how it was made, what it weighs, what was found wrong with it, and that it is ours.

Making a checkpoint replaces a whole folder, so only a folder that is new, empty or ours may be named for it.
"""

import filecmp
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from exaone_nb.anatomy.duplicates import equal_tensors
from exaone_nb.anatomy.reader import read_headers
from exaone_nb.compress.models import open_model, quiet
from exaone_nb.compress.plan import Plan
from exaone_nb.conversation.prompt import prompt_ids
from exaone_nb.errors import UsageError
from exaone_nb.files import read_object, sha256_of, write_json
from exaone_nb.findings import Finding, some
from exaone_nb.messages import say

NAME = "quantize.json"


def check_out(out: Path, source: Path, *, baseline: bool = False) -> None:
    """Raise UsageError when a checkpoint of the model in `source` must not be put at `out`.

    Ours is a folder that holds the manifest we write beside a checkpoint (that of a `baseline` only for a baseline),
    and nothing that the manifest does not list.
    """
    if objection := _objection(out, source, baseline):
        raise UsageError(
            objection,
            expected="a new or empty folder apart from the model, or a checkpoint made here; it is replaced whole.",
            remedy="Name another folder with --out.",
        )


def _objection(out: Path, source: Path, baseline: bool) -> str:
    place, origin = out.resolve(), source.resolve()
    if place == origin:
        return say("The output folder {out} is the source model {source}.", out=out, source=source)
    if place in origin.parents:
        return say("The output folder {out} contains the source model {source}.", out=out, source=source)
    if origin in place.parents:
        return say("The output folder {out} lies inside the source model {source}.", out=out, source=source)
    if Path.cwd().is_relative_to(place):
        return say("The output folder {out} is the current folder, or contains it.", out=out)
    near = next(folder for folder in place.parents if folder.exists())
    if not near.is_dir() or not os.access(near, os.W_OK | os.X_OK):
        if near.is_dir():
            return say("The output folder {out} cannot be made: {near} is not writable.", out=out, near=near)
        return say("The output folder {out} cannot be made: {near} is a file.", out=out, near=near)
    if not out.exists():
        return ""
    if not out.is_dir():
        return say("The output folder {out} is a file.", out=out)
    there, found = {path.name for path in out.iterdir()}, read(out)
    if found is None:
        # Older baselines have no manifest.
        pairs = ((path, source / path.name) for path in out.iterdir())
        copied = baseline and all(other.is_file() and filecmp.cmp(path, other) for path, other in pairs)
        if copied or not there:
            return ""
        return say("The output folder {out} exists and holds {names}.", out=out, names=some(sorted(there), 3))
    if bool(found.get("baseline")) != baseline:
        if baseline:
            return say("The output folder {out} holds a quantized checkpoint.", out=out)
        return say("The output folder {out} holds the unquantized baseline of a run.", out=out)
    foreign = there - {NAME, *found["files"], *found["beside"]} if "beside" in found else set()
    if not foreign:
        return ""
    names = some(sorted(foreign), 3)
    return say("The output folder {out} holds {names} beside its checkpoint.", out=out, names=names)


def read(folder: str | Path) -> dict[str, Any] | None:
    """The manifest of a checkpoint folder, or None when there is none that can be read."""
    document = read_object(Path(folder) / NAME)
    return document if document.keys() >= {"fingerprint", "files"} else None


def finished(folder: str | Path, fingerprint: str) -> dict[str, Any] | None:
    """The manifest of a checkpoint made with this fingerprint, if every file it lists is there as it was; else None."""
    found = read(folder) or {}
    if found.get("fingerprint") != fingerprint or "beside" not in found:
        return None
    same = all(
        (path := Path(folder) / name).is_file()
        and path.stat().st_size == entry["bytes"]
        and sha256_of(path) == entry["sha256"]
        for name, entry in (found["files"] | found["beside"]).items()
    )
    return found if same else None


def file_entries(folder: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """{files: weight files, beside: all others}, each name -> {bytes, sha256}."""
    entries: dict[str, dict[str, dict[str, Any]]] = {"files": {}, "beside": {}}
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name != NAME:
            kind = "files" if path.suffix in (".safetensors", ".gguf") else "beside"
            entries[kind][path.name] = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
    return entries


def write_brief(folder: Path, name: str, **facts: Any) -> dict[str, Any]:
    """Write and return a manifest for what no recipe made: the folder is ours, and these are its files and `facts`."""
    entries = file_entries(folder)
    document = {
        "schema": 1,
        "recipe_name": name,
        "fingerprint": "",
        "actual_bytes": sum(entry["bytes"] for entry in entries["files"].values()),
        **facts,
        **entries,
    }
    write_json(folder / NAME, document)
    return document


def make(
    folder: Path, *, plan: Plan, fallback: list[str], findings: Sequence[Finding] = (), **facts: Any
) -> dict[str, Any]:
    """Describe the checkpoint in `folder`. Reads the files just written; `problems` lists what is wrong."""
    entries = file_entries(folder)
    actual = sum(entry["bytes"] for entry in entries["files"].values())
    duplicates = equal_tensors(read_headers(folder))
    config = read_object(folder / "config.json")
    tokenizer = any(name.startswith("tokenizer") for name in entries["beside"])
    template = "chat_template.jinja" in entries["beside"] or bool(
        read_object(folder / "tokenizer_config.json").get("chat_template")
    )
    problems = []
    if more := actual - plan.predicted_bytes:
        text = say(
            "predicted {n:,} bytes, written {m:,} ({more:+,})", n=plan.predicted_bytes, m=actual, more=more
        )
        problems.append(text)
    problems += [say("stored twice: {names}", names=" = ".join(group)) for group in duplicates]
    if not tokenizer:
        problems.append(say("no tokenizer beside the weights"))
    if not template:
        problems.append(say("no chat template: lm-eval and chat servers will fail or use a wrong one"))
    if fallback:
        text = say(
            "GPTQ could only round {count} modules to nearest, since their inputs leave nothing to invert: {names}",
            count=len(fallback),
            names=some(fallback, 10),
        )
        problems.append(text)
    problems += [finding.text for finding in findings if finding.level == "error"]
    return {
        "schema": 1,
        "recipe_name": plan.recipe.name,
        "recipe": plan.recipe.effective(),
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
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


def generations(folder: Path, *, trust_remote_code: bool = False) -> dict[str, str]:
    """A short greedy answer to "Who are you?" from the saved files, with thinking off and on, both in one batch."""
    asked, modes = [{"role": "user", "content": "Who are you?"}], ("thinking_off", "thinking_on")
    with quiet():
        import torch
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
        if not tokenizer.chat_template:
            return {}
        prompts = [prompt_ids(tokenizer, asked, thinking) for thinking in (False, True)]
        longest = max(map(len, prompts))
        padding = [longest - len(prompt) for prompt in prompts]
        model = open_model(folder, trust_remote_code=trust_remote_code)
        ids = torch.tensor([[0] * n + prompt for n, prompt in zip(padding, prompts, strict=True)])
        mask = torch.tensor([[0] * n + [1] * (longest - n) for n in padding])
        with torch.inference_mode():
            made = model.generate(
                ids.to(model.device),
                attention_mask=mask.to(model.device),
                max_new_tokens=40,
                do_sample=False,
                pad_token_id=0,
            )[:, longest:].tolist()
        ends = model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        # The answer that ends first is filled up to the length of the other.
        last = [next((i for i, token in enumerate(row) if token in ends), len(row)) for row in made]
        texts = [
            tokenizer.decode(row[: i + 1], skip_special_tokens=False)
            for row, i in zip(made, last, strict=True)
        ]
    return dict(zip(modes, texts, strict=True))
