"""Writing a measurement to the run folder, with everything needed to repeat it."""

from __future__ import annotations

from pathlib import Path

from exaone_nb.run_folder import RunFolder
from exaone_nb.serve.bench import Bench
from exaone_nb.serve.speed import INTERVAL_KIND


def record(run: RunFolder, recipe: str, found: Bench) -> list[Path]:
    """Write the results of one checkpoint: "per_token" (for the scoreboard) and one per batch size."""
    document = found.document()
    common = {
        "kernel": found.kernel,
        "engine": "vllm",
        "device": document["machine_in_words"],
        "scheme": found.scheme,
        "weights": found.weights,
        "start_seconds": found.start_seconds,
        "bandwidth_bytes_per_second": found.roof.bandwidth,
    }
    paths = []
    for row, measured in zip(document["decode"], found.decodes, strict=True):
        paths.append(
            run.write_result(
                "speed",
                recipe=recipe,
                label=f"decode_b{measured.batch}",
                value=measured.per_token.mean,
                unit="s/token",
                n=measured.per_token.n,
                interval=measured.per_token.interval,
                interval_kind=INTERVAL_KIND,
                parameters=found.parameters,
                details=common | row | {"prefill_seconds": row["first_token_seconds"]},
                model=found.model,
            )
        )
    if found.per_token is not None:
        timed = found.per_token
        paths.append(
            run.write_result(
                "speed",
                recipe=recipe,
                label="per_token",
                value=timed.seconds_per_token.mean,
                unit="s/token",
                n=timed.seconds_per_token.n,
                interval=timed.seconds_per_token.interval,
                interval_kind=INTERVAL_KIND,
                parameters=found.parameters,
                details=common
                | timed.details()
                | {
                    "batch": timed.questions,
                    "tokens_per_second": 1 / timed.seconds_per_token.mean,
                    "roofline_fraction": found.fraction(0) if found.decodes else None,
                    "prefill_seconds": found.decodes[0].first_token.mean if found.decodes else None,
                },
                model=found.model,
            )
        )
    return paths
