"""Which language is spoken, and what never changes with it."""

import io
import json
import os
import re
import subprocess
import sys
from copy import deepcopy
from dataclasses import asdict

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po

from exaone_nb import fields, language
from exaone_nb.anatomy import header
from exaone_nb.cli import main
from exaone_nb.compress import recipe
from exaone_nb.errors import WorkbookError
from exaone_nb.files import write_json
from exaone_nb.findings import Finding
from exaone_nb.judging import Weights
from exaone_nb.messages import as_written, in_english, say, translated
from exaone_nb.paths import NANO, NOTEBOOKS
from exaone_nb.show.table import Column, Table
from exaone_nb.workbook import parameters
from exaone_nb.workbook.cache import key_parts
from exaone_nb.workbook.chapters import load
from exaone_nb.workbook.explain import explain

SAID = {
    "{count:,} of {name}": "{name} 가운데 {count:,}개",
    "{what} is missing.": "없는 것: {what}",
    "size": "크기",
    "yes": "예",
}


@pytest.fixture
def korean(tmp_path, monkeypatch):
    """A Korean catalog with a few sentences; one is fuzzy, one has no translation, one is gone."""
    catalog = Catalog(locale="ko")
    for english, said in SAID.items():
        catalog.add(english, said)
    catalog.add("no", "아니요", flags=["fuzzy"])
    catalog.add("none")
    catalog.add(
        'Long: "quoted", \\ and\ttab;\nnew line, ' + "and words " * 20,
        '긴 문장: "따옴표", \\ 그리고\t탭;\n새 줄 ' * 9,
    )
    out = io.BytesIO()
    write_po(out, catalog, width=110, omit_header=True)
    folder = tmp_path / "locale" / "ko"
    folder.mkdir(parents=True)
    (folder / "workbook.po").write_bytes(out.getvalue() + b'\n#~ msgid "gone"\n#~ msgstr "x"\n')
    monkeypatch.setattr(language, "LOCALE", folder.parent)
    monkeypatch.setenv("EXAONE_NB_LANG", "ko")
    for cached in (language.languages, language.catalog):
        cached.cache_clear()
    yield folder / "workbook.po"
    for cached in (language.languages, language.catalog):
        cached.cache_clear()


def test_a_catalog_is_read_as_babel_reads_it(korean):
    read = read_po(io.BytesIO(korean.read_bytes()), locale="ko")
    assert language.catalog("ko") == {m.id: m.string for m in read if m.id and m.string and not m.fuzzy}
    assert len(language.catalog("ko")) == len(SAID) + 1


def test_the_committed_catalogs_are_read_as_babel_reads_them():
    language.languages.cache_clear()
    for spoken in language.languages()[1:]:
        read = read_po(open(language.LOCALE / spoken / "workbook.po", "rb"), locale=spoken)  # noqa: SIM115
        assert language.catalog(spoken) == {m.id: m.string for m in read if m.id and m.string and not m.fuzzy}


def test_a_sentence_is_said_in_the_language_with_its_fields_formatted(korean):
    assert say("{count:,} of {name}", count=1234, name="W4A16") == "W4A16 가운데 1,234개"
    assert say("no") == "no" and say("none") == "none" and say("gone") == "gone"
    assert translated("size") == "크기" and translated("") == ""


def test_a_mistake_of_the_caller_is_one_in_every_language(korean):
    with pytest.raises(KeyError):
        say("{count:,} of {name}", count=1)
    with pytest.raises(ValueError, match="no place for more"):
        say("{what} is missing.", what="x", more=1)


