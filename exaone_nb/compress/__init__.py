"""Quantization: recipes one can read, a dry run that catches settings without effect, checkpoints proved by measurement.

    recipe.py       one YAML file -> a checked Recipe; arguments.py checks what is written out by hand
    calibration.py  which text GPTQ and static scales see
    modules.py      which module a pattern matches, and which scheme wins
    plan.py         the dry run: module -> scheme, findings, predicted bytes, where it can be served
    quantize.py     runs llm-compressor, atomically, and writes the manifest
    output.py       where a checkpoint may be put: nothing that is not ours is replaced
    serving.py      where a plan can be served; loading.py knows what vLLM stumbles over; differences.py compares two recipes in effect
    formats.py      number grids, round-to-nearest by hand, unpacking what is stored
    gptq.py         GPTQ on one layer, small enough to read
    damage.py       what was lost: weights, layer outputs, logits, perplexity, each with its interval

llm-compressor does the quantizing; nothing heavy is imported before a function needs it.
"""
