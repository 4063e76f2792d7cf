"""A 4-bit checkpoint by GPTQModel, in its own environment: what scripts/record_board.py calls.

    make env-gptqmodel
    .venv-gptqmodel/bin/python scripts/quantize_gptqmodel.py data/nano samples.json runs/gptqmodel

samples.json holds token ids, a list per calibration sample. The first run compiles kernels, which takes minutes.
"""

import json
import os
import sys
from pathlib import Path

BITS, GROUP = 4, 128


def main() -> None:
    if len(sys.argv) != 4:
        sys.exit(f"Usage: python {sys.argv[0]} MODEL SAMPLES.json OUT")
    source, samples, out = sys.argv[1:]
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")  # on two cores it stops without
    from gptqmodel import GPTQModel, QuantizeConfig

    rows = json.loads(Path(samples).read_text(encoding="utf-8"))
    texts = [{"input_ids": row, "attention_mask": [1] * len(row)} for row in rows]
    model = GPTQModel.load(source, QuantizeConfig(bits=BITS, group_size=GROUP))
    model.quantize(texts, batch_size=1)
    model.save(out)


if __name__ == "__main__":
    main()
