"""Controls without a kernel, in a headless Chromium: they say what Python says, and nothing of an output runs."""

import random
from html import escape

import pytest

from exaone_nb import catalog, judging
from exaone_nb.anatomy.attention import context_limit
from exaone_nb.anatomy.memory import plan_memory
from exaone_nb.anatomy.modules import modules_of
from exaone_nb.anatomy.predict import fitted_schemes
from exaone_nb.errors import UsageError
from exaone_nb.paths import RUNS
from exaone_nb.score import leaderboard, noise_game
from exaone_nb.show import widgets
from exaone_nb.show.memory import verdict
from exaone_nb.statistics import planning
from exaone_nb.workbook.record import ChapterRecord
from exaone_nb.workbook.report.page import chapter as chapter_page

pytestmark = [pytest.mark.browser]

MODELS = ("EXAONE-4.0-1.2B", "EXAONE-4.0-32B", "EXAONE-3.0-7.8B-Instruct", "nano")
SCHEMES = ("BF16", "W8A8", "FP8_DYNAMIC", "W4A16", "NVFP4A16")
CARDS = ("T4", "L4", "A100-40GB", "H100-SXM", "B200-SXM")
CONFIGS = {name: catalog.resolve(name).config() for name in MODELS}
WEIGHTS = {name: judging.weights_of(name) for name in ("phase2", "phase3")}
SPLIT, NOISE = leaderboard.groups(), leaderboard.rerun_noise()
SHAPE = "EXAONE-4.0-1.2B"
WIDGETS = {
    "fit": widgets.fit_widget(CONFIGS, SCHEMES, CARDS),
    "score": widgets.score_widget(WEIGHTS),
    "items": widgets.items_widget(),
    "patterns": widgets.pattern_widget(
        SHAPE, CONFIGS[SHAPE], ["embed_tokens", r"re:.*\.layers\.0\..*", "re:(?i).*Q_PROJ", "model.layers.0"]
    ),
    "noise": noise_game.noise_widget(SPLIT, NOISE),
}
N = 100
EVIL = "<img src=x onerror='window.hacked = 1'><script>window.hacked = 1</script>"
# Python and JavaScript read these differently, or only one of them reads them at all.
DIFFERENT = [
    r"(?i)model", r"model\..*+", r"(?<=model\.)layers", r"[a-\d]", r"(?P<x>model)", r"model.{,3}", r"model\Z", r"\Amodel",
    r"[]m]", r"[^]m]", r"(?>model)", r"\u006dodel", r"(model|lm)_\1", r"(?#x)model", r"m\odel", "mod\u00e9l", r"[[:alpha:]]+",
    r"(?s:model)", r"\p{L}", r"model++", r"\x6dodel", r"(?<x>model)", r"[\w-z]",
]  # fmt: skip
PIECES = [
    "model", ".", r"\.", "layers", "0", "1", r"\d+", r"\d", ".*", ".+", "self_attn", "q_proj", "[qkv]_proj", "(q|k|v)", "mlp", "lm_head",
    "(?:gate|up)", "_proj", "$", "^", "[0-4]", "[^0]", "{1,2}", "{2}", "?", "*", "|", "(", ")", r"\\", r"\w+", "(?!0)", "(?=q)", "[a-z_]+",
    r"\b", ".*?", "{", "]", "embed_tokens", r"\.mlp\.", r".*\.", "[13579]", "weight", "norm", "(?i)", "++", "{,2}", "(?<=q)", r"\Z",
]  # fmt: skip


