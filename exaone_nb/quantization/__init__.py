"""All knowledge of quantization, as data: schemes, configs, what a file stores, what a setting does, which kernel runs it.

Every wing asks here and nobody keeps a table of its own. Modules come as plain names, kinds and shapes; where a model
family decides, it is named in the data.
"""
