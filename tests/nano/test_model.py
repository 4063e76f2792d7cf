"""The shipped model: format, tokenizer, template, checksums; training is resumable."""

import json

import pytest

from exaone_nb.errors import WorkbookError
from exaone_nb.files import sha256_of
from exaone_nb.nano import train
from exaone_nb.nano.conversations import ROLL_DICE, call_message
from exaone_nb.paths import NANO


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(NANO)


def render(tokenizer, messages, **options):
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **options)


def test_checksums():
    for line in (NANO / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        assert sha256_of(NANO / name) == digest, name


def test_size_and_shape():
    from safetensors import safe_open

    assert (NANO / "model.safetensors").stat().st_size < 20_000_000
    config = json.loads((NANO / "config.json").read_text())
    assert config["architectures"] == ["Exaone4ForCausalLM"] and config["tie_word_embeddings"]
    with safe_open(NANO / "model.safetensors", "pt") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 - not a dict
        assert {file.get_slice(name).get_dtype() for name in shapes} == {"BF16"}
    import math

    assert 3e6 < sum(math.prod(s) for s in shapes.values()) < 8e6
    assert len(shapes) == 11 * config["num_hidden_layers"] + 2
    assert all(n % 128 == 0 for name, s in shapes.items() if "proj" in name for n in s)


def test_tags_are_added_but_not_special(tokenizer):
    added = {t.content: t for t in tokenizer.added_tokens_decoder.values()}
    for tag in train.TAGS:
        assert added[tag].special is False
        assert len(tokenizer.encode(tag, add_special_tokens=False)) == 1
    text = "<think>\na\n</think>\n\nb[|endofturn|]"
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids, skip_special_tokens=True) == "<think>\na\n</think>\n\nb"


def test_digits_stand_alone_and_text_survives(tokenizer):
    for text in ("12345", "민아는 책 287개를 가지고 있다. ¿Qué?\n#### 42", "emoji 🙂 and tabs\t"):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text
    assert len(tokenizer.encode("12345", add_special_tokens=False)) == 5


def test_template_closes_an_empty_think_block_unless_asked(tokenizer):
    messages = [{"role": "user", "content": "Hi"}]
    assert render(tokenizer, messages).endswith("[|assistant|]\n<think>\n\n</think>\n\n")
    assert render(tokenizer, messages, enable_thinking=False).endswith("</think>\n\n")
    assert render(tokenizer, messages, enable_thinking=True).endswith("[|assistant|]\n<think>\n")
    assert tokenizer.bos_token not in render(tokenizer, messages)


def test_template_drops_old_thoughts_and_writes_tool_turns(tokenizer):
    messages = [
        {"role": "user", "content": "Roll"},
        call_message("roll_dice", {"sides": 6, "count": 2}),
        {"role": "tool", "content": "[1, 2]"},
        {"role": "assistant", "content": "<think>\nsecret\n</think>\n\nThe dice show 1, 2."},
        {"role": "user", "content": "Thanks"},
    ]
    text = render(tokenizer, messages, tools=[ROLL_DICE])
    assert "secret" not in text
    assert '<tool_call>{"name": "roll_dice", "arguments": {"sides": 6, "count": 2}}</tool_call>' in text
    assert '[|tool|]\n<tool_result>{"result": [1, 2]}</tool_result>[|endofturn|]' in text
    assert text.startswith("[|system|]\nTools:\n<tool>")


def test_training_goes_on_from_where_it_stopped(tmp_path, monkeypatch):
    """An interrupted run ends with the same weights, bit by bit, as one that was not interrupted."""
    import torch

    settings = train.TrainingSettings(steps=3, polish_steps=1, batch=2, warmup=1)
    whole = train.train(settings, tmp_path / "whole", save_every=1, progress=False)
    batches = train.batches

    def interrupted(*arguments):
        for step, *rest in batches(*arguments):
            if step == 2:
                raise KeyboardInterrupt
            yield step, *rest

    monkeypatch.setattr(train, "batches", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train.train(settings, tmp_path / "parts", save_every=1, progress=False)
    monkeypatch.setattr(train, "batches", batches)
    parts = train.train(settings, tmp_path / "parts", save_every=1, progress=False)
    one, other = (torch.load(w / "state.pt", weights_only=True) for w in (whole, parts))
    assert one["step"] == other["step"] == 4
    assert all(torch.equal(one["model"][k], other["model"][k]) for k in one["model"])


def test_other_settings_are_refused(tmp_path):
    (tmp_path / "settings.json").write_text(json.dumps({"steps": 1}))
    with pytest.raises(WorkbookError, match="other settings"):
        train.train(train.TrainingSettings(steps=2), tmp_path, progress=False)


def test_publishing_without_a_trained_state_is_refused(tmp_path):
    from exaone_nb.nano.publish import publish

    with pytest.raises(WorkbookError, match="no trained state"):
        publish(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_publishing_the_stored_weights_gives_the_stored_files(tmp_path, tokenizer):
    import shutil

    import torch
    from safetensors.torch import load_file

    from exaone_nb.nano.publish import publish

    work, out = tmp_path / "work", tmp_path / "out"
    (work / "tokenizer").mkdir(parents=True)
    shutil.copy(NANO / "tokenizer.json", work / "tokenizer")
    # As transformers 5 saves what was trained; the stored file has the names that 4.57.3 knows.
    saved = json.loads((NANO / "tokenizer_config.json").read_text())
    del saved["model_input_names"]
    saved |= {"backend": "tokenizers", "tokenizer_class": "TokenizersBackend"}
    saved["extra_special_tokens"] = saved.pop("additional_special_tokens")
    (work / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(saved))
    weights = load_file(NANO / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    settings = json.loads((NANO / "training.json").read_text())
    torch.save({"model": weights, "step": settings.pop("steps_done")}, work / "state.pt")
    (work / "settings.json").write_text(json.dumps(settings))
    assert publish(work, out)["parameters"] == 3_410_688
    stored = {path.name: path.read_bytes() for path in NANO.iterdir()}
    assert {path.name: path.read_bytes() for path in out.iterdir()} == stored
