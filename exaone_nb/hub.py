"""Why the hub gave nothing: one sentence per cause, with the remedy that fits this cause (data/hub_failures.yaml)."""

from collections.abc import Iterator
from contextlib import contextmanager

from exaone_nb.errors import UsageError, WorkbookError, causes
from exaone_nb.files import is_disk_full
from exaone_nb.messages import say, visible
from exaone_nb.paths import DATA
from exaone_nb.written import read_yaml


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
            got = known["got"].format(what=visible(what), status=(answered or [""])[0])
            kind = UsageError if known.get("usage") else WorkbookError
            return kind(got, expected=known.get("expected", ""), remedy=known.get("remedy", ""))
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
