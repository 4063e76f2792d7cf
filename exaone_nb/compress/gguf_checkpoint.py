"""A checkpoint whose weights are one GGUF file: beside it what every checkpoint has, so that every chapter can read it.

gguf_checkpoint("nano", "Q4_K_M", "runs/mine/checkpoints/Q4_K_M")["written_bytes"]      # 2,150,624
"""

import hashlib
import json
import shutil
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from exaone_nb import catalog
from exaone_nb.anatomy.gguf.rule import file_type
from exaone_nb.compress import manifest
from exaone_nb.compress.quantize import copy_companions, inputs_of
from exaone_nb.converter.gguf_file import Progress, convert
from exaone_nb.files import staged_directory, write_json


def gguf_checkpoint(
    model: str | Path,
    kind: str,
    out: str | Path,
    *,
    cut: str = "",
    reuse: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Make the folder `out` with the model as a GGUF file of type `kind`; the document of `convert`, and `reused`.

    A folder that was made of the same files by the same libraries is left as it is. Raises what `convert` raises, and
    UsageError when `out` holds something else.
    """
    source, out, kind = catalog.weights_folder(model), Path(out), file_type(kind)
    manifest.check_out(out, source)
    libraries = {}
    for name in ("gguf", "libgguf", "exaone-nb"):
        with suppress(PackageNotFoundError):  # libgguf has no wheel for every machine
            libraries[name] = version(name)
    parts = [sorted(inputs_of(source).items()), kind, cut, libraries]
    mark = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    if reuse and (found := manifest.finished(out, mark)):
        return found["gguf"] | {"reused": True}
    with staged_directory(out) as staging:
        document = convert(source, kind, staging / f"model-{kind}.gguf", cut=cut, progress=progress)
        document |= {"model": str(model), "file": f"model-{kind}.gguf"}
        shutil.copy2(source / "config.json", staging)
        copy_companions(source, staging)
        made = {
            "schema": 1,
            "recipe_name": kind,
            "fingerprint": mark,
            "versions": libraries,
            "gguf": document,
        }
        write_json(staging / manifest.NAME, made | manifest.file_entries(staging))
    return document | {"reused": False}
