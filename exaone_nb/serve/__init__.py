"""Serving a model and measuring how fast it is, so that one can believe the number.

An answer comes in two parts. Reading the prompt (prefill) handles all its tokens at once and keeps the arithmetic
units busy; writing the answer (decode) handles one token per request and step, and waits for the weights to come
from memory. A number that mixes the two says nothing about either: measure time to the first token and time per
output token apart, after a warm-up, more than once, and with prompts as long as those that matter.

    from exaone_nb.engines.choice import open_engine
    with open_engine("nano") as engine:
        print(engine.chat([{"role": "user", "content": "Who are you?"}]).text)
"""
