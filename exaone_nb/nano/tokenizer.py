"""Nano's own byte-level BPE tokenizer: Korean and English, digits one by one, EXAONE's turn markers.

The think and tool tags are added tokens that are not special. Marked special, vLLM would strip them before its
reasoning and tool parsers see them, and the whole answer would come back as reasoning with no content.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from exaone_nb.nano.conversations import Conversation, conversations

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

VOCAB_SIZE = 1024
PAD, BOS, END = "[PAD]", "[BOS]", "[|endofturn|]"
SPECIAL = [PAD, BOS, "[|system|]", "[|user|]", "[|assistant|]", "[|tool|]", END]
TAGS = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_result>", "</tool_result>"]
TRAINING_CONVERSATIONS = 6000


def train(template: Path, seed: int = 0) -> PreTrainedTokenizerFast:
    """Train the tokenizer on nano's own conversations; `template` is the chat template to attach."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - len(TAGS),
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(_texts(seed), trainer)
    core.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in TAGS])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=BOS,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[t for t in SPECIAL if t not in (PAD, BOS, END)],
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
    )
    tokenizer.chat_template = template.read_text(encoding="utf-8")
    return tokenizer


def _texts(seed: int):
    for item in islice(conversations("train", seed), TRAINING_CONVERSATIONS):
        for message in item.messages:
            yield str(message.get("content") or "")
        yield item.target()
        yield str(item.tools).replace("'", '"')


def prompt_of(tokenizer: PreTrainedTokenizerFast, item: Conversation) -> str:
    """The conversation up to where the assistant begins, by the chat template."""
    return tokenizer.apply_chat_template(
        item.messages,
        tools=item.tools or None,
        add_generation_prompt=True,
        enable_thinking=item.thought is not None,
        tokenize=False,
    )


def encode(tokenizer: PreTrainedTokenizerFast, item: Conversation) -> tuple[list[int], list[bool]]:
    """Token ids of prompt, target and end of turn; and which of them are learned (the target's)."""
    head = tokenizer(prompt_of(tokenizer, item), add_special_tokens=False)["input_ids"]
    tail = tokenizer(item.target() + END, add_special_tokens=False)["input_ids"]
    return head + tail, [False] * len(head) + [True] * len(tail)


def encode_drill(tokenizer: PreTrainedTokenizerFast, equations: list[str]) -> tuple[list[int], list[bool]]:
    """Token ids of the equations, one a line; only what stands right of each `=` is learned."""
    ids: list[int] = []
    learned: list[bool] = []
    for equation in equations:
        left, right = equation.split("=")
        for text, is_target in ((left + "=", False), (right + "\n", True)):
            part = tokenizer(text, add_special_tokens=False)["input_ids"]
            ids += part
            learned += [is_target] * len(part)
    return ids, learned
