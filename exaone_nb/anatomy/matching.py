"""Which modules a recipe means: exact module name, class name, or `re:` pattern, as compressed-tensors matches them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from exaone_nb.errors import UsageError

# The classes whose names recipes use, by the kind of the weight that such a module owns.
CLASS_OF_KIND = {"linear": "Linear", "head": "Linear", "embedding": "Embedding"}


@cache
def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(
            f"`re:{text}` is not a regular expression: {error}.",
            remedy="Remember that a dot matches any character and `.*` any text; a bare `*` at the start is wrong.",
        ) from error


def matches(module: str, kind: str, targets: Iterable[str]) -> bool:
    """True when a target is the module's full name, its class, or a `re:` pattern that fits from its start."""
    for target in targets:
        if target.startswith("re:"):
            if _pattern(target[3:]).match(module):
                return True
        elif target in (module, CLASS_OF_KIND.get(kind)):
            return True
    return False
