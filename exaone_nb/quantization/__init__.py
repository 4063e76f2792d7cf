"""All knowledge of quantization, as data: schemes, configs, what a file stores, what a setting does, which kernel runs it.

Every wing asks here and nobody keeps a table of its own. Nothing in this room knows a model family; modules come as
plain names, kinds and shapes.
"""
