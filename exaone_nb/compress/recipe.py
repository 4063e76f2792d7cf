"""A recipe: which modules get which number format, by which method, seeing which text.

One YAML file per recipe in `data/recipes/`. The smallest one:

    method: rtn            # rtn | gptq
    scheme: W4A16          # a preset of llm-compressor, or an explicit {weights: …, input_activations: …}
    ignore: [lm_head]

Several schemes in one model are written as `groups`, a list of {scheme, targets}. Patterns are those of
compressed-tensors: a full module name, a class name, or `re:` and a regular expression.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from exaone_nb.compress.calibration import Calibration
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.paths import DATA
from exaone_nb.quantization import arguments
from exaone_nb.quantization.arguments import OBSERVERS, is_number, is_whole, one_of

FOLDER = DATA / "recipes"
METHODS = ("rtn", "gptq")
GPTQ_SETTINGS = ("block_size", "dampening_frac", "actorder")
# Also understood, so that a plan can say why they do nothing where people put them.
OTHER_SETTINGS = ("observer", "group_size", "max_position_embeddings")
KEYS = (
    "title",
    "purpose",
    "served",
    "known",
    "method",
    "scheme",
    "targets",
    "groups",
    "ignore",
    "settings",
    "transform",
    "kv_cache",
    "calibration",
)


@dataclass(frozen=True)
class Group:
    """Modules matched by `targets` get `scheme`: a preset name, or explicit compressed-tensors arguments."""

    scheme: str | dict[str, Any]
    targets: tuple[str, ...] = ("Linear",)


@dataclass(frozen=True)
class Recipe:
    """A checked recipe. `settings` belong to the method, `transform` runs before it (for instance AWQ)."""

    name: str
    groups: tuple[Group, ...]
    method: str = "rtn"
    ignore: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    transform: dict[str, Any] | None = None
    kv_cache: dict[str, Any] | None = None
    calibration: Calibration = field(default_factory=Calibration)
    title: str = ""
    purpose: str = ""
    served: str = ""
    known: str = ""

    def effective(self) -> dict[str, Any]:
        """What decides the outcome, without name and prose."""
        document = dataclasses.asdict(self)
        return {k: v for k, v in document.items() if k not in ("name", "title", "purpose", "served", "known")}

    def digest(self) -> str:
        """SHA-256 of the effective part; two recipes with one digest are the same recipe."""
        return hashlib.sha256(json.dumps(self.effective(), sort_keys=True).encode()).hexdigest()

    def with_calibration(self, **changes: Any) -> Recipe:
        """The same recipe with other calibration values (`samples`, `length`, `seed`, …); None leaves a value."""
        kept = {k: v for k, v in changes.items() if v is not None}
        return dataclasses.replace(self, calibration=dataclasses.replace(self.calibration, **kept))


def names() -> list[str]:
    """Names of the recipes that come with the workbook."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


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
            near = difflib.get_close_matches(str(recipe), names(), n=3)
            raise UsageError(
                f"No recipe {str(recipe)!r}.",
                expected=f"a YAML file, or one of {', '.join(names())}.",
                remedy=f"Did you mean {' or '.join(near)}?" if near else "",
            )
        path = FOLDER / f"{recipe}.yaml"
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError as error:
        raise WorkbookError(f"There is no recipe file {path}.", remedy="Check the path.") from error
    except OSError as error:
        raise WorkbookError(
            f"{path} cannot be read ({error.strerror}).", expected="a YAML file.", remedy="Check the path."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise WorkbookError(
            f"{path.name} is not YAML: {error}", remedy="See data/recipes/ for examples."
        ) from error
    if not isinstance(document, dict):
        raise WorkbookError(
            f"{path.name} holds a {type(document).__name__}.", expected="a mapping such as `scheme: W4A16`."
        )
    return parse(document, name=path.stem)


def parse(document: dict[str, Any], name: str = "custom") -> Recipe:
    """Check a recipe document and build the Recipe. Raises UsageError, naming the key."""
    document = {k: v for k, v in document.items() if k != "name"}
    arguments.check_keys(document, KEYS, f"Recipe {name}")
    method = one_of(document.get("method", "rtn"), METHODS, f"Recipe {name}: method")
    settings = _given(document, "settings", {})
    _check_settings(settings, name)
    return Recipe(
        name=name,
        groups=_groups(document, name),
        method=method,
        ignore=_patterns(_given(document, "ignore", []), f"Recipe {name}: ignore"),
        settings=dict(settings),
        transform=arguments.check_transform(document.get("transform"), name),
        kv_cache=arguments.check_kv_cache(document.get("kv_cache"), name),
        calibration=Calibration.parse(_given(document, "calibration", {}), name),
        **{key: str(document.get(key) or "") for key in ("title", "purpose", "served", "known")},
    )


def _given(document: dict[str, Any], key: str, default: Any) -> Any:
    """The value of a key; the default when it is missing or left blank."""
    value = document.get(key)
    return default if value is None else value


def _check_settings(settings: Any, name: str) -> None:
    arguments.check_keys(settings, (*GPTQ_SETTINGS, *OTHER_SETTINGS), f"Recipe {name}: settings")
    for key, value in settings.items():
        if key == "dampening_frac" and not (is_number(value) and 0 < value <= 1):
            raise UsageError(f"Recipe {name}: dampening_frac is {value!r}.", expected="a number in (0, 1].")
        whole = key in ("block_size", "group_size", "max_position_embeddings")
        if whole and not (is_whole(value) and value > 0):
            raise UsageError(f"Recipe {name}: {key} is {value!r}.", expected="a whole number above 0.")
        if key == "actorder" and not (value is None or isinstance(value, str | bool)):
            raise UsageError(
                f"Recipe {name}: actorder is {value!r}.", expected="static, its alias weight, or null."
            )
        if key == "observer":
            one_of(value, OBSERVERS, f"Recipe {name}: observer")


def _groups(document: dict[str, Any], name: str) -> tuple[Group, ...]:
    if ("scheme" in document) == ("groups" in document):
        raise UsageError(
            f"Recipe {name} has {'both' if 'scheme' in document else 'neither'} scheme and groups.",
            expected="`scheme` with `targets`, or `groups`, a list of {scheme, targets}.",
        )
    if "scheme" in document:
        return (_group({"scheme": document["scheme"], "targets": document.get("targets", ["Linear"])}, name),)
    if "targets" in document:
        raise UsageError(
            f"Recipe {name}: targets stand beside groups.", expected="targets inside each group."
        )
    if not isinstance(document["groups"], list) or not document["groups"]:
        raise UsageError(
            f"Recipe {name}: groups is empty or no list.", expected="a list of {scheme, targets}."
        )
    return tuple(_group(group, name) for group in document["groups"])


def _group(document: Any, name: str) -> Group:
    if not isinstance(document, dict) or set(document) - {"scheme", "targets"} or "scheme" not in document:
        raise UsageError(f"Recipe {name}: group {document!r}.", expected="{scheme: …, targets: [...]}.")
    scheme = document["scheme"]
    if isinstance(scheme, str):
        scheme = check_scheme(scheme, name)
    elif isinstance(scheme, dict):
        arguments.check_scheme(scheme, name)
    else:
        raise UsageError(
            f"Recipe {name}: scheme {scheme!r}.",
            expected="a preset name, or {weights: {num_bits, type, strategy, …}, input_activations: {…}}.",
        )
    targets = _patterns(_given(document, "targets", ["Linear"]), f"Recipe {name}: targets")
    if not targets:
        raise UsageError(
            f"Recipe {name}: targets is empty.", expected="at least one pattern, such as Linear."
        )
    return Group(scheme, targets)


def check_scheme(scheme: str, name: str = "") -> str:
    """The preset's canonical name. Raises UsageError with the nearest names when there is none."""
    from exaone_nb.quantization.schemes import SCHEMES

    known = [s for s in SCHEMES if s not in ("BF16", "F16", "F32", "UNQUANTIZED")]
    if scheme.upper() in known:
        return scheme.upper()
    near = difflib.get_close_matches(scheme.upper(), known, n=3, cutoff=0.5)
    raise UsageError(
        f"{f'Recipe {name}: ' if name else ''}unknown scheme {scheme!r}.",
        expected=f"one of {', '.join(known)}.",
        remedy=f"Did you mean {' or '.join(near)}?" if near else "",
    )


def _patterns(value: Any, what: str) -> tuple[str, ...]:
    value = [value] if isinstance(value, str) else value
    if not arguments.is_names(value):
        raise UsageError(f"{what} is {value!r}.", expected="a list of patterns.")
    return tuple(value)


class _Loader(yaml.SafeLoader):
    """YAML in which a key written twice is an error; plain YAML silently takes the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        twice = next((key for key in seen if seen.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(
                problem=f"the key {twice!r} is written twice", problem_mark=node.start_mark
            )
        return super().construct_mapping(node, deep)
