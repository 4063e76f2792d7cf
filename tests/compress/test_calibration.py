from __future__ import annotations

import json

import httpx
import pytest
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

from exaone_nb.compress import calibration, damage
from exaone_nb.compress.calibration import Calibration, TextSource
from exaone_nb.errors import WorkbookError


def of(path, **more) -> Calibration:
    return Calibration(sources=(TextSource(str(path)),), **({"samples": 4} | more))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["has no samples"]),
        ("\n\n", ["has no samples"]),
        ('{"messages": [', ["line 1", "not JSON"]),
        ('[{"text": "a"},\n {"text": "b"}]', ["line 1", "line by line"]),
        ('[{"text": "a"}, {"text": "b"}]', ["line 1 is a list", "one object per line"]),
        ('{"question": "a"}\n', ["line 1", "messages", "question"]),
        ('{"messages": []}\n', ["no usable field"]),
        ('{"messages": [{"content": "no role"}]}\n', ["no usable field"]),
        ('"just a string"\n', ["no usable field", "str"]),
        ('{"messages": [{"role": "user", "content": null}]}\n', ["line 1", "content is null"]),
        (
            '{"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]}\n',
            ["content is a list"],
        ),
        ('{"text": "a"}\n{"text": "b"}\n', ["has 2 samples", "4 are asked", "at most 2"]),
    ],
)
def test_unusable_files_are_refused(tmp_path, content, words):
    path = tmp_path / "text.jsonl"
    path.write_text(content)
    with pytest.raises(WorkbookError) as caught:
        calibration.rows(of(path))
    for word in words:
        assert word in str(caught.value)


def test_a_missing_file_is_refused_also_by_the_fingerprint(tmp_path):
    with pytest.raises(WorkbookError, match=r"cannot be read"):
        calibration.rows(of(tmp_path / "none.jsonl"))
    with pytest.raises(WorkbookError, match=r"cannot be read"):
        of(tmp_path / "none.jsonl").fingerprint()


def test_only_line_ends_end_a_line_and_a_byte_order_mark_is_dropped(tmp_path):
    path = tmp_path / "text.jsonl"
    lines = ["one\u2028two", "three\u0085four\u2029", "five"]
    content = "\r\n".join(json.dumps({"text": line}, ensure_ascii=False) for line in lines)
    path.write_bytes(content.encode("utf-8-sig"))
    assert calibration.read_source(TextSource(str(path))) == lines


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_another_unicode_encoding_is_called_by_its_name(tmp_path, encoding):
    path = tmp_path / "text.jsonl"
    path.write_bytes(('{"text": "What is 1 plus 1? 한국어"}\n' * 9).encode(encoding))
    name = {"utf-16-le": "UTF-16LE", "utf-16-be": "UTF-16BE"}.get(encoding, encoding.upper())
    with pytest.raises(
        WorkbookError, match=rf"text\.jsonl.* is not UTF-8; it looks like {name}\.[\s\S]*iconv -f {name}"
    ):
        calibration.read_source(TextSource(str(path)))


def test_another_encoding_is_refused_with_the_way_out(tmp_path):
    path = tmp_path / "text.jsonl"
    path.write_bytes(b'{"text": "a"}\n' + '{"text": "한국어"}\n'.encode("cp949"))
    with pytest.raises(WorkbookError, match=r"text\.jsonl, line 2 is not UTF-8[\s\S]*iconv -f CP949"):
        calibration.read_source(TextSource(str(path)))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nope.jsonl", "No such file"),
        ("./foo.txt", "No such file"),
        ("texts/foo.txt", "No such file"),
        ("~/nowhere/foo", "No such file"),
        ("nano_calibratio", "No such file"),
        ("/tmp", "not a file"),
        ("some/folder", "not a file"),
    ],
)
def test_a_path_is_never_taken_for_a_hub_data_set(tmp_path, monkeypatch, name, why):
    import datasets

    (tmp_path / "some" / "folder").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: pytest.fail("asked the hub"))
    with pytest.raises(WorkbookError, match=f"file {name} cannot be read .*{why}") as caught:
        calibration.rows(Calibration(sources=(TextSource(name),), samples=1))
    assert str(calibration.ROOT) not in str(caught.value)


