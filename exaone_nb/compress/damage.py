"""What quantizing cost: weights, layer outputs, next-token distributions, perplexity; on text nothing was fitted to.

All models run in transformers with the numbers of the saved checkpoint, activations rounded too where the scheme
says so. Intervals come from resampling documents, since tokens of one document are not independent.
"""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from exaone_nb import catalog
from exaone_nb.compress.calibration import TextSource, read_source, render
from exaone_nb.compress.formats import relative_error
from exaone_nb.compress.models import open_model
from exaone_nb.errors import WorkbookError
from exaone_nb.library_types import Tensor
from exaone_nb.statistics.estimate import Estimate
from exaone_nb.statistics.jackknife import jackknife


@dataclass(frozen=True)
class Document:
    """Token ids of one text; the model is judged on the tokens from `start` on."""

    ids: tuple[int, ...]
    start: int


def documents(folder: str | Path, source: TextSource, count: int, longest: int = 512) -> list[Document]:
    """The first `count` texts of a file or a hub data set as tokens. In a conversation only the last answer is judged.

    Raises WorkbookError when the file cannot be used or nothing is left to judge.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    made = []
    # A short file may be judged whole; of a data set on the hub no more is fetched than is asked for.
    for row in read_source(source, at_least=1 if source.path else count)[:count]:
        plain = isinstance(row, str)
        ids, start = (tokenizer(row)["input_ids"], 1) if plain else _conversation(tokenizer, row)
        document = Document(tuple(ids[:longest]), max(start, 1))
        if document.start < len(document.ids):
            made.append(document)
    if not made:
        raise WorkbookError(f"{source.name} has no text with a token to judge.", remedy="Give longer texts.")
    return made


def _conversation(tokenizer: Any, messages: list[dict[str, str]]) -> tuple[list[int], int]:
    """Token ids of a conversation, and where its last answer begins, rendered as a model would have to write it.

    The template cannot be asked for the whole: like EXAONE's, it drops the thoughts of answers already given. So
    the prompt is rendered, with thinking on where the answer thinks, and the answer is put behind it.
    """
    answer = messages[-1]["content"]
    thinking = "</think>" in answer
    prompt = render(tokenizer, messages[:-1], add_generation_prompt=True, enable_thinking=thinking)
    before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    text = answer.removeprefix("<think>\n") + (tokenizer.eos_token or "")
    return before + tokenizer(text, add_special_tokens=False)["input_ids"], len(before)


def log_probabilities(model: Any, document: Document) -> Tensor:
    """Log-probabilities of the judged positions, float32 [tokens, vocabulary]."""
    import torch

    with torch.inference_mode():
        logits = model(_ids(model, document), use_cache=False).logits[0]
    return torch.log_softmax(logits[document.start - 1 : -1].float(), dim=-1)


def against_baseline(baseline: Any, candidate: Any, texts: Sequence[Document]) -> dict[str, np.ndarray]:
    """Both models on the same texts: per document the summed negative log-likelihood in nats of the judged tokens
    and their number, `baseline` and `candidate` [documents, 2], and `kl` and `same_top` [documents, 2] alike.

    KL is D(baseline || candidate) in nats, summed over judged tokens: how far the distributions are apart, right or
    wrong answer aside. `same_top` counts the tokens for which both find the same next token most likely.
    """
    import torch

    rows: dict[str, list[tuple[float, int]]] = {
        "baseline": [],
        "candidate": [],
        "kl": [],
        "same_top": [],
    }
    for text in texts:
        first, second = log_probabilities(baseline, text), log_probabilities(candidate, text)
        targets = torch.tensor(text.ids[text.start :], device=second.device).unsqueeze(1)
        for name, found in (("baseline", first), ("candidate", second)):
            rows[name].append((-float(found.gather(1, targets).sum()), len(targets)))
        rows["kl"].append(divergence(first, second))
        same = first.argmax(-1) == second.argmax(-1).to(first.device)
        rows["same_top"].append((float(same.sum()), len(targets)))
    return {name: np.array(pairs) for name, pairs in rows.items()}


def divergence(first: Tensor, second: Tensor) -> tuple[float, int]:
    """D(first || second) in nats, summed over tokens, and their number, from log-probabilities [tokens, vocabulary]."""
    return float((first.exp() * (first - second)).sum()), len(first)


def _ids(model: Any, document: Document) -> Tensor:
    import torch

    return torch.tensor([document.ids], device=model.device)


def perplexity(rows: np.ndarray) -> Estimate:
    """exp(nats per token) with its 95 % interval over documents; rows are [documents, 2]."""
    nats = per_token(rows)
    return Estimate(math.exp(nats.value), math.exp(nats.low), math.exp(nats.high), nats.n)


def per_token(rows: np.ndarray) -> Estimate:
    """Nats per token with the jackknife's 95 % interval over documents; rows are [documents, 2]."""
    return jackknife(rows[:, 0], rows[:, 1]).interval()


