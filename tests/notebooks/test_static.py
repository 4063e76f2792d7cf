"""What must hold of every stored notebook, checked without running it."""

from __future__ import annotations

import ast
import itertools
import json
import re

import pytest

from exaone_nb.paths import DATA, NOTEBOOKS
from exaone_nb.workbook.chapters import Chapter, discover, has_tag, in_order
from exaone_nb.workbook.scrub import Scrubber
from exaone_nb.written import read_yaml

NAMES = [
    "00_start_here", "01_config_and_tensors", "02_parameters_and_memory", "03_vocabulary", "04_qk_reorder_ln",
    "05_hybrid_attention", "06_number_formats", "07_quantization", "08_vllm_inference", "09_speed", "10_lm_eval",
    "11_scoreboard", "12_beyond",
]  # fmt: skip
CHAPTERS = discover()
MATH = re.compile(r"\$\$(.+?)\$\$|(?<!\\)\$(?![\s$])((?:\\.|[^\\$\n])+?)(?<!\s)\$(?!\d)", re.DOTALL)

every_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda c: c.slug)


def code(chapter: Chapter) -> list[str]:
    return [c["source"] for c in chapter.document["cells"] if c["cell_type"] == "code"]


def prose(chapter: Chapter) -> str:
    """All Markdown, with code blocks and code spans blanked."""
    text = "\n\n".join(c["source"] for c in chapter.document["cells"] if c["cell_type"] == "markdown")
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def test_the_thirteen_chapters_are_there():
    assert [c.slug for c in CHAPTERS] == NAMES


def test_every_after_names_a_chapter_and_there_is_no_circle():
    numbers = {c.number for c in CHAPTERS}
    assert [c.number for c in CHAPTERS] == sorted(numbers)
    assert {n for c in CHAPTERS for n in c.after} <= numbers
    assert len(in_order(CHAPTERS)) == len(CHAPTERS)


def test_a_chapter_reads_only_what_earlier_ones_write():
    """Else a second run of an unchanged workbook would find the chapter's inputs changed."""
    by_number = {c.number: c for c in CHAPTERS}
    for chapter in CHAPTERS:
        earlier = {pattern for n in chapter.after for pattern in by_number[n].writes}
        assert set(chapter.reads) <= earlier, chapter.slug


@every_chapter
def test_stored_without_outputs(chapter):
    for cell in chapter.document["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
    assert "widgets" not in chapter.document["metadata"] and "papermill" not in chapter.document["metadata"]


@every_chapter
def test_kernelspec_ids_and_format(chapter):
    document = json.loads(chapter.path.read_text(encoding="utf-8"))
    assert document["metadata"]["kernelspec"]["name"] == "python3"
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in document["cells"]]
    assert len(set(ids)) == len(ids)
    import nbformat

    nbformat.validate(document)


@every_chapter
def test_metadata_says_what_the_runner_needs(chapter):
    declared = chapter.document["metadata"]["exaone_nb"]
    for name in ("chapter", "title", "question", "after", "minutes", "memory_gb", "heavy", "timeout_s"):
        assert name in declared, name
    assert chapter.slug.startswith(chapter.number + "_") and chapter.question.endswith("?")
    assert chapter.minutes > 0 and chapter.memory_gb > 0 and chapter.timeout_s >= 60


def test_the_chapters_that_hand_on_checkpoints_take_part_in_a_sweep():
    """What differs between two points of a grid goes through checkpoints and what is measured on them."""
    handing_on = [
        c.number for c in CHAPTERS if any(p.startswith("checkpoints/") for p in (*c.reads, *c.writes))
    ]
    assert [c.number for c in CHAPTERS if c.sweep] == handing_on


@every_chapter
def test_a_chapter_that_loads_the_models_weights_says_so(chapter):
    """Then they are fetched before the first chapter starts. Scoring takes MODEL where there are no checkpoints."""
    loads = re.search(
        r"\b(weights_folder|copy_baseline|sizes_for)\(MODEL\b|\belse MODEL\b", "\n".join(code(chapter))
    )
    assert chapter.weights == bool(loads)


