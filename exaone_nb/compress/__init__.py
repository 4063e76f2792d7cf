"""Quantization: recipes one can read, a dry run that catches settings without effect, checkpoints proved by measurement.

    recipe.py       one YAML file -> a checked Recipe -> llm-compressor's modifiers
    calibration.py  which text GPTQ and static scales see
    plan.py         the dry run: module -> scheme, predicted bytes
    analysis.py     what is to be said about a plan, and where it can be served; settings in setting_checks.py
    differences.py  two recipes compared in effect
    quantize.py     runs llm-compressor, atomically; llmcompressor_adapter.py alone imports it
    manifest.py     how a checkpoint was made, and which folder may be replaced by one
    formats.py      number grids, round-to-nearest by hand, unpacking what is stored
    gptq.py         GPTQ on one layer, small enough to read
    models.py       a checkpoint opened in transformers, on the GPU where there is one
    damage.py       what was lost: weights, layer outputs, logits, perplexity, each with its interval
    study.py        small experiments for the chapter; tables.py and pictures.py show them

llm-compressor does the quantizing; nothing heavy is imported before a function needs it.
"""