def test_a_file_beside_the_user_comes_before_the_hub_and_the_workbooks_own_are_known_by_name(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my").mkdir()
    (tmp_path / "my" / "texts").write_text('{"text": "a"}\n')
    assert calibration.read_source(TextSource("my/texts")) == ["a"]
    assert TextSource("nano_calibration").path == TextSource("data/calibration/nano_calibration.jsonl").path


def test_a_named_field_and_plain_text(tmp_path):
    path = tmp_path / "text.jsonl"
    path.write_text(json.dumps({"body": "hello", "text": "other"}) + "\n")
    assert calibration.read_source(TextSource(str(path), field="body")) == ["hello"]
    assert calibration.read_source(TextSource(str(path))) == ["other"]
    with pytest.raises(WorkbookError, match="it has: body, text"):
        calibration.read_source(TextSource(str(path), field="prompt"))


def test_one_seed_gives_one_choice_and_fewer_samples_are_its_beginning(texts):
    path = texts(20)
    chosen = calibration.rows(of(path, samples=8))
    assert chosen == calibration.rows(of(path, samples=8))
    assert chosen[:4] == calibration.rows(of(path, samples=4))
    assert chosen != calibration.rows(of(path, samples=8, seed=1))
    assert len({json.dumps(row) for row in chosen}) == 8


def test_a_mixture_takes_its_shares(texts):
    mixed = Calibration(
        sources=(TextSource(str(texts(9, "a.jsonl")), 0.8), TextSource(str(texts(9, "b.jsonl")), 0.2)),
        samples=9,
    )
    assert mixed.counts() == [7, 2]
    assert len(calibration.rows(mixed)) == 9


def test_fingerprint_follows_content_and_settings(texts):
    path = texts(8)
    first = of(path).fingerprint()
    assert first == of(path).fingerprint() and first != of(path, seed=1).fingerprint()
    path.write_text(path.read_text() + '{"text": "more"}\n')
    assert first != of(path).fingerprint()


class Tokenizer:
    """Splits at spaces; remembers whether it was asked for special tokens."""

    def __call__(self, text, add_special_tokens=True):
        return {"input_ids": ([0] if add_special_tokens else []) + [len(word) for word in text.split()]}

    def apply_chat_template(self, messages, tokenize, add_generation_prompt):
        return " ".join(f"<{m['role']}> {m['content']}" for m in messages) + (
            " <assistant>" if add_generation_prompt else ""
        )


def test_tokens_are_cut_and_the_template_is_a_choice(texts):
    path = texts(8, words=50)
    assert {len(ids) for ids in calibration.tokenize(of(path, length=16), Tokenizer())} == {16}
    templated = calibration.tokenize(of(path, length=999), Tokenizer())
    plain = calibration.tokenize(of(path, length=999, template=False), Tokenizer())
    asked = calibration.tokenize(of(path, length=999, generation_prompt=True), Tokenizer())
    assert templated[0][0] == len("<user>") and plain[0][0] == 0
    assert len(templated[0]) == len(plain[0]) + 1 and len(asked[0]) == len(templated[0]) + 1


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (None, ["no chat template", "template: false"]),
        ("{{ raise_exception('only user') }}", ["refuses", "'human'", "only user"]),
        ("{{ {'user': 1}[messages[0].role] + 1 }}", ["refuses", "'human'"]),
    ],
)
def test_a_template_that_is_missing_or_refuses_is_said(tmp_path, template, words):
    from transformers import AutoTokenizer

    from exaone_nb.paths import NANO

    path = tmp_path / "text.jsonl"
    path.write_text('{"messages": [{"role": "human", "content": "hello"}]}\n')
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    tokenizer.chat_template = template
    with pytest.raises(WorkbookError) as caught:
        calibration.tokenize(of(path, samples=1), tokenizer)
    for word in words:
        assert word in str(caught.value)
    assert calibration.tokenize(of(path, samples=1, template=False), tokenizer)[0]


def test_the_workbooks_own_text_is_enough_for_every_recipe():
    from exaone_nb.compress import recipe as recipes

    for name in recipes.names():
        calibration.rows(recipes.load(name).calibration)


def hub_error(kind, status):
    return kind(
        "refused", response=httpx.Response(status, request=httpx.Request("GET", "https://hub.example"))
    )


