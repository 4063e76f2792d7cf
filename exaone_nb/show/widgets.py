"""Controls that need no kernel: in the report, on a phone, and wherever notebooks run, Colab included.

    show_widget(score_widget({"phase2": judging.weights_of("phase2")}))

A widget is data: a title, fields, sentences with named places, and numbers that Python has computed. `widgets.js` draws
it. A notebook's output carries that script; a report takes the data alone and draws it with the copy that its pages
have anyway, so nothing of an output ever runs there. What the script computes itself is a few lines, and
tests/browser/test_widgets_in_browser.py holds them against Python.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from statistics import NormalDist
from typing import Any

from exaone_nb.anatomy.attention import context_limit
from exaone_nb.anatomy.kv import kv_cache, longest_context
from exaone_nb.anatomy.memory import plan_memory
from exaone_nb.anatomy.modules import modules_of
from exaone_nb.anatomy.predict import fitted_schemes, predict_checkpoint
from exaone_nb.errors import WorkbookError
from exaone_nb.gpus import GPUS
from exaone_nb.judging import Weights
from exaone_nb.messages import say

MEDIA = "application/vnd.exaone-nb.widget+json"
CONTEXTS = [2**power for power in range(10, 19)]
CACHES = {"16": 2, "8": 1}  # bits of a number in the cache -> its bytes

Widget = dict[str, Any]


def show_widget(widget: Widget) -> None:
    """Display a widget: its data, which a report draws, and the same with the script, which a notebook runs."""
    from IPython.display import display

    live = f"{place(widget)}<style>{asset('css')}</style><script>{asset('js')}</script>"
    display({MEDIA: widget, "text/html": live, "text/plain": widget["title"]}, raw=True)


def place(widget: Widget) -> str:
    """Where the script draws a widget; without a script its title stands there."""
    data = escape(json.dumps(widget, ensure_ascii=False), quote=True)
    instead = say("{title}: a script draws this control, and none runs here.", title=widget.get("title", ""))
    return f'<div class="enb-widget" data-widget="{data}"><p>{escape(instead)}</p></div>'


@cache
def asset(suffix: str) -> str:
    """The one script ("js") and the one style sheet ("css") of all widgets."""
    return Path(__file__).with_name(f"widgets.{suffix}").read_text(encoding="utf-8")


def _select(name: str, label: str, options: Sequence[Any] | Mapping[str, str], value: Any) -> dict[str, Any]:
    pairs = (
        list(options.items()) if isinstance(options, Mapping) else [(str(one), str(one)) for one in options]
    )
    return {"name": name, "label": label, "type": "select", "options": pairs, "value": str(value)}


def _number(
    name: str, label: str, value: float, low: float, high: float, step: float = 1, kind: str = "number"
) -> dict[str, Any]:
    return {
        "name": name, "label": label, "type": kind, "value": value, "min": low, "max": high, "step": step,
    }  # fmt: skip


def fit_widget(
    configs: Mapping[str, dict[str, Any]], schemes: Sequence[str], gpus: Sequence[str] = tuple(GPUS)
) -> Widget:
    """Does it fit, and how many requests at once? A grid of `plan_memory` in vLLM; the script looks it up.

    A cell is None without a kernel, else the bytes left for the cache, and by the cache's bits the requests at once for
    each of CONTEXTS (cut at the model's limit) and the longest context of one request.
    """
    grid = {name: _grid(config, schemes, gpus) for name, config in configs.items()}
    limits = {name: context_limit(config) for name, config in configs.items()}
    shown = {str(tokens): f"{tokens:,}" for tokens in CONTEXTS}
    scheme_names = list(dict.fromkeys(scheme for cells in grid.values() for scheme in cells))
    return {
        "kind": "fit",
        "title": say("Does it fit?"),
        "fields": [
            _select("model", say("model"), list(grid), next(iter(grid))),
            _select("scheme", say("number format"), scheme_names, scheme_names[0]),
            _select("card", say("card"), gpus, "L4" if "L4" in gpus else gpus[0]),
            _select("cache", say("KV cache"), {"16": say("16 bits"), "8": say("FP8")}, "16"),
            _select("context", say("tokens per request"), shown, 8192),
            _number("requests", say("requests at once"), 4, 1, 4096),
        ],
        "words": {
            "unknown": say("This model has no such number format: its matrices do not divide."),
            "none": say("no kernel"),
            "large": say("weights too large"),
            "fits": say("fits, up to {most} at once", most="{most}"),
            "wait": say("{most} at once, the rest wait", most="{most}"),
            "short": say("only up to {longest} tokens", longest="{longest}"),
            "full": say("no room for a cache"),
            "head": [say("tokens per request"), say("requests at once")],
            "left": say("Left for the cache: {gib} GiB.", gib="{gib}"),
            "longest": say("Longest context of one request: {longest} tokens.", longest="{longest}"),
        },
        "data": {"cells": grid, "limits": limits, "contexts": CONTEXTS},
    }


def _grid(config: dict[str, Any], schemes: Sequence[str], gpus: Sequence[str]) -> dict[str, dict[str, Any]]:
    limit, caches = context_limit(config), {}
    lengths = [min(tokens, limit) for tokens in CONTEXTS]
    made: dict[str, dict[str, Any]] = {}
    for label, scheme in fitted_schemes(config, schemes).items():
        try:
            prediction = predict_checkpoint(config, scheme)
        except WorkbookError:  # no group of this scheme divides the model's matrices; the control says so
            continue
        for card in gpus:
            plan = plan_memory(config, scheme, card, prediction=prediction)
            left, rooms = plan.left_for_cache, {}
            for bits, size in CACHES.items():
                options = plan.cache_options | {"dtype_bytes": size}
                key = (plan.batched_tokens, size)
                if key not in caches:
                    caches[key] = [kv_cache(config, max_model_len=tokens, **options) for tokens in lengths]
                rooms[bits] = [max(0, int(one.concurrency(left))) for one in caches[key]]
                rooms[bits].append(longest_context(config, left, concurrency=1, **options))
            made.setdefault(label, {})[card] = {"left": left, **rooms} if plan.support.runs else None
    return made


def score_widget(weights: Mapping[str, Weights]) -> Widget:
    """The hackathon's score with sliders, under the weights of each phase (`judging.score`)."""
    return {
        "kind": "score",
        "title": say("The score, with sliders"),
        "fields": [
            _select("phase", say("weights"), {name: name for name in weights}, next(iter(weights))),
            _number("base", say("accuracy of the base, %"), 65, 1, 100, 0.5, "range"),
            _number("accuracy", say("accuracy of the candidate, %"), 63, 0, 100, 0.5, "range"),
            _number("seconds", say("time per token, % of the base's"), 75, 10, 200, 1, "range"),
            _number("bytes", say("bytes, % of the base's"), 50, 10, 200, 1, "range"),
        ],
        "words": {
            "score": say("Score {score}; the base itself has {base}.", score="{score}", base="{base}"),
            "formulas": {name: one.formula for name, one in weights.items()},
            "head": [say("part"), say("value"), say("weight"), say("points")],
        },
        "data": {name: [one.performance, one.speed, one.size] for name, one in weights.items()},
    }


def items_widget(differing: float = 0.045) -> Widget:
    """How many items to see a drop: `planning.items_needed` and, without pairing, `items_needed_unpaired`.

    It opens with the share of items on which exactly one model is right, `differing`.
    """
    deviate = NormalDist().inv_cdf
    levels, powers = (0.05, 0.01), (0.8, 0.9, 0.95)
    return {
        "kind": "items",
        "title": say("How many items do I need?"),
        "fields": [
            _number("drop", say("drop to be seen, points"), 2, 0.1, 50, 0.1),
            _number(
                "share",
                say("items on which exactly one is right, %"),
                round(100 * differing, 2),  # with less, its answer is not that of the note above it
                0.01,
                100,
                0.01,
            ),
            _number("accuracy", say("accuracy of the base, %"), 65, 0, 100, 0.5),
            _select("power", say("chance to see it"), {str(p): f"{p:.0%}" for p in powers}, 0.8),
            _select("level", say("false alarms, two-sided"), {str(a): f"{a:.0%}" for a in levels}, 0.05),
        ],
        "words": {
            "paired": say("The same items for both models: {n} items.", n="{n}"),
            "unpaired": say("Without pairing: {n} items for each model.", n="{n}"),
            "impossible": say(
                "A drop cannot be larger than the share of items on which exactly one is right."
            ),
            "below": say("A drop cannot be larger than the accuracy itself."),
            "none": say("Write a drop above 0."),
        },
        "data": {
            "power": {str(p): deviate(p) for p in powers},
            "level": {str(a): deviate(1 - a / 2) for a in levels},
        },
    }


def pattern_widget(model: str, config: dict[str, Any], entries: Sequence[str]) -> Widget:
    """What the entries of `ignore` match among a model's modules, live (`Module.fits`). `entries` are tried first."""
    kinds: dict[
        tuple[Any, ...], int
    ] = {}  # most modules are of a few: (parent, Linear, names of their classes)
    modules = []
    for module in modules_of(config):
        kind = (module.kind == "parent", module.kind in ("linear", "head"), module.class_names)
        modules.append((module.name, kinds.setdefault(kind, len(kinds))))
    return {
        "kind": "patterns",
        "title": say("What does my ignore list match in {model}?", model=model),
        "fields": [
            {"name": "entries", "label": say("entries of ignore, one a line"), "type": "text",
             "value": "\n".join(entries)},
        ],
        "words": {
            "none": say("{entry} matches no module: it changes nothing.", entry="{entry}"),
            "parent": say(
                "{entry} matches only parents ({first}), not the modules inside: it changes nothing.",
                entry="{entry}", first="{first}",
            ),
            "idle": say(
                "{entry} matches modules: {n}; none is a Linear, so with targets: [Linear] it changes nothing.",
                entry="{entry}", n="{n}",
            ),
            "match": say(
                "{entry} matches modules: {n}; Linear among them: {linear}.",
                entry="{entry}", n="{n}", linear="{linear}",
            ),
            "invalid": say("{entry} is no regular expression.", entry="{entry}"),
            "differs": say(
                "{entry}: Python and JavaScript may read this pattern differently, so nothing is said of it here. "
                "exaone-nb plan knows.",
                entry="{entry}",
            ),
            "sum": say("Kept in 16 bits: {kept} of {all} Linear modules.", kept="{kept}", all="{all}"),
            "head": [say("module, in every layer N"), say("kept"), say("of")],
        },
        "data": {
            "modules": modules,
            "kinds": [dict(zip(("parent", "linear", "classes"), kind, strict=True)) for kind in kinds],
        },
    }  # fmt: skip
