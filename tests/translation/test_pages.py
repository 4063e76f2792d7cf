"""A notebook cut into pieces and put together again: nothing between them may change."""

import ast
import json

import pages
import pytest

from exaone_nb.paths import NOTEBOOKS

CHAPTERS = sorted(NOTEBOOKS.glob("*.ipynb"))
TRICKY = """# Title with `code`

Text before a formula
$$ a_1 = \\frac{1}{2} $$
and after it.

3. Third
4. Fourth
   goes on

   - inside

<details><summary>A solution</summary>

Hidden text.

</details>

| head | other |
|---|---:|
| one | 2 |

```python
print("left alone")
```
> quoted
> text"""
CODE = '''MODEL: str = "nano"  # a name [model]
rows = [{"prompt": "3 더하기 4는?", "what": "reading memory"}]
columns = [Column("what"), Column("here", "on this machine")]  # noqa: E501


def ask(x):
    """Bytes of {x}."""
    return x


show(
    figure,
    alt=f"Bars: {rows[0]['what']}. " + "Read {them} "
    f"from {len(rows)} sides.",
    caption="One" if MODEL else "Another \\"one\\"",
)'''


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_identity_gives_the_file_back_byte_for_byte(path) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    made = pages.translated(document, "ko", lambda text: text)
    made["cells"] = [cell for cell in made["cells"] if cell["id"] != pages.LANGUAGE_CELL]
    assert json.dumps(made, indent=1, ensure_ascii=False) + "\n" == path.read_text(encoding="utf-8")
    for cell in document["cells"]:
        source = "".join(cell["source"])
        again = pages.put_back(source, pages.pieces(cell), lambda text: text, always=True)
        if cell["cell_type"] == "markdown":
            assert again == source
        else:  # literals beside each other become one
            assert ast.dump(ast.parse(again)) == ast.dump(ast.parse(source))


def test_pieces_of_markdown_are_what_a_person_reads() -> None:
    found = [piece.key for piece in pages.pieces({"cell_type": "markdown", "source": TRICKY})]
    assert found == [
        "# Title with `code`",
        "Text before a formula\n$$ a_1 = \\frac{1}{2} $$\nand after it.",
        "3. Third",
        "4. Fourth\n   goes on",
        "   - inside",
        "<details><summary>A solution</summary>",
        "Hidden text.",
        "| head | other |",
        "| one | 2 |",
        "> quoted\n> text",
    ]


def test_what_is_between_the_pieces_stays() -> None:
    cell = {"cell_type": "markdown", "source": TRICKY}
    marked = pages.put_back(TRICKY, pages.pieces(cell), lambda text: text.replace("t", "T"))
    assert marked.replace("T", "t") == TRICKY.replace("T", "t")
    assert (
        '```python\nprint("left alone")\n```' in marked and "|---|---:|" in marked and "</details>" in marked
    )


def test_pieces_of_code_are_what_reaches_a_reader() -> None:
    found = [piece.key for piece in pages.code_pieces(CODE)]
    assert found == [
        "a name [model]",
        "reading memory",
        "what",
        "on this machine",
        "Bytes of {x}.",
        "Bars: {rows[0]['what']}. ",
        "Read {{them}} from {len(rows)} sides.",
        "One",
        'Another \\"one\\"',
    ]


def test_a_translation_of_code_is_code_that_says_something_else() -> None:
    said = {
        "One": "하나",
        "Read {{them}} from {len(rows)} sides.": "{len(rows)}쪽에서 {{them}}",
        "a name [model]": "이름 [model]",
        "what": "무엇",
    }
    made = pages.put_back(CODE, pages.code_pieces(CODE), lambda text: said.get(text, text))
    scope = {
        "Column": lambda *given: given,
        "figure": None,
        "show": lambda figure, alt, caption: shown.extend([alt, caption]),
    }
    shown: list[str] = []
    exec(made, scope)
    assert shown == ["Bars: reading memory. 1쪽에서 {them}", "하나"]
    assert scope["columns"] == [
        ("what", "무엇"),
        ("here", "on this machine"),
    ]  # the rows are still found by it
    assert 'MODEL: str = "nano"  # 이름 [model]\n' in made


def test_the_kernel_is_told_the_language_before_anything_is_imported() -> None:
    document = json.loads(CHAPTERS[0].read_text(encoding="utf-8"))
    code = [cell for cell in pages.translated(document, "ko", str)["cells"] if cell["cell_type"] == "code"]
    assert code[0]["metadata"] == {"tags": ["remove-cell"]}
    assert 'os.environ["EXAONE_NB_LANG"] = "ko"' in "".join(code[0]["source"])
    assert code[1]["metadata"]["tags"] == ["parameters"]


LABELLED = """columns = [Column("right of all")]
GUESS = None  # your guess: which [choices: before it | behind it]
asked = {"no template": 1, f"{n} layers": 2, "before it": 3, "right of all": 4, "in a field": 5, "one": 6}
print(asked["no template"], asked[f"{n} layers"], f"{asked['in a field']}", asked["before it"])
found = [row["right of all"] for row in rows if row["trial"] == "no template"]"""


def test_labels_are_said_anew_wherever_they_stand_and_never_what_something_else_reads() -> None:
    cell = {"cell_type": "code", "source": LABELLED}
    labels = pages.labels({"cells": [cell]})
    assert labels == {"'no template'", "f'{n} layers'"}
    said = {"no template": "템플릿 없음", "{n} layers": "레이어 {n}개"}
    made = pages.put_back(LABELLED, pages.pieces(cell, labels), lambda text: said.get(text, text))
    assert "no template" not in made and made.count("템플릿 없음") == 3
    assert made.count('f"레이어 {n}개"') == 2
    assert made.replace("템플릿 없음", "no template").replace("레이어 {n}개", "{n} layers") == LABELLED


NAMED = """name = "w4a16_gptq"
licence = row["licence"] or "not known, ask"
told = "; ".join(f"{kind}: most often {where}" for kind, where in found)
words = {True: "valid", None: "no pair"}
rows = [{"verdict": words[row.valid], "licence": [known(one) or "not said" for one in texts]}]
note(f"{name}: {licence}. {told}.")
curves(lines, x="layers passed", y="size")
plot(lines, x="a column")
guess("GUESS_ORDER", GUESS_ORDER, ", ".join(silent) or "none of them")
guess("GUESS_BETTER", GUESS_BETTER, "better" if a < b else rows[0]["which"])"""


def test_a_text_that_was_first_put_in_a_variable_is_found_and_a_name_in_code_is_not() -> None:
    assert [piece.key for piece in pages.code_pieces(NAMED)] == [
        "not known, ask",
        "{kind}: most often {where}",
        "valid",
        "no pair",
        "not said",
        "{name}: {licence}. {told}.",
        "layers passed",
        "size",
    ]


def test_choices_are_what_a_guess_may_be_and_is_compared_with() -> None:
    cell = {
        "cell_type": "code",
        "source": NAMED + "\nGUESS_ORDER = None  # your guess: which [choices: before it | q_proj]",
    }
    assert list(pages.choices({"cells": [cell]})) == ["before it", "q_proj", "none of them", "better"]


def test_a_label_may_be_made_in_a_loop_or_added_later() -> None:
    source = 'made = {f"batch {n}": 1 for n in sizes}\nmade["all at once"] = 2\nmade["one"] = 3'
    assert pages.labels({"cells": [{"cell_type": "code", "source": source}]}) == {
        "f'batch {n}'",
        "'all at once'",
    }
