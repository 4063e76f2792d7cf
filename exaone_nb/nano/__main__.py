"""python -m exaone_nb.nano train | publish | data | evaluate"""

import json
import sys
from pathlib import Path
from typing import Any

import typer

from exaone_nb.errors import WorkbookError
from exaone_nb.nano.publish import accuracy_by_skill, publish, write_all
from exaone_nb.nano.train import WORK, TrainingSettings
from exaone_nb.nano.train import train as run


def show(result: Any) -> None:
    print(json.dumps(result, default=str))


app = typer.Typer(
    help="Make the workbook's embedded model.",
    no_args_is_help=True,
    add_completion=False,
    result_callback=show,
)
app.command()(publish)
app.command("data")(write_all)
app.command("evaluate")(accuracy_by_skill)


@app.command()
def train(
    work: Path = WORK, seed: int = 0, steps: int = TrainingSettings.steps, batch: int = TrainingSettings.batch
) -> Path:
    """Train nano on the CPU (see data/nano/README.md for the time it took); an interrupted run goes on from `work`."""
    return run(TrainingSettings(seed=seed, steps=steps, batch=batch), work)


if __name__ == "__main__":
    try:
        app()
    except WorkbookError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
