"""Writing a measurement to the run folder, with everything needed to repeat it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from exaone_nb.results import RunFolder
from exaone_nb.serve.bench import Bench
from exaone_nb.serve.speed import INTERVAL_KIND, Estimate


def record(run: RunFolder, recipe: str, found: Bench) -> list[Path]:
    """Write the results of one checkpoint: "per_token" (for the scoreboard) and one per batch size."""
    document = found.document()
    common = {
        "kernel": found.kernel,
        "engine": "vllm",
        "device": document["machine_in_words"],
        "scheme": found.scheme,
        "weights": found.weights,
        "layers": found.layers,
        "versions": document["versions"],
        "start_seconds": found.start_seconds,
        "bandwidth_bytes_per_second": found.roof.bandwidth,
    }

    def write(label: str, seconds: Estimate, details: dict[str, Any]) -> Path:
        return run.write_result(
            "speed",
            recipe=recipe,
            label=label,
            value=seconds.mean,
            unit="s/token",
            n=seconds.n,
            interval=seconds.interval,
            interval_kind=INTERVAL_KIND,
            parameters=found.parameters,
            details=common | details,
            model=found.model,
        )

    paths = [
        write(
            f"decode_b{measured.batch}",
            measured.per_token,
            row | {"prefill_seconds": row["first_token_seconds"]},
        )
        for row, measured in zip(document["decode"], found.decodes, strict=True)
    ]
    if (timed := found.per_token) is not None:
        details = {
            "batch": timed.questions,
            "tokens_per_second": 1 / timed.seconds_per_token.mean,
            # Of the first fixed-length row: this measurement mixes reading and writing and has no roof of its own.
            "decode_batch": found.decodes[0].batch if found.decodes else None,
            "decode_roofline_fraction": found.fraction(0) if found.decodes else None,
            "prefill_seconds": found.decodes[0].first_token.mean if found.decodes else None,
        }
        paths.append(write("per_token", timed.seconds_per_token, timed.details() | details))
    return paths
