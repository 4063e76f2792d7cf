"""How many users a server holds, and what stops more: the record of a sweep, and how it is read.

A user waits twice: for the first token, and then for each further one. Both grow with the number of users, for
different reasons: prompts wait for each other to be read, which is arithmetic; a step that writes one token of every
answer reads the weights once for all, and takes longer only when arithmetic or the cache's bytes count. Where not all
answers fit into the cache, the rest wait in a queue. `exaone_nb.serve.served` raises the load; what the server says of
itself meanwhile (its queue, its cache) tells what broke a limit.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np

from exaone_nb.anatomy.roofline import Pass
from exaone_nb.conversation.answers import Answer, Mode, check_mode
from exaone_nb.engines.dialects import ServerLoad
from exaone_nb.errors import UsageError
from exaone_nb.fields import whole
from exaone_nb.messages import say
from exaone_nb.statistics.bootstrap import clustered_quantile
from exaone_nb.statistics.estimate import Estimate

ARRIVALS = ("bursts", "rate")
GROWTH = 1.1  # a doubled load that gives less than this times the tokens per second saturates
# Below this share of the roof neither arithmetic nor bandwidth is what a step waits for.
LEAST_SHARE = 0.3
FULL_CACHE = 0.9


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """What is asked and how long one may wait. Raises UsageError for numbers out of range.

    `most` ends the doubling: users in bursts, requests per second at a rate. Each level sends at least `requests`
    requests, in at least `bursts` bursts; each answer has `output_tokens` tokens, ends ignored. `runaway_tokens` lets
    the first answer of every burst write that many instead. Limits hold for 95 % of the answers: seconds to the first
    token, seconds per token after it, and seconds until an answer is complete (0: no limit).
    """

    arrival: str = "bursts"
    most: int = 64
    requests: int = 16
    bursts: int = 3
    output_tokens: int = 32
    runaway_tokens: int = 0
    mode: Mode = "non-reasoning"
    first_token_s: float = 1.0
    per_token_s: float = 0.1
    answer_s: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_mode(self.mode)
        if self.arrival not in ARRIVALS:
            raise UsageError(
                say("arrival is {arrival!r}.", arrival=self.arrival), expected=" or ".join(ARRIVALS) + "."
            )
        for name, least in {
            "most": 1,
            "requests": 2,
            "bursts": 2,
            "output_tokens": 2,
            "runaway_tokens": 0,
        }.items():
            whole(name, getattr(self, name), least=least)
        for name in ("first_token_s", "per_token_s", "answer_s"):
            value = getattr(self, name)
            if not (0 < value < math.inf or (value == 0 and name == "answer_s")):
                raise UsageError(
                    say("{name} is {value!r}.", name=name, value=value), expected=say("seconds above 0.")
                )


@dataclass(frozen=True)
class Level:
    """One load: its answers in the order asked, and what the server said of itself meanwhile (None: nothing).

    `groups` says per answer which burst it belongs to; at a rate every answer is a group of its own. `seconds` is the
    whole level, from the first question to the last answer.
    """

    load: int
    answers: tuple[Answer, ...]
    groups: tuple[int, ...]
    seconds: float
    seen: ServerLoad | None = None

    def with_more(self, other: Self) -> Self:
        """Both measurements of this load as one."""
        groups = (*self.groups, *(1 + max(self.groups) + group for group in other.groups))
        seen = ServerLoad.worst([one.seen for one in (self, other) if one.seen])
        return replace(
            self,
            answers=self.answers + other.answers,
            groups=groups,
            seconds=self.seconds + other.seconds,
            seen=seen
            and replace(seen, preempted=sum(one.seen.preempted for one in (self, other) if one.seen)),
        )

    def _quantile(self, values: Sequence[float], share: float) -> Estimate:
        return clustered_quantile(np.array(values), np.array(self.groups), share)

    def first_token(self, share: float = 0.5) -> Estimate:
        """Seconds to the first token which `share` of the answers do not exceed, with its interval over the groups."""
        return self._quantile([answer.first_token_seconds for answer in self.answers], share)

    def per_token(self, share: float = 0.5) -> Estimate:
        """Seconds per token after the first."""
        after = [
            (answer.seconds - answer.first_token_seconds) / max(answer.output_tokens - 1, 1)
            for answer in self.answers
        ]
        return self._quantile(after, share)

    def complete(self, share: float = 0.5) -> Estimate:
        """Seconds from the question to the last token."""
        return self._quantile([answer.seconds for answer in self.answers], share)

    @property
    def throughput(self) -> float:
        """Generated tokens per second of all users together."""
        return sum(answer.output_tokens for answer in self.answers) / self.seconds

    def broken(self, options: LoadOptions) -> list[str]:
        """The limits that this level does not keep: "first token", "per token", "answer"."""
        limits = {
            "first token": (self.first_token, options.first_token_s),
            "per token": (self.per_token, options.per_token_s),
            "answer": (self.complete, options.answer_s or math.inf),
        }
        return [name for name, (measured, limit) in limits.items() if measured(0.95).value > limit]


@dataclass(frozen=True)
class Capacity:
    """A finished sweep. `within` is the last level before the first that broke a limit, None when the first did.

    `over` is that level, None when none broke one; `reason` says what stopped it: "compute", "bandwidth", "cache",
    "seats" (the server's own limit of answers at once), "one long answer", "overhead", or "step" where the machine behind
    the server is not known. `roof` is the best that the
    machine allows for a decode step at that load, where it is known.
    """

    model: str
    options: LoadOptions
    levels: tuple[Level, ...]
    within: Level | None
    over: Level | None
    reason: str = ""
    roof: Pass | None = None

    @property
    def roof_share(self) -> float | None:
        """How much of the roof the steps of the level over the limits reached; None where it has none."""
        if self.roof is None or self.over is None:
            return None
        return self.roof.seconds / self.over.per_token().value

    def document(self) -> dict[str, Any]:
        """The whole as JSON."""
        return {
            "model": self.model,
            "options": asdict(self.options),
            "within": self.within and self.within.load,
            "over": self.over and self.over.load,
            "broken": self.over.broken(self.options) if self.over else [],
            "reason": self.reason,
            "roof_share": self.roof_share,
            "saturated": saturated(self.levels),
            "levels": [
                {
                    "load": level.load,
                    "answers": len(level.answers),
                    "tokens_per_second": level.throughput,
                    **{
                        f"{name}_{mark}": getattr(level, name)(share).document()
                        for name in ("first_token", "per_token", "complete")
                        for mark, share in (("median", 0.5), ("p95", 0.95))
                    },
                    "server": level.seen and asdict(level.seen),
                }
                for level in self.levels
            ],
        }


def saturated(levels: Sequence[Level]) -> bool:
    """Whether the last doubling hardly gave more tokens per second."""
    return len(levels) > 1 and levels[-1].throughput < GROWTH * levels[-2].throughput


def reason(found: Capacity) -> str:
    """What stopped a sweep, by what was measured at the first level over the limits. See `Capacity`.

    The queue comes first: who waits for a seat waits for no arithmetic. Then a few answers that are much longer than
    the others. Then, for the first token, arithmetic: prompts are read. For the tokens after it the side of the roof that
    binds, unless the step is far below the roof; without a roof ("step") the two cannot be told apart.
    """
    over, broken = found.over, found.over.broken(found.options)
    if over.seen and over.seen.waiting and (over.seen.running < over.load or found.options.arrival == "rate"):
        return "cache" if (over.seen.cache or 0.0) >= FULL_CACHE or over.seen.preempted else "seats"
    tokens = [answer.output_tokens for answer in over.answers]
    if broken == ["answer"] and max(tokens) > 4 * statistics.median_low(tokens):
        return "one long answer"
    if "per token" not in broken:
        return "compute"
    if found.roof is None:
        return "step"
    return found.roof.bound if found.roof_share >= LEAST_SHARE else "overhead"
