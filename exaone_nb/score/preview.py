"""Before it runs: the first prompt as the model will see it, what is wrong with it, and how much work there is.

Most lost evaluation nights were lost here: a missing chat template, thinking switched on with a small token limit,
a few-shot prompt longer than the context.
"""

import statistics
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from exaone_nb import catalog
from exaone_nb.conversation.prompt import PromptCheck, check_prompt, check_room, has_template
from exaone_nb.engines.environment import prepare_process
from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say
from exaone_nb.results import RunFolder
from exaone_nb.score.lm_eval_adapter import asked_with, find_tasks, load_tasks, quietly, rendered
from exaone_nb.score.settings import Settings


@dataclass(frozen=True)
class TaskPreview:
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
    checks: tuple[PromptCheck, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with the prompt; empty for a good one."""
        return tuple(check.text for check in self.checks if not check.ok)

    @property
    def work(self) -> str:
        return say(
            "{p.items:,} items, {p.requests:,} requests, {p.prompt_tokens:,} prompt tokens, at most {most:,} generated",
            p=self,
            most=self.items * self.max_gen_toks,
        )


def preview_tasks(
    model: str | Path, tasks: list[str], settings: Settings, include: str | Path | None = None
) -> list[TaskPreview]:
    """Build every prompt of `tasks` without loading the model; one preview per task.

    Raises WorkbookError when the template is wanted and the tokenizer has none.
    """
    prepare_process(log="errors")
    from transformers import AutoTokenizer

    folder = settings.tokenizer or catalog.weights_folder(model)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if settings.chat_template and not tokenizer.chat_template:
        raise WorkbookError(
            say("{name} has no chat template.", name=Path(folder).name),
            remedy=say("Copy the original's chat_template.jinja; for a base model: --no-chat-template."),
        )
    loaded = load_tasks(find_tasks(tasks, include), tasks)
    return [_preview_one(name, task, tokenizer, settings) for name, task in loaded.items()]


def _preview_one(name: str, task: Any, tokenizer: Any, settings: Settings) -> TaskPreview:
    render = partial(rendered, tokenizer, settings.thinking)
    if settings.num_fewshot is not None and task.get_config("num_fewshot") != 0:
        task.set_config(key="num_fewshot", value=settings.num_fewshot)
    task.set_fewshot_seed(seed=settings.seed)
    with quietly():
        task.build_all_requests(
            limit=settings.limit,
            rank=0,
            world_size=1,
            chat_template=render if settings.chat_template else None,
            tokenizer_name="preview",
            **asked_with(settings),
        )
    requests, thinking = task.instances, settings.thinking
    first = requests[0]
    prompt, generates = str(first.args[0]), first.request_type == "generate_until"
    tokens = tokenizer([r.args[0] for r in requests], add_special_tokens=False)["input_ids"]
    longest, limit, checks = max(map(len, tokens)), 0, []
    if generates:
        options = {**first.args[1], **settings.gen_kwargs}
        limit = int(options.get("max_gen_toks") or settings.max_gen_toks or 256)
    # A base model is asked without a template, and that is as it should be.
    if settings.chat_template or has_template(tokenizer):
        asked = {"thinking": thinking, "templated": settings.chat_template}
        checks = check_prompt(tokenizer, prompt, tokens[0], **asked)
    if thinking and not generates:
        checks.append(PromptCheck(False, say("A log-likelihood task cannot think: lm-eval refuses it.")))
    return TaskPreview(
        task=name,
        prompt=prompt,
        continuation="" if generates else str(first.args[1]),
        target=str(task.doc_to_target(first.doc)),
        items=len({r.doc_id for r in requests}),
        requests=len(requests),
        prompt_tokens=sum(map(len, tokens)),
        longest_prompt=longest,
        max_gen_toks=limit,
        checks=(*checks, *check_room(longest, limit, settings.max_model_len, thinking=thinking)),
    )


def expected_seconds(run: RunFolder, previews: list[TaskPreview]) -> float | None:
    """Seconds for one model, from earlier results of this run on the same tasks; None when there are none."""
    rates = []
    results = run.read_results("accuracy")
    for result in results:
        details, names = result["details"], result["details"]["scored_together"]
        items = sum(r["n"] for r in results if r["recipe"] == result["recipe"] and r["label"] in names)
        if set(names) >= {p.task for p in previews} and items:
            rates.append((details["seconds"] - details["loading_seconds"]) / items)
    return statistics.median(rates) * sum(p.items for p in previews) if rates else None
