"""Answers of an evaluation under way, so that one that is killed goes on inside its task.

    runs/NAME/lm_eval/RECIPE/answers_FINGERPRINT.jsonl    one line for each request that was answered

The fingerprint stands for settings, model and lm-eval's version; the requests themselves are in each line's key. The file
is plain JSON, read and never executed, and goes away once lm-eval's own samples files hold the answers.
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from exaone_nb.score.outcomes import EndedText

# Requests are asked in portions: small ones at first, twice as many as long as a portion takes less than these seconds.
# So a kill costs about a minute of work, and an engine that answers many at once is hardly slowed down.
FIRST_PORTION, PORTION_SECONDS = 32, 30.0


class KeptAnswers:
    """The answers in one file. `used` counts those that were there before and were asked for again."""

    def __init__(self, path: Path) -> None:
        """Read what an earlier start left. A last line cut short by the kill is dropped from the file."""
        self.path, self.used = path, 0
        self._known: dict[str, Any] = {}
        whole = 0
        content = path.read_bytes() if path.is_file() else b""
        for line in content.splitlines(keepends=True):
            try:
                document = json.loads(line)
                self._known[document["request"]] = _answer_of(document)
            except (ValueError, KeyError, TypeError):
                break
            if not line.endswith(b"\n"):
                break
            whole += len(line)
        if whole < len(content):
            with open(path, "r+b") as handle:
                handle.truncate(whole)

    def __len__(self) -> int:
        return len(self._known)

    def answered(
        self, kind: str, requests: Sequence[Any], ask: Callable[[Sequence[Any]], Sequence[Any]]
    ) -> list[Any]:
        """The answer to each of lm-eval's requests: the one kept, else the one that `ask` gives, which is kept."""
        seen: Counter[str] = Counter()
        keys = []
        for request in requests:
            key = _key(kind, request)
            seen[key] += 1
            # A task that asks several times for one answer sends the same request several times.
            keys.append(f"{key}-{seen[key]}")
        found = {key: self._known[key] for key in keys if key in self._known}
        self.used += len(found)
        missing = [row for row, key in enumerate(keys) if key not in found]
        portion = FIRST_PORTION
        while missing:
            rows, missing = missing[:portion], missing[portion:]
            started = time.perf_counter()
            answers = ask([requests[row] for row in rows])
            if time.perf_counter() - started < PORTION_SECONDS:
                portion *= 2
            new = {keys[row]: answer for row, answer in zip(rows, answers, strict=True)}
            self._append(new)
            found |= new
        return [found[key] for key in keys]

    def remove(self) -> None:
        """Forget everything: the answers are in the samples files now, or shall be asked again."""
        self.path.unlink(missing_ok=True)
        self._known.clear()

    def _append(self, answers: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a", encoding="utf-8") as handle:
            for key, answer in answers.items():
                handle.write(json.dumps({"request": key} | _document_of(answer), ensure_ascii=False) + "\n")
        self._known |= answers


def _key(kind: str, request: Any) -> str:
    """What was asked, and of which item: the same prompt of two items may get two answers."""
    asked = [kind, request.task_name, request.doc_id, request.idx, request.args]
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _document_of(answer: Any) -> dict[str, Any]:
    if isinstance(answer, str):
        reason, thought = getattr(answer, "finish_reason", ""), getattr(answer, "thought", False)
        return {"text": str(answer), "finish_reason": reason, "thought": thought}
    if isinstance(answer, tuple):
        return {"log_likelihood": answer[0], "greedy": answer[1]}
    return {"log_likelihood": answer}


def _answer_of(document: dict[str, Any]) -> Any:
    if "text" in document:
        return EndedText.of(document["text"], document["finish_reason"], document["thought"])
    value = float(document["log_likelihood"])
    return (value, bool(document["greedy"])) if "greedy" in document else value
