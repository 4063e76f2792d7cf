"""Tasks for the learner, and checks that name the mistake.

    from exaone_nb.exercises import grade

    def data_begins(header_length):
        ...  # your line

    grade(data_begins)

A check compares with the right answer on inputs that were chosen so that the known wrong answers differ. What is wrong in
one of the known ways is told which; else one input is shown with what came out and what should. A function in which
nothing was written is told "not yet", so a notebook runs to its end with nothing filled in.
"""

from exaone_nb.exercises.answers import EXERCISES, grade, judge

__all__ = ["EXERCISES", "grade", "judge"]
