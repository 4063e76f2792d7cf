"""What goes wrong between a client and an OpenAI-compatible server, said in a sentence with what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say


@contextmanager
def explained(address: str) -> Iterator[None]:
    """What the client of a server raises, in one sentence: no server, a wrong key, a web page instead of JSON."""
    import httpx
    import openai

    try:
        yield
    except openai.APIStatusError as error:
        raise _status(address, error) from error
    except (openai.OpenAIError, httpx.HTTPError, ValueError, AttributeError) as error:
        where = {"address": address}
        if isinstance(error, openai.APITimeoutError):
            got = say("{address} did not answer in time.", **where)
            remedy = say("Give it a longer timeout, or ask for fewer tokens.")
        elif isinstance(error, openai.APIConnectionError):
            got = say("{address} cannot be reached, or the server ended while it was answering.", **where)
            remedy = say("Start it, check the port, and look at its log.")
        else:
            where |= {"kind": type(error).__name__}
            got = say("{address} answered with something that is not OpenAI JSON ({kind}).", **where)
            remedy = say("Check the address: that of an OpenAI-compatible server usually ends in /v1.")
        raise WorkbookError(got, remedy=remedy) from error


def _status(address: str, error: Any) -> WorkbookError:
    code = error.status_code
    named, remedy = {"address": address, "code": code}, ""
    if code in (401, 403):
        got = say("{address} refused the key (HTTP {code}).", **named)
        remedy = say("Pass a key with the right to this model; our own server's is server.key.")
    elif code == 404:
        got = say("{address} knows no such path or model (HTTP {code}).", **named)
        remedy = say("Check that the address ends in /v1, and the model's name.")
    elif code == 429:
        got = say("{address} wants fewer requests (HTTP {code}).", **named)
        remedy = say("Wait, or raise retries=; the client then waits between tries.")
    elif code >= 500:
        got, remedy = say("{address} failed (HTTP {code}).", **named), say("Look at the server's log.")
    else:
        got = say("{address} refused the request (HTTP {code}).", **named)
    body = error.body if isinstance(error.body, dict) else {}
    if reason := str(body.get("message") or "")[:300]:
        got = say("{got} It says: {reason}", got=got, reason=reason)
    elif "<html" in str(getattr(error.response, "text", ""))[:500].lower():
        got = say("{got} It sent a web page.", got=got)
    return WorkbookError(got, remedy=remedy)
