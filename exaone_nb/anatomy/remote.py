"""Where the bytes of a checkpoint come from elsewhere: http(s) with Range requests, and the hub.

Only the asked-for bytes travel. Failed connections, 429 and 5xx are tried again; everything else is an error with
what to do. The user's token goes to the hub's endpoint (HF_ENDPOINT) and nowhere else.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from exaone_nb.anatomy.header import WEB_PAGE, not_weights
from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say

ATTEMPTS = 3
PAUSE_SECONDS = 0.5
LARGEST_TEXT = 64 << 20  # an index of a million tensors is about this long
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class Web:
    """A folder behind an http(s) address, or one file (`only`). Safe to use from several threads."""

    def __init__(self, base: str, only: str = "", headers: dict[str, str] | None = None) -> None:
        self.base, self.only = base.rstrip("/"), only
        self.requests = 0
        self.wire_bytes = 0
        self._count = threading.Lock()
        self._client = httpx.Client(
            follow_redirects=True,
            timeout=httpx.Timeout(30, connect=10),
            headers={"Accept-Encoding": "identity", **(headers or {})},
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def address(self, name: str) -> str:
        """The address of one file."""
        return f"{self.base}/{quote(name)}"

    def safetensors(self) -> list[str]:
        """Nothing: an address does not list what is there."""
        return []

    def weight_files(self) -> list[str]:
        """A folder without an index holds one file."""
        return ["model.safetensors"]

    def start(self, name: str, number: int) -> tuple[bytes, int]:
        """The first `number` bytes of a file (fewer if it is shorter) and its size in bytes."""
        return self._tried(self._range, name, 0, number)

    def part(self, name: str, begin: int, end: int) -> bytes:
        """Bytes [begin, end) of a file."""
        return self._tried(self._range, name, begin, end)[0]

    def text(self, name: str) -> bytes | None:
        """A whole small file (index, config), or None when it is not there."""
        return self._tried(self._whole, name)

    def _tried(self, read: Callable[..., Any], name: str, *where: int) -> Any:
        """What `read` gives; asked again after a pause when the network or the server fails for the moment."""
        for attempt in count(1):
            try:
                return read(name, *where)
            except (httpx.TransportError, _TryAgain) as error:
                if attempt == ATTEMPTS:
                    got = say(
                        "{name} could not be read after {tries} tries: {reason}.",
                        name=name,
                        tries=ATTEMPTS,
                        reason=str(error) or type(error).__name__,
                    )
                    raise WorkbookError(
                        got, remedy="Check the network and the address, then try again."
                    ) from error
                time.sleep(PAUSE_SECONDS * 2 ** (attempt - 1))

    def _range(self, name: str, begin: int, end: int) -> tuple[bytes, int]:
        with self._answer(name, {"Range": f"bytes={begin}-{end - 1}"}) as answer:
            _check_status(answer, name)
            if answer.status_code != 206:
                # The body would be the whole file: leave it unread.
                got = say(
                    "The server of {name} ignores Range requests (it answered {code}).",
                    name=name,
                    code=answer.status_code,
                )
                raise WorkbookError(
                    got,
                    expected="206 Partial Content, so that only the header is fetched.",
                    remedy="Download the file and name the local copy.",
                )
            found = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
            if not found or int(found[1]) != begin or int(found[2]) >= end:
                got = say(
                    "The server of {name} answered with the range {range!r}.",
                    name=name,
                    range=answer.headers.get("content-range"),
                )
                raise WorkbookError(
                    got, expected=say("bytes {begin}-{last} with the file's size.", begin=begin, last=end - 1)
                )
            content = _body(answer, end - begin, name)
        wanted = int(found[2]) - begin + 1
        if len(content) != wanted:
            raise _TryAgain(
                say(
                    "the connection ended after {count:,} of {wanted:,} bytes",
                    count=len(content),
                    wanted=wanted,
                )
            )
        return content, int(found[3])

    def _whole(self, name: str) -> bytes | None:
        with self._answer(name, {"Accept-Encoding": "gzip"}) as answer:
            if answer.status_code == 404:
                return None
            _check_status(answer, name)
            return _body(answer, LARGEST_TEXT, name)

    @contextmanager
    def _answer(self, name: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
        """The answer to one request, which is counted, and afterwards the bytes that were read of it."""
        with self._client.stream("GET", self.address(name), headers=headers) as answer:
            try:
                yield answer
            finally:
                with self._count:
                    self.requests += 1
                    self.wire_bytes += answer.num_bytes_downloaded


def _check_status(answer: httpx.Response, name: str) -> None:
    code = answer.status_code
    if code == 429 or code >= 500:
        raise _TryAgain(say("the server answered {code}", code=code))
    if code in (401, 403):
        got = say("The server refuses {name} ({code}).", name=name, code=code)
        raise WorkbookError(
            got, remedy="A gated or private model: accept its licence on its page, then `hf auth login`."
        )
    if code == 416:
        raise WorkbookError(
            say("{name} is empty or shorter than its header says.", name=name), remedy="Check the address."
        )
    if code >= 300:
        raise WorkbookError(
            say("The server has no {name} ({code}).", name=name, code=code),
            expected="a model folder, or a .safetensors or .gguf file.",
            remedy="Check the address, the model's name and the revision.",
        )
    if code != 206 and "text/html" in answer.headers.get("content-type", ""):
        raise not_weights(name, WEB_PAGE)


def _body(answer: httpx.Response, most: int, name: str) -> bytes:
    """The whole body; refused as soon as it grows past `most` bytes."""
    content = bytearray()
    for piece in answer.iter_bytes():
        content += piece
        if len(content) > most:
            got = say("The server sent more than {most:,} bytes for {name}.", most=most, name=name)
            raise WorkbookError(got)
    return bytes(content)


class _TryAgain(Exception):
    """A failure that may pass."""


def web(address: str) -> Web:
    """A Web for the address of a folder, of a single .safetensors or .gguf file, or of an index."""
    parts = urlsplit(address)
    folder, _, last = parts.path.rstrip("/").rpartition("/")
    if parts.query or parts.fragment:
        raise WorkbookError(
            say("The address ends in {end}.", end="?" + parts.query if parts.query else "#" + parts.fragment),
            expected="a plain address of a folder or a file.",
        )
    root = f"{parts.scheme}://{parts.netloc}"
    if last.lower().endswith((".safetensors", ".gguf")):
        return Web(root + folder, only=last)
    return Web(root + (folder if last.endswith(".json") else parts.path))


def hub(hub_id: str, revision: str | None = None) -> Web:
    """A Web for a hub model, with the user's endpoint and token."""
    from huggingface_hub import get_token, hf_hub_url
    from huggingface_hub.errors import HFValidationError

    try:
        sample = hf_hub_url(hub_id, "x", revision=revision)
    except HFValidationError as error:
        got = say("{hub_id!r} is not a hub id.", hub_id=hub_id)
        raise WorkbookError(got, expected="ORG/NAME.") from error
    token = get_token()
    return Web(sample.removesuffix("/x"), headers={"Authorization": f"Bearer {token}"} if token else None)
