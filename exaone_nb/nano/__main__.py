"""python -m exaone_nb.nano train | publish | data | evaluate"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from exaone_nb.errors import WorkbookError
from exaone_nb.nano.train import WORK, TrainingSettings

app = typer.Typer(help="Make the workbook's embedded model.", no_args_is_help=True, add_completion=False)

Work = Annotated[Path, typer.Option(help="Folder of the training state; an interrupted run goes on from it.")]


@app.command()
def train(
    work: Work = WORK, seed: int = 0, steps: int = TrainingSettings.steps, batch: int = TrainingSettings.batch
) -> None:
    """Train nano on the CPU (see data/nano/README.md for the time it took)."""
    from exaone_nb.nano.train import train as run

    run(TrainingSettings(seed=seed, steps=steps, batch=batch), work)


@app.command()
def publish(work: Work = WORK) -> None:
    """Write data/nano from the training state."""
    from exaone_nb.nano.publish import publish as run

    print(json.dumps(run(work)))


@app.command()
def data() -> None:
    """Write data/tasks/*.jsonl and data/calibration/*.jsonl."""
    from exaone_nb.nano.export import write_all

    for path in write_all():
        print(path.name)


@app.command()
def evaluate(items: int = 150) -> None:
    """A quick look at a published nano with transformers: accuracy by task and level on the validation split."""
    from exaone_nb.nano.publish import accuracy_by_skill

    print(json.dumps(accuracy_by_skill(items), indent=2))


if __name__ == "__main__":
    try:
        app()
    except WorkbookError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
