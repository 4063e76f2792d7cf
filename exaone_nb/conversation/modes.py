"""The sampling each model's makers recommend for each mode, from data/models.yaml."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from exaone_nb import catalog
from exaone_nb.conversation.answers import Mode, Sampling, check_mode
from exaone_nb.errors import UsageError


@dataclass(frozen=True)
class Advice:
    """A Sampling with the sentence it comes from. `as_written` is the published temperature ("below 0.6")."""

    sampling: Sampling
    as_written: str
    remark: str
    source: str


def recommended(
    model: str, mode: Mode = "non-reasoning", *, max_tokens: int = 256, korean: bool = False
) -> Advice:
    """What to sample with. A model outside the catalog, or one without advice, is sampled greedily.

    "below 0.6" becomes greedy: it is the one choice below 0.6 that repeats itself exactly. `korean` takes the
    temperature that a remark gives for conversation in Korean, where there is one.
    """
    check_mode(mode)
    greedy = Sampling(max_tokens=max_tokens)
    try:
        record = catalog.record(model)
    except UsageError:
        return Advice(greedy, "0 (greedy)", "", "not in the catalog: greedy")
    for setting in record.sampling.get("settings", ()):
        if setting["mode"] not in (mode, "both"):
            continue
        written, remark = str(setting["temperature"]), setting.get("remark", "")
        temperature = 0.0 if written.startswith("below") else float(re.match(r"[\d.]+", written)[0])
        in_korean = re.match(r"([\d.]+) for general conversation in Korean", remark)
        if korean and in_korean:
            temperature = float(in_korean[1])
        sampling = replace(
            greedy,
            temperature=temperature,
            top_p=float(setting.get("top_p", 1.0)) if temperature else 1.0,
            top_k=int(setting.get("top_k", 0)) if temperature else 0,
        )
        return Advice(sampling, written, remark, record.sampling["source"])
    return Advice(greedy, "0 (greedy)", "", "the catalog has no advice for this mode: greedy")


def against_repetition(advice: Advice) -> Advice:
    """The same with the presence penalty the remark names, for answers that go round in circles."""
    found = re.search(r"presence_penalty[= ]([\d.]+)", advice.remark)
    if not found:
        return advice
    return replace(advice, sampling=replace(advice.sampling, presence_penalty=float(found[1])))


def in_words(sampling: Sampling) -> str:
    """How the next token is drawn, for a table."""
    parts = [f"temperature {sampling.temperature:g}" if sampling.temperature else "greedy"]
    if sampling.temperature:
        parts += [f"top_p {sampling.top_p:g}"] if sampling.top_p < 1 else []
        parts += [f"top_k {sampling.top_k}"] if sampling.top_k else []
    if sampling.presence_penalty:
        parts.append(f"presence penalty {sampling.presence_penalty:g}")
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
