"""Opening a zip that somebody else made, without trusting it.

A zip can name files outside its folder, hold links, the same name twice, or unpack to far more than it says. Names
and sizes are judged from the directory of the zip, before anything is unpacked.
"""

import stat
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from exaone_nb.errors import WorkbookError
from exaone_nb.files import require_free_space
from exaone_nb.findings import Finding, fail, ok, warn
from exaone_nb.judging import rules
from exaone_nb.messages import say

MODEL = "model"
AGAIN = say("Make the zip again with `exaone-nb pack`.")
_MOST_ENTRIES = 10_000
# Weights hardly compress; a member that shrinks a thousandfold is made of repetition.
_BOMB_RATIO = 1000
_BOMB_SIZE = 100_000_000
_DEVICE_NAMES = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(1, 10))}


def check_archive(path: Path) -> list[Finding]:
    """Everything that can be said from the zip's directory alone. Nothing is unpacked."""
    size, most = path.stat().st_size, rules()["zip_bytes"].value
    found: list[Finding] = []
    if size > most:
        text = say("The zip has {size:,} bytes; the limit is {most:g} GB.", size=size, most=most / 1e9)
        found.append(fail("size", text, say("Choose a scheme with fewer bits.")))
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, zipfile.LargeZipFile, OSError, ValueError, NotImplementedError) as error:
        text = say("{name} cannot be opened as a zip: {reason}.", name=path.name, reason=str(error))
        return [*found, fail("zip", text, AGAIN)]
    if len(members) > _MOST_ENTRIES:
        text = say("{count:,} entries.", count=len(members))
        return [*found, fail("zip", text, say("A model has a few files; pack only the model folder."))]
    unpacked, most = sum(member.file_size for member in members), rules()["unzipped_bytes"].value
    if unpacked > most:
        text = say("It unpacks to {size:,} bytes; the limit is {most:g} GB.", size=unpacked, most=most / 1e9)
        remedy = say("Remove what is not the model, or distrust the file: it may be a zip bomb.")
        found.append(fail("size", text, remedy))
    for member in members:
        found += _check_member(member)
    found += _check_names([member.filename for member in members])
    if not any(finding.level == "error" for finding in found):
        text = say(
            "{files} files under {model}/, {size:,} bytes, unpacked {unpacked:,} bytes",
            files=sum(not member.is_dir() for member in members), model=MODEL, size=size, unpacked=unpacked,
        )  # fmt: skip
        found.append(ok("zip", text))
    return found


def _check_member(member: zipfile.ZipInfo) -> Iterator[Finding]:
    name = member.filename
    # zipfile turns backslashes into slashes on Windows only; the raw name says what the maker wrote.
    raw = member.orig_filename
    path = PurePosixPath(name)
    escapes = path.is_absolute() or ".." in path.parts or "\\" in raw or ":" in name or "\0" in raw
    if escapes or not path.parts:
        text = say("{raw!r} leads outside the folder it is unpacked into.", raw=raw[:120])
        yield fail("names", text, say("Pack with paths like model/config.json. Do not unpack this file."))
        return
    if any(ord(character) < 32 for character in name) or path.stem.lower() in _DEVICE_NAMES:
        yield fail("names", say("{name!r} is no portable file name.", name=name[:120]), say("Rename it."))
    mode = member.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        kind = say("a symbolic link") if stat.S_ISLNK(mode) else say("a special file")
        text = say("{name} is {kind}.", name=name, kind=kind)
        yield fail("links", text, say("Pack the file itself: `exaone-nb pack` follows links."))
    if member.flag_bits & 0x1:
        yield fail("zip", say("{name} is encrypted.", name=name), say("Pack without a password."))
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        text = say("{m.filename}: not every server reads compression method {m.compress_type}.", m=member)
        yield fail("zip", text, say("Use stored or deflated entries."))
    if member.file_size > _BOMB_SIZE and member.file_size > _BOMB_RATIO * max(1, member.compress_size):
        text = say("{m.compress_size:,} bytes of {m.filename} unpack to {m.file_size:,}.", m=member)
        yield fail("size", text, say("Do not unpack it: it is a bomb, or weights of zeros."))
    elif path.suffix.lower() in (".zip", ".tar", ".gz", ".7z", ".rar"):
        text = say("{name} is an archive inside the archive.", name=name)
        yield warn("names", text, say("Pack the files themselves."))


def _check_names(names: list[str]) -> Iterator[Finding]:
    tops = {PurePosixPath(name).parts[0] for name in names if PurePosixPath(name).parts}
    if MODEL not in tops:
        inner = sorted(str(PurePosixPath(n).parent) for n in names if PurePosixPath(n).name == "config.json")
        where = say(" config.json is in {folder!r}.", folder=inner[0]) if inner else ""
        text = say("There is no top-level folder {model}/.{where}", model=MODEL, where=where)
        remedy = say("The zip must hold {model}/config.json: `exaone-nb pack FOLDER`.", model=MODEL)
        yield fail("structure", text, remedy)
    if others := sorted(tops - {MODEL}):
        text = say("Beside {model}/ there is {names}.", model=MODEL, names=", ".join(others[:5]))
        remedy = say("Only {model}/ may be there; the server adds script and requirements.", model=MODEL)
        yield fail("structure", text, remedy)
    remedy = say("Keep one; which one is read is anyone's guess.")
    for name in (name for name, count in Counter(names).items() if count > 1):
        yield fail("names", say("{name} is there twice.", name=name), remedy)
    for name in (name for name, count in Counter(map(str.lower, set(names))).items() if count > 1):
        yield fail("names", say("{name} is there twice if case is ignored.", name=name), remedy)


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Unpack a zip that passed `check_archive` into a temporary folder and yield its `model` folder.

    No entry gets longer than the directory says: zipfile stops there, and the checksum is then wrong. Raises
    WorkbookError for a damaged entry, and when space is short.
    """
    with zipfile.ZipFile(path) as archive, TemporaryDirectory(prefix="exaone-nb-check-") as temporary:
        members = archive.infolist()
        require_free_space(
            Path(temporary), sum(m.file_size for m in members), say("unpacking {name}", name=path.name)
        )
        for member in members:
            try:
                archive.extract(member, temporary)
            except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
                text = say("{name} is damaged: {reason}", name=member.filename, reason=str(error))
                raise WorkbookError(text, remedy=AGAIN) from error
        yield Path(temporary, MODEL)
