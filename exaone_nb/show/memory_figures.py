"""Chapter 02's figures. Each function takes plain data and returns a matplotlib figure; nothing is shown here.

Colours are Okabe and Ito's, told apart also without colour vision; hatches, markers and line styles repeat what the
colours say, for print.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from exaone_nb.anatomy.kv import kv_cache
from exaone_nb.anatomy.roofline import Pass, decode, prefill
from exaone_nb.anatomy.work import work_of
from exaone_nb.gpus import find_gpu

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COMPONENTS = {
    "embedding": ("#E69F00", "//"),
    "head": ("#F0E442", "\\\\"),
    "attention": ("#0072B2", ""),
    "mlp": ("#56B4E9", ""),
    "experts": ("#009E73", ".."),
    "shared_experts": ("#CC79A7", ""),
    "router": ("#999999", ""),
    "norm": ("#000000", ""),
    "other": ("#D55E00", "xx"),
}
LINES = (("#0072B2", "-", "o"), ("#D55E00", "--", "s"), ("#009E73", "-.", "^"), ("#CC79A7", ":", "D"))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def label_strips(axes: Axes, labels: Sequence[str], used: set[str]) -> None:
    """Name the strips from the top down, and the components that they show in a legend above them."""
    from matplotlib.patches import Patch

    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    shown = {name: look for name, look in COMPONENTS.items() if name in used}
    axes.legend(
        [Patch(facecolor=colour, hatch=hatch, edgecolor="white") for colour, hatch in shown.values()],
        [name.replace("_", " ") for name in shown],
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=min(5, len(shown)),
        frameon=False,
    )


def component_bars(rows: Sequence[tuple[str, dict[str, int]]]) -> Figure:
    """One bar per (label, bytes by component), as shares of its own total; the total stands at its end."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8.5, 0.55 * len(rows) + 1.4))
    used: set[str] = set()
    for place, (_, parts) in enumerate(rows):
        total, left = sum(parts.values()), 0.0
        merged: dict[str, int] = {}
        for name, size in parts.items():
            merged[name if name in COMPONENTS else "other"] = merged.get(name, 0) + size
        for name, (colour, hatch) in COMPONENTS.items():
            share = 100 * merged.get(name, 0) / total
            if not share:
                continue
            axes.barh(place, share, left=left, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5)
            used.add(name)
            if share >= 6:
                axes.text(
                    left + share / 2,
                    place,
                    f"{share:.0f} %",
                    ha="center",
                    va="center",
                    fontsize=9,
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2},
                )
            left += share
        axes.text(
            101, place, f"{total / 1e9:,.2f} GB" if total >= 1e8 else f"{total / 1e6:,.2f} MB", va="center"
        )
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of the bytes, %")
    label_strips(axes, [label for label, _ in rows], used)
    return figure


def cache_curves(
    config: dict[str, Any], contexts: Sequence[int], *, in_flight: int = 8192, title: str = ""
) -> Figure:
    """KV cache of one request in GiB against context: every head kept, shared heads, shared heads with windows."""
    import matplotlib.pyplot as plt

    caches = [kv_cache(config, max_model_len=length, max_num_batched_tokens=in_flight) for length in contexts]
    full = [kv_cache(config, max_model_len=length, hybrid_manager=False) for length in contexts]
    curves = {
        "multi-head (every query head keeps its own)": [c.if_multi_head * c.max_model_len for c in full],
        "grouped-query, every layer keeps every token": [c.bytes_per_request for c in full],
        "as vLLM allocates it": [c.bytes_per_request for c in caches],
    }
    if curves["as vLLM allocates it"] != curves["grouped-query, every layer keeps every token"]:
        name = f"grouped-query with windows (vLLM, {in_flight:,} tokens in flight)"
        curves[name] = curves.pop("as vLLM allocates it")
    else:
        del curves["as vLLM allocates it"]
    figure, axes = plt.subplots(figsize=(8, 4.2))
    for (label, sizes), (colour, style, marker) in zip(curves.items(), LINES, strict=False):
        gib = [size / 2**30 for size in sizes]
        axes.plot(contexts, gib, style, color=colour, marker=marker, markevery=[-1], label=label)
        axes.annotate(
            f"{gib[-1]:,.2f} GiB",
            (contexts[-1], gib[-1]),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_xlabel("context, tokens")
    axes.set_ylabel("KV cache of one request, GiB")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left")
    if title:
        axes.set_title(title, loc="left")
    return figure


def roofline_points(
    config: dict[str, Any], schemes: Sequence[str], gpu: str, batches: Sequence[int], context: int
) -> dict[str, list[Pass]]:
    """Scheme -> decode passes at each batch and one prefill of `context` tokens; schemes that do not run are left out."""
    points = {}
    for scheme in schemes:
        work = work_of(config, scheme)
        passes = [decode(config, scheme, gpu, batch=b, context=context, work=work) for b in batches]
        passes.append(prefill(config, scheme, gpu, tokens=context, work=work))
        if passes[0].runs:
            points[scheme] = passes
    return points


def roofline(
    config: dict[str, Any],
    schemes: Sequence[str],
    gpu: str,
    batches: Sequence[int] = (1, 8, 64),
    context: int = 1024,
) -> Figure:
    """Operations per second against operations per byte: the card's roofs, and where each scheme's passes stand."""
    import matplotlib.pyplot as plt
    import numpy as np

    card = find_gpu(gpu)
    points = roofline_points(config, schemes, gpu, batches, context)
    figure, axes = plt.subplots(figsize=(8.5, 5))
    reach = [p.intensity for passes in points.values() for p in passes] + [card.ridge() * 4]
    span = np.geomspace(min(reach) / 2, max(reach) * 2, 200)
    needed = dict.fromkeys(["16-bit", *(passes[0].support.compute for passes in points.values())])
    for compute, style in zip(needed, ("-", "--", ":", "-."), strict=False):
        roof = np.minimum(span * card.bandwidth, card.peak[compute])
        axes.plot(
            span, roof / 1e12, style, color="#444444", linewidth=1.2, label=f"roof of {compute} arithmetic"
        )
    for (scheme, passes), colour, marker in zip(points.items(), COLOURS, MARKERS, strict=False):
        steps = passes[:-1]
        axes.plot(
            [p.intensity for p in steps],
            [p.operations / p.seconds / 1e12 for p in steps],
            marker,
            color=colour,
            label=f"{scheme}, decode at batch {', '.join(str(b) for b in batches)}",
        )
        last = passes[-1]
        axes.plot(
            last.intensity, last.operations / last.seconds / 1e12, marker, color=colour, fillstyle="none"
        )
    axes.plot([], [], "o", color="#444444", fillstyle="none", label=f"hollow: prefill of {context:,} tokens")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("operations per byte moved")
    axes.set_ylabel("tera-operations per second, at best")
    axes.set_title(f"{card.name}: {card.bandwidth / 1e9:,.0f} GB/s", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure
