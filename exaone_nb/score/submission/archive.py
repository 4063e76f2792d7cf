"""Opening a zip that somebody else made, without trusting it.

A zip can name files outside its folder, hold links, the same name twice, or unpack to far more than it says. Names
and sizes are judged from the directory of the zip first; what is then unpacked goes through a counter, so that a
directory that lies does not fill the disk.
"""

from __future__ import annotations

import stat
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from exaone_nb.errors import WorkbookError
from exaone_nb.files import require_free_space
from exaone_nb.findings import Finding
from exaone_nb.judging import rules
from exaone_nb.messages import say
from exaone_nb.score.submission.findings import fail, ok, warn

MODEL = "model"
_CHUNK = 1 << 20
_MOST_ENTRIES = 10_000
# Weights hardly compress; a member that shrinks a thousandfold is made of repetition.
_BOMB_RATIO = 1000
_BOMB_SIZE = 100_000_000
_DEVICE_NAMES = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(1, 10))}


def check_archive(path: Path) -> list[Finding]:
    """Everything that can be said from the zip's directory alone. Nothing is unpacked."""
    limits = rules()
    size = path.stat().st_size
    found: list[Finding] = []
    if size > limits["zip_bytes"].value:
        found.append(
            fail(
                "size",
                say("The zip has {size:,} bytes; the limit is 10 GB.", size=size),
                say("Choose a scheme with fewer bits."),
            )
        )
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, zipfile.LargeZipFile, OSError, ValueError, NotImplementedError) as error:
        return [
            *found,
            fail(
                "zip",
                say("{name} cannot be opened as a zip: {reason}.", name=path.name, reason=str(error)),
                say("Make it again with `exaone-nb pack`."),
            ),
        ]
    if len(members) > _MOST_ENTRIES:
        return [
            *found,
            fail(
                "zip",
                say("{count:,} entries.", count=len(members)),
                say("A model has a few files; pack only the model folder."),
            ),
        ]
    unpacked = sum(member.file_size for member in members)
    if unpacked > limits["unzipped_bytes"].value:
        found.append(
            fail(
                "size",
                say("It unpacks to {unpacked:,} bytes; the limit is 32 GB.", unpacked=unpacked),
                say("Remove what is not the model, or distrust the file: it may be a zip bomb."),
            )
        )
    for member in members:
        found += _check_member(member)
    found += _check_names([member.filename for member in members])
    if not any(finding.level == "error" for finding in found):
        files = sum(not member.is_dir() for member in members)
        found.append(
            ok(
                "zip",
                say(
                    "{files} files under {model}/, {size:,} bytes, unpacked {unpacked:,} bytes",
                    files=files,
                    model=MODEL,
                    size=size,
                    unpacked=unpacked,
                ),
            )
        )
    return found


def _check_member(member: zipfile.ZipInfo) -> Iterator[Finding]:
    name = member.filename
    # zipfile turns backslashes into slashes on Windows only; the raw name says what the maker wrote.
    raw = member.orig_filename
    path = PurePosixPath(name)
    if (
        path.is_absolute()
        or ".." in path.parts
        or "\\" in raw
        or ":" in name
        or "\0" in raw
        or not path.parts
    ):
        yield fail(
            "names",
            say("{raw!r} leads outside the folder it is unpacked into.", raw=raw[:120]),
            say("Pack with paths like model/config.json. Do not unpack this file."),
        )
        return
    if any(ord(character) < 32 for character in name) or path.stem.lower() in _DEVICE_NAMES:
        yield fail("names", say("{name!r} is no portable file name.", name=name[:120]), say("Rename it."))
    mode = member.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        kind = say("a symbolic link") if stat.S_ISLNK(mode) else say("a special file")
        yield fail(
            "links",
            say("{name} is {kind}.", name=name, kind=kind),
            say("Pack the file itself: `exaone-nb pack` follows links."),
        )
    if member.flag_bits & 0x1:
        yield fail("zip", say("{name} is encrypted.", name=name), say("Pack without a password."))
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        yield fail(
            "zip",
            say(
                "{m.filename} has compression method {m.compress_type}, which not every server reads.",
                m=member,
            ),
            say("Use stored or deflated entries."),
        )
    if member.file_size > _BOMB_SIZE and member.file_size > _BOMB_RATIO * max(1, member.compress_size):
        yield fail(
            "size",
            say(
                "{m.filename}: {m.compress_size:,} bytes unpack to {m.file_size:,}: a bomb, or weights of zeros.",
                m=member,
            ),
            say("Do not unpack it."),
        )
    elif path.suffix.lower() in (".zip", ".tar", ".gz", ".7z", ".rar"):
        yield warn(
            "names",
            say("{name} is an archive inside the archive.", name=name),
            say("Pack the files themselves."),
        )


def _check_names(names: list[str]) -> Iterator[Finding]:
    tops = {PurePosixPath(name).parts[0] for name in names if PurePosixPath(name).parts}
    if MODEL not in tops:
        inner = sorted(
            {str(PurePosixPath(n).parent) for n in names if PurePosixPath(n).name == "config.json"}
        )
        where = say(" config.json is in {folder!r}.", folder=inner[0]) if inner else ""
        yield fail(
            "structure",
            say("There is no top-level folder {model}/.{where}", model=MODEL, where=where),
            say("The zip must hold {model}/config.json; `exaone-nb pack FOLDER` makes it so.", model=MODEL),
        )
    others = sorted(tops - {MODEL})
    if others:
        yield fail(
            "structure",
            say("Beside {model}/ there is {names}.", model=MODEL, names=", ".join(others[:5])),
            say("Only {model}/ may be there; the server adds its own script and requirements.", model=MODEL),
        )
    for kind, counts in (
        (say("twice"), Counter(names)),
        (say("twice if case is ignored"), Counter(name.lower() for name in set(names))),
    ):
        twice = [name for name, count in counts.items() if count > 1]
        if twice:
            yield fail(
                "names",
                say("{name} is there {kind}.", name=twice[0], kind=kind),
                say("Keep one; which one is read is anyone's guess."),
            )


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Unpack a zip that passed `check_archive` into a temporary folder and yield its `model` folder.

    Raises WorkbookError when an entry holds more than the directory says, is damaged, or space is short.
    """
    with zipfile.ZipFile(path) as archive, TemporaryDirectory(prefix="exaone-nb-check-") as temporary:
        members = archive.infolist()
        root = Path(temporary)
        require_free_space(root, sum(member.file_size for member in members), f"unpacking {path.name}")
        for member in members:
            target = root / member.filename
            if not target.resolve().is_relative_to(root.resolve()):
                raise WorkbookError(
                    say("{name!r} leads outside the folder.", name=member.filename),
                    remedy=say("Do not unpack this file."),
                )
            if member.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            _unpack_one(archive, member, target)
        yield root / MODEL


def _unpack_one(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    written = 0
    try:
        with archive.open(member) as source, open(target, "wb") as sink:
            while chunk := source.read(_CHUNK):
                written += len(chunk)
                if written > member.file_size:
                    raise WorkbookError(
                        say(
                            "{name} holds more than the {size:,} bytes it announces.",
                            name=member.filename,
                            size=member.file_size,
                        ),
                        remedy=say("Do not unpack it: it may be a zip bomb."),
                    )
                sink.write(chunk)
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise WorkbookError(
            say("{name} is damaged: {reason}", name=member.filename, reason=str(error)),
            remedy=say("Make the zip again with `exaone-nb pack`."),
        ) from error
