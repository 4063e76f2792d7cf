"""Small formulas that a notebook writes in its metadata: numbers, names, + - * / // **, comparisons, and, or, not, `a if b else c`.

    evaluate("2 * parameters * min(LENGTH, 256)", {"parameters": 424_000_000, "LENGTH": 512})

Nothing else is carried out, so that a notebook of somebody else's can be asked what it costs before it is trusted.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say

OPERATIONS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Pow: math.pow, ast.USub: operator.neg, ast.Not: operator.not_,
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}  # fmt: skip
FUNCTIONS: dict[str, Callable[..., Any]] = {"len": len, "max": max, "min": min}


def evaluate(formula: str, names: Mapping[str, Any]) -> float:
    """The number that a formula gives. Raises WorkbookError when it says something else than the lines above."""
    try:
        value = _value(ast.parse(str(formula), mode="eval").body, names)
        if isinstance(value, int | float) and math.isfinite(value):
            return value
        reason = say("it gives {value!r}", value=value)
    except (SyntaxError, KeyError, TypeError, ValueError, ArithmeticError) as error:
        reason = say("{kind}: {error}", kind=type(error).__name__, error=error)
    raise WorkbookError(
        say("The formula {formula!r} cannot be computed ({reason}).", formula=formula, reason=reason),
        expected=say("numbers, parameters of the chapter and sizes of the model: {names}.", names=", ".join(names)),
        remedy=say("Correct it in the notebook's metadata, under exaone_nb."),
    )  # fmt: skip


def _value(node: ast.AST, names: Mapping[str, Any]) -> Any:
    def of(inner: ast.AST) -> Any:
        return _value(inner, names)

    match node:
        case ast.Constant(value=int() | float() | str() as value):
            return value
        case ast.Name(id=name):
            return names[name]
        case ast.BinOp(left=left, op=op, right=right):
            return OPERATIONS[type(op)](of(left), of(right))
        case ast.UnaryOp(op=op, operand=operand):
            return OPERATIONS[type(op)](of(operand))
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(map(of, values))
        case ast.BoolOp(op=ast.And(), values=values):
            return all(map(of, values))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return OPERATIONS[type(op)](of(left), of(right))
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return of(body) if of(test) else of(orelse)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return FUNCTIONS[name](*map(of, arguments))
    raise ValueError(say("{kind} is not allowed", kind=type(node).__name__))
