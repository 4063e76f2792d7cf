"""Whether the hub can be asked, and why it gave nothing: one sentence per cause (data/hub_failures.yaml)."""

from collections.abc import Iterator
from contextlib import contextmanager

from exaone_nb.errors import UsageError, WorkbookError, causes
from exaone_nb.files import is_disk_full
from exaone_nb.messages import say, translated, visible
from exaone_nb.paths import DATA
from exaone_nb.written import read_yaml

PATIENCE_SECONDS = 5
# What proxies answer that let nobody through.
BLOCKED = (403, 407)


def explain_hub_error(error: BaseException, what: str) -> WorkbookError:
    """The error to raise `from error`. `what` names what was wanted: "config.json of ORG/NAME", "the data set ORG/NAME".

    A name that no hub has is a UsageError: the call is wrong. What no entry fits is reported in its own words.
    """
    chain = list(causes(error))  # a refused connection comes wrapped in "not in the local cache"
    classes = {kind.__name__ for each in chain for kind in type(each).__mro__}
    if any(map(is_disk_full, chain)):
        classes.add("full disk")
    statuses = [getattr(getattr(each, "response", None), "status_code", 0) for each in chain]
    for known in read_yaml(DATA / "hub_failures.yaml"):
        least, most = known.get("statuses", (1, 0))
        answered = [status for status in statuses if least <= status <= most]
        if answered or classes.intersection(known.get("classes", ())):
            got = translated(known["got"]).format(what=visible(what), status=(answered or [""])[0])
            kind = UsageError if known.get("usage") else WorkbookError
            return kind(
                got,
                expected=translated(known.get("expected", "")),
                remedy=translated(known.get("remedy", "")),
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


def unreachable() -> str:
    """Why the hub cannot be asked now, in words; empty when it answers. One short request: its client tries for long."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.is_offline_mode():
        return say("HF_HUB_OFFLINE is set")
    words = ""
    try:
        status = get_session().head(constants.ENDPOINT, timeout=PATIENCE_SECONDS).status_code
        if status in BLOCKED or status >= 500:
            words = say("it answers {status}", status=status)
    except Exception as error:  # no network, a proxy in between, a name that is not known: many kinds
        words = str(error).strip()
    return words and say("{address} cannot be reached ({words})", address=constants.ENDPOINT, words=words)


def licence_of(name: str) -> str:
    """The licence of a data set ORG/NAME as its page on the hub tags it, such as "cc-by-sa-3.0"; empty without a tag.

    Raises WorkbookError when the hub does not answer.
    """
    from huggingface_hub import dataset_info

    with hub_errors(say("The page of the data set {name}", name=name)):
        tags = dataset_info(name, timeout=PATIENCE_SECONDS).tags or ()
    return ", ".join(tag.removeprefix("license:") for tag in tags if tag.startswith("license:"))
