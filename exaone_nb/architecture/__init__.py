"""What a decoder layer of EXAONE 4.0 is made of, small enough to read, run and check.

- `shape`, `rope`, `masks`, `layers`, `model`: reference modules in plain torch, equal to transformers.
- `probes`, `race`, `smoothing`: experiments on where the norms sit, and on how far attention reaches.
- `costs`, `engine`: what hybrid attention costs; `pictures`: the figures of all of it.
"""
