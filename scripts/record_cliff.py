"""Round a model to 8, 6, 5, 4, 3 and 2 bits and write down where it falls: data/measured/cliff_MODEL.json.

python scripts/record_cliff.py                          # nano, half a minute
exaone-nb fetch smollm2-135m
python scripts/record_cliff.py --model smollm2-135m     # some minutes on two cores
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any

from record_fit import NANO, OTHER, with_json

from exaone_nb import catalog
from exaone_nb.compress import cliff, damage, models
from exaone_nb.compress.calibration import TextSource
from exaone_nb.compress.quantize import versions
from exaone_nb.compress.search import stored_dtype
from exaone_nb.engines.environment import machine, machine_sentence, prepare_process
from exaone_nb.files import write_json
from exaone_nb.paths import DATA


def main() -> None:
    """Measure, and write the record."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--model", default="nano")
    options.add_argument("--out", type=Path, help="default: data/measured/cliff_MODEL.json")
    chosen = options.parse_args()
    prepare_process()
    source, judge = catalog.weights_folder(chosen.model), NANO if chosen.model == "nano" else OTHER
    texts = damage.documents(source, TextSource(judge["judge"]), judge["documents"])
    model = models.open_model(source, dtype="float32")
    begin = time.monotonic()
    rows = cliff.cliff(model, texts, stored_dtype(catalog.read_config(source / "config.json")))
    document: dict[str, Any] = {
        "what": f"loss by bits and by who shares a scale, {chosen.model}",
        "model": chosen.model,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "machine_in_words": machine_sentence(),
        "how": "All Linear modules but the head rounded to nearest in memory, in transformers with 32-bit arithmetic, "
        f"judged on {len(texts)} texts of {Path(judge['judge']).stem}; 95 % intervals over texts.",
        "versions": versions(),
        "load": os.getloadavg(),
        "seconds": round(time.monotonic() - begin),
        "rows": with_json(rows),
    }
    out = chosen.out or DATA / "measured" / f"cliff_{chosen.model}.json"
    write_json(out, document)
    print(out)


if __name__ == "__main__":
    main()
