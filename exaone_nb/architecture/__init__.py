"""What a decoder layer of EXAONE 4.0 is made of, small enough to read, run and check.

- `shape`, `rope`, `masks`, `layers`, `model`: reference modules in plain torch, equal to transformers.
- `arrangements`, `diagrams`: where the norms sit; modules and drawings come from the same description.
- `probes`, `race`, `smoothing`, `outliers`: experiments of chapter 03.
- `receptive`, `costs`, `engine`: experiments of chapter 04; `pictures`: the figures of both chapters.
"""
