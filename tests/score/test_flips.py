"""Which answers changed, how, and the page that shows them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from exaone_nb.cli import main
from exaone_nb.errors import WorkbookError
from exaone_nb.score.flips import flips, flips_table, write_page
from exaone_nb.score.items import averaged
from exaone_nb.score.samples import read_samples

DATE = "2026-11-23T03-47-27.192371"


def written(row: int, text: str, result: str, value: float, reason: str = "stop") -> dict[str, Any]:
    return {
        "doc_id": row,
        "doc_hash": hashlib.sha256(str(row).encode()).hexdigest(),
        "prompt_hash": "p",
        "doc": {"question": f"How much is {row} + 4?"},
        "target": str(row + 4),
        "arguments": {"gen_args_0": {"arg_0": f"<prompt> {row}", "arg_1": {"until": []}}},
        "resps": [[text]],
        "filtered_resps": [result],
        "filter": "flexible-extract",
        "metrics": ["exact_match"],
        "exact_match": value,
        "finish_reason": reason,
    }


def write(folder: Path, rows: list[dict[str, Any]], task: str = "toy") -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"samples_{task}_{DATE}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


BASE = [
    written(0, "So #### 4", "4", 1),
    written(1, "So #### 5", "5", 1),
    written(2, "So #### 9", "9", 0),
    written(3, "So #### 9", "9", 0),
    written(4, "So #### 9", "9", 0),
    written(5, "12 + 12", "[invalid]", 0, "length"),
    written(6, "12 + 12", "[invalid]", 0, "length"),
    written(7, "As 7 + 4 #### 11", "11", 1),
]
CANDIDATE = [
    written(0, "So #### 5", "5", 0),
    written(1, "", "[invalid]", 0, "length"),
    written(2, "So #### 6", "6", 1),
    written(3, "So #### 8", "8", 0),
    written(4, "I think #### 9", "9", 0),
    written(5, "13 + 13", "[invalid]", 0, "length"),
    written(6, "12 + 12", "[invalid]", 0, "length"),
    written(7, "So #### 11", "11", 1),
]


def test_outcomes_that_changed_and_answers_from_wrong_to_another_wrong(tmp_path: Path) -> None:
    a, b = (read_samples(write(tmp_path / name, rows)) for name, rows in (("a", BASE), ("b", CANDIDATE)))
    found = flips(a, b, ("a", "b"))
    # 4 reached the same wrong result in other words, 6 said the same, 7 is right in other words.
    kinds = [(flip.kind, flip.question) for flip in found]
    assert kinds == [(kind, f"How much is {row} + 4?") for kind, row in
                     (("lost", 0), ("lost", 1), ("won", 2), ("changed", 3), ("changed", 5))]  # fmt: skip
    assert (
        found[1].after.ending == "cut at its limit; empty" and found[0].after.ending == "the model ended it"
    )
    before, after = found[0].marked()
    assert before == [(False, "So #### "), (True, "4")] and after == [(False, "So #### "), (True, "5")]
    assert found[1].marked()[1] == []
    table = flips_table(found)
    assert len(table) == 3 and table.rows[0]["target"] == "4"


def test_of_choices_the_likeliest_is_the_answer(tmp_path: Path) -> None:
    """By the metric's own rule: acc takes the likelihood as it is, acc_norm by the length of the choice."""

    def choices(likely: list[float], right: dict[str, float]) -> dict[str, Any]:
        row = written(0, "", "", 0) | {"metrics": ["acc", "acc_norm"], "filter": "none", **right}
        row["arguments"] = {
            f"gen_args_{i}": {"arg_0": "Q", "arg_1": text}
            for i, text in enumerate((" a", " a long one", " b"))
        }
        row["resps"] = [[[str(one), "False"]] for one in likely]
        return row | {"filtered_resps": [[str(one), "False"] for one in likely]}

    # lm-eval divides by the lengths of "a" and "a long one", 1 and 10, without the blank before them.
    other = choices([-1.0, -11.0, -2.0], {"acc": 0, "acc_norm": 0}) | {"doc_id": 1, "doc_hash": "other"}
    rows = {
        "a": [choices([-1.0, -11.0, -2.0], {"acc": 1, "acc_norm": 1}), other],
        "b": [choices([-2.0, -15.0, -9.0], {"acc": 1, "acc_norm": 0}), other],
    }
    a, b = (write(tmp_path / name, each) for name, each in rows.items())
    assert flips(read_samples(a), read_samples(b), ("a", "b")) == []
    (found,) = flips(read_samples(a, "acc_norm"), read_samples(b, "acc_norm"), ("a", "b"))
    assert (found.kind, found.before.text, found.after.text) == ("lost", "a", "a long one")
    assert found.after.ending == "the likeliest choice"


