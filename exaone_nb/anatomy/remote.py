"""Where the bytes of a checkpoint come from elsewhere: http(s) with Range requests, and the hub.

Only the asked-for bytes travel. Failed connections, 429 and 5xx are tried again; everything else is an error with
what to do. The user's token goes to the hub's endpoint (HF_ENDPOINT) and nowhere else.
"""

from __future__ import annotations

import re
import threading
import time
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from exaone_nb.anatomy.sources import SINGLE
from exaone_nb.errors import WorkbookError

ATTEMPTS = 3
PAUSE_SECONDS = 0.5
LARGEST_TEXT = 64 << 20  # an index of a million tensors is about this long
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class Web:
    """A folder behind an http(s) address, or one file. Safe to use from several threads."""

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

    def start(self, name: str, count: int) -> tuple[bytes, int]:
        content, size = self._range(name, 0, count)
        return content, size

    def part(self, name: str, begin: int, end: int) -> bytes:
        return self._range(name, begin, end)[0]

    def text(self, name: str) -> bytes | None:
        return self._tried(name, lambda: self._whole(name))

    def weight_files(self) -> list[str]:
        return [self.only or SINGLE]

    def _tried(self, name: str, action: Any) -> Any:
        """Run `action`, again after a pause when the network or the server fails for the moment."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return action()
            except (httpx.TransportError, _TryAgain) as error:
                if attempt == ATTEMPTS:
                    raise WorkbookError(
                        f"{name} could not be read after {ATTEMPTS} tries: {str(error) or type(error).__name__}.",
                        expected="an answer from the server.",
                        remedy="Check the network and the address, then try again.",
                    ) from error
                time.sleep(PAUSE_SECONDS * 2 ** (attempt - 1))
        raise AssertionError("unreachable")

    def _range(self, name: str, begin: int, end: int) -> tuple[bytes, int]:
        return self._tried(name, lambda: self._range_once(name, begin, end))

    def _range_once(self, name: str, begin: int, end: int) -> tuple[bytes, int]:
        with self._client.stream(
            "GET", self.address(name), headers={"Range": f"bytes={begin}-{end - 1}"}
        ) as answer:
            self._tally(0)
            if answer.status_code == 416:
                raise WorkbookError(
                    f"{name} is empty or shorter than {begin:,} bytes.", remedy="Check the address."
                )
            self._check_status(answer, name)
            if answer.status_code != 206:
                # The body would be the whole file: leave it unread.
                if "text/html" in answer.headers.get("content-type", ""):
                    raise _web_page(name)
                raise WorkbookError(
                    f"The server of {name} ignores Range requests (it answered {answer.status_code}).",
                    expected="206 Partial Content, so that only the header is fetched.",
                    remedy="Download the file and name the local copy.",
                )
            found = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
            if not found or int(found[1]) != begin or int(found[2]) >= end:
                raise WorkbookError(
                    f"The server of {name} answered with the range {answer.headers.get('content-range')!r}.",
                    expected=f"bytes {begin}-{end - 1} with the file's size.",
                )
            content = b"".join(self._limited(answer, end - begin, name))
        wanted = int(found[2]) - begin + 1
        if len(content) != wanted:
            raise _TryAgain(f"the connection ended after {len(content):,} of {wanted:,} bytes")
        return content, int(found[3])

    def _whole(self, name: str) -> bytes | None:
        with self._client.stream("GET", self.address(name), headers={"Accept-Encoding": "gzip"}) as answer:
            self._tally(0)
            if answer.status_code == 404:
                return None
            self._check_status(answer, name)
            if "text/html" in answer.headers.get("content-type", ""):
                raise _web_page(name)
            return b"".join(self._limited(answer, LARGEST_TEXT, name))

    def _limited(self, answer: httpx.Response, most: int, name: str) -> Any:
        """The body in pieces; refused as soon as it grows past `most`."""
        so_far = 0
        try:
            for piece in answer.iter_bytes():
                so_far += len(piece)
                if so_far > most:
                    raise WorkbookError(f"The server sent more than {most:,} bytes for {name}.")
                yield piece
        finally:
            self._tally(answer.num_bytes_downloaded, request=False)

    def _tally(self, received: int, request: bool = True) -> None:
        with self._count:
            self.requests += request
            self.wire_bytes += received

    def _check_status(self, answer: httpx.Response, name: str) -> None:
        code = answer.status_code
        if code < 300:
            return
        if code == 429 or code >= 500:
            raise _TryAgain(f"the server answered {code}")
        if code in (401, 403):
            raise WorkbookError(
                f"The server refuses {name} ({code}).",
                expected="access to the file.",
                remedy="A gated or private model: accept its licence on its page, then `hf auth login`.",
            )
        raise WorkbookError(
            f"The server has no {name} ({code}).",
            expected="a model folder or a .safetensors file.",
            remedy="Check the address, the model's name and the revision.",
        )


class _TryAgain(Exception):
    """A failure that may pass."""


def _web_page(name: str) -> WorkbookError:
    return WorkbookError(
        f"{name} is a web page, not a file of weights.",
        expected="a file.",
        remedy="The server sent an error or a login page: open the address in a browser, check the name and access.",
    )


def web(address: str) -> Web:
    """A Web for the address of a folder, of a single .safetensors file, or of an index."""
    parts = urlsplit(address)
    folder, _, last = parts.path.rstrip("/").rpartition("/")
    if parts.query or parts.fragment:
        raise WorkbookError(
            f"The address ends in {'?' + parts.query if parts.query else '#' + parts.fragment}.",
            expected="a plain address of a folder or a file.",
        )
    root = f"{parts.scheme}://{parts.netloc}"
    if last.endswith(".safetensors"):
        return Web(root + folder, only=last)
    return Web(root + (folder if last.endswith(".json") else parts.path))


def hub(hub_id: str, revision: str | None = None) -> Web:
    """A Web for a hub model, with the user's endpoint and token."""
    from huggingface_hub import get_token, hf_hub_url
    from huggingface_hub.errors import HFValidationError

    try:
        sample = hf_hub_url(hub_id, "x", revision=revision)
    except HFValidationError as error:
        raise WorkbookError(f"{hub_id!r} is not a hub id.", expected="ORG/NAME.") from error
    token = get_token()
    return Web(sample.removesuffix("/x"), headers={"Authorization": f"Bearer {token}"} if token else None)
