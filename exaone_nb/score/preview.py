"""Before it runs: the first prompt as the model will see it, what is wrong with it, and how much work there is.

Most lost evaluation nights were lost here: a missing chat template, thinking switched on with a small token limit,
a few-shot prompt longer than the context.
"""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from exaone_nb import catalog
from exaone_nb.engines.environment import prepare_process
from exaone_nb.errors import WorkbookError
from exaone_nb.results import RunFolder
from exaone_nb.score.settings import Settings
from exaone_nb.score.tasks import find_tasks, load_tasks

THINK, END_OF_THOUGHT = "<think>", "</think>"


@dataclass(frozen=True)
class Check:
    """One thing that was checked: whether it is as it should be, and what was seen."""

    ok: bool
    text: str


@dataclass(frozen=True)
class Preview:
    """The first request of one task, and the task's work. Tokens are counted with the model's own tokenizer."""

    task: str
    prompt: str
    continuation: str
    target: str
    items: int
    requests: int
    prompt_tokens: int
    longest_prompt: int
    max_gen_toks: int
    checks: tuple[Check, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def preview(
    model: str | Path, tasks: list[str], settings: Settings, include: str | Path | None = None
) -> list[Preview]:
    """Build every prompt of `tasks` without loading the model; one Preview per task.

    Raises WorkbookError when the template is wanted and the tokenizer has none.
    """
    prepare_process(log="errors")
    from transformers import AutoTokenizer

    folder = settings.tokenizer or catalog.weights_folder(model)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if settings.chat_template and not tokenizer.chat_template:
        raise WorkbookError(
            f"{Path(folder).name} has no chat template.",
            remedy="Copy chat_template.jinja from the original model, or score a base model with --no-chat-template.",
        )
    return [
        _preview_one(name, task, tokenizer, settings)
        for name, task in load_tasks(find_tasks(tasks, include), tasks)["tasks"].items()
    ]


def _preview_one(name: str, task: Any, tokenizer: Any, settings: Settings) -> Preview:
    def render(history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return tokenizer.apply_chat_template(
            history,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
            enable_thinking=settings.thinking,
        )

    if settings.num_fewshot is not None and task.get_config("num_fewshot") != 0:
        task.set_config(key="num_fewshot", value=settings.num_fewshot)
    task.set_fewshot_seed(seed=settings.seed)
    task.build_all_requests(
        limit=settings.limit,
        rank=0,
        world_size=1,
        system_instruction=settings.system or None,
        apply_chat_template=settings.chat_template,
        fewshot_as_multiturn=settings.fewshot_as_multiturn and settings.chat_template,
        chat_template=render if settings.chat_template else None,
        tokenizer_name="preview",
    )
    requests = task.instances
    first = requests[0]
    generates = first.request_type == "generate_until"
    lengths = [
        len(ids) for ids in tokenizer([r.args[0] for r in requests], add_special_tokens=False)["input_ids"]
    ]
    limit = 0
    if generates:
        options = {**first.args[1], **settings.gen_kwargs}
        limit = int(options.get("max_gen_toks") or settings.max_gen_toks or 256)
    prompt = str(first.args[0])
    return Preview(
        task=name,
        prompt=prompt,
        continuation="" if generates else str(first.args[1]),
        target=str(task.doc_to_target(first.doc)),
        items=len({r.doc_id for r in requests}),
        requests=len(requests),
        prompt_tokens=sum(lengths),
        longest_prompt=max(lengths),
        max_gen_toks=limit,
        checks=tuple(_checks(prompt, tokenizer, settings, generates, max(lengths), limit)),
    )


def _checks(
    prompt: str, tokenizer: Any, settings: Settings, generates: bool, longest: int, limit: int
) -> list[Check]:
    checks = []
    if tokenizer.chat_template and not settings.chat_template:
        checks.append(
            Check(False, "The model has a chat template and it is switched off: expect a much lower score.")
        )
    elif settings.chat_template:
        checks.append(Check(True, "The chat template is applied."))
    if tokenizer.bos_token and prompt.count(tokenizer.bos_token) > 1:
        checks.append(Check(False, f"The prompt begins with {tokenizer.bos_token} more than once."))
    knows_thinking = THINK in str(tokenizer.chat_template or "")
    if settings.chat_template and knows_thinking:
        tail = prompt.rstrip()
        opened, closed = tail.endswith(THINK), tail.endswith(END_OF_THOUGHT)
        if settings.thinking:
            checks.append(
                Check(
                    opened, f"Thinking is on; the prompt {'opens' if opened else 'does not open'} a thought."
                )
            )
            if not generates:
                checks.append(Check(False, "A log-likelihood task cannot think: lm-eval refuses it."))
            elif limit < 1024:
                checks.append(
                    Check(False, f"Thinking with {limit} tokens will cut most answers; allow thousands.")
                )
        else:
            text = "ends with a closed, empty thought" if closed else "leaves the thought open"
            checks.append(Check(closed, f"Thinking is off; the prompt {text}."))
    room = settings.max_model_len - longest - limit
    checks.append(
        Check(
            room >= 0,
            f"Longest prompt {longest} + answer {limit} tokens {'fit' if room >= 0 else 'do not fit'} "
            f"into max_model_len {settings.max_model_len}.",
        )
    )
    return checks


def expected_seconds(run: RunFolder, previews: list[Preview]) -> float | None:
    """Seconds for one model, from earlier results of this run on the same tasks; None when there are none."""
    rates = []
    results = run.read_results("accuracy")
    for result in results:
        details = result["details"]
        together = sum(
            r["n"]
            for r in results
            if r["recipe"] == result["recipe"] and r["label"] in details["scored_together"]
        )
        if set(details["scored_together"]) >= {p.task for p in previews} and together:
            rates.append((details["seconds"] - details["loading_seconds"]) / together)
    return statistics.median(rates) * sum(p.items for p in previews) if rates else None
