"""Files from the network, resumed, checked and unpacked; in their place complete or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TypeVar

import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

import masksr
from masksr.errors import MasksrError
from masksr.fetch.registry import File
from masksr.files import check_space, file_digest
from masksr.locks import alone

TIMEOUT = (10.0, 30.0)  # seconds until the connection is made; until the next bytes
RETRIES = Retry(
    4, backoff_factor=1.0, status_forcelist=(429, 500, 502, 503, 504), respect_retry_after_header=False
)
RECORD = "fetched.json"  # in an unpacked folder: the sha256 of every file in it
T = TypeVar("T")


def offline() -> bool:
    """Whether MASKSR_OFFLINE forbids the network."""
    return os.environ.get("MASKSR_OFFLINE", "") not in ("", "0")


def answers(url: str, seconds: float) -> bool:
    """Whether a server answers for ``url`` within ``seconds``; never raises, never takes longer."""
    found: list[bool] = []

    def ask() -> None:
        with suppress(requests.RequestException), requests.get(url, stream=True, timeout=seconds) as response:
            found.append(response.ok)

    if not offline():
        thread = threading.Thread(target=ask, daemon=True)  # because a slow name resolution has no timeout
        thread.start()
        thread.join(seconds)
    return found == [True]


def first_that_works(ways: Sequence[T], get: Callable[[T], Path], problem: str, remedy: str = "") -> Path:
    """Return what ``get`` makes of the first way that works. Raises MasksrError that says why none did."""
    problems = []
    for way in ways:
        try:
            return get(way)
        except MasksrError as error:
            problems.append(str(error))
    raise MasksrError(f"{problem}: {'; or: '.join(problems)}{remedy}")


def download(file: File, folder: Path) -> Path:
    """Download ``file`` to ``folder``, or check the one that is there; returns its path.

    A second process that wants the same file waits. What an interrupted download has left is continued.
    Raises MasksrError, with what failed at each mirror and what to do, also for another file of that name.
    """
    path = folder / file.name
    by_hand = f"get it elsewhere and put it into {folder} as {file.name}"
    with alone(folder / f".{file.name}.lock", f"the download of {file.name}"):
        if path.is_file():
            verify(file, path)
            return path
        if offline():
            why = f"{file.name} is not in {folder}, and MASKSR_OFFLINE is set"
            raise MasksrError(f"{why}: unset it, or {by_hand} ({file.urls[0]})")
        problem, remedy = f"{file.name} could not be downloaded", f". Try again later, or {by_hand}"
        return first_that_works(file.urls, lambda url: _from_mirror(url, file, path), problem, remedy)


def verify(file: File, path: Path) -> None:
    """Raises MasksrError where ``path`` has another size or checksum than ``file``, if these are known."""
    if fault := _fault(file, path):
        raise MasksrError(f"{path}: {fault}. If you remove the file, it is downloaded again")


def _fault(file: File, path: Path) -> str | None:
    """In words, what shows that ``path`` is not ``file``."""
    size = path.stat().st_size
    if file.bytes and size != file.bytes:
        return f"it has {size} bytes, expected are {file.bytes}"
    for kind, expected in (("sha256", file.sha256), ("md5", file.md5)):
        if expected:
            with path.open("rb") as content:
                digest = hashlib.file_digest(content, kind).hexdigest()
            if not digest.startswith(expected):
                return f"its {kind} is {digest}, expected is {expected}"
    return None


def _from_mirror(url: str, file: File, path: Path) -> Path:
    """Download ``path`` from one address, with as many requests as get further. Raises MasksrError."""
    partial = path.with_name(f".{path.name}.partial")
    if not (file.sha256 or file.md5):
        partial.unlink(missing_ok=True)  # nothing would tell whether two parts belong together
    joined = _size(partial) > 0  # perhaps of two different files
    while True:
        begin = _size(partial)
        try:
            _receive(url, file, partial)
        except (requests.RequestException, HTTPError) as error:
            if _size(partial) > begin:
                continue
            raise MasksrError(f"{url}: {_reason(error)}") from None
        except OSError as error:
            raise MasksrError(f"{path} cannot be written ({error.strerror or error}); make room") from None
        fault = _fault(file, partial)
        if not fault:
            os.replace(partial, path)
            return path
        partial.unlink()
        if not joined:
            raise MasksrError(f"{url}: {fault}")
        joined = False  # once more, from the beginning


def _receive(url: str, file: File, partial: Path) -> None:
    """Append to ``partial`` what is missing of it. Raises RequestException, HTTPError of urllib3, OSError."""
    begin = _size(partial)
    # Lengths and ranges count the bytes of the file, not those of a compressed form of it.
    headers = {"User-Agent": f"masksr/{masksr.__version__}", "Accept-Encoding": "identity"}
    if begin:
        headers["Range"] = f"bytes={begin}-"
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=RETRIES))
        response = session.get(url, headers=headers, stream=True, timeout=TIMEOUT)
        if response.status_code == 416 and begin:
            return  # nothing is missing, or this is a part of another file: the checksum will tell
        response.raise_for_status()
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise requests.RequestException("a web page came in place of the file; open it in a browser")
        begin = begin if response.status_code == 206 else 0
        missing = int(response.headers.get("Content-Length", 0))
        check_space(partial.parent, missing, f"what is missing of {file.name}")
        total = begin + missing if missing else None
        bar = tqdm(desc=file.name, initial=begin, total=total, unit="B", unit_scale=True, disable=None)
        with bar, partial.open("ab" if begin else "wb") as out:
            # Not decoded: some servers call the gzip of a .tar.gz an encoding.
            for block in response.raw.stream(1 << 16, decode_content=False):
                bar.update(out.write(block))
        if missing and _size(partial) < begin + missing:  # urllib3 notices from version 2
            raise requests.ConnectionError("the connection broke off")


def _reason(error: Exception) -> str:
    """In a few words; urllib3 wraps the cause several times, and each adds the address."""
    cause = error.args[0] if error.args else error
    cause = getattr(cause, "reason", None) or cause
    return str(cause).rpartition("): ")[2].partition(" for url: ")[0]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def unpack(archives: Sequence[Path], folder: Path, wanted: Callable[[str], bool]) -> None:
    """Make ``folder`` of those files in some archives (zip, tar, tar.gz) whose path is ``wanted``.

    Raises MasksrError where an archive is damaged or the disk too small. The caller has a lock on ``folder``.
    """
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)  # what a killed process has left
    try:
        unfinished.mkdir(parents=True)
        for archive in archives:
            _extract(archive, unfinished, wanted)
        files = sorted(path for path in unfinished.rglob("*") if path.is_file())
        record = {path.relative_to(unfinished).as_posix(): file_digest(path) for path in files}
        (unfinished / RECORD).write_text(json.dumps({"files": record}, indent=1))
        os.rename(unfinished, folder)
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        names = ", ".join(map(str, archives))
        remedy = "make room, or remove what is damaged, and try again"
        raise MasksrError(f"{names} cannot be unpacked ({error}); {remedy}") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _extract(archive: Path, folder: Path, wanted: Callable[[str], bool]) -> None:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(folder, filter(wanted, zipped.namelist()))
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tarred:
            # No links and no paths out of the folder; Python has this filter from 3.11.4.
            tarred.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
            members = [member for member in tarred if wanted(str(PurePosixPath(member.name)))]
            tarred.extractall(folder, members)
    else:
        raise tarfile.ReadError("it is neither a zip nor a tar")


def verify_folder(folder: Path, name: str) -> str:
    """Compare the files of an unpacked folder with their checksums; returns a summary. Raises MasksrError."""
    if not (folder / RECORD).is_file():
        return f"{folder}: was not fetched by masksr, so nothing is known of its files"
    record = json.loads((folder / RECORD).read_text())["files"]
    for path, sha256 in record.items():
        if not (folder / path).is_file() or file_digest(folder / path) != sha256:
            remedy = f"remove {folder}, then: python -m masksr fetch {name}"
            raise MasksrError(f"{folder / path}: is missing or no longer what was fetched; {remedy}")
    return f"{folder}: {len(record)} files as fetched"
