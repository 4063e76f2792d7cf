"""Costs by hand, against the anatomy wing, and against a started engine."""

import importlib.util

import pytest

from exaone_nb import catalog
from exaone_nb.anatomy.kv import kv_cache
from exaone_nb.anatomy.work import work_of
from exaone_nb.architecture import costs, engine
from exaone_nb.engines import apart
from exaone_nb.errors import UsageError, WorkbookError

GIB = 2**30
HYBRID = catalog.resolve("EXAONE-4.0-32B").config()


def test_the_known_figures_of_the_32b():
    assert costs.kept_bytes(HYBRID, 131072) == 8.75 * GIB
    assert costs.kept_bytes(costs.design(HYBRID, "full"), 131072) == 32 * GIB
    assert costs.global_share(HYBRID, 131072) == 16 * 131072 / (16 * 131072 + 48 * 4096)
    rows = costs.why_more_than_ideal(HYBRID, 131072)
    assert sum(size for _, size in rows[:-1]) == rows[-1][1] == kv_cache(HYBRID).bytes_per_request
    assert round(rows[-1][1] / GIB, 2) == 10.25
    # 48 layers keep window - 1 + 8192 tokens instead of window.
    assert rows[1][1] == 48 * 8191 * 4096


@pytest.mark.parametrize("context", [1, 4096, 4097, 131072])
def test_against_the_anatomy_wing(context):
    work = work_of(HYBRID)
    assert costs.kept_bytes(HYBRID, context) == work.cache_bytes_read(context)
    assert costs.attention_flops(HYBRID, context) == 2 * work.attention_products(context)
    assert costs.linear_flops(HYBRID) == 2 * work.products["plain"]


def test_the_table_of_ratios_for_the_32b():
    designs = {ratio: costs.design(HYBRID, ratio) for ratio in ("full", "3:1", "sliding")}
    rows = {row["ratio"]: row for row in costs.ratio_table(designs, 131072).rows}
    assert rows["full"]["kept"] == 32 * GIB and rows["3:1"]["kept"] == 8.75 * GIB
    assert rows["3:1"]["share"] == 8.75 / 32 and rows["sliding"]["crossing"] is None
    parts = costs.why_more_than_ideal(HYBRID, 131072)
    assert costs.reserved_table(parts).cells()[-1][1:] == ["11,008,999,424", "10.2529"]


def test_designs_by_hand():
    small = engine.small_hybrid(layers=8, window=10)
    token = 2 * 2 * 2 * 32  # key and value, two KV heads, head_dim 32, two bytes
    for ratio, full in {"full": 8, "1:1": 4, "3:1": 2, "7:1": 1, "sliding": 0}.items():
        design = costs.design(small, ratio)
        assert costs.kept_bytes(design, 100) == token * (full * 100 + (8 - full) * 10)
        assert costs.kept_bytes(design, 10) == token * 80


def test_crossovers_are_the_first_of_their_kind():
    full = costs.design(HYBRID, "full")
    point = costs.context_where_attention_equals_linears(HYBRID)
    assert costs.attention_flops(HYBRID, point - 1) < costs.linear_flops(HYBRID)
    assert costs.attention_flops(HYBRID, point) >= costs.linear_flops(HYBRID)
    assert costs.context_where_attention_equals_linears(costs.design(HYBRID, "sliding")) is None
    start = costs.engine_saves_from(HYBRID, full)
    assert start > 4096 - 1 + 8192  # window and tokens in flight first
    for context, saves in ((16, False), (8192, False), (start - 16, False), (start, True), (32768, True)):
        mine, other = (kv_cache(c, max_model_len=context).bytes_per_request for c in (HYBRID, full))
        assert (mine < other) is saves
    assert costs.engine_saves_from(full, full) is None


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: costs.design(HYBRID, "5:1"), "5:1"),
        (lambda: costs.design(HYBRID, "3:2"), "3:2"),
        (lambda: costs.design(HYBRID, "-1:1"), "-1:1"),
        (lambda: costs.design(HYBRID, "3:1", window=0), "sliding_window is 0"),
        (lambda: costs.design(HYBRID, "3:1", layers=30), "30 layers"),
        (lambda: costs.kept_bytes(HYBRID, 0), "The context is 0"),
        (lambda: engine.small_hybrid(layers=6), "6 layers"),
    ],
)
def test_what_cannot_be_is_refused_by_name(call, named):
    with pytest.raises(UsageError) as caught:
        call()
    assert named in caught.value.got and caught.value.expected


def test_an_engine_that_fails_says_so(monkeypatch):
    monkeypatch.setattr(apart.sys, "executable", "false")
    with pytest.raises(WorkbookError, match="ended with code 1"):
        engine.serve(engine.small_hybrid())


@pytest.mark.heavy
@pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: see requirements/README.md"
)
def test_a_real_engine_reports_what_was_predicted():
    served = engine.serve(engine.small_hybrid())
    assert served.ours["groups"] == 4, "the hybrid manager is at work, so that this says something"
    assert {key: served.theirs[key] for key in served.ours} == served.ours
    assert served.theirs["generated_tokens"] == 4


@pytest.mark.parametrize("name", ["GAINS", "RATIOS", "Seeds"])
def test_an_empty_list_is_named(name):
    from exaone_nb.architecture.shape import require_some

    require_some(name, [1])
    with pytest.raises(UsageError, match=f"{name}: an empty list"):
        require_some(name, [])
