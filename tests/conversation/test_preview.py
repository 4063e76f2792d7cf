"""One set of checks for a prompt, whoever asks: a chapter, a task of lm-eval, the command line."""

from __future__ import annotations

from exaone_nb.conversation.prompt import check_history, check_prompt, check_room


class Words:
    """A tokenizer of words, with a template that opens or closes a think block."""

    bos_token_id = 0
    chat_template = "{{ enable_thinking }}"

    def apply_chat_template(self, messages, tokenize, enable_thinking, **_):
        return " ".join(m["content"] for m in messages) + (
            " <think>\n" if enable_thinking else " <think>\n\n</think>\n"
        )


def wrong(
    text: str, ids=(1, 2), *, thinking: bool = False, templated: bool = True, tokenizer=None
) -> list[str]:
    checks = check_prompt(tokenizer or Words(), text, ids, thinking=thinking, templated=templated)
    return [check.text for check in checks if not check.ok]


def test_the_think_block_is_what_was_asked_for() -> None:
    assert wrong("q <think>\n\n</think>\n") == [] == wrong("q <think>\n", thinking=True)
    assert "opens a think block although" in wrong("q <think>\n")[0]
    assert "does not close" in wrong("q")[0]
    assert "does not open" in wrong("q", thinking=True)[0]
    blind = Words()
    blind.chat_template = "{{ messages }}"
    assert "does not know enable_thinking" in wrong("q", thinking=True, tokenizer=blind)[0]
    assert wrong("q", tokenizer=blind) == []


def test_template_and_beginning() -> None:
    assert "No chat template was applied" in wrong("q", templated=False)[0]
    bare = Words()
    bare.chat_template = None
    assert "has no chat template" in wrong("q", templated=False, tokenizer=bare)[0]
    assert "Two beginning-of-text" in wrong("q <think>\n\n</think>\n", (0, 0, 5))[0]
    assert wrong("q <think>\n\n</think>\n", (0, 5, 0)) == []


def test_thoughts_in_the_history() -> None:
    kept = [{"role": "assistant", "content": "<think>\nseven\n</think>\n\n7"}]
    assert "passes them on" in check_history(kept, "seven 7")[0].text
    assert "drops them" in check_history(kept, "7")[0].text
    assert check_history([{"role": "assistant", "content": "7"}], "7") == []


def test_room_for_prompt_answer_and_thought() -> None:
    (fits,) = check_room(1000, 1048, 2048, thinking=False)
    assert fits.ok and fits.line.startswith("[OK]")
    (full,) = check_room(1001, 1048, 2048, thinking=False)
    assert not full.ok and "1001 + answer 1048 tokens do not fit into max_model_len 2048" in full.line
    cut, _ = check_room(10, 256, 2048, thinking=True)
    assert not cut.ok and "256 tokens will cut" in cut.text
    assert len(check_room(10, 0, 2048, thinking=True)) == 1, "choices are not written, so nothing can be cut"