def bundle(widget):
    """What `show_widget` displays."""
    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
        widgets.show_widget(widget)
    return shown[0]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A chapter of a report with every widget, a hostile one, and what a model might write to have one drawn."""
    other = {"kind": "score", "title": "of another version", "fields": []}
    hostile = dict(WIDGETS["score"], title=EVIL, words={"score": EVIL, "head": ["<b>x"] * 4})
    outputs = [
        bundle(widget)
        for widget in (other, *WIDGETS.values(), hostile, {"kind": "constructor", "title": EVIL})
    ]
    outputs.append(
        {"text/html": f"<p>An answer</p>{widgets.place(WIDGETS['score'])}<script>window.hacked = 1</script>"}
    )
    shown = [{"output_type": "display_data", "data": data, "metadata": {}} for data in outputs]
    cells = [{"cell_type": "code", "metadata": {}, "source": "show_widget(…)", "outputs": shown}]
    made = ChapterRecord(
        "11", "11_scoreboard", "Scoreboard", "Which?", "ok", "nano", "live", "2026-01-01T10:00:00+00:00",
        ended="2026-01-01T10:00:01+00:00",
    )  # fmt: skip
    path = tmp_path_factory.mktemp("widgets") / "11.html"
    path.write_text(chapter_page({"cells": cells}, made), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(params=["light", "dark"])
def scheme(request):
    return request.param


@pytest.fixture
def page(browser, address, scheme):
    context = browser.new_context(color_scheme=scheme, offline=True, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.heard = []
    page.on("console", lambda message: page.heard.append(message.text))
    page.on("pageerror", lambda error: page.heard.append(str(error)))
    page.goto(address)
    yield page
    assert page.heard == []
    context.close()


def place(page, kind):
    return page.locator(".enb-widget[role=group]").nth(list(WIDGETS).index(kind))


def answers(page, kind, asked):
    return place(page, kind).evaluate("(place, asked) => asked.map(place.answer)", list(asked))


# --- equal to Python


def fit_questions(draw):
    for _ in range(N):
        model, scheme, card = draw.choice(MODELS), draw.choice(SCHEMES), draw.choice(CARDS)
        known = fitted_schemes(CONFIGS[model], SCHEMES)
        scheme = draw.choice(list(known))
        context, bits, requests = (
            draw.choice(widgets.CONTEXTS),
            draw.choice(["16", "8"]),
            draw.randint(1, 300),
        )
        plan = plan_memory(
            CONFIGS[model], known[scheme], card, concurrency=requests,
            context=min(context, context_limit(CONFIGS[model])), kv_dtype_bytes=widgets.CACHES[bits],
        )  # fmt: skip
        asked = {"model": model, "scheme": scheme, "card": card, "cache": bits, "context": str(context)}
        yield asked | {"requests": requests}, {"verdict": verdict(plan)}


def score_questions(draw):
    for _ in range(N):
        asked = {"phase": draw.choice(list(WEIGHTS)), "base": draw.randint(2, 200) / 2}
        asked |= {
            "accuracy": draw.randint(0, 200) / 2,
            "seconds": draw.randint(10, 200),
            "bytes": draw.randint(10, 200),
        }
        found = judging.score(
            performance=asked["accuracy"], performance_base=asked["base"], seconds=asked["seconds"], seconds_base=100,
            size=asked["bytes"], size_base=100, weights=WEIGHTS[asked["phase"]],
        )  # fmt: skip
        yield asked, {"score": pytest.approx(float(found), abs=1e-12)}


def _or_none(ask, *given, **named):
    try:
        return ask(*given, **named)
    except UsageError:
        return None


def items_questions(draw):
    for _ in range(N):
        drop, share, accuracy = draw.randint(1, 300) / 10, draw.randint(1, 500) / 10, draw.randint(0, 200) / 2
        power, level = draw.choice(["0.8", "0.9", "0.95"]), draw.choice(["0.05", "0.01"])
        asked = {"drop": drop, "share": share, "accuracy": accuracy, "power": power, "level": level}
        sure = {"power": float(power), "alpha": float(level)}
        yield (
            asked,
            {
                "paired": _or_none(planning.items_needed, drop / 100, share / 100, **sure),
                "unpaired": _or_none(planning.items_needed_unpaired, accuracy / 100, drop / 100, **sure),
            },
        )


def noise_questions(draw):
    names = [field["name"] for field in WIDGETS["noise"]["fields"]]
    for _ in range(N):
        answers = [draw.choice((None, *noise_game.ANSWERS)) for _ in names]
        rows = noise_game.judged(answers, SPLIT, NOISE).rows
        asked = {name: answer or "" for name, answer in zip(names, answers, strict=True)}
        yield asked, {"right": sum(row["right"] for row in rows)}


@pytest.mark.parametrize("ask", [fit_questions, score_questions, items_questions, noise_questions])
def test_the_script_says_what_python_says(page, ask):
    kind = ask.__name__.removesuffix("_questions")
    asked, expected = zip(*ask(random.Random(18)), strict=True)
    found = answers(page, kind, asked)
    assert len(found) == N
    for values, answer, right in zip(asked, found, expected, strict=True):
        assert {name: answer[name] for name in right} == right, values


def entries_tried(draw):
    """Entries as people write them, rightly and wrongly: glued from pieces, and names, classes and parents as they are."""
    glued = ["re:" + "".join(draw.choices(PIECES, k=draw.randint(1, 6))) for _ in range(6 * N)]
    named = [
        "lm_head",
        "Linear",
        "embed_tokens",
        "model.embed_tokens",
        "model.layers.0",
        "Module",
        "re:.*",
        "re:",
        "model.layers.0.mlp.up_proj",
    ]
    return named + glued


def by_python(entry, modules):
    """Names of the modules that an entry fits; None where it is no expression."""
    try:
        return [module.name for module in modules if module.fits(entry)]
    except UsageError:
        return None


def test_patterns_match_what_python_matches_or_say_that_they_may_not(page):
    modules, entries = modules_of(CONFIGS[SHAPE]), entries_tried(random.Random(18))
    said = [answer["answers"][0] for answer in answers(page, "patterns", [{"entries": e} for e in entries])]
    told = [(entry, one) for entry, one in zip(entries, said, strict=True) if one["state"] != "differs"]
    assert len(told) > 3 * N
    for entry, one in told:
        found = None if one["state"] == "invalid" else [name for name, _ in one["found"]]
        assert found == by_python(entry, modules), entry
        kinds = {module.kind for module in modules if module.name in (found or ())}
        effect = (
            "match"
            if kinds & {"linear", "head"}
            else "parent"
            if kinds == {"parent"}
            else "idle"
            if kinds
            else "none"
        )
        assert one["state"] == ("invalid" if found is None else effect), entry
    states = {one["state"] for _, one in told}
    assert states == {"none", "parent", "idle", "match", "invalid"}
    refused = answers(page, "patterns", [{"entries": "re:" + text} for text in DIFFERENT])
    assert [one["answers"][0]["state"] for one in refused] == ["differs"] * len(DIFFERENT)


# --- drawn, in a report and in a notebook


def test_a_drop_of_nothing_and_the_formula_of_a_phase_are_put_in_words(page):
    base = {"share": 5, "accuracy": 65, "power": "0.8", "level": "0.05"}
    (empty,) = answers(page, "items", [base | {"drop": 0}])
    assert empty["lines"] == ["Write a drop above 0."]
    values = {"base": 65, "accuracy": 63, "seconds": 75, "bytes": 50}
    for phase, found in WEIGHTS.items():
        (answer,) = answers(page, "score", [values | {"phase": phase}])
        assert found.formula in answer["lines"]


def test_the_line_above_a_question_does_not_run_through_its_words(page):
    for question in place(page, "noise").locator("fieldset").all():
        assert question.evaluate(
            "e => e.querySelector('legend').getBoundingClientRect().top > e.getBoundingClientRect().top"
        )


def test_only_data_becomes_a_control_and_text_stays_text(page):
    assert page.locator(".enb-widget[role=group]").count() == len(WIDGETS) + 1
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img, main script").count() == 0
    assert page.locator(".enb-widget[role=group]").last.inner_text().count("<img src=x") >= 2
    # A model's answer that looks like a control is not one: the sanitizer leaves no data in it.
    assert page.locator(".enb-widget:not([data-widget])").count() == 1


LABELLED = """place => [...place.querySelectorAll("input, select, textarea")].filter(one =>
  !(one.labels.length === 1 && one.labels[0].textContent.trim())).map(one => one.outerHTML)"""


def test_every_control_has_a_label_and_answers_to_the_keyboard(page):
    for kind in WIDGETS:
        assert place(page, kind).evaluate(LABELLED) == []
        assert place(page, kind).get_attribute("aria-label") == WIDGETS[kind]["title"]
    score = place(page, "score")
    before = score.get_by_role("status").inner_text()
    score.get_by_role("slider").first.focus()
    page.keyboard.press("ArrowLeft")
    assert score.get_by_role("status").inner_text() != before
    fit = place(page, "fit")
    fit.get_by_role("combobox", name="model", exact=True).focus()
    page.keyboard.press("ArrowDown")
    assert "weights too large" in fit.get_by_role("status").inner_text()  # the 32B in BF16 on an L4
    game = place(page, "noise")
    game.get_by_role("radio").first.focus()
    page.keyboard.press("ArrowRight")
    assert (
        "No:" in game.locator("fieldset").first.inner_text()
        or "Right:" in game.locator("fieldset").first.inner_text()
    )
    tester = place(page, "patterns").get_by_role("textbox")
    tester.fill("re:.*down_proj$")
    assert "Kept in 16 bits: 30 of 211" in place(page, "patterns").get_by_role("status").inner_text()


def test_narrow_windows_and_paper_show_the_state_that_was_chosen(page, scheme):
    place(page, "score").get_by_label("weights").select_option("phase3")
    place(page, "items").get_by_label("drop to be seen").fill("1")
    shots = RUNS / "screenshots"
    shots.mkdir(parents=True, exist_ok=True)
    chosen = [place(page, kind).get_by_role("status").inner_text() for kind in WIDGETS]
    assert "SizeNorm" in chosen[1] and "3,530" in chosen[2]
    for media, width in (("screen", 1280), ("screen", 500), ("screen", 360), ("print", 718)):
        page.emulate_media(media=media)
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, (media, width)
        wide = "places => places.filter(p => p.scrollWidth > p.clientWidth + 1).length"
        assert page.locator(".enb-widget").evaluate_all(wide) == 0, (media, width)
        assert [place(page, kind).get_by_role("status").inner_text() for kind in WIDGETS] == chosen
        page.screenshot(path=shots / f"widgets-{media}-{width}-{scheme}.png", full_page=True)


def test_a_notebook_draws_the_same_from_the_same_file(page):
    """As Colab shows an output: its HTML alone, in a frame of its own."""
    other = page.context.new_page()
    for kind, widget in WIDGETS.items():
        said = place(page, kind).get_by_role("status").inner_text()
        live = escape(bundle(widget)["text/html"], quote=True)
        other.set_content(f'<!doctype html><iframe srcdoc="{live}" width="900" height="900"></iframe>')
        inside = other.frame_locator("iframe").locator(".enb-widget[role=group]")
        assert inside.get_by_role("status").inner_text() == said
