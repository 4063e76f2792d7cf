"""llm-compressor's own recipe.yaml, read into the keys of `recipe`. Nothing of llm-compressor is imported.

    default_stage:
      default_modifiers:
        SmoothQuantModifier: {smoothing_strength: 0.5}
        GPTQModifier: {scheme: W4A16, targets: [Linear], ignore: [lm_head]}

A stage ends in `_stage` and holds groups that end in `_modifiers`; the modifiers run in the order of the file. What
llm-compressor passes over without a word, a stage of another name for instance, is refused here. Fields are those of
0.9 (which the hackathon used) to 0.14. Such a file names no calibration text; `plan --export` writes it under `args`,
which llm-compressor reads and does not use.
"""

from collections.abc import Iterator
from typing import Any

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.messages import did_you_mean, say
from exaone_nb.quantization.arguments import MINMAX
from exaone_nb.quantization.schemes import ACTORDER, SCHEMES, find_scheme

STAGE, GROUP = "_stage", "_modifiers"
METHODS = {"QuantizationModifier": "rtn", "GPTQModifier": "gptq", "AutoRoundModifier": "autoround"}
TRANSFORMS = {"AWQModifier": "awq", "SmoothQuantModifier": "smoothquant"}
# What is said in `settings`, by method.
SETTINGS = {
    "gptq": ("block_size", "dampening_frac", "actorder"),
    "autoround": ("iters", "batch_size", "lr"),
}
# The fields that can be said in our keys, by modifier.
QUANTIZING = (
    "scheme", "config_groups", "targets", "ignore", "kv_cache_scheme", "weight_observer", "observer",
)  # fmt: skip
FIELDS = {
    "QuantizationModifier": QUANTIZING,
    "GPTQModifier": QUANTIZING + SETTINGS["gptq"],
    "AutoRoundModifier": QUANTIZING + SETTINGS["autoround"],
    "AWQModifier": ("mappings", "duo_scaling", "n_grid"),
    "SmoothQuantModifier": (
        "mappings", "smoothing_strength", "ignore", "num_calibration_steps", "algorithm",
    ),
}  # fmt: skip
# Where and how fast it is computed, and what follows from the other fields: they change nothing that is meant.
PASSED_OVER = (
    "requires_calibration_data", "offload_device", "offload_hessians", "sequential_targets", "device_ids",
    "enable_torch_compile",
)  # fmt: skip
# Fields that are dumped with a default; only that can be read.
DEFAULTS: dict[str, Any] = {
    "bypass_divisibility_checks": False, "batched_quantization": "auto", "input_observer": None,
    "output_observer": None, "disable_opt_rtn": False, "index": None, "group": None, "start": None, "end": None, "update": None,
}  # fmt: skip


def is_stages(document: dict[str, Any]) -> bool:
    """Whether this is llm-compressor's format."""
    return any(str(key).endswith(STAGE) for key in document)


def short_form(document: dict[str, Any], what: str) -> dict[str, Any]:
    """The same recipe in the keys of `recipe.parse`, which checks the values. Raises UsageError, naming the key."""
    made = dict(_mapping(document.get("args"), f"{what}: args"))
    _only(made, ("calibration",), f"{what}: args")
    for name, given in _steps(document, what):
        where = f"{what}: {name}"
        found = _transform(name, given, where) if name in TRANSFORMS else _quantization(name, given, where)
        if twice := sorted(found.keys() & made.keys() & {"transform", "method"}):
            raise UsageError(
                say("{what} has two modifiers of one kind ({kind}).", what=what, kind=", ".join(twice)),
                expected=say("at most one of {first}, then one of {then}.", **_KINDS),
                remedy=say("Several schemes go into one modifier: scheme: {{W8A16: […], W4A16: [Linear]}}."),
            )
        if "transform" in found and "method" in made:
            raise UsageError(
                say("{what}: {name} stands after the quantization.", what=what, name=name),
                expected=say("at most one of {first}, then one of {then}.", **_KINDS),
            )
        made |= found
    if "method" not in made:
        raise UsageError(
            say("{what} quantizes nothing.", what=what),
            expected=say("one of {names}.", names=", ".join(METHODS)),
        )
    return made


_KINDS = {"first": ", ".join(TRANSFORMS), "then": ", ".join(METHODS)}


