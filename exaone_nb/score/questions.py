"""Which tasks a model is asked, and with which preset of settings: the user's, or what suits the model.

questions_for("nano").tasks                    # nano's own
questions_for("EXAONE-4.0-1.2B").preset        # "lecture-gsm8k", where the hub answers
"""

from collections.abc import Sequence
from dataclasses import dataclass

from exaone_nb.errors import WorkbookError
from exaone_nb.materials import materials_for, warnings_on, without_hub
from exaone_nb.score import lm_eval_adapter


@dataclass(frozen=True)
class Questions:
    """`why` says what chose the tasks, and is empty for the user's own; `warnings`, what they cannot tell of this model."""

    tasks: tuple[str, ...]
    preset: str
    why: str
    warnings: tuple[str, ...]


def questions_for(model: str, tasks: Sequence[str] = (), preset: str = "") -> Questions:
    """The tasks and the preset that a user named, or what suits the model. Named tasks have no preset but the named one.

    Where the hub answers and does not give the tasks chosen for the model, the workbook's own take their place.
    """
    if tasks:
        return Questions(tuple(tasks), preset, "", tuple(warnings_on(model, tasks=tasks)))
    material = materials_for(model)
    if material.kind == "general":
        try:
            lm_eval_adapter.load_tasks(lm_eval_adapter.find_tasks(material.tasks), material.tasks)
        except WorkbookError as error:
            material = without_hub(error.got)
    warnings = tuple(warnings_on(model, tasks=material.tasks))
    return Questions(material.tasks, preset or material.preset, material.why, warnings)
