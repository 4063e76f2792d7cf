"""Each way in which the hub gives nothing has its own sentence and remedy. The errors are the client's own."""

import errno

import httpx
import pytest
from huggingface_hub import errors as hub
from huggingface_hub.utils import hf_raise_for_status

from exaone_nb import catalog
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.hub import explain_hub_error

WHAT = "config.json of ORG/NAME"


def answered(status: int, code: str = "", message: str = "") -> Exception:
    """What the client raises when the hub answers with this status and these headers."""
    headers = {"X-Error-Code": code, "X-Error-Message": message} if code or message else {}
    request = httpx.Request("GET", "https://huggingface.co/api/models/ORG/NAME")
    with pytest.raises(Exception) as caught:
        hf_raise_for_status(httpx.Response(status, headers=headers, request=request))
    return caught.value


def after(cause: Exception) -> Exception:
    """As the client wraps a failed look-up when the cache has no copy either."""
    outer = hub.LocalEntryNotFoundError("not in the local cache. Please check your connection")
    outer.__cause__ = cause
    return outer


CASES = {
    "full disk": (OSError(errno.ENOSPC, "No space left on device"), "disk is full", "HF_HOME"),
    "full quota": (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk is full", "HF_HOME"),
    "full disk, in the Rust client": (
        hub.XetDownloadError("Data processing error: No space left on device (os error 28)"),
        "disk is full",
        "HF_HOME",
    ),
    "offline mode": (after(hub.OfflineModeIsEnabled("HF_HUB_OFFLINE=1")), "offline mode", "HF_HUB_OFFLINE"),
    "gated": (answered(403, "GatedRepo"), "licence", "Accept the licence"),
    "gated, no token": (answered(401, "GatedRepo"), "licence", "Accept the licence"),
    "unknown repository": (answered(404, "RepoNotFound"), "no such name", "spelling"),
    "unknown repository, no token": (answered(401), "no such name", "spelling"),
    "unknown revision": (answered(404, "RevisionNotFound"), "no such branch", "revision"),
    "unknown file": (answered(404, "EntryNotFound"), "not this file", "list of files"),
    "bad token": (answered(401, message="Invalid credentials in Authorization header"), "token", "HF_TOKEN"),
    "no token there": (hub.LocalTokenNotFoundError("Token is required"), "token", "hf auth login"),
    "not a name": (hub.HFValidationError("Repo id must be in the form"), "cannot be a name", "ORG/NAME"),
    "no network": (
        after(httpx.ConnectError("[Errno -2] Name or service not known")),
        "cannot be reached",
        "proxy",
    ),
    "time-out": (after(httpx.ReadTimeout("timed out")), "cannot be reached", "proxy"),
    "hub down": (after(answered(503)), "answers 503", "try again later"),
    "asked too often": (answered(429), "answers 429", "try again later"),
}


@pytest.mark.parametrize("name", CASES)
def test_every_cause_is_named_with_its_own_remedy(name):
    error, said, remedy = CASES[name]
    explained = explain_hub_error(error, WHAT)
    assert WHAT in explained.got and said in explained.got
    assert remedy in explained.remedy + explained.expected
    others = {c[1] for c in CASES.values()} - {said}
    assert not [other for other in others if other in explained.got], "two causes in one sentence"


def test_a_wrong_name_is_a_wrong_call():
    for name in ("unknown repository", "unknown revision", "not a name"):
        assert isinstance(explain_hub_error(CASES[name][0], WHAT), UsageError)
    for name in ("full disk", "gated", "no network", "unknown file"):
        assert not isinstance(explain_hub_error(CASES[name][0], WHAT), UsageError)


def test_a_cause_that_was_hidden_is_no_cause():
    """`raise … from None` says that what happened before is not the reason."""
    try:
        try:
            raise TimeoutError("the lock of the cache")
        except TimeoutError:
            raise RuntimeError("checksum of shard 2 is wrong") from None
    except RuntimeError as error:
        assert "checksum of shard 2 is wrong" in explain_hub_error(error, WHAT).got


def test_anything_else_keeps_its_own_words():
    explained = explain_hub_error(RuntimeError("checksum of shard 2 is wrong"), WHAT)
    assert "RuntimeError" in explained.got and "checksum of shard 2 is wrong" in explained.got


@pytest.mark.parametrize(
    "fetch", [lambda: catalog.weights_folder("ORG/NAME"), lambda: catalog.resolve("ORG/NAME").config()]
)
def test_a_full_disk_while_fetching_is_called_that(monkeypatch, fetch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.snapshot_download", full)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", full)
    with pytest.raises(WorkbookError, match="disk is full") as caught:
        fetch()
    assert isinstance(caught.value.__cause__, OSError)
    assert "licence" not in str(caught.value) and "network" not in str(caught.value)
