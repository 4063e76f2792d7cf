"""`pack`: a model folder becomes submit.zip, the same bytes every time.

Entries are sorted, dated 1980-01-01 and stored (weights do not compress, and deflate's output depends on the library),
so equal folders give equal zips and a hash says whether two submissions are the same. Files above 2 GB are fine.
"""

import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from exaone_nb import older_names
from exaone_nb.anatomy.index import INDEX, dead_weights, parse_index
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.files import require_free_space, sha256_of, staged_file
from exaone_nb.findings import Finding, warn
from exaone_nb.messages import say
from exaone_nb.score.submission.archive import MODEL
from exaone_nb.score.submission.check import check_static
from exaone_nb.score.submission.files import ADAPTERS, LEFTOVERS, PICKLES
from exaone_nb.score.submission.texts import MANIFEST, SUMS, read_object, without_mark

_EPOCH = (1980, 1, 1, 0, 0, 0)
_CHUNK = 1 << 22
# Files that the server has no use for, and checksums: the manifest has those of the files as packed.
_LEFT_OUT = {"quantize.json", MANIFEST, *SUMS, *ADAPTERS}


@dataclass(frozen=True)
class Packed:
    """The zip that was made.

    `changed` says what was rewritten for the server's older libraries, `overridden` which failures were forced.
    """

    path: Path
    bytes: int
    sha256: str
    files: tuple[str, ...]
    left_out: tuple[str, ...]
    changed: tuple[str, ...]
    warnings: tuple[Finding, ...]
    overridden: tuple[Finding, ...] = ()


def pack(
    folder: str | Path,
    out: str | Path = "submit.zip",
    *,
    licence: str | Path | None = None,
    adapt: bool = True,
    force: bool = False,
) -> Packed:
    """Write `out` from a model folder; it is in place only when it is complete.

    `licence` is a text that goes in as LICENSE (a derived model carries its base model's licence). `adapt` adds the
    settings under the names that transformers 4.57.3 knows. Raises WorkbookError when a check fails, unless `force`.
    """
    folder, out = Path(folder), Path(out)
    if not folder.is_dir():
        text = say("There is no folder {folder}.", folder=str(folder))
        raise UsageError(text, expected=say("a model folder with config.json."))
    if out.suffix != ".zip":
        text = say("The output is called {name}.", name=out.name)
        raise UsageError(text, expected=say("a name that ends in .zip."))
    changed, rewritten = _adapted(folder) if adapt else ([], {})
    contents, left_out = _choose(folder, out)
    if licence is not None:
        if not Path(licence).is_file():
            raise UsageError(say("There is no licence file {licence}.", licence=str(licence)))
        rewritten["LICENSE"] = Path(licence).read_bytes()
    contents |= rewritten
    with _laid_out(contents) as place:
        # Links are how it is laid out here, and no remark about what is packed.
        findings = [
            replace(f, text=f.text.replace(str(place), str(folder)))
            for f in check_static(place)
            if f.code != "links"
        ]
    failures = [f for f in findings if f.level == "error"]
    if failures and not force:
        text = say("Not packed. {problem}", problem=failures[0].text)
        if more := len(failures) - 1:
            text = say("{text} ({n} more; see `exaone-nb check {name}`)", text=text, n=more, name=folder.name)
        raise WorkbookError(text, remedy=failures[0].remedy)
    if not any(name.upper().startswith(("LICENSE", "LICENCE")) for name in contents):
        remedy = say("Give the base model's with --licence FILE.")
        findings.append(warn("licence", say("No licence file is packed."), remedy))
    require_free_space(
        out.parent, sum(map(_size, contents.values())) + (1 << 20), say("writing {name}", name=out.name)
    )
    contents[MANIFEST] = _manifest(folder, contents, changed)
    with (
        staged_file(out) as staging,
        zipfile.ZipFile(staging, "w", zipfile.ZIP_STORED, allowZip64=True, strict_timestamps=True) as archive,
    ):
        for name in sorted(contents):
            _add(archive, f"{MODEL}/{name}", contents[name])
    return Packed(
        path=out,
        bytes=out.stat().st_size,
        sha256=sha256_of(out),
        files=tuple(f"{MODEL}/{name}" for name in sorted(contents)),
        left_out=tuple(left_out),
        changed=tuple(changed),
        warnings=tuple(f for f in findings if f.level == "warning"),
        overridden=tuple(failures),
    )


def _adapted(folder: Path) -> tuple[list[str], dict[str, bytes]]:
    """What is changed for the server's libraries, in words, and the files to pack in place of the folder's own."""
    unmarked = without_mark(folder)
    changed = [say("{name}: byte order mark removed", name=name) for name in unmarked]
    changed += [f"{change.file}: {change.done}" for change in older_names.changes(folder)]
    return changed, unmarked | {name: text.encode() for name, text in older_names.rewritten(folder).items()}


@contextmanager
def _laid_out(contents: dict[str, Path | bytes]) -> Iterator[Path]:
    """A folder as the server will see it: links to the files, and what was rewritten. What is packed is checked."""
    with TemporaryDirectory(prefix="exaone-nb-pack-") as temporary:
        place = Path(temporary, MODEL)
        place.mkdir()
        for name, content in contents.items():
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                path.symlink_to(content.resolve())
        yield place


def _choose(folder: Path, out: Path) -> tuple[dict[str, Path | bytes], list[str]]:
    """Files to pack by name, links followed, and the names of those left out."""
    chosen: dict[str, Path | bytes] = {}
    left_out = []
    index = folder / INDEX
    present = [path.name for path in folder.glob("[!.]*.safetensors")]
    dead = dead_weights(present, parse_index(index.read_bytes()) if index.is_file() else None)
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.resolve() == out.resolve():
            continue
        name = path.relative_to(folder)
        strange = any(part in LEFTOVERS or part.startswith(".") for part in name.parts)
        unread = path.suffix == ".safetensors" and (len(name.parts) > 1 or path.name in dead)
        if strange or unread or path.name in _LEFT_OUT or path.suffix.lower() in PICKLES:
            left_out.append(name.as_posix())
        else:
            chosen[name.as_posix()] = path
    return chosen, left_out


def _add(archive: zipfile.ZipFile, name: str, content: Path | bytes) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.external_attr = 0o100644 << 16
    entry.create_system = 3
    if isinstance(content, bytes):
        archive.writestr(entry, content)
        return
    # The size decides beforehand whether the entry can grow past 4 GB (zip64).
    entry.file_size = _size(content)
    with open(content, "rb") as source, archive.open(entry, "w") as sink:
        shutil.copyfileobj(source, sink, _CHUNK)


def _size(content: Path | bytes) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _manifest(folder: Path, contents: dict[str, Path | bytes], changed: list[str]) -> bytes:
    """What is inside, by hash, and how it was made. No dates and no paths, so that equal folders give equal zips."""
    files = {}
    for name, content in sorted(contents.items()):
        digest = sha256(content).hexdigest() if isinstance(content, bytes) else sha256_of(content)
        files[name] = {"bytes": _size(content), "sha256": digest}
    made = _object(folder / "quantize.json")
    kept = ("recipe_name", "recipe", "versions", "calibration", "model")
    quantization = {name: made[name] for name in kept if name in made}
    document = {"schema": 1, "made_with": "exaone-nb pack", "files": files, "adapted": changed}
    return _json(document | {"quantization": quantization})


def _object(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none, which the checks say."""
    document = read_object(path)
    return {} if isinstance(document, Finding) else document


def _json(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()
