"""The sampling each model's makers recommend for each mode, from data/models.yaml."""

from dataclasses import dataclass, replace

from exaone_nb import catalog
from exaone_nb.conversation.answers import Mode, Sampling, check_mode
from exaone_nb.errors import UsageError
from exaone_nb.messages import say


@dataclass(frozen=True)
class Advice:
    """A Sampling with what it comes from: the temperature as published ("below 0.6"), the remarks, and the source.

    `against_loops` is the presence penalty that the makers name for answers that repeat themselves; of a range it is
    the middle, and None where they name none.
    """

    sampling: Sampling
    as_written: str
    remark: str
    source: str
    against_loops: float | None = None


def recommended(
    model: str, mode: Mode = "non-reasoning", *, max_tokens: int = 256, korean: bool = False
) -> Advice:
    """What to sample with. A folder counts as the catalog's model of the same config, whatever it is called; a model
    outside the catalog, or one without advice, is sampled greedily.

    "below 0.6" becomes greedy: it is the one choice below 0.6 that repeats itself exactly. `korean` takes the
    temperature for conversation in Korean, where the makers give one.
    """
    check_mode(mode)
    greedy = Sampling(max_tokens=max_tokens)
    try:
        record = catalog.record(catalog.recognised(model) or model)
    except UsageError:
        return Advice(greedy, say("0 (greedy)"), "", say("not in the catalog: greedy"))
    for setting in record.sampling["settings"]:
        if setting["mode"] not in (mode, "both"):
            continue
        temperature = float(setting.get("temperature", 0))
        if korean:
            temperature = setting.get("temperature_in_korean", temperature)
        sampling = replace(
            greedy,
            temperature=temperature,
            top_p=float(setting.get("top_p", 1.0)) if temperature else 1.0,
            top_k=int(setting.get("top_k", 0)) if temperature else 0,
        )
        penalty = setting.get("presence_penalty_if_repeating")
        if isinstance(penalty, list):
            penalty = sum(penalty) / len(penalty)
        return Advice(sampling, *catalog.sampling_in_words(setting), record.sampling["source"], penalty)
    return Advice(greedy, say("0 (greedy)"), "", say("the catalog has no advice for this mode: greedy"))


def against_repetition(advice: Advice) -> Advice:
    """The same with the presence penalty the makers name, for answers that go round in circles."""
    if advice.against_loops is None:
        return advice
    return replace(advice, sampling=replace(advice.sampling, presence_penalty=advice.against_loops))


def in_words(sampling: Sampling) -> str:
    """How the next token is drawn, for a table."""
    if sampling.temperature:
        parts = [say("temperature {value:g}", value=sampling.temperature)]
        parts += [say("top_p {value:g}", value=sampling.top_p)] if sampling.top_p < 1 else []
        parts += [say("top_k {value}", value=sampling.top_k)] if sampling.top_k else []
    else:
        parts = [say("greedy")]
    if sampling.presence_penalty:
        parts.append(say("presence penalty {value:g}", value=sampling.presence_penalty))
    return ", ".join(parts)


def is_korean(text: str) -> bool:
    """True for a text with Korean letters in it."""
    return any("가" <= letter <= "힣" for letter in text)


def goes_round(text: str, longest: int = 200) -> bool:
    """True for a text whose end says the same again and again: at least four times, and for 40 letters."""
    return any(
        text.endswith(text[-length:] * max(4, -(-40 // length)))
        for length in range(1, min(longest, len(text) // 4) + 1)
    )