@pytest.mark.parametrize(
    ("environment", "spoken"),
    [
        ({"LANG": "ko_KR.UTF-8"}, "ko"),
        ({"LANG": "ko"}, "en"),
        ({"LANG": "en_US.UTF-8"}, "en"),
        ({"LANG": "ko_KR.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "ko_KR.UTF-8"}, "ko"),
        ({"LANG": "ko_KR.UTF-8", "EXAONE_NB_LANG": "en"}, "en"),
        ({"LANG": "C", "EXAONE_NB_LANG": "ko"}, "ko"),
        ({"EXAONE_NB_LANG": "xx"}, "en"),
        ({}, "en"),
    ],
)
def test_the_terminal_decides_only_where_it_is_clearly_korean(environment, spoken, korean, monkeypatch):
    for name in ("EXAONE_NB_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert language.language() == spoken


def test_json_is_the_same_in_every_language(korean, tmp_path, monkeypatch):
    def document():
        inner = say("{what} is missing.", what=say("size"))
        finding = Finding("error", "x", say("{count:,} of {name}", count=1, name=inner), translated("size"))
        return {"findings": [asdict(finding)], "copy": deepcopy([inner]), "plain": (1, None, "크기")}

    said = document()
    assert said["findings"][0]["text"] == "없는 것: 크기 가운데 1개"
    write_json(tmp_path / "ko.json", said)
    monkeypatch.setenv("EXAONE_NB_LANG", "en")
    write_json(tmp_path / "en.json", document())
    assert (tmp_path / "ko.json").read_bytes() == (tmp_path / "en.json").read_bytes()
    assert in_english(said) is said, "in English nothing is walked through"


def test_a_table_has_translated_headings_and_english_records(korean):
    table = Table([Column("size", form=","), Column("x", "yes")], [{"size": 1000, "x": True}])
    assert table.headings() == ["크기", "예"] and table.cells() == [["1,000", "예"]]
    assert table.records() == [{"size": 1000, "x": True}] and table.to_csv() == "size,x\n1000,True\n"


def command(*words: str, **environment: str) -> subprocess.CompletedProcess:
    clean = {
        k: v for k, v in os.environ.items() if k not in ("EXAONE_NB_LANG", "LANG", "LC_ALL", "LC_MESSAGES")
    }
    return subprocess.run(
        [sys.executable, "-m", "exaone_nb", *words],
        capture_output=True,
        text=True,
        env=clean | {"PYTHONUTF8": "1"} | environment,
    )


def test_the_option_is_taken_anywhere_before_two_dashes(monkeypatch, capsys):
    korean = command("plan", "--help", "--lang", "ko").stdout
    assert (
        korean
        == command("--lang=ko", "plan", "--help").stdout
        == command("plan", "--help", EXAONE_NB_LANG="ko").stdout
    )
    assert any("가" <= character <= "힣" for character in korean)
    assert (
        command("plan", "--help").stdout
        == command("plan", "--help", "--lang", "en", LANG="ko_KR.UTF-8").stdout
    )
    with pytest.raises(SystemExit) as stop:
        main(["plan", "--lang", "xx"])
    assert stop.value.code == 2 and "xx" in capsys.readouterr().err


def test_json_of_a_verb_does_not_change_with_the_language():
    words = ("plan", "nano", "--recipe", "w4a16_gptq", "--json")
    asked = [command(*words), command(*words, LANG="ko_KR.UTF-8"), command(*words, "--lang", "ko")]
    assert len({(done.returncode, done.stdout) for done in asked}) == 1
    assert json.loads(asked[0].stdout)
    words = ("plan", "nano", "--recipe", "none.yaml", "--json")
    refused = [command(*words).stderr, command(*words, LANG="ko_KR.UTF-8").stderr]
    assert refused[0] == refused[1] and refused[0].startswith("error: ")


def test_a_chapter_that_ran_in_another_language_is_run_again(korean, tmp_path, monkeypatch):
    chapter = load(NOTEBOOKS / "02_parameters_and_memory.ipynb")
    in_korean = key_parts(chapter, {}, tmp_path)
    monkeypatch.setenv("EXAONE_NB_LANG", "en")
    in_english_ = key_parts(chapter, {}, tmp_path)
    assert in_korean.pop("language") and in_korean == in_english_


@pytest.mark.parametrize(
    "refused",
    [
        lambda: recipe.parse({"scheme": "W4A16", "calibration": {"samples": 0, "length": "x"}}, "mine"),
        lambda: recipe.parse({"scheme": "W4A16", "transform": {"type": "awq", "mappings": [{}]}}, "mine"),
        lambda: recipe.parse({"scheme": {"weights": {"num_bits": 9}}}, "mine"),
        lambda: header.parse_header(b"[]", 8),
        lambda: fields.get({"num_layers": 3, "num_hidden_layers": 4}, "num_layers"),
        lambda: parameters.parse("A: int = 5  # how many [range: 1 .. 3]"),
        lambda: Weights(0.5, 0.5, 0.5),
    ],
)
def test_every_part_of_an_error_is_said_in_the_language_also_in_a_traceback(refused, monkeypatch):
    monkeypatch.setenv("EXAONE_NB_LANG", "ko")
    with pytest.raises(WorkbookError) as caught:
        refused()
    parts = (caught.value.got, caught.value.expected, caught.value.remedy)
    for text in (str(caught.value), *filter(None, parts)):
        assert re.search("[가-힣]", text)
        assert re.findall(r"(?<![\w/.'=-])[a-z]{2,} [a-z]{2,} [a-z]{2,}", text) == []
    told = explain(type(caught.value).__name__, str(caught.value))
    assert told.remedy == (caught.value.remedy or "메시지를 보십시오.") and caught.value.got in told.why


def test_the_levels_of_a_check_are_said_where_modules_are_loaded_in_korean():
    done = command("check", str(NANO), "--no-load", EXAONE_NB_LANG="ko")
    assert done.returncode == 0 and "[경고]" in done.stdout and "[정상]" in done.stdout, done.stderr


def test_what_was_said_or_named_once_is_not_looked_up_again(korean):
    """A run called "size" stood in a table as 크기."""
    table = Table([Column("size"), Column("before", as_written("size")), Column("after", say("size"))])
    assert table.headings() == ["크기", "size", "크기"]
    assert in_english(translated(say("size"))) == "size"
