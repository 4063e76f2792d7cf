"""What the patterns of a recipe or of a quantization_config match, and what was meant by those that match nothing.

Teams of the 2026 hackathon drew conclusions from patterns that matched nothing. The level of a finding follows its
consequence: a pattern that would have changed the checkpoint had it been written right is a warning, one that
changes nothing either way is a note.
"""

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from exaone_nb.findings import Finding
from exaone_nb.messages import say
from exaone_nb.quantization.matching import Assignment, Module

IGNORE = "ignore"


@dataclass(frozen=True)
class Pattern:
    """One pattern and what it matched. `role` is ignore or the scheme's label.

    A target has an effect on a module whose scheme it decides; an ignore entry on one that would else be quantized.
    """

    role: str
    pattern: str
    modules: int
    parents: int
    effective: int


def patterns_of(made: Assignment) -> list[Pattern]:
    """How many modules each pattern matched, how many of them are parents, and on how many it had an effect."""
    wanted = {m.name: made.by_target.target_for(m.name, m.kind) for m in made.quantizable}
    entries = [(i, scheme.label, t) for i, (scheme, targets) in enumerate(made.groups) for t in targets]
    found = []
    for index, role, pattern in [*entries, *((None, IGNORE, p) for p in made.ignore)]:
        fitting = [module for module in made.modules if module.fits(pattern)]
        if index is None:
            effective = sum(wanted.get(m.name) is not None for m in fitting)
        else:
            effective = sum(made.assigned.get(m.name) == index and wanted[m.name] == pattern for m in fitting)
        parents = sum(module.kind == "parent" for module in fitting)
        found.append(Pattern(role, pattern, len(fitting), parents, effective))
    return found


def pattern_findings(made: Assignment) -> Iterator[Finding]:
    """Patterns without the effect that they were written for, expressions that compete, and groups that get nothing."""
    for pattern in patterns_of(made):
        where = IGNORE if pattern.role == IGNORE else say("targets of {role}", role=pattern.role)
        if pattern.modules == pattern.parents:
            yield _missed(made, pattern, where)
        elif not pattern.effective:
            yield _useless(made, pattern, where)
    yield from _overlaps(made)
    if all(index is None for index in made.assigned.values()):
        text = say("No module is quantized at all.")
        yield Finding("error", "nothing", text, say("Check targets and ignore."))


def _missed(made: Assignment, pattern: Pattern, where: str) -> Finding:
    """A pattern that matches no module, or only parents, whose children it does not pull in."""
    if pattern.modules:
        parent = next(m.name for m in made.modules if m.fits(pattern.pattern))
        corrected = rf"re:{re.escape(parent)}\..*"
        text = say(
            "`{pattern}` in {where} matches only the parent {parent}, not the modules inside: a pattern must match a "
            "module itself.",
            pattern=pattern.pattern, where=where, parent=parent,
        )  # fmt: skip
        remedy = say("Write `{corrected}`.", corrected=corrected)
    else:
        text = say("`{pattern}` in {where} matches no module.", pattern=pattern.pattern, where=where)
        corrected, remedy = meant(pattern.pattern, made.modules)
    ignored = pattern.role == IGNORE
    matters = any(
        m.quantizable and m.fits(corrected) and (not ignored or made.assigned[m.name] is not None)
        for m in (made.modules if corrected else ())
    )
    if ignored and not matters:
        text += " " + say("It changes nothing.")
        remedy = say("Leave it out. {more}", more=remedy).strip() if not corrected else say("Leave it out.")
    level = "warning" if matters or not ignored else "note"
    return Finding(level, "parent-only" if pattern.modules else "unmatched", text, remedy)


