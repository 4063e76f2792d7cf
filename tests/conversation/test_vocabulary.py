"""Cutting a vocabulary, against the tokenizers library: what is left still writes every text, only longer."""

import json
import re

import pytest

from exaone_nb.conversation.vocabulary import cut, entries, parallel_text, tokens
from exaone_nb.errors import UsageError
from exaone_nb.paths import DATA

NANO = DATA / "nano" / "tokenizer.json"
LEAST = 269  # 256 bytes and nano's added tokens


def test_merges_go_in_the_order_they_were_learned():
    """By hand: of ab, abc and de the last goes first, and abcde is then written as abc d e."""
    vocabulary = {text: n for n, text in enumerate(["a", "b", "c", "d", "e", "ab", "abc", "de"])}
    model = {"type": "BPE", "vocab": vocabulary, "merges": ["a b", "ab c", "d e"]}
    assert cut({"model": model}, 8)["model"]["vocab"] == vocabulary
    seven = cut({"model": model}, 7)["model"]
    assert "de" not in seven["vocab"] and seven["merges"] == [["a", "b"], ["ab", "c"]]
    assert set(cut({"model": model}, 5)["model"]["vocab"]) == set("abcde")


def test_a_cut_tokenizer_writes_every_sentence_and_gives_it_back():
    from tokenizers import Tokenizer

    document = json.loads(NANO.read_text(encoding="utf-8"))
    texts = [line for lines in parallel_text().values() for line in lines]
    sizes = []
    for keep in (entries(NANO), 512, LEAST):
        made = Tokenizer.from_str(json.dumps(cut(document, keep)))
        assert made.get_vocab_size() == keep
        written = [made.encode(text, add_special_tokens=False).ids for text in texts]
        assert [made.decode(ids) for ids in written] == texts
        assert tokens(NANO, texts, keep) == [len(ids) for ids in written]
        sizes.append(sum(map(len, written)))
    assert sizes[0] < sizes[1] < sizes[2]
    assert tokens(NANO, texts) == tokens(NANO, texts, entries(NANO))


def test_what_cannot_be_cut_is_refused(tmp_path):
    with pytest.raises(UsageError, match=str(LEAST)):
        tokens(NANO, ["x"], LEAST - 1)
    file = tmp_path / "tokenizer.json"
    for text, said in (("[]", "not a tokenizer"), ("{}", "not a tokenizer"), ("no JSON", "not a tokenizer")):
        file.write_text(text)
        with pytest.raises(UsageError, match=said):
            tokens(file, ["x"])
    with pytest.raises(UsageError, match="WordPiece"):
        cut({"model": {"type": "WordPiece", "vocab": {}}}, 5)


def test_the_sentences_are_pairs_in_two_scripts():
    text = parallel_text()
    assert len(text["korean"]) == len(text["english"]) == 12
    assert all(re.search("[가-힣]", line) for line in text["korean"])
    assert not any(re.search("[가-힣]", line) for line in text["english"])