def test_an_older_lm_eval_logs_requests_as_lists(tmp_path: Path) -> None:
    def row(likely: list[float], right: float) -> dict[str, Any]:
        found = written(0, "", "", 0) | {"metrics": ["acc"], "filter": "none", "acc": right, "doc": "?"}
        found["arguments"] = [["Q", " a"], ["Q", " b"]]
        return found | {"resps": [[[one, False]] for one in likely]}

    sides = {"a": row([-1.0, -2.0], 1), "b": row([-2.0, -1.0], 0)}
    a, b = (read_samples(write(tmp_path / name, [one])) for name, one in sides.items())
    (found,) = flips(a, b, ("a", "b"))
    assert (found.question, found.before.text, found.after.text) == ("Q", "a", "b")
    for name, one in sides.items():
        write(tmp_path / name, [one | {"arguments": [[]]}])
    assert flips(a, b, ("a", "b"))[0].question == ""


def test_the_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = write(tmp_path / "a", BASE), write(tmp_path / "b", CANDIDATE)
    page = tmp_path / "page.html"
    with pytest.raises(SystemExit):
        main(["compare", a, b, "--flips", str(page), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["flips"] == {"page": str(page), "lost": 2, "won": 1, "changed": 2}
    html = page.read_text(encoding="utf-8")
    assert html.count("<article") == 5 and "How much is 3 + 4?" in html and "://" not in html
    with pytest.raises(SystemExit) as ended:
        main(["compare", a, b, "--flips", str(tmp_path / "page.html" / "inside.html")])
    assert ended.value.code == 2 and "cannot be written" in capsys.readouterr().err


def test_what_a_model_wrote_is_text_on_the_page(tmp_path: Path) -> None:
    """Markup is escaped; what cannot be written in UTF-8, turns the line round or cannot be seen is written out."""
    odd = "</pre><script>alert(1)</script> \ud800 \u202e \x1b[31m"
    sides = {"a": [written(0, odd, "1", 1)], "b": [written(0, "no", "2", 0)]}
    a, b = (read_samples(write(tmp_path / name, rows)) for name, rows in sides.items())
    page = write_page(tmp_path / "page.html", flips(a, b, ("a", "b")), {"toy": 1})
    html = page.read_text(encoding="utf-8")
    assert html.count("<script>") == 1 and "alert" in html and "&lt;" in html
    assert "\\ud800" in html and not {"\u202e", "\x1b"} & set(html)


def test_seeds_and_perplexities_have_no_answers_to_show(tmp_path: Path) -> None:
    a, b = (read_samples(write(tmp_path / name, rows)) for name, rows in (("a", BASE), ("b", CANDIDATE)))
    with pytest.raises(WorkbookError, match="several seeds"):
        flips(averaged([a, b]), b, ("a", "b"))
    rows = [
        {"doc_id": i, "doc_hash": str(i), "filter": "none", "metrics": ["word_perplexity"], "resps": [[-3.0]],
         "word_perplexity": [-3.0, 2]}
        for i in range(3)
    ]  # fmt: skip
    text = read_samples(write(tmp_path / "t", rows))
    with pytest.raises(WorkbookError, match="no right and wrong"):
        flips(text, text, ("a", "b"))
