"""A Modelfile for Ollama: which GGUF file, the prompt around each turn, and how to sample.

    ollama create NAME -f FILE.Modelfile && ollama run NAME

Ollama has a template language of its own (Go's). What stands around system prompt, question and answer is read off the
model's chat template by rendering it, and the result is held against that template with other texts. It was not run:
Ollama is not part of the workbook.
"""

from pathlib import Path
from typing import Any

from exaone_nb import catalog, fields
from exaone_nb.conversation.answers import recommended
from exaone_nb.conversation.prompt import applied
from exaone_nb.converter.gguf_vocabulary import read_tokenizer
from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say

CONTEXT = 8192  # Ollama's own default is shorter, and it cuts longer prompts without a word
SYSTEM, QUESTION, ANSWER, NEXT = "AAASYSTEM", "BBBQUESTION", "CCCANSWER", "DDDNEXT"
# What the finished template is held against. No spaces at the ends: many templates take them away, which harms nothing.
TRIALS = (("", "What is 2 + 3?"), ("Answer briefly.\nNo lists.", "\uc548\ub155! 12 + 30"))


def modelfile(folder: Path, gguf_name: str) -> str:
    """The text of a Modelfile for a model folder and the GGUF file made of it.

    Raises WorkbookError for a tokenizer that cannot be read, or when no template can be read off.
    """
    from transformers import PreTrainedTokenizerFast

    read_tokenizer(folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    config = catalog.read_config(folder / "config.json")
    sampling = recommended(str(folder)).sampling
    settings = {
        "num_ctx": min(CONTEXT, fields.size(config, "max_position_embeddings", CONTEXT)),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p if sampling.top_p < 1 else None,
        "top_k": sampling.top_k or None,
        "stop": f'"{tokenizer.eos_token}"' if tokenizer.eos_token else None,
    }
    lines = [
        "# Written by exaone-nb convert; not run. The template asks for answers without reasoning.",
        f"FROM ./{gguf_name}",
        f'TEMPLATE """{ollama_template(tokenizer)}"""',
        *(f"PARAMETER {name} {value}" for name, value in settings.items() if value is not None),
    ]
    return "\n".join(lines) + "\n"


def ollama_template(tokenizer: Any) -> str:
    """The chat template in Ollama's language: one turn with .System, .Prompt and .Response.

    Raises WorkbookError for a template that does more than put text around the turns.
    """
    user = {"role": "user", "content": QUESTION}
    plain = _prompt(tokenizer, [user])
    guided = _prompt(tokenizer, [{"role": "system", "content": SYSTEM}, user])
    answered = [user, {"role": "assistant", "content": ANSWER}, {"role": "user", "content": NEXT}]
    between = _prompt(tokenizer, answered).partition(ANSWER)[2].partition(NEXT)[0]
    before, _, after = plain.partition(QUESTION)
    before_system, _, rest = guided.partition(SYSTEM)
    before_question, _, after_guided = rest.partition(QUESTION)
    template = (
        f"{{{{ if .System }}}}{before_system}{{{{ .System }}}}{before_question}{{{{ else }}}}{before}{{{{ end }}}}"
        f"{{{{ .Prompt }}}}{after}{{{{ .Response }}}}{between.removesuffix(before)}"
    )
    around = before + before_system + before_question + after
    same = all(
        rendered(template, system, question)
        == _prompt(tokenizer, [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": question}])
        for system, question in TRIALS
    )  # fmt: skip
    if not same or after != after_guided or not between.endswith(before) or "{{" in around or '"""' in around:
        raise WorkbookError(
            say("The chat template does more than put text around the turns."),
            expected=say("a template whose system prompt, question and answer stand in it as they are."),
            remedy=say(
                "Leave --modelfile out and write TEMPLATE by hand (Ollama's documentation, Modelfile)."
            ),
        )
    return template


def rendered(template: str, system: str, question: str) -> str:
    """What Ollama makes of such a template for one question, up to where the model answers."""
    start, _, rest = template.partition("{{ if .System }}")
    guided, _, rest = rest.partition("{{ else }}")
    plain, _, rest = rest.partition("{{ end }}")
    text = start + (guided.replace("{{ .System }}", system) if system else plain) + rest
    return text.partition("{{ .Response }}")[0].replace("{{ .Prompt }}", question)


def _prompt(tokenizer: Any, messages: list[dict[str, str]]) -> str:
    """The prompt without the first token where llama.cpp puts that itself."""
    text = applied(tokenizer, messages, thinking=False, tokenize=False, add_generation_prompt=True)
    return text.removeprefix(tokenizer.bos_token) if tokenizer.bos_token else text
