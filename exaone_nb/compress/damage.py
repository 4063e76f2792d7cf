"""What quantizing cost: weights, layer outputs, next-token distributions, perplexity; on text nothing was fitted to.

All models run in transformers with the numbers of the saved checkpoint, activations rounded too where the scheme
says so. Intervals come from resampling documents, since tokens of one document are not independent.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from exaone_nb import catalog
from exaone_nb.compress.calibration import TextSource, divided, read_source, render
from exaone_nb.compress.formats import relative_error
from exaone_nb.compress.models import open_model
from exaone_nb.conversation.answers import THINK_CLOSE, THINK_OPEN
from exaone_nb.errors import WorkbookError
from exaone_nb.library_types import Tensor
from exaone_nb.messages import say
from exaone_nb.statistics.bootstrap import clustered_quantile
from exaone_nb.statistics.estimate import Estimate
from exaone_nb.statistics.jackknife import jackknife

TAIL = 0.99
OPENING = f"{THINK_OPEN}\n"


@dataclass(frozen=True)
class Document:
    """Token ids of one text; the model is judged on the tokens from `start` on."""

    ids: tuple[int, ...]
    start: int


def documents(
    folder: str | Path, sources: TextSource | Sequence[TextSource], count: int, longest: int = 512
) -> list[Document]:
    """`count` texts as tokens, the first that can be judged, divided among the sources by their shares.

    They are mixed evenly, so that the first few are of every source. A file may have fewer. In a conversation only the last answer is judged. Raises WorkbookError when a source cannot be
    used or nothing is left to judge.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    sources = [sources] if isinstance(sources, TextSource) else list(sources)
    placed: list[tuple[float, Document]] = []
    for source, wanted in zip(sources, divided(count, sources), strict=True):
        # A short file may be judged whole; of a data set on the hub no more is fetched than may be needed.
        read = read_source(source, 1 if source.path else wanted, most=region(source, wanted))
        made = (_document(tokenizer, row, longest) for row in read[: region(source, wanted)])
        found = list(islice((one for one in made if one.start < len(one.ids)), wanted))
        placed += [((number + 0.5) / len(found), one) for number, one in enumerate(found)]
    if not placed:
        names = ", ".join(source.name for source in sources)
        raise WorkbookError(
            say("{names} has no text with a token to judge.", names=names), remedy=say("Give longer texts.")
        )
    return [one for _, one in sorted(placed, key=itemgetter(0))]


def region(source: TextSource, count: int) -> int:
    """Rows from the source's offset on that `count` texts to judge may be taken from: those of a file, and of the hub
    twice as many, since a conversation whose prompt alone is too long leaves nothing to judge."""
    return count if source.path else 2 * count


def _document(tokenizer: Any, row: list[dict[str, str]] | str, longest: int) -> Document:
    plain = isinstance(row, str)
    ids, start = (tokenizer(row)["input_ids"], 1) if plain else _conversation(tokenizer, row)
    return Document(tuple(ids[:longest]), max(start, 1))


def _conversation(tokenizer: Any, messages: list[dict[str, str]]) -> tuple[list[int], int]:
    """Token ids of a conversation, and where its last answer begins, rendered as a model would have to write it.

    The template cannot be asked for the whole: like EXAONE's, it drops the thoughts of answers already given. So
    the prompt is rendered, with thinking on where the answer thinks, and the answer is put behind it. Where the prompt
    opens the think block, the answer's own opening tag is left out; Qwen3's does not, and its models write the tag.
    """
    answer = messages[-1]["content"]
    thinking = THINK_CLOSE in answer
    prompt = render(tokenizer, messages[:-1], add_generation_prompt=True, enable_thinking=thinking)
    before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    text = (answer.removeprefix(OPENING) if prompt.endswith(OPENING) else answer) + (
        tokenizer.eos_token or ""
    )
    return before + tokenizer(text, add_special_tokens=False)["input_ids"], len(before)


def log_probabilities(model: Any, document: Document) -> Tensor:
    """Log-probabilities of the judged positions, float32 [tokens, vocabulary]."""
    import torch

    with torch.inference_mode():
        logits = model(_ids(model, document), use_cache=False).logits[0]
    return torch.log_softmax(logits[document.start - 1 : -1].float(), dim=-1)


def against_baseline(baseline: Any, candidate: Any, texts: Sequence[Document]) -> dict[str, np.ndarray]:
    """Both models on the same texts, see `compared`."""
    exact = (log_probabilities(baseline, text) for text in texts)
    return compared(exact, (log_probabilities(candidate, text) for text in texts), texts)


