"""One attempt to get a file: what is asked for, which answers are taken, and what of them is kept.

``.NAME.partial`` holds what has arrived so far and ``.NAME.partial.json`` what that is the beginning of. Resuming
follows RFC 9110, sections 13.1.5 (If-Range) and 14 (ranges).
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
from tqdm import tqdm

from masksr.documents import read_json
from masksr.errors import MasksrError
from masksr.fetch.registry import File
from masksr.fetch.web import Failure, body, open_url, refusal
from masksr.files import check_space, write_atomic


class Partial:
    """The beginning of a file, and a note of what it is the beginning of: url, validator, total."""

    def __init__(self, path: Path) -> None:
        self.data = path.with_name(f".{path.name}.partial")
        self.note = path.with_name(f".{path.name}.partial.json")

    def size(self) -> int:
        return self.data.stat().st_size if self.data.exists() else 0

    def origin(self) -> dict[str, Any]:
        try:
            note = read_json(self.note)
        except (FileNotFoundError, MasksrError):
            return {}
        kinds = {"url": str, "validator": str | None, "total": int | None}
        sound = isinstance(note, dict) and all(isinstance(note.get(key), kind) for key, kind in kinds.items())
        return note if sound else {}

    def discard(self) -> None:
        self.data.unlink(missing_ok=True)  # first: data beside another file's note would pass for a part of that
        self.note.unlink(missing_ok=True)


def transfer(url: str, file: File, partial: Partial, progress: bool) -> bool:
    """Complete ``partial`` from ``url``: it then has the right length, and its content is still to be verified.

    Returns whether its beginning is from an earlier attempt. Raises Failure, with what has arrived kept where it can be
    continued; MasksrError when the disk is too small; OSError when it refuses.
    """
    origin, checkable = partial.origin(), bool(file.sha256 or file.md5)
    same = origin.get("url") == url and origin.get("validator") is not None
    expected = origin.get("total")
    # Bytes of another mirror, or of who knows which version, are continued only if the whole can be verified.
    if not origin or not (same or checkable) or partial.size() > (expected or math.inf):
        partial.discard()
    begin = partial.size()
    if begin and begin == expected:
        return True  # the last process ended between the last byte and the verification
    headers = {"Range": f"bytes={begin}-"} if begin else {}
    if begin and same:
        headers["If-Range"] = origin["validator"]
    with open_url(url, headers) as response:
        validator = _validator(response)
        if begin and response.status_code in (206, 416):
            total = _total_of_range(response, begin)
            changed = same and validator not in (None, origin["validator"])
            if response.status_code == 416 or changed or total is None or total != (expected or total):
                partial.discard()
                raise Failure("the file there does not continue the part that is here")
        elif response.status_code == 200:
            begin, total = 0, _length(response, file, checkable)
        else:
            raise refusal(response)
        blocks = body(response)
        if file.bytes and total != file.bytes:
            raise Failure(f"it has {total} bytes there, expected are {file.bytes}", again=False)
        if not begin:
            partial.discard()
        check_space(partial.data.parent, (total or file.size or 0) - begin, f"what is missing of {file.name}")
        write_atomic(partial.note, json.dumps({"url": url, "validator": validator, "total": total}).encode())
        most = total or (2 * file.size if file.size else None)  # a body of unknown length might never end
        _receive(blocks, file.name, partial, total, most, progress)
    return begin > 0


def _receive(
    blocks: Iterator[bytes], name: str, partial: Partial, total: int | None, most: int | None, progress: bool
) -> None:
    size = partial.size()
    bar = tqdm(desc=name, initial=size, total=total, unit="B", unit_scale=True, leave=False, disable=not progress)
    with bar, partial.data.open("ab") as out:
        for block in blocks:
            size += out.write(block)
            bar.update(len(block))
            if size > (most or math.inf):
                out.truncate(0)
                raise Failure(f"more than the {most} bytes of the file came", again=False)
        out.flush()
        os.fsync(out.fileno())
    if size < (total or 1):
        raise Failure(f"it ended after {size} of {total or 'unknown'} bytes")


def _length(response: requests.Response, file: File, checkable: bool) -> int | None:
    """How long the body of a 200 will be, as far as anybody says."""
    length = response.headers.get("Content-Length", "")
    if re.fullmatch(r"[0-9]{1,15}", length):
        return int(length)
    if not (file.bytes or checkable or response.raw.chunked):  # only those tell the whole from its beginning
        raise Failure("neither the server nor the registry says how long the file is", again=False)
    return file.bytes


def _total_of_range(response: requests.Response, begin: int) -> int | None:
    """The length of the whole file that a 206 names, if it begins where it was asked to."""
    match = re.fullmatch(r"bytes ([0-9]{1,15})-[0-9]{1,15}/([0-9]{1,15})", response.headers.get("Content-Range", ""))
    return int(match[2]) if match and int(match[1]) == begin else None


def _validator(response: requests.Response) -> str | None:
    """What If-Range may name: a strong ETag, or the date of the last change."""
    etag = response.headers.get("ETag", "W/")
    return response.headers.get("Last-Modified") if etag.startswith("W/") else etag
