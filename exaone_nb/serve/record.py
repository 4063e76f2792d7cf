"""Writing a measurement to the run folder, with everything needed to repeat it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from exaone_nb.results import RunFolder
from exaone_nb.serve.bench import Bench
from exaone_nb.statistics.estimate import INTERVAL_KIND, Estimate


def record(run: RunFolder, recipe: str, found: Bench) -> list[Path]:
    """Write the results of one checkpoint: "per_token" (for the scoreboard) and one per batch size."""
    document = found.document()
    same = (
        "kernel", "scheme", "runs_as", "dtype", "weights", "layers", "versions", "start_seconds",
        "bandwidth_bytes_per_second",
    )  # fmt: skip
    common = {name: document[name] for name in same}
    common |= {"engine": "vllm", "device": document["machine_in_words"]}

    def write(label: str, seconds: Estimate, details: dict[str, Any]) -> Path:
        return run.write_result(
            "speed",
            recipe=recipe,
            label=label,
            value=seconds.value,
            unit="s/token",
            n=seconds.n,
            interval=seconds.interval,
            interval_kind=INTERVAL_KIND,
            parameters=found.parameters,
            details=common | details,
            model=found.model,
        )

    paths = [
        write(f"decode_b{row['batch']}", d.per_token, row | {"prefill_seconds": row["first_token_seconds"]})
        for row, d in zip(document["decode"], found.decodes, strict=True)
    ]
    if (timed := found.per_token) is not None:
        seconds = timed.seconds_per_token
        details = {"batch": timed.questions, "tokens_per_second": 1 / seconds.value}
        # Of the first fixed-length row: this measurement mixes reading and writing and has no roof of its own.
        details |= {
            "decode_batch": found.decodes[0].batch,
            "decode_roofline_fraction": found.fraction(0),
            "prefill_seconds": found.decodes[0].first_token.value,
        }
        paths.append(write("per_token", seconds, timed.details() | details))
    return paths