def compared(
    exact: Iterable[Tensor], other: Iterable[Tensor], texts: Sequence[Document]
) -> dict[str, np.ndarray]:
    """Two models by their log-probabilities [tokens, vocabulary] of each text: sums over its judged tokens, and their number.

    [documents, 2] each: `baseline` and `candidate` (negative log-likelihood, nats), `kl` (D(baseline || candidate), nats:
    how far the distributions are apart, right or wrong answer aside), `same_top` (tokens for which both find the same one
    most likely), `p_change` and `p_change_squared` (of the token's own probability, candidate minus baseline). `token_kl`
    [tokens, 2] is each token's KL and the number of its document.
    """
    rows: dict[str, list[tuple[float, int]]] = {}
    tokens: list[tuple[float, int]] = []
    for number, (first, given, text) in enumerate(zip(exact, other, texts, strict=True)):
        second = given.to(first.device)
        targets = first.new_tensor(text.ids[text.start :]).long().unsqueeze(1)
        before, after = first.gather(1, targets), second.gather(1, targets)
        change = (after.exp() - before.exp()).double()
        kl = (first.exp() * (first - second)).sum(-1)
        sums = {
            "baseline": -before.sum(),
            "candidate": -after.sum(),
            "kl": kl.sum(),
            "same_top": (first.argmax(-1) == second.argmax(-1)).sum(),
            "p_change": change.sum(),
            "p_change_squared": change.square().sum(),
        }
        for name, value in sums.items():
            rows.setdefault(name, []).append((float(value), len(targets)))
        tokens += [(value, number) for value in kl.tolist()]
    return {name: np.array(pairs) for name, pairs in (rows | {"token_kl": tokens}).items()}


def summary(found: Mapping[str, np.ndarray]) -> dict[str, Estimate]:
    """What `compared` found in the terms of llama.cpp's `perplexity --kl-divergence`, with 95 % intervals over documents.

    `perplexity` of the candidate; `ratio`, its change as a share of the baseline's (+0.02 is 2 % more); `loss`, the same in
    nats per token; `kl`, and `kl_tail`, above which one token in a hundred lies: a mean hides the few that break an answer;
    `p_change` and `p_rms` of the token's probability (0 to 1); `same_top`, a share.
    """
    loss = paired_difference(found["baseline"], found["candidate"])
    return {
        "perplexity": perplexity(found["candidate"]),
        "ratio": loss.map(math.expm1),
        "loss": loss,
        "kl": per_token(found["kl"]),
        "kl_tail": clustered_quantile(*found["token_kl"].T, TAIL),
        "p_change": per_token(found["p_change"], -1, 1),
        "p_rms": per_token(found["p_change_squared"], most=1).map(math.sqrt),
        "same_top": per_token(found["same_top"], most=1),
    }


def divergence(first: Tensor, second: Tensor) -> tuple[float, int]:
    """D(first || second) in nats, summed over tokens, and their number, from log-probabilities [tokens, vocabulary]."""
    return float((first.exp() * (first - second)).sum()), len(first)


def _ids(model: Any, document: Document) -> Tensor:
    import torch

    return torch.tensor([document.ids], device=model.device)


def perplexity(rows: np.ndarray) -> Estimate:
    """exp(nats per token) with its 95 % interval over documents; rows are [documents, 2]."""
    return per_token(rows).map(math.exp)


def per_token(rows: np.ndarray, least: float = 0, most: float = math.inf) -> Estimate:
    """The mean per token (nats, or a share) with the jackknife's 95 % interval over documents; rows are [documents, 2].

    No token's value lies below `least` or above `most`, so no bound does. The jackknife's own `ends` would add a document
    of such tokens at each end: with KL there is no largest value, and documents of one answer throughout do not occur.
    """
    return jackknife(rows[:, 0], rows[:, 1]).interval().within(least, most)


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
    names = decoder_layers(baseline)
    squares = {name: np.zeros(2) for name in names}
    for text in texts:
        exact, other = recorded(baseline, names, [text]), recorded(candidate, names, [text])
        for name in names:
            wrong = exact[name] - other[name]
            squares[name] += [float(wrong.square().sum()), float(exact[name].square().sum())]
    return {name: math.sqrt(wrong / size) for name, (wrong, size) in squares.items()}


def decoder_layers(model: Any) -> list[str]:
    """Names of the decoder layers of a loaded model, in order."""
    return [name for name, _ in model.named_modules() if name.rpartition(".layers.")[2].isdigit()]


def layer_inputs(model: Any, module: str, texts: Sequence[Document]) -> Tensor:
    """What a Linear reads on these texts, float32 [tokens, in]."""
    return recorded(model, [module], texts, inputs=True)[module]
