"""What a decoder layer of EXAONE 4.0 is made of, small enough to read, run and check.

- `shape`, `rope`, `masks`, `layers`, `model`: reference modules in plain torch, equal to transformers.
- `diagrams`: where the norms sit, drawn from the description that the modules run (`anatomy.arrangements`).
- `probes`, `race`, `smoothing`, `outliers`: experiments on where the norms sit.
- `receptive`, `costs`, `engine`: experiments on hybrid attention; `pictures`: the figures of both.
"""
