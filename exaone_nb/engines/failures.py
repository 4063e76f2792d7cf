"""Why an engine did not start, in three lines instead of two hundred.

vLLM's reason stands somewhere in its traceback or log. The common ones stand in data/engine_failures.yaml, with what to
lower and by how much; of the others the last error line is shown.
"""

import re

from exaone_nb.errors import WorkbookError, causes
from exaone_nb.messages import joined, say, translated
from exaone_nb.paths import DATA
from exaone_nb.written import read_yaml

# A setting that does not fit is reported by pydantic over several lines; the reason is in this one.
_VALUE = re.compile(r"\bValue error, (.+?)(?: \[type=.*)?$")
_ERROR_LINE = re.compile(r"^(?:.*\b)?((?:\w+\.)*\w*(?:Error|Exception)): (.+)$")


def explain(text: str, model: str = "") -> WorkbookError:
    """A WorkbookError made of an exception's text or a server's log."""
    model = model or say("the model")
    for known in read_yaml(DATA / "engine_failures.yaml"):
        if match := re.search(known["pattern"], text, re.S | re.I):
            found = match.groupdict(default="")
            free, total, estimate = (float(found.get(name) or 0) for name in ("free", "total", "estimate"))
            fields = {name: value or say("unknown") for name, value in found.items()} | {
                "model": model,
                "line": _short(match[0]),
                "length": int(found.get("length") or 0),
                "fits": max(int(free / (total or 1) * 100) - 2, 1) / 100,
                "half": max(int(free) // 2, 1),
                "lower": f"max_model_len={estimate:.0f}" if estimate else say("a smaller max_model_len"),
            }
            got, remedy = (translated(known[part]).format(**fields) for part in ("got", "remedy"))
            return WorkbookError(got, remedy=remedy)
    kind, message = last_error(text)
    reason = joined(filter(None, (kind, message or say("it gave no reason"))), ": ")
    return WorkbookError(
        say("vLLM could not load {model}: {reason}", model=model, reason=reason),
        remedy="Look at config.json and quantization_config of the checkpoint; verbose=True shows vLLM's whole log.",
    )


def last_error(text: str) -> tuple[str, str]:
    """(kind, message) of the last line that looks like `SomethingError: reason`, or ("", last line).

    Pydantic's "Value error, reason" wins: what follows it is a link to its manual.
    """
    found = ("", "")
    for line in text.splitlines():
        if match := _VALUE.search(line.strip()):
            return say("a setting does not fit"), _short(match[1])
        if match := _ERROR_LINE.match(line.strip()):
            kind, message = match.groups()
            # The engine's own wrapper says only "see root cause above".
            if "root cause" not in message and "initialization failed" not in message:
                found = (kind.rpartition(".")[2], _short(message))
    last = text.strip().rpartition("\n")[2]
    return found if found[1] else ("", _short(last))


def _short(text: str, limit: int = 300) -> str:
    text = re.sub(r"\s+", " ", text).strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def messages_of(error: BaseException) -> str:
    """The messages of an exception and of those behind it, the root last."""
    return "\n".join(f"{type(each).__name__}: {each}" for each in causes(error))
