"""An address on the web: its answer, or in words why there is none."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError, InvalidHeader, ProtocolError, ReadTimeoutError
from urllib3.util import Retry

import masksr

TIMEOUT = (10.0, 30.0)  # seconds until the connection stands; until the next byte
PATIENCE = 60.0  # seconds that a server may ask us to wait
REDIRECTS = 10
BLOCK = 1 << 16  # bytes
PASSING = (408, 425, 429)  # like 5xx, these may be gone in a moment
PAGES = ("text/html", "application/xhtml+xml")


class Failure(Exception):
    """Why an attempt failed, whether another one makes sense, and after how many seconds at the least."""

    def __init__(self, reason: str, *, again: bool = True, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.again, self.pause = again, pause


@contextlib.contextmanager
def open_url(url: str, headers: dict[str, str]) -> Iterator[requests.Response]:
    """The answer to GET, its body not yet read, after redirects; never from https to http. Raises Failure."""
    # Lengths and ranges count the bytes of the file, not those of a compressed form of it.
    headers = {"User-Agent": f"masksr/{masksr.__version__}", "Accept-Encoding": "identity"} | headers
    with requests.Session() as session:
        for _ in range(REDIRECTS + 1):
            try:
                response = session.get(url, headers=headers, stream=True, timeout=TIMEOUT, allow_redirects=False)
                target = session.get_redirect_target(response)
            except (requests.RequestException, HTTPError, ValueError) as error:
                # Neither a certificate nor an address that is none (requests' ValueErrors) gets better with time.
                final = isinstance(error, ValueError) or "CERTIFICATE_VERIFY_FAILED" in str(error)
                raise Failure(_reason(error), again=not final) from None
            if target is None:
                with response:
                    yield response
                return
            response.close()
            target = urljoin(url, target)
            if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
                raise Failure(f"it redirects from https to {target}, where anyone could change the file", again=False)
            url = target
    raise Failure(f"it redirects more than {REDIRECTS} times", again=False)


def body(response: requests.Response) -> Iterator[bytes]:
    """The body as it was sent: some servers call a .tar.gz an encoding, and decoding would give another file.

    Raises Failure, at once when it is a web page, later when it breaks off or stalls.
    """
    blocks = _blocks(response)
    first = next(blocks, b"")
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in PAGES or first.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        raise Failure(
            "a web page came in place of the file; see it in a browser (a login, a quota, a hotel's network?)",
            again=False,
        )
    return itertools.chain([first], blocks)


def _blocks(response: requests.Response) -> Iterator[bytes]:
    try:
        yield from response.raw.stream(BLOCK, decode_content=False)
    except (HTTPError, OSError) as error:
        raise Failure(_reason(error)) from None


def refusal(response: requests.Response) -> Failure:
    """What a status other than success means."""
    reason = f"{response.status_code} {response.reason}"
    if response.status_code not in PASSING and response.status_code < 500:
        return Failure(reason, again=False)
    try:
        pause = Retry().parse_retry_after(response.headers.get("Retry-After", "0"))
    except InvalidHeader:
        pause = 0.0
    if pause > PATIENCE:
        return Failure(f"{reason}, come back in {pause:.0f} s", again=False)
    return Failure(reason, pause=pause)


def _reason(error: Exception) -> str:
    """In a few words; urllib3 wraps the cause several times."""
    if isinstance(error, requests.Timeout | ReadTimeoutError | TimeoutError):
        return "the server is silent"
    if isinstance(error, ProtocolError | ConnectionError):
        return "the connection broke off"
    reason = str(getattr(error.args[0] if error.args else None, "reason", None) or error)
    return reason.rpartition(">: ")[2].rpartition("): ")[2]
