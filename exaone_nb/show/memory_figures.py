"""Bars of bytes by component, the cache against the context, what a scheme gains. Each function returns a matplotlib figure."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from exaone_nb.anatomy.kv import kv_cache
from exaone_nb.anatomy.predict import fitted_schemes
from exaone_nb.anatomy.roofline import Pass, decode, prefill
from exaone_nb.anatomy.work import work_of
from exaone_nb.gpus import find_gpu
from exaone_nb.library_types import Axes, Figure
from exaone_nb.messages import say
from exaone_nb.show import figures

COMPONENTS = {
    "embedding": figures.Style(figures.ORANGE, hatch="//"),
    "head": figures.Style(figures.YELLOW, hatch="\\\\"),
    "attention": figures.Style(figures.BLUE),
    "mlp": figures.Style(figures.SKY),
    "experts": figures.Style(figures.GREEN, hatch=".."),
    "shared_experts": figures.Style(figures.PURPLE),
    "router": figures.Style(figures.FAINT),
    "norm": figures.Style(figures.INK),
    "other": figures.Style(figures.VERMILLION, hatch="xx"),
}


def label_strips(axes: Axes, labels: Sequence[str], used: set[str]) -> None:
    """Name the strips from the top down, and the components that they show in a legend above them."""
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    figures.clean(axes, grid="")
    names = {"embedding": say("embedding"), "head": say("head"), "attention": say("attention")}
    names |= {"experts": say("experts"), "shared_experts": say("shared experts"), "router": say("router")}
    names |= {"norm": say("norm")}
    shown = {
        names.get(name, name.replace("_", " ")): look for name, look in COMPONENTS.items() if name in used
    }
    above = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": min(5, len(shown))}
    axes.legend(handles=figures.patches(shown), frameon=False, **above)


def component_bars(rows: Sequence[tuple[str, dict[str, int]]]) -> Figure:
    """One bar per (label, bytes by component), as shares of its own total; the total stands at its end."""
    figure, axes = figures.canvas(8.5, 0.55 * len(rows) + 1.4)
    used: set[str] = set()
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.2}
    for place, (_, parts) in enumerate(rows):
        total, left = sum(parts.values()), 0.0
        merged: Counter[str] = Counter()
        for name, size in parts.items():
            merged[name if name in COMPONENTS else "other"] += size
        for name in filter(merged.get, COMPONENTS):
            share = 100 * merged[name] / total
            bar = axes.barh(place, share, left=left, **COMPONENTS[name].area())
            if share >= 6:
                axes.bar_label(bar, [f"{share:.0f} %"], label_type="center", fontsize=9, bbox=box)
            left += share
        used.update(+merged)
        size = f"{total / 1e9:,.2f} GB" if total >= 1e8 else f"{total / 1e6:,.2f} MB"
        axes.text(101, place, size, va="center")
    axes.set(xlim=(0, 100), xlabel=say("share of the bytes, %"))
    label_strips(axes, [label for label, _ in rows], used)
    return figure


def cache_curves(
    config: dict[str, Any], contexts: Sequence[int], *, in_flight: int = 8192, title: str = ""
) -> Figure:
    """KV cache of one request in GiB against context: every head kept, shared heads, shared heads with windows."""
    full = [kv_cache(config, max_model_len=length, hybrid_manager=False) for length in contexts]
    curves = {
        say("multi-head (every query head keeps its own)"): [c.if_multi_head * c.max_model_len for c in full],
        say("grouped-query, every layer keeps every token"): [c.bytes_per_request for c in full],
    }
    options = {"max_num_batched_tokens": in_flight}
    allocated = [kv_cache(config, max_model_len=n, **options).bytes_per_request for n in contexts]
    if allocated not in curves.values():
        name = say("grouped-query with windows (vLLM, {tokens:,} tokens in flight)", tokens=in_flight)
        curves[name] = allocated
    figure, axes = figures.canvas(8, 4.2)
    for index, (label, sizes) in enumerate(curves.items()):
        gib = [size / 2**30 for size in sizes]
        axes.plot(contexts, gib, **figures.style(index).curve(), markevery=[-1], label=label)
        end = (contexts[-1], gib[-1])
        axes.annotate(f"{gib[-1]:,.2f} GiB", end, (6, 0), textcoords="offset points", va="center")
    axes.set(xlabel=say("context, tokens"), ylabel=say("KV cache of one request, GiB"), ylim=(0, None))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    figures.clean(axes)
    axes.legend(frameon=False, loc="upper left")
    if title:
        axes.set_title(title, loc="left")
    return figure


def gains(
    config: dict[str, Any],
    schemes: Sequence[str],
    gpu: str,
    batches: Sequence[int] = (1, 8, 32, 128),
    context: int = 1024,
) -> Figure:
    """How much faster each scheme is than the first one that runs, at best: decoding at each batch, and reading a prompt.

    Under each batch stands which share of the first scheme's bytes is cache: weights are read once for a batch, the
    cache once for every request in it, and only the weights were made smaller.
    """
    found: dict[str, list[Pass]] = {}
    for label, scheme in fitted_schemes(config, schemes).items():
        work = work_of(config, scheme)
        passes = [decode(config, scheme, gpu, batch=b, context=context, work=work) for b in batches]
        passes.append(prefill(config, scheme, gpu, tokens=context, work=work))
        if passes[0].runs:
            found[label] = passes
    figure, axes = figures.canvas(8.5, 3.6)
    figures.clean(axes, grid="y")
    axes.set_title(f"{find_gpu(gpu).name}: {find_gpu(gpu).bandwidth / 1e9:,.0f} GB/s", loc="left")
    if not found:
        axes.set_axis_off()
        axes.text(0.5, 0.5, say("None of these schemes runs here."), ha="center", transform=axes.transAxes)
        return figure
    base, first = next(iter(found.items()))
    width = 0.8 / len(found)
    for place, (label, look) in enumerate(figures.styles_of(found).items()):
        times = [one.seconds / this.seconds for one, this in zip(first, found[label], strict=True)]
        left = [x + (place + 0.5) * width - 0.4 for x in range(len(times))]
        bars = axes.bar(left, times, width, label=label, **look.area())
        axes.bar_label(bars, [f"{value:.1f}" for value in times], fontsize=8, padding=1)
    names = [
        say(
            "write, batch {p.batch}\n(cache: {share:.0%})",
            p=one,
            share=1 - one.weight_bytes / one.bytes_moved,
        )
        for one in first[:-1]
    ]
    axes.set_xticks(range(len(first)), [*names, say("read a prompt of\n{tokens:,} tokens", tokens=context)])
    axes.set_ylabel(say("times as fast as {base}, at best", base=base))
    axes.margins(y=0.12)
    above = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.2}
    axes.legend(frameon=False, ncols=len(found), fontsize=9, **above)
    return figure