@every_chapter
def test_parameters_cell_is_first_and_typed_and_explained(chapter):
    cells = [c for c in chapter.document["cells"] if c["cell_type"] == "code"]
    assert has_tag(cells[0], "parameters") and sum(has_tag(c, "parameters") for c in cells) == 1
    named = {p.name: p for p in chapter.parameters}
    assert named["MODEL"].default == "nano" and named["RUN_DIR"].default == ""
    assert [p.name for p in chapter.parameters if not p.help] == []


@every_chapter
def test_values_typed_by_hand_are_checked_before_they_are_used(chapter):
    used = ast.parse(code(chapter)[1]).body
    calls = [node for node in used if not isinstance(node, ast.Import | ast.ImportFrom)]
    assert ast.unparse(calls[0]) == f"check_parameters('{chapter.number}', globals())"


@every_chapter
def test_no_paths_of_a_machine_no_secrets_no_installs(chapter):
    text = chapter.path.read_text(encoding="utf-8")
    found = re.findall(
        r"(?<![\w.~>/])/(?:home|Users|root|tmp|work|mnt|content|opt|workspace)/[\w.-]+|[A-Z]:\\\\\w+", text
    )
    assert found == []
    assert Scrubber({}).text(text) == text
    for source in code(chapter):
        assert not re.search(r"^\s*[!%].*\b(pip|conda|mamba|apt|uv)\b|subprocess.*pip", source, re.MULTILINE)


@every_chapter
def test_code_is_plain_python(chapter):
    """No magics: the chapters also read as scripts, and a magic hides what a cell needs."""
    for source in code(chapter):
        ast.parse(source)


@every_chapter
def test_figures_go_through_show(chapter):
    for source in code(chapter):
        assert not re.search(r"plt\.show\(|display\(fig|\.savefig\(", source)
        for call in ast.walk(ast.parse(source)):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "show":
                assert "alt" in {k.arg for k in call.keywords} or len(call.args) > 1


@every_chapter
def test_headings_start_at_one_and_never_jump(chapter):
    levels = [len(m[1]) for m in re.finditer(r"^(#{1,6}) \S", prose(chapter), re.MULTILINE)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


@every_chapter
def test_math_can_be_rendered(chapter):
    from latex2mathml.converter import convert

    for match in MATH.finditer(prose(chapter)):
        assert "<math" in convert((match[1] or match[2]).strip())


@every_chapter
def test_links_to_notebooks_lead_somewhere_and_pictures_are_not_fetched(chapter):
    for name in re.findall(r"\]\(([\w./-]+\.ipynb)", prose(chapter)):
        assert (NOTEBOOKS / name).is_file(), name
    assert not re.search(r"!\[[^\]]*\]\(https?:|<img[^>]+src=[\"']?https?:", prose(chapter))


def test_a_parameter_of_several_chapters_means_one_thing():
    """`-p NAME VALUE` goes to every chapter that has the name."""
    meanings = {}
    for chapter in discover():
        for p in chapter.parameters:
            meanings.setdefault(p.name, set()).add(p.type)
    assert {name: found for name, found in meanings.items() if len(found) > 1} == {}


def test_words_of_the_glossary_link_to_it_where_they_come_up_first():
    """Once each, to a heading that is there."""
    linked = [
        word
        for chapter in CHAPTERS
        for word in re.findall(r"\[([^\]]+)\]\(00_start_here\.ipynb#Glossary\)", "\n".join(
            c["source"] for c in chapter.document["cells"] if c["cell_type"] == "markdown"
        ))
    ]  # fmt: skip
    terms = read_yaml(DATA / "glossary.yaml")
    for term, told in terms.items():
        pattern = re.compile(told.get("find") or re.escape(term), re.IGNORECASE)
        assert len([word for word in linked if pattern.fullmatch(word)]) <= 1, term
    assert len(linked) >= 0.9 * len(terms)
    assert "## Glossary" in prose(next(c for c in CHAPTERS if c.number == "00"))
