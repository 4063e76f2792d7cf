"""The hard and the soft switch of thinking, rendered; no weights are needed."""

import ast

import pytest

from exaone_nb.conversation.prompt import OPENS_NOTHING, QWEN3_TURNS, preview, switch_rows, with_soft_switch
from exaone_nb.paths import NANO

QUESTION = [{"role": "user", "content": "3 + 4?"}]
EMPTY = "<think>\n\n</think>\n\n"


@pytest.fixture
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(NANO)


def test_the_hard_switch_closes_a_block_and_the_soft_one_stays_in_the_message(tokenizer):
    on, off, soft, ignored, ours = [
        ast.literal_eval(row["the exact string"]) for row in switch_rows(tokenizer, "3 + 4?")
    ]
    assert on == "<|im_start|>user\n3 + 4?<|im_end|>\n<|im_start|>assistant\n"
    assert off == on + EMPTY
    assert soft == on.replace("4?", "4? /no_think") and ignored == off.replace("4?", "4? /think")
    assert "4? /no_think[|endofturn|]" in ours and ours.endswith("<think>\n")


def test_what_the_model_does_follows_its_own_template(tokenizer):
    last = "what the model does"
    assert [row["thinks"] for row in switch_rows(tokenizer, "x")] == [True, False, False, False, True]
    assert "it thinks" in switch_rows(tokenizer, "x")[-1][last]
    tokenizer.chat_template = QWEN3_TURNS.replace("<think>\n\n</think>\n\n", "").replace(
        "assistant\n", "assistant\n" + EMPTY
    )
    assert "closed" in switch_rows(tokenizer, "x")[-1][last]


def test_a_model_that_opens_its_block_itself_is_not_told_off(tokenizer):
    tokenizer.chat_template = QWEN3_TURNS
    assert preview(tokenizer, QUESTION, "reasoning").problems == ()
    assert preview(tokenizer, with_soft_switch(QUESTION, thinking=False), "reasoning").problems == ()
    assert preview(tokenizer, QUESTION).problems == ()
    # A template that knows the switch and does nothing with it stays a problem.
    tokenizer.chat_template = QWEN3_TURNS.replace(EMPTY, "")
    assert OPENS_NOTHING in preview(tokenizer, QUESTION, "reasoning").problems