def _useless(made: Assignment, pattern: Pattern, where: str) -> Finding:
    """A pattern that matches modules to which nothing happens."""
    if pattern.role == IGNORE:
        text = say(
            "`{pattern}` in ignore matches {n} modules that no target asks for: it changes nothing.",
            pattern=pattern.pattern, n=pattern.modules,
        )  # fmt: skip
        remedy = say("Leave it out; targets alone decide what is quantized.")
        return Finding("no-op", "ignore-untargeted", text, remedy)
    if any(m.quantizable and m.fits(pattern.pattern) for m in made.modules):
        text = say(
            "`{pattern}` in {where} decides no module: each is ignored or taken by another target.",
            pattern=pattern.pattern, where=where,
        )  # fmt: skip
        remedy = say("A full name beats `re:`, and `re:` beats a class name; ignore beats all.")
        return Finding("no-op", "target-overruled", text, remedy)
    text = say(
        "`{pattern}` in {where} matches {n} modules, none of which is a Linear or an Embedding.",
        pattern=pattern.pattern, where=where, n=pattern.modules,
    )  # fmt: skip
    remedy = say("Only Linear and Embedding modules can be quantized.")
    return Finding("warning", "target-not-quantizable", text, remedy)


def _overlaps(made: Assignment) -> Iterator[Finding]:
    """Two regular expressions of different groups on one module: the alphabet decides, which nobody expects."""
    owner = {target: i for i, (_, targets) in enumerate(made.groups) for target in targets}
    expressions = sorted(target for target in owner if target.startswith("re:"))
    seen: set[tuple[str, str]] = set()
    for module in made.quantizable if len(expressions) > 1 else ():
        fitting = [e for e in expressions if module.fits(e)]
        if made.assigned[module.name] is None or len({owner[e] for e in fitting}) < 2:
            continue
        pair = (fitting[0], fitting[1])
        if pair not in seen:
            seen.add(pair)
            text = say(
                "{module} and others fit both `{first}` and `{second}`; the alphabet decides: the first wins.",
                module=module.name, first=pair[0], second=pair[1],
            )  # fmt: skip
            yield Finding("warning", "overlap", text, say("Make the expressions exclude each other."))


def meant(pattern: str, modules: Sequence[Module]) -> tuple[str, str]:
    """(the pattern that was probably meant, or "", and a sentence about it) for one that matches nothing."""
    plain, is_expression = pattern.removeprefix("re:"), pattern.startswith("re:")
    names = [module.name for module in modules]
    inner = [module.name for module in modules if module.quantizable]
    layers = [module.layer for module in modules if module.layer is not None]
    number = re.search(r"layers\\*\.(\d+)", plain)
    if number and layers and int(number.group(1)) > max(layers):
        return "", say("The layers of this model are 0 to {last}.", last=max(layers))
    if is_expression:
        single = plain.replace("\\\\", "\\")
        for changed, why in (
            (single, say("A backslash is written twice, so it asks for a backslash in the name")),
            (".*" + plain, say("The expression must fit from the beginning of the name")),
            (".*" + single, say("It must fit from the beginning, and a backslash is written twice")),
        ):
            if changed != plain and (count := _count(changed, inner)):
                fields = {"why": why, "changed": changed, "n": count}
                text = say("{why}; `re:{changed}` matches {n} modules that can be quantized.", **fields)
                return f"re:{changed}", text
    else:
        last = [name for name in names if name.endswith("." + plain)]
        if len(last) == 1:
            return last[0], say("The full name is `{name}`.", name=last[0])
        if last:
            wide = rf"re:.*\.{re.escape(plain)}"
            return wide, say("{n} modules end in it; `{wide}` matches them.", n=len(last), wide=wide)
        wide = re.escape(plain).replace("\\*", ".*")
        if "*" in plain and (count := _count(wide, inner)):
            text = say(
                "A star counts only after `re:`; `re:{wide}` matches {n} modules that can be quantized.",
                wide=wide, n=count,
            )  # fmt: skip
            return f"re:{wide}", text
    parts = sorted({module.part for module in modules if module.quantizable})
    near = difflib.get_close_matches(plain, [*names, *parts], n=3, cutoff=0.6)
    if near:
        corrected = near[0] if near[0] in names else rf"re:.*\.{re.escape(near[0])}"
        return corrected, say("Nearest names: {names}.", names=", ".join(near))
    return "", say("Modules that can be quantized end in {parts}.", parts=", ".join(parts))


def _count(expression: str, names: Sequence[str]) -> int:
    """How many names an expression matches; 0 when it is none."""
    try:
        return sum(bool(re.match(expression, name)) for name in names)
    except re.error:
        return 0
