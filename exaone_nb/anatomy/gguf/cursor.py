"""The bytes of a GGUF header, fetched as far as they are needed, and never more than the file and the longest header have."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from exaone_nb.anatomy.header import DOWNLOAD_AGAIN, LONGEST_HEADER
from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say

if TYPE_CHECKING:
    from exaone_nb.anatomy.reader import Folder
    from exaone_nb.anatomy.remote import Web

FIRST_READ = 256 << 10  # covers everything but the vocabulary
LARGEST_READ = 8 << 20
KEPT = 8  # items of a list that are kept to be shown


def broken(got: str) -> WorkbookError:
    """The error for a header that does not add up."""
    return WorkbookError(got, expected="the header of a GGUF file.", remedy=DOWNLOAD_AGAIN)


class Cursor:
    """The bytes of a header, fetched as they are asked for, each time twice as many."""

    def __init__(self, source: Folder | Web, name: str, first: bytes, file_bytes: int) -> None:
        self.source, self.name, self.file_bytes = source, name, file_bytes
        self.content = bytearray(first)
        self.position = 0
        self.longest = min(file_bytes, LONGEST_HEADER)

    def need(self, count: int, what: str) -> int:
        """Make sure that `count` bytes are here from the position on; the position. Raises WorkbookError if there are not."""
        end = self.position + count
        if end > self.longest:
            raise self._too_long(count, what)
        while end > len(self.content):
            begin = len(self.content)
            stop = min(self.longest, max(end, begin + min(begin, LARGEST_READ)))
            piece = self.source.part(self.name, begin, stop)
            if len(piece) != stop - begin:
                raise self._too_long(count, what)
            self.content += piece
        return self.position

    def _too_long(self, count: int, what: str) -> WorkbookError:
        fields = {"name": self.name, "what": what, "position": self.position}
        if self.position + count <= self.file_bytes:
            return broken(
                say(
                    "The header of {name} is longer than {most:,} bytes (at byte {position:,}: {what}).",
                    most=LONGEST_HEADER,
                    **fields,
                )
            )
        return broken(
            say(
                "{name} ends inside its header: {count:,} bytes wanted at byte {position:,} ({what}), "
                "the file has {total:,}.",
                count=count,
                total=self.file_bytes,
                **fields,
            )
        )

    def take(self, count: int, what: str) -> bytes:
        """The next `count` bytes."""
        begin = self.need(count, what)
        self.position += count
        return bytes(self.content[begin : begin + count])

    def number(self, letter: str, what: str) -> Any:
        """The next number, `letter` as in struct."""
        return struct.unpack(f"<{letter}", self.take(struct.calcsize(f"<{letter}"), what))[0]

    def text(self, what: str) -> str:
        """The next string."""
        length = self.number("Q", what)
        begin = self.need(length, what)
        self.position += length
        try:
            return self.content[begin : begin + length].decode("utf-8")
        except UnicodeDecodeError as error:
            raise broken(
                say(
                    "The header of {name} is not UTF-8 at byte {position:,} ({what}).",
                    name=self.name,
                    position=begin + error.start,
                    what=what,
                )
            ) from error

    def strings(self, count: int, what: str) -> tuple[str, ...]:
        """Walk over `count` strings and keep the first few."""
        kept = [self.text(what) for _ in range(min(count, KEPT))]
        for _ in range(count - len(kept)):
            self.text(what)
        return tuple(kept)
