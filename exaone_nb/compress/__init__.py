"""Quantization: recipes one can read, a dry run that catches settings without effect, checkpoints proved by measurement.

A recipe (`recipe`, `calibration`) and a config make a `plan`; `analysis` says what is wrong with it; `quantize` makes the
checkpoint and a `manifest`; `damage` measures what was lost; `formats`, `gptq` and `study` are the chapter's experiments.
llm-compressor does the quantizing; nothing heavy is imported before a function needs it.
"""