MANTA = "LGAI-EXAONE/MANTA-1M"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The hub's client on a file of 400 conversations: datasets' own streaming, with the address replaced. Yields the calls."""
    import datasets
    from huggingface_hub import DatasetInfo

    file, read, calls = tmp_path / "hub.jsonl", datasets.load_dataset, []
    talks = (
        [{"role": "user", "content": f"{i}?"}, {"role": "assistant", "content": f"{i} 네"}]
        for i in range(400)
    )
    file.write_text("".join(json.dumps({"conversations": talk}) + "\n" for talk in talks), encoding="utf-8")

    def load(name, subset=None, **options):
        calls.append((name, subset, options))
        return read("json", data_files=str(file), **options)

    tags = ["language:ko", "license:cc-by-sa-3.0", "license:gfdl"]
    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr("huggingface_hub.dataset_info", lambda name, timeout: DatasetInfo(id=name, author="", sha="", last_modified=None, private=False, downloads=0, likes=0, tags=tags))  # fmt: skip
    monkeypatch.setenv("EXAONE_NB_CACHE", str(tmp_path / "cache"))
    return calls


class Letters:
    """A tokenizer with a token per byte, whose template only joins."""

    eos_token = ""

    def __call__(self, text, add_special_tokens=True):
        return {"input_ids": list(text.encode())}

    def apply_chat_template(self, messages, **options):
        return "".join(message["content"] for message in messages)


def number(row) -> int:
    """Which row of the file a conversation is."""
    return int(row[0]["content"].rstrip("?"))


def test_a_hub_data_set_is_streamed_as_far_as_needed_and_once(hub, monkeypatch):
    source = TextSource(MANTA)
    drawn = calibration.rows(Calibration(sources=(source,), samples=4))
    assert source.path is None and len(drawn) == 4 and max(map(number, drawn)) < 40
    assert hub == [(MANTA, None, {"split": "train", "streaming": True})]
    assert calibration.rows(Calibration(sources=(source,), samples=4)) == drawn
    assert len(hub) == 1, "the rows were kept"
    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", lambda folder: Letters())
    assert len(damage.documents("folder", source, 128)) == 128, "as many as were asked for, not ten"
    assert len(hub) == 2
    assert calibration.rows(Calibration(sources=(source,), samples=4)) == drawn, "more rows are no other draw"
    calibration.read_source(TextSource("allenai/c4:ko"), 3)
    assert hub[-1][:2] == ("allenai/c4", "ko")


def test_a_data_set_that_ends_early_is_said_and_not_asked_again(hub):
    with pytest.raises(WorkbookError, match=r"has 5 samples after the first 395, but 6 are asked"):
        calibration.read_source(TextSource(MANTA, offset=395), 6)
    assert [number(row) for row in calibration.read_source(TextSource(MANTA, offset=395), 5)] == [
        *range(395, 400)
    ]
    assert len(hub) == 1


def test_half_a_kept_file_is_fetched_again(hub):
    from exaone_nb.compress.hub_texts import kept_file

    calibration.read_source(TextSource(MANTA), 3)
    kept_file(MANTA).write_text('{"name": "LGAI', encoding="utf-8")
    assert len(calibration.read_source(TextSource(MANTA), 3)) == 3 and len(hub) == 2


def test_what_is_judged_is_never_calibrated_on(hub, tmp_path):
    """The same name for both: rows of a hub data set, and lines of a file, are divided between the two."""
    from exaone_nb.compress import texts

    file = tmp_path / "own.jsonl"
    file.write_text("".join(json.dumps({"text": f"{i}?"}) + "\n" for i in range(60)), encoding="utf-8")
    for name, of in ((MANTA, number), (str(file), lambda row: int(row.rstrip("?")))):
        found = texts.choose("someone/else", [name], [name], samples=16, documents=24)
        (seen,), (judged,) = found.calibration, found.held_out
        drawn = calibration.rows(Calibration(sources=(seen,), samples=16))
        held = calibration.read_source(judged, 24, most=damage.region(judged, 24))
        held = held[: damage.region(judged, 24)]
        assert len(drawn) == 16 and len(held) >= 24
        assert not set(map(of, drawn)) & set(map(of, held))
        again = texts.choose("someone/else", [name], [name], samples=32, documents=24)
        assert again.held_out == found.held_out, "other samples, the same texts to judge on"


def test_texts_of_two_sources_are_mixed_from_the_first_on(tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", lambda folder: Letters())
    sources = []
    for letter in "ab":
        (tmp_path / f"{letter}.jsonl").write_text(f'{{"text": "{letter * 3}"}}\n' * 20, encoding="utf-8")
        sources.append(TextSource(str(tmp_path / f"{letter}.jsonl")))
    found = damage.documents("folder", sources, 12)
    assert len(found) == 12
    assert {"".join(map(chr, one.ids[:1])) for one in found[:2]} == {"a", "b"}


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (OSError(28, "No space left on device"), "disk is full"),
        (ConnectionError("refused"), "cannot be reached"),
        (hub_error(GatedRepoError, 403), "licence"),
        (hub_error(RepositoryNotFoundError, 404), "no such name"),
    ],
)
def test_why_a_hub_data_set_could_not_be_fetched(monkeypatch, tmp_path, trouble, words):
    import datasets

    def fail(name, *arguments, **options):
        try:
            raise trouble
        except Exception as error:
            raise datasets.exceptions.DatasetNotFoundError(
                "it does not exist, or cannot be accessed"
            ) from error

    monkeypatch.setattr(datasets, "load_dataset", fail)
    monkeypatch.setenv("EXAONE_NB_CACHE", str(tmp_path))
    with pytest.raises(WorkbookError, match=f"data set LGAI-EXAONE/MANTA-1M.*{words}"):
        calibration.rows(Calibration(sources=(TextSource("LGAI-EXAONE/MANTA-1M"),), samples=4))


ROWS = [{"messages": [{"role": "user", "content": f"{i}: 안녕"}], "skill": str(i)} for i in range(40)]


def lines(rows, end="\n", **how) -> str:
    return "".join(json.dumps(row, ensure_ascii=False, **how) + end for row in rows)


@pytest.mark.parametrize(
    "content",
    [
        lines(ROWS).encode("utf-8-sig"),
        lines(ROWS, "\r\n").encode(),
        ("\n\n" + lines(ROWS, "\n \n")).encode(),
        lines(ROWS, indent=None, separators=(",", ":")).rstrip("\n").encode(),
        json.dumps(ROWS[0]).encode() + b"\n" + lines(ROWS[1:]).encode(),
        lines(reversed(ROWS)).encode(),
        lines({"messages": row["messages"]} for row in ROWS).encode(),
    ],
    ids=["byte order mark", "CRLF", "blank lines", "no spaces, no last end", "escapes", "other order", "unread keys"],
)  # fmt: skip
def test_neither_the_path_nor_how_the_file_is_written_changes_the_draw(tmp_path, monkeypatch, content):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "chats.jsonl").write_text(lines(ROWS), encoding="utf-8")
    (tmp_path / "two.jsonl").write_bytes(content)
    monkeypatch.chdir(tmp_path / "one")
    names = ("chats.jsonl", "./chats.jsonl", str(tmp_path / "one" / "chats.jsonl"), "../two.jsonl")
    first, *others = (of(name, samples=9) for name in names)
    for other in others:
        assert calibration.rows(other) == calibration.rows(first)
        assert other.fingerprint() == first.fingerprint()
    changed = of("chats.jsonl", samples=9, seed=1)
    assert calibration.rows(changed) != calibration.rows(first)
    assert changed.fingerprint() != first.fingerprint()


def test_another_line_changes_at_most_one_sample(tmp_path):
    path = tmp_path / "text.jsonl"
    path.write_text(lines(ROWS))
    before = calibration.rows(of(path, samples=9))
    for extra in range(20):
        path.write_text(lines([*ROWS, {"text": f"more {extra}"}]))
        assert sum(row not in before for row in calibration.rows(of(path, samples=9))) <= 1


def test_seeds_draw_every_row_equally_often(tmp_path):
    """200 draws of 10 from 40: each row about 50 times; 4.5 standard deviations of the binomial are 28 to 72."""
    path = tmp_path / "text.jsonl"
    path.write_text(lines(ROWS))
    drawn = [
        row[0]["content"] for seed in range(200) for row in calibration.rows(of(path, samples=10, seed=seed))
    ]
    counts = [drawn.count(row["messages"][0]["content"]) for row in ROWS]
    assert sum(counts) == 2000 and min(counts) >= 28 and max(counts) <= 72