def _steps(document: dict[str, Any], what: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(modifier, its fields) in the order in which they run."""
    for stage, groups in document.items():
        if stage == "args":
            continue
        _must_end(stage, STAGE, what)
        for group, steps in _mapping(groups, f"{what}: {stage}").items():
            _must_end(group, GROUP, f"{what}: {stage}")
            for name, given in _mapping(steps, f"{what}: {stage}: {group}").items():
                if name not in FIELDS:
                    raise UsageError(
                        say("{what}: {name} is a modifier that cannot be read here.", what=what, name=name),
                        expected=say("one of {names}.", names=", ".join(FIELDS)),
                        remedy=did_you_mean(name, FIELDS)
                        or say("Run it with llm-compressor itself; the checkpoint can be read here."),
                    )
                yield name, _mapping(given, f"{what}: {name}")


def _must_end(key: Any, ending: str, what: str) -> None:
    if not str(key).endswith(ending):
        raise UsageError(
            say("{what}: llm-compressor does not look at {key!r}.", what=what, key=key),
            expected=say("a key that ends in {ending}.", ending=ending),
        )


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict | None):
        raise UsageError(
            say("{what} is {value!r}.", what=what, value=value), expected=say("a mapping of fields.")
        )
    return value or {}


def _only(given: dict[str, Any], fields: tuple[str, ...], what: str) -> None:
    for key in given:
        if key not in fields:
            raise UsageError(
                say("{what} has a field {key!r} that cannot be read here.", what=what, key=key),
                expected=say("fields among {fields}.", fields=", ".join(fields)),
                remedy=did_you_mean(key, fields),
            )


def _known(given: dict[str, Any], fields: tuple[str, ...], what: str) -> dict[str, Any]:
    """The fields that say something, without those that are null or have no say in what is written."""
    kept = {key: value for key, value in given.items() if key not in PASSED_OVER and value is not None}
    for key, default in DEFAULTS.items():
        if key in kept and kept.pop(key) != default:
            raise UsageError(
                say("{what}: {key} is {value!r}.", what=what, key=key, value=given[key]),
                expected=say("{default!r}, the default; another value cannot be said here.", default=default),
                remedy=say(
                    "Observers of activations go into config_groups: input_activations: {{observer: …}}."
                )
                if key.endswith("_observer")
                else "",
            )
    _only(kept, fields, what)
    return kept


def _transform(name: str, given: dict[str, Any], what: str) -> dict[str, Any]:
    # Up to 0.12 AWQ held the scheme too, and rounded to nearest.
    both = name == "AWQModifier" and given.keys() & {"scheme", "config_groups"}
    fields = _known(given, FIELDS[name] + (QUANTIZING if both else ()), what)
    own = {key: value for key, value in fields.items() if key in FIELDS[name]}
    found = {"transform": {"type": TRANSFORMS[name]} | own}
    rest = {key: value for key, value in fields.items() if key not in own}
    return found | (_quantization("QuantizationModifier", rest, what) if both else {})


def _quantization(name: str, given: dict[str, Any], what: str) -> dict[str, Any]:
    fields = _known(given, FIELDS[name], what)
    made: dict[str, Any] = {"method": METHODS[name]}
    settings = {key: fields[key] for key in SETTINGS.get(METHODS[name], ()) if key in fields}
    if name == "GPTQModifier" and "actorder" in given:  # null means no order, and is not the default
        settings["actorder"] = given["actorder"]
    if observer := _observer(fields, what):
        settings["observer"] = observer
    if settings:
        made["settings"] = settings
    for theirs, ours in (("ignore", "ignore"), ("kv_cache_scheme", "kv_cache")):
        if theirs in fields:
            made[ours] = _without_blanks(fields[theirs])
    targets, scheme, groups = (fields.get(key) for key in ("targets", "scheme", "config_groups"))
    if groups is None:
        if isinstance(scheme, dict):
            made["groups"] = [{"scheme": key, "targets": value} for key, value in scheme.items()]
        else:
            made |= {"scheme": scheme, "targets": targets or ["Linear"]}
        return made
    if scheme is not None or targets not in (None, "Linear", ["Linear"]):
        raise UsageError(
            say("{what}: config_groups stands beside scheme or targets.", what=what),
            expected=say("config_groups alone; it has targets of its own."),
        )
    made["groups"] = [
        _group(group, f"{what}: {key}", observer, made["method"])
        for key, group in _mapping(groups, f"{what}: config_groups").items()
    ]
    return made


def _observer(fields: dict[str, Any], what: str) -> Any:
    """How ranges of weights are found."""
    several = fields.get("observer")
    if several is None:
        return fields.get("weight_observer")
    _only(_mapping(several, f"{what}: observer"), ("weights",), f"{what}: observer")
    return several.get("weights")


def _group(group: Any, what: str, observer: Any, method: str) -> dict[str, Any]:
    """One config group as {scheme, targets}; the scheme is a preset's name where it is one."""
    given = {key: value for key, value in _mapping(group, what).items() if value is not None}
    _only(given, ("targets", "weights", "input_activations", "format"), what)
    roles = {role: _without_blanks(given[role]) for role in ("weights", "input_activations") if role in given}
    weights = roles.get("weights")
    if isinstance(weights, dict):
        if observer and weights.get("observer") == observer:  # llm-compressor writes it in both places
            del weights["observer"]
        if method == "gptq" and ACTORDER.get(weights.get("actorder"), weights.get("actorder")) == "static":
            del weights["actorder"]  # GPTQ's own default, written into the group
    made = {"scheme": roles, "targets": given.get("targets", ["Linear"])}
    if not weights or not all(isinstance(part, dict) for part in roles.values()):
        return made  # `recipe.parse` says so
    try:
        scheme = find_scheme(roles)
    except WorkbookError:
        return made
    if given.get("format") not in (None, scheme.format):
        raise UsageError(
            say("{what}: format is {format!r}.", what=what, format=given["format"]),
            expected=say("{format!r}, the format that llm-compressor chooses for it.", format=scheme.format),
        )
    if all(_says_no_more(part) for part in roles.values()):
        made["scheme"] = next((name for name, one in SCHEMES.items() if scheme.same_numbers(one)), roles)
    return made


def _says_no_more(arguments: dict[str, Any]) -> bool:
    """Whether the numbers of a scheme are all that these arguments say."""
    return (
        not {"actorder", "observer_kwargs"} & arguments.keys()
        and arguments.get("observer", MINMAX[0]) in MINMAX
        and arguments.get("zp_dtype", "torch.int8") == "torch.int8"
    )


def _without_blanks(value: Any) -> Any:
    return {k: v for k, v in value.items() if v not in (None, {})} if isinstance(value, dict) else value
