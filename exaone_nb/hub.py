"""Why the hub gave nothing: one sentence per cause, with the remedy that fits this cause."""

from collections.abc import Iterator
from contextlib import contextmanager

from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.files import is_disk_full
from exaone_nb.messages import say


def explain_hub_error(error: BaseException, what: str) -> WorkbookError:
    """The error to raise `from error`. `what` names what was wanted: "config.json of ORG/NAME", "the data set ORG/NAME".

    The causes, in the order in which they are looked for through the whole chain of exceptions: full disk, offline mode,
    a licence not accepted, a bad token, an unknown revision, repository or file, a name that no hub has (these names are
    UsageErrors: the call is wrong), no network, a busy hub. Anything else is reported in its own words.
    """
    from httpx import TransportError
    from huggingface_hub import errors as hub

    chain = list(_chain(error))

    def found(*kinds: type[BaseException]) -> bool:
        return any(isinstance(each, kinds) for each in chain)

    answers = [each.response for each in chain if isinstance(each, hub.HfHubHTTPError)]
    statuses = {answer.status_code for answer in answers if answer is not None}
    if any(map(is_disk_full, chain)):
        return WorkbookError(
            say("{what} could not be stored: the disk is full.", what=what),
            remedy=say(
                "Free some space, or put the hub's cache on another disk: HF_HOME=/path/on/a/larger/disk."
            ),
        )
    if found(hub.OfflineModeIsEnabled):
        return WorkbookError(
            say("{what} is not on this disk, and the hub's client is in offline mode.", what=what),
            remedy=say("Unset HF_HUB_OFFLINE, or take MODEL=nano or a local folder."),
        )
    if found(hub.GatedRepoError):
        return WorkbookError(
            say("{what} is held back until its licence is accepted.", what=what),
            remedy=say("Accept the licence on the model's page, then log in with `hf auth login`."),
        )
    if found(hub.LocalTokenNotFoundError) or (401 in statuses and not found(hub.RepositoryNotFoundError)):
        return WorkbookError(
            say("{what}: the hub does not accept this token.", what=what),
            remedy=say("Log in again with `hf auth login`, or unset HF_TOKEN: public models need no token."),
        )
    if found(hub.RevisionNotFoundError):
        return UsageError(
            say("{what}: the hub has no such branch, tag or commit.", what=what),
            remedy=say("Check the revision."),
        )
    if found(hub.RepositoryNotFoundError):
        return UsageError(
            say("{what}: the hub knows no such name, or it is private.", what=what),
            remedy=say("Check the spelling (ORG/NAME); for a private one log in with `hf auth login`."),
        )
    if found(hub.RemoteEntryNotFoundError):
        return WorkbookError(
            say("{what}: the hub has the repository, but not this file.", what=what),
            remedy=say("Look at the repository's list of files on its page."),
        )
    if found(hub.HFValidationError):
        return UsageError(
            say("{what}: this cannot be a name on the hub.", what=what), expected=say("ORG/NAME.")
        )
    if found(TransportError, ConnectionError, TimeoutError):
        return WorkbookError(
            say("{what} could not be fetched: the hub cannot be reached.", what=what),
            remedy=say(
                "Check the network and the proxy. Without a network, take MODEL=nano or a local folder."
            ),
        )
    if busy := [status for status in statuses if status == 429 or status >= 500]:
        return WorkbookError(
            say("{what} could not be fetched: the hub answers {status}.", what=what, status=busy[0]),
            remedy=say("The fault is on the hub's side, or it was asked too often: try again later."),
        )
    own = {"kind": type(error).__name__, "words": str(error).strip()}
    return WorkbookError(say("{what} could not be fetched: {kind}: {words}", what=what, **own))


@contextmanager
def hub_errors(what: str) -> Iterator[None]:
    """Calls to the hub's client, whose many kinds of error come out as `explain_hub_error` tells them apart."""
    try:
        yield
    except WorkbookError:
        raise
    except Exception as error:
        raise explain_hub_error(error, what) from error


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it. The hub's client wraps a refused connection in "not in the local cache"."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
