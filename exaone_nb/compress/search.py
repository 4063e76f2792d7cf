"""What each part of a model costs under each scheme, measured, so that `budget` can choose between them.

The cost of a part is the KL divergence from the model, in nats per token, when that part alone is rounded. A gradient
score (the squared gradient of the loss times the rounding error, as NVIDIA's AutoQuantize has it) needs a backward pass
only, one for all parts and schemes. It was not taken: KL is what is reported afterwards, it counts rounded activations,
which have no rounding error of their own to multiply with, it is not blind where the loss is at a minimum, and it needs
the memory of the model alone. Parts count as if they did not touch each other; `measure` says what they do together.

What it takes is one pass over the texts per part and scheme, from the part's layer on: the layers before it give what
they gave before. Texts are any that the model is not judged on afterwards; without any, the model writes its own.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from exaone_nb.compress.budget import Choices, Costs
from exaone_nb.compress.damage import Document, compared, decoder_layers, divergence, per_token
from exaone_nb.compress.rounding import rounded
from exaone_nb.errors import WorkbookError
from exaone_nb.fields import named_dtype
from exaone_nb.messages import say
from exaone_nb.quantization.schemes import Scheme
from exaone_nb.statistics.estimate import Estimate

TOKENS = 1024  # read in one pass


@dataclass(frozen=True)
class Search:
    """Measured costs. `kl` maps part -> label -> nats summed over the tokens of each text [texts].

    `passes` over all texts are counted as `Choices.passes` says.
    """

    kl: Mapping[str, Mapping[str, np.ndarray]]
    tokens: np.ndarray  # judged, of each text [texts]
    read: int  # tokens of a pass, judged or not
    passes: float
    seconds: float

    @property
    def costs(self) -> Costs:
        """Part -> label -> nats per token."""
        total = float(self.tokens.sum())
        return {
            name: {k: float(kl.sum()) / total for k, kl in found.items()} for name, found in self.kl.items()
        }

    def foreseen(self, chosen: Mapping[str, str]) -> Estimate:
        """The KL of a choice if parts add up, nats per token, with a 95 % interval over the texts."""
        total = sum(self.kl[name][label] for name, label in chosen.items())
        return per_token(np.column_stack([total, self.tokens]))


def search(
    model: Any,
    offer: Choices,
    texts: Sequence[Document],
    dtype: Any = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Search:
    """Measure every part under every scheme that `offer` has for it. `dtype` is the one that the checkpoint stores."""
    begin = time.monotonic()
    layers = decoder_layers(model)
    known = [(batch, *_outputs(model, layers, [texts[i] for i in batch])) for batch in _batches(texts)]
    kl: dict[str, dict[str, np.ndarray]] = {}
    for part in offer.parts:
        kl[part.name] = {}
        for label, scheme in offer.options[part.name].items():
            found = kl[part.name][label] = np.zeros(len(texts))
            if scheme is None:
                continue
            # What lies before the part's layer is as before; a part outside the layers needs them all.
            first = part.layer or 0
            with rounded(model, {module.name: scheme for module in part.modules}, dtype):
                for batch, exact, outputs in known:
                    start = {name: outputs[name] for name in layers[:first]}
                    other = _pass(model, [texts[i] for i in batch], start)
                    found[batch] = [divergence(*pair)[0] for pair in zip(exact, other, strict=True)]
        progress(say("measured {part}", part=part.name))
    tokens = np.array([len(text.ids) - text.start for text in texts])
    read = sum(len(text.ids) for text in texts)
    return Search(kl, tokens, read, offer.passes, time.monotonic() - begin)


def _pass(model: Any, texts: Sequence[Document], start: Mapping[str, Any] | None = None) -> list[Any]:
    """Log-probabilities [tokens, vocabulary] of the judged tokens of each text, all texts in one pass.

    Shorter texts are filled up at their end, which a causal model does not see. With `start` (layer -> what it gave
    before) these layers are not run.
    """
    import torch

    longest = max(len(text.ids) for text in texts)
    ids = torch.tensor([[*text.ids, *[0] * (longest - len(text.ids))] for text in texts], device=model.device)
    with ExitStack() as undo, torch.inference_mode():
        for name, given in (start or {}).items():
            layer = model.get_submodule(name)
            # An attribute of the object itself, which hides the class's method until it is deleted.
            layer.forward = lambda *_, given=given, **__: given
            undo.callback(delattr, layer, "forward")
        logits = model(ids, use_cache=False).logits
        return [
            torch.log_softmax(row[text.start - 1 : len(text.ids) - 1].float(), dim=-1)
            for row, text in zip(logits, texts, strict=True)
        ]


def _outputs(
    model: Any, layers: Sequence[str], texts: Sequence[Document]
) -> tuple[list[Any], dict[str, Any]]:
    """The same, and what each layer gave."""
    found: dict[str, Any] = {}
    with ExitStack() as hooks:
        for name in layers:
            hook = partial(_keep, found, name)
            hooks.enter_context(model.get_submodule(name).register_forward_hook(hook))
        return _pass(model, texts), found


def _keep(found: dict[str, Any], name: str, _module: Any, _given: Any, made: Any) -> None:
    found[name] = made


def _batches(texts: Sequence[Document]) -> list[list[int]]:
    """Numbers of the texts that are read together: alike in length, at most TOKENS with what they are filled up with."""
    batches: list[list[int]] = []
    for number in sorted(range(len(texts)), key=lambda i: -len(texts[i].ids)):
        if batches and (len(batches[-1]) + 1) * len(texts[batches[-1][0]].ids) <= TOKENS:
            batches[-1].append(number)
        else:
            batches.append([number])
    return batches


def measure(
    model: Any, choices: Mapping[str, Mapping[str, Scheme]], texts: Sequence[Document], dtype: Any = None
) -> dict[str, dict[str, np.ndarray]]:
    """Each choice (module -> scheme) rounded in memory and judged, by name, as `damage.compared` says; longest text first."""
    batches = _batches(texts)
    order = [texts[i] for batch in batches for i in batch]
    exact = [found for batch in batches for found in _pass(model, [texts[i] for i in batch])]
    made = {}
    for name, schemes in choices.items():
        with rounded(model, schemes, dtype):
            other = (found for batch in batches for found in _pass(model, [texts[i] for i in batch]))
            made[name] = compared(exact, other, order)
    return made


def written_by(model: Any, count: int, length: int, seed: int = 0) -> list[Document]:
    """`count` texts of `length` tokens that the model draws from its own distribution, from its first token on.

    On such texts the mean of the KL is that of the distributions of whole texts, and nobody has to find any. Raises
    WorkbookError for a model that has no first token.
    """
    import torch

    if not isinstance(model.config.bos_token_id, int):
        raise WorkbookError(
            say("The model has no first token (bos_token_id) to write a text from."),
            remedy=say("Name a text file with --text."),
        )
    state = torch.random.get_rng_state()
    try:
        torch.manual_seed(seed)
        start = torch.full((count, 1), model.config.bos_token_id, device=model.device)
        made = model.generate(
            start, attention_mask=torch.ones_like(start), do_sample=True, top_k=0, top_p=1.0, temperature=1.0,
            repetition_penalty=1.0, min_new_tokens=length - 1, max_new_tokens=length - 1,
        )  # fmt: skip
    finally:
        torch.random.set_rng_state(state)
    return [Document(tuple(row), 1) for row in made.tolist()]


def stored_dtype(config: Mapping[str, Any]) -> Any:
    """torch's dtype in which a model of this config is stored, and in which its weights are rounded."""
    import torch

    return getattr(torch, named_dtype(config) or "bfloat16")


def seconds_for(offer: Choices, read: int, flops: float) -> float:
    """What a search over texts of `read` tokens takes by arithmetic: two operations per parameter, token and pass."""
    return 2 * offer.parameters * read * offer.passes / flops


def frontier(offer: Choices, costs: Costs, points: int = 12) -> Iterator[tuple[int, dict[str, str]]]:
    """(bytes, choice) at budgets evenly spaced from the smallest file to that of the heaviest uniform recipe."""
    sizes = [offer.file_bytes(choice) for choice in offer.uniform().values()]
    for budget in np.linspace(offer.cheapest_bytes, max(sizes), points).astype(int).tolist():
        chosen = offer.choose(costs, budget)
        yield offer.file_bytes(chosen), chosen
