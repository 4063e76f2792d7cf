"""git-LFS pointers: the few lines that a clone holds in place of a large file when git-lfs did not fetch it.

    version https://git-lfs.github.com/spec/v1
    oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
    size 2558901880

Format: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say

LONGEST = 1024  # the format's own limit, in bytes
_START = re.compile(rb"\s*version https://(git-lfs|hawser)\b")
_SIZE = re.compile(rb"^size (\d+)\s*$", re.MULTILINE)
REMEDY = say("Run `git lfs pull` in that folder, or download the file from the hub.")


def pointer_words(name: str, content: bytes) -> str:
    """What `name` is when `content` (its start is enough) is a pointer, with the size it promises; "" when it is none."""
    if not _START.match(content):
        return ""
    if size := _SIZE.search(content[:LONGEST]):
        return say(
            "{name} is a git-LFS pointer to a file of {size:,} bytes, not the file itself.",
            name=name,
            size=int(size[1]),
        )
    return say("{name} is a git-LFS pointer, not the file itself.", name=name)


def pointers(folder: Path) -> Iterator[tuple[str, str]]:
    """(name, words) of every pointer in a folder."""
    for path in sorted(folder.iterdir()):
        small = path.is_file() and path.stat().st_size <= LONGEST
        if small and (words := pointer_words(path.name, path.read_bytes())):
            yield path.name, words


def refuse_pointers(folder: Path) -> None:
    """Raise WorkbookError for the first pointer in a model's folder."""
    for _, words in pointers(folder):
        raise WorkbookError(words, expected=say("the file itself."), remedy=REMEDY)


def refuse_pointer(name: str, content: bytes) -> None:
    """Raise WorkbookError when `content` is a pointer."""
    if words := pointer_words(name, content):
        raise WorkbookError(words, expected=say("the file itself."), remedy=REMEDY)
