"""Before it runs: the first prompt as the model will see it, what is wrong with it, and how much work there is.

Most lost evaluation nights were lost here: a missing chat template, thinking switched on with a small token limit,
a few-shot prompt longer than the context.
"""

import hashlib
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from exaone_nb import catalog
from exaone_nb.anatomy.attention import context_limit
from exaone_nb.conversation.prompt import (
    PromptCheck,
    check_prompt,
    check_room,
    has_template,
    open_tokenizer,
)
from exaone_nb.engines.environment import prepare_process
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.messages import say
from exaone_nb.results import RunFolder
from exaone_nb.score.lm_eval_adapter import (
    answer_limit,
    asked_with,
    find_tasks,
    load_tasks,
    quietly,
    rendered,
)
from exaone_nb.score.settings import Settings

# They tell how likely the tokens are that they write, and nothing of those that they are given.
WITHOUT_LIKELIHOODS = {"llama.cpp": say("llama.cpp"), "server-chat": say("a chat endpoint")}


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
    folder = settings.tokenizer or catalog.weights_folder(model)
    return _previews(folder, load_tasks(find_tasks(tasks, include), tasks), settings)


def unaskable(tasks: Mapping[str, Any], backend: str) -> list[str]:
    """Those of `tasks` that need log-likelihoods of given texts, where the backend has none."""
    if backend not in WITHOUT_LIKELIHOODS:
        return []
    return [name for name, task in tasks.items() if task.OUTPUT_TYPE != "generate_until"]


class BeforeRun:
    """The checks of a preview, made before anything is loaded, once for every tokenizer."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._seen: dict[tuple[str, ...], list[TaskPreview]] = {}

    def check(self, recipe: str, place: str | Path, tasks: Mapping[str, Any], backend: str) -> list[str]:
        """What is odd about the prompts of `tasks`, for a person to read. They must not be scored with afterwards.

        Raises UsageError for a context longer than the model's and for a task that the backend cannot ask, WorkbookError
        for prompts that would be cut or refused.
        """
        settings = self.settings
        if names := ", ".join(unaskable(tasks, backend)):
            raise UsageError(
                say(
                    "{recipe} is asked through {asked}, which gives no log-likelihoods of a prompt, and {tasks} needs them.",
                    recipe=recipe,
                    asked=WITHOUT_LIKELIHOODS[backend],
                    tasks=names,
                ),
                remedy=say(
                    "Score safetensors with vllm or hf, or a server with --backend server (completions); or take a task that writes answers."
                ),
            )
        folder = Path(settings.tokenizer) if settings.tokenizer else place
        if not isinstance(folder, Path):
            return [say("{recipe}: the prompts are not checked without --tokenizer FOLDER.", recipe=recipe)]
        if isinstance(place, Path):
            context_limit(catalog.read_config(place / "config.json"), settings.max_model_len)
        key = (_tokenizer_digest(folder), *tasks)
        if key not in self._seen:
            self._seen[key] = _previews(folder, tasks, settings)
        stopped = [
            say("{task}: {text}", task=preview.task, text=check.text)
            for preview in self._seen[key]
            for check in preview.checks
            if check.stops
        ]
        if stopped:
            raise WorkbookError(
                say("{recipe} is not scored: {reasons}", recipe=recipe, reasons=" ".join(stopped)),
                expected=say("prompts that reach the model as they are."),
                remedy=say(
                    "Change --max-model-len or the answer's limit, and look at it: exaone-nb score … --preview"
                ),
            )
        return [
            say("{recipe}, {task}: {text}", recipe=recipe, task=preview.task, text=text)
            for preview in self._seen[key]
            for text in preview.problems
        ]


def _tokenizer_digest(folder: Path) -> str:
    """A hash of the files that decide what a prompt looks like."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*")):
        if path.suffix in (".jinja", ".txt", ".model") or "token" in path.name or path.name == "vocab.json":
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _previews(folder: str | Path, tasks: Mapping[str, Any], settings: Settings) -> list[TaskPreview]:
    tokenizer = open_tokenizer(folder)
    if settings.chat_template and not tokenizer.chat_template:
        raise WorkbookError(
            say("{name} has no chat template.", name=Path(folder).name),
            remedy=say("Copy the original's chat_template.jinja; for a base model: --no-chat-template."),
        )
    return [_preview_one(name, task, tokenizer, settings) for name, task in tasks.items()]


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
    chooses = first.request_type == "loglikelihood"
    tokens = tokenizer([r.args[0] for r in requests], add_special_tokens=False)["input_ids"]
    longest, limit, room, checks = max(map(len, tokens)), 0, [], []
    if generates:
        limit = answer_limit({**first.args[1], **settings.gen_kwargs}, settings.max_gen_toks or 256)
        room = check_room(longest, limit, settings.max_model_len, thinking=thinking)
    elif chooses:
        asked = tokenizer([r.args[0] + r.args[1] for r in requests], add_special_tokens=False)["input_ids"]
        longest = max(map(len, asked))
        # The engines write one token that nobody looks at.
        room = check_room(longest, 1, settings.max_model_len, thinking=False)
    # A base model is asked without a template, and so is a text whose likelihood is measured: as it should be.
    if (generates or chooses) and (settings.chat_template or has_template(tokenizer)):
        asked_for = {"thinking": thinking, "templated": settings.chat_template}
        checks = check_prompt(tokenizer, prompt, tokens[0], **asked_for)
    if thinking and not generates:
        cannot = say("A log-likelihood task cannot think: lm-eval refuses it.")
        checks.append(PromptCheck(False, cannot, stops=True))
    return TaskPreview(
        task=name,
        prompt=prompt,
        continuation=str(first.args[1]) if chooses else "",
        target=str(task.doc_to_target(first.doc)),
        items=len({r.doc_id for r in requests}),
        requests=len(requests),
        prompt_tokens=sum(map(len, tokens)),
        longest_prompt=longest,
        max_gen_toks=limit,
        checks=(*checks, *room),
    )


def expected_seconds(run: RunFolder, previews: list[TaskPreview]) -> float | None:
    """Seconds for one model, from earlier results of this run on the same tasks; None when there are none."""
    rates = []
    results = run.read_results("accuracy")
    for result in results:
        details, names = result["details"], result["details"]["scored_together"]
        if details.get("answers_from_before"):
            continue  # its seconds are those of a part
        items = sum(r["n"] for r in results if r["recipe"] == result["recipe"] and r["label"] in names)
        if set(names) >= {p.task for p in previews} and items:
            rates.append((details["seconds"] - details["loading_seconds"]) / items)
    return statistics.median(rates) * sum(p.items for p in previews) if rates else None
