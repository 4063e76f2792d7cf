"""Quantization: recipes one can read, a dry run that catches settings without effect, checkpoints proved by measurement.

    recipe.py       one YAML file -> a checked Recipe; quantization/arguments.py declares what is written out by hand
    calibration.py  which text GPTQ and static scales see
    plan.py         the dry run: module -> scheme, findings, predicted bytes, where it can be served
    quantize.py     runs llm-compressor, atomically, and writes the manifest; llmcompressor_adapter.py alone imports it
    output.py       where a checkpoint may be put: nothing that is not ours is replaced
    serving.py      where a plan can be served; loading.py knows what vLLM stumbles over; differences.py compares two recipes in effect
    formats.py      number grids, round-to-nearest by hand, unpacking what is stored
    gptq.py         GPTQ on one layer, small enough to read
    models.py       a checkpoint opened in transformers, on the GPU where there is one
    damage.py       what was lost: weights, layer outputs, logits, perplexity, each with its interval
    study.py        small experiments for the chapter; tables.py and pictures.py show them

llm-compressor does the quantizing; nothing heavy is imported before a function needs it.
"""
