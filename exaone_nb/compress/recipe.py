"""A recipe: which modules get which number format, by which method, seeing which text.

One YAML file per recipe in `data/recipes/`. The smallest one:

    method: rtn            # rtn | gptq | autoround
    scheme: W4A16          # a preset of llm-compressor, or an explicit {weights: …, input_activations: …}
    ignore: [lm_head]

Several schemes in one model are written as `groups`, a list of {scheme, targets}. Patterns are those of
compressed-tensors: a full module name, a class name, or `re:` and a regular expression. llm-compressor's own
recipe.yaml is read as well (`modifiers`).
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, TypedDict

import yaml

from exaone_nb import schema
from exaone_nb.compress import modifiers
from exaone_nb.compress.calibration import Calibration
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.messages import did_you_mean, say, translated
from exaone_nb.paths import DATA
from exaone_nb.quantization.arguments import ExplicitScheme, KvCache, Observer, Transform
from exaone_nb.quantization.schemes import SCHEMES, find_scheme
from exaone_nb.schema import Count, Patterns, kind
from exaone_nb.written import read_yaml

FOLDER = DATA / "recipes"
PROSE = ("name", "title", "purpose", "known")
PRESETS = [name for name in SCHEMES if name != "UNQUANTIZED"]
# llm-compressor's classes, by what we call them.
MODIFIERS = {ours: theirs for theirs, ours in (modifiers.TRANSFORMS | modifiers.METHODS).items()}


def _scheme(value: str | dict[str, Any]) -> str | dict[str, Any]:
    if isinstance(value, str):
        return schema.one_of(value.upper(), PRESETS)
    return schema.nested(value, ExplicitScheme)


Targets = kind(tuple, lambda value: value and schema.are_names(value), "a list of patterns.", schema.as_tuple)
Text = kind(str, lambda value: True, "a text.", lambda value: str(value or ""))
Scheme = kind(
    str | dict,
    lambda value: isinstance(value, str | dict),
    "a preset name, or {weights: {num_bits, type, strategy, …}, input_activations: {…}}.",
    _scheme,
)
Fraction = kind(float, lambda value: schema.is_number(value) and 0 < value <= 1, "a number in (0, 1].")
# Any word: a plan says which of them do nothing.
Order = kind(str, lambda value: isinstance(value, str | bool | None), "static, its alias weight, or null.")


class MethodSettings(TypedDict, total=False):
    """What belongs to a method, and what people put there, so that a plan can say why it does nothing."""

    block_size: Count
    dampening_frac: Fraction
    actorder: Order
    iters: Count
    batch_size: Count
    lr: Fraction
    observer: Observer
    group_size: Count
    max_position_embeddings: Count


@dataclass(frozen=True)
class SchemeGroup:
    """Modules matched by `targets` get `scheme`: a preset name, or explicit compressed-tensors arguments."""

    scheme: Scheme
    targets: Targets = ("Linear",)


@dataclass(frozen=True)
class Recipe:
    """A checked recipe. `settings` belong to the method, `transform` runs before it (for instance AWQ)."""

    name: str
    groups: schema.list_of(SchemeGroup, "a list of {scheme, targets}.")
    method: Literal["rtn", "gptq", "autoround"] = "rtn"
    ignore: Patterns = ()
    settings: MethodSettings = field(default_factory=dict)
    transform: Transform | None = None
    kv_cache: KvCache | None = None
    calibration: Calibration = field(default_factory=Calibration)
    title: Text = ""
    purpose: Text = ""
    known: Text = ""

    def effective(self) -> dict[str, Any]:
        """What decides the outcome, without name and prose."""
        return {k: v for k, v in dataclasses.asdict(self).items() if k not in PROSE}

    def digest(self) -> str:
        """SHA-256 of the effective part; two recipes with one digest are the same recipe."""
        return hashlib.sha256(json.dumps(self.effective(), sort_keys=True).encode()).hexdigest()

    def with_calibration(self, **changes: Any) -> Self:
        """The same recipe with other calibration values (`samples`, `length`, `seed`, …); None leaves a value."""
        kept = {k: v for k, v in changes.items() if v is not None}
        return dataclasses.replace(self, calibration=dataclasses.replace(self.calibration, **kept))

    @property
    def needs_data(self) -> bool:
        """True when the result depends on calibration text: GPTQ, AutoRound, AWQ, static activation or KV-cache scales."""
        return bool(
            self.method != "rtn"
            or self.transform
            or self.kv_cache
            or self.settings.get("observer") == "imatrix_mse"
            or any(find_scheme(group.scheme).needs_data for group in self.groups)
        )

    def modifiers(self) -> list[tuple[str, dict[str, Any]]]:
        """(llm-compressor's class, its arguments) in the order in which they run. Plain data, nothing imported."""
        steps: list[tuple[str, dict[str, Any]]] = []
        if self.transform:
            options = {k: v for k, v in self.transform.items() if k != "type"}
            steps.append((MODIFIERS[self.transform["type"]], options))
        made: dict[str, Any] = {"ignore": list(self.ignore)}
        targets = {str(group.scheme): list(group.targets) for group in self.groups}
        if len(targets) < len(self.groups) or any(isinstance(group.scheme, dict) for group in self.groups):
            made["config_groups"] = {
                f"group_{i}": _explicit(group.scheme) | {"targets": list(group.targets)}
                for i, group in enumerate(self.groups)
            }
        elif len(targets) == 1:
            made["scheme"], made["targets"] = targets.popitem()
        else:
            made["scheme"] = targets
        if self.kv_cache:
            made["kv_cache_scheme"] = dict(self.kv_cache)
        if "observer" in self.settings:
            made["weight_observer"] = self.settings["observer"]
        made |= {k: v for k, v in self.settings.items() if k in modifiers.SETTINGS.get(self.method, ())}
        return [*steps, (MODIFIERS[self.method], made)]

    def to_yaml(self, *, folders: bool = True) -> str:
        """The recipe in llm-compressor's own YAML, for use without this package; `load` reads it back.

        The calibration stands under `args`, which llm-compressor reads and does not use. Without `folders` its files
        are named without the place where they lie on this machine.
        """
        document: dict[str, Any] = {"default_stage": {"default_modifiers": dict(self.modifiers())}}
        if self.needs_data:
            text = dataclasses.asdict(self.calibration)
            text["sources"] = [
                vars(source) | ({} if folders or source.path is None else {"name": Path(source.name).name})
                for source in self.calibration.sources
            ]
            document["args"] = {"calibration": text}
        return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def _explicit(scheme: str | dict[str, Any]) -> dict[str, Any]:
    """A scheme as explicit compressed-tensors arguments; a preset name is looked up in compressed-tensors."""
    if isinstance(scheme, dict):
        return dict(scheme)
    from compressed_tensors.quantization import preset_name_to_scheme

    made = preset_name_to_scheme(scheme, ["Linear"]).model_dump(mode="json", exclude={"targets", "format"})
    return {key: value for key, value in made.items() if value is not None}


def names() -> list[str]:
    """Names of the recipes that come with the workbook."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_all(given: Iterable[str | Path], taken: Iterable[str] = ()) -> dict[str, Recipe]:
    """Several recipes by their names, which become the names of checkpoints; one that is given twice counts once.

    Raises UsageError when two files have one name, or one has a name that is `taken`: one would replace the other.
    """
    chosen: dict[str, Recipe] = {}
    places = {name.casefold(): say("the workbook's own {name}", name=name) for name in taken}
    for place in given:
        recipe = load(place)
        known = places.setdefault(recipe.name.casefold(), str(place))
        if known != str(place) and chosen.get(recipe.name) != recipe:
            raise UsageError(
                say("{first} and {second} have one name.", first=known, second=str(place)),
                expected=say("a name of its own for each recipe: its checkpoint is called so."),
                remedy=say("Rename one of the files."),
            )
        chosen[recipe.name] = recipe
    return chosen


def load(recipe: str | Path | dict[str, Any] | Recipe) -> Recipe:
    """A recipe by name, by YAML file, or from a dict of the same shape.

    Raises UsageError for an unknown name or key and WorkbookError for a file that cannot be read.
    """
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, dict):
        return parse(recipe, name=str(recipe.get("name", "custom")))
    path = Path(recipe)
    if path.suffix not in (".yaml", ".yml"):
        if str(recipe) not in names():
            raise UsageError(
                say("No recipe {name!r}.", name=str(recipe)),
                expected=say("a YAML file, or one of {names}.", names=", ".join(names())),
                remedy=did_you_mean(recipe, names()),
            )
        path = FOLDER / f"{recipe}.yaml"
    document = read_yaml(path, dumped=True, expected="a recipe, such as those in data/recipes/.")
    if not isinstance(document, dict):
        got = say("{name} holds a {kind}.", name=path.name, kind=type(document).__name__)
        raise WorkbookError(got, expected="a mapping such as `scheme: W4A16`.")
    found = parse(document, name=path.stem)
    return dataclasses.replace(found, purpose=translated(found.purpose)) if found.purpose else found


def parse(document: dict[str, Any], name: str = "custom") -> Recipe:
    """Check a recipe document and build the Recipe. Raises UsageError, naming the key. A blank key is not there."""
    what = say("Recipe {name}", name=name)
    if modifiers.is_stages(document):
        document = modifiers.short_form(document, what)
    given = {k: v for k, v in document.items() if k != "name" and v is not None}
    if ("scheme" in given) == ("groups" in given):
        raise UsageError(
            say("{what} has both scheme and groups.", what=what)
            if "scheme" in given
            else say("{what} has neither scheme nor groups.", what=what),
            expected="`scheme` with `targets`, or `groups`, a list of {scheme, targets}.",
        )
    if "groups" in given and "targets" in given:
        raise UsageError(
            say("{what}: targets stand beside groups.", what=what), expected="targets inside each group."
        )
    if "scheme" in given:
        one = {key: given.pop(key) for key in ("scheme", "targets") if key in given}
        given["groups"] = [schema.read(one, SchemeGroup, what)]
    return schema.read(given | {"name": name}, Recipe, what)