def paired_difference(first: np.ndarray, second: np.ndarray) -> Estimate:
    """Nats per token of `second` minus `first` on the same documents, with the jackknife's 95 % interval.

    Pairing removes what both find hard or easy alike, so that smaller differences can be told from chance.
    """
    if first.shape != second.shape or (first[:, 1] != second[:, 1]).any():
        raise WorkbookError(
            "The two measurements are not of the same documents.", expected="equal token counts."
        )
    return jackknife(second[:, 0] - first[:, 0], first[:, 1]).interval()


def dequantized_weights(folder: str | Path) -> dict[str, Tensor]:
    """Module name -> weight [out, in] as the checkpoint's numbers stand, for every Linear, head excluded."""
    more = {}
    if catalog.read_config(Path(folder) / "config.json").get("quantization_config"):
        from transformers import CompressedTensorsConfig

        more = {"quantization_config": CompressedTensorsConfig(dequantize=True)}
    return linear_weights(open_model(folder, **more))


def linear_weights(model: Any) -> dict[str, Tensor]:
    """Module name -> weight [out, in] of every Linear of a loaded model, head excluded."""
    import torch

    return {
        name: module.weight.detach()
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name != "lm_head"
    }


def weight_errors(baseline: dict[str, Tensor], candidate: dict[str, Tensor]) -> dict[str, float]:
    """Relative error ||W - Q|| / ||W|| of each module's weight."""
    return {name: relative_error(weight, candidate[name]) for name, weight in baseline.items()}


def recorded(
    model: Any, names: Sequence[str], texts: Sequence[Document], *, inputs: bool = False
) -> dict[str, Tensor]:
    """What the named modules give back on these texts (or get, with `inputs`), float32 [tokens, width] each."""
    import torch

    kept: dict[str, list[Tensor]] = {name: [] for name in names}

    def hook(name: str, _: Any, given: Any, made: Any) -> None:
        value = given[0] if inputs else made
        value = value[0] if isinstance(value, tuple) else value
        kept[name].append(value.detach().float().reshape(-1, value.shape[-1]))

    with ExitStack() as hooks, torch.inference_mode():
        for name in names:
            hooks.enter_context(model.get_submodule(name).register_forward_hook(partial(hook, name)))
        for text in texts:
            model(_ids(model, text), use_cache=False)
    return {name: torch.cat(values) for name, values in kept.items()}


def layer_output_errors(baseline: Any, candidate: Any, texts: Sequence[Document]) -> dict[str, float]:
    """Relative error of the residual stream after each decoder layer: what has piled up by then."""
    names = [name for name, _ in baseline.named_modules() if name.rpartition(".layers.")[2].isdigit()]
    squares = {name: np.zeros(2) for name in names}
    for text in texts:
        exact, other = recorded(baseline, names, [text]), recorded(candidate, names, [text])
        for name in names:
            wrong = exact[name] - other[name]
            squares[name] += [float(wrong.square().sum()), float(exact[name].square().sum())]
    return {name: math.sqrt(wrong / size) for name, (wrong, size) in squares.items()}


def layer_inputs(model: Any, module: str, texts: Sequence[Document]) -> Tensor:
    """What a Linear reads on these texts, float32 [tokens, in]."""
    return recorded(model, [module], texts, inputs=True)[module]
