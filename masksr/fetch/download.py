"""Download files: resumed, checked, unpacked, and put in place complete or not at all."""

import hashlib
import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import requests
from tqdm import tqdm
from urllib3.exceptions import HTTPError

import masksr
from masksr.fetch.registry import File, FolderSet, Weights
from masksr.io import MasksrError, alone, notice

TIMEOUT = (5.0, 30.0)  # seconds to connect; between bytes


def offline() -> bool:
    """Return whether MASKSR_OFFLINE forbids the network."""
    return os.environ.get("MASKSR_OFFLINE", "") not in ("", "0")


def announce(spec: FolderSet | Weights) -> None:
    """Say what is being downloaded, and on what terms."""
    if not offline():
        terms = f"licence: {spec.licence}\n  cite: {spec.citation}"
        notice(f"{spec.name} is downloaded\n  {spec.title}\n  {terms}")


def first_that_works(ways: Sequence[Any], get: Callable[[Any], Path], problem: str, remedy: str = "") -> Path:
    """Return ``get(way)`` of the first way that works. Raises MasksrError that says why none did."""
    problems = []
    for way in ways:
        try:
            return get(way)
        except MasksrError as error:
            problems.append(str(error))
    raise MasksrError(f"{problem}: {'; or: '.join(problems)}{remedy}")


def download(file: File, folder: Path) -> Path:
    """Download ``file`` to ``folder``, or check the one that is there; returns its path.

    A second process that wants the same file waits. An interrupted download is resumed. Raises MasksrError,
    with what failed at each mirror and what to do; also where a different file has that name.
    """
    path = folder / file.name
    by_hand = f"get {file.urls[0]} elsewhere and put it into {folder} as {file.name}"
    with alone(folder / f".{file.name}.lock", f"the download of {file.name}"):
        if path.is_file():
            verify(file, path)
            return path
        if offline():
            raise MasksrError(f"{file.name} is not in {folder}: unset MASKSR_OFFLINE, or {by_hand}")
        problem, remedy = f"{file.name} could not be downloaded", f". Try again later, or {by_hand}"
        return first_that_works(file.urls, lambda url: _from_mirror(url, file, path), problem, remedy)


def verify(file: File, path: Path) -> None:
    """Raise MasksrError where ``path`` has another size or checksum than ``file``, if these are known."""
    if fault := _fault(file, path):
        raise MasksrError(f"{path}: {fault}. If you remove the file, it is downloaded again")


def _fault(file: File, path: Path) -> str | None:
    """Say what shows that ``path`` is not ``file``, if anything does."""
    size = path.stat().st_size
    if file.bytes and size != file.bytes:
        return f"it has {size} bytes, expected are {file.bytes}"
    if kind := "sha256" if file.sha256 else "md5" if file.md5 else "":
        expected = file.sha256 or file.md5
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, kind).hexdigest()
        if not digest.startswith(expected):
            return f"its {kind} is {digest}, expected is {expected}"
    return None


def _from_mirror(url: str, file: File, path: Path) -> Path:
    """Download ``path`` from one address, resuming while requests make progress. Raises MasksrError."""
    partial = path.with_name(f".{path.name}.partial")
    if not (file.sha256 or file.md5):
        partial.unlink(missing_ok=True)  # nothing could tell whether two parts belong together
    try:
        partial.touch()
        while True:
            begin = partial.stat().st_size
            try:
                _receive(url, partial, begin)
                break
            except (requests.RequestException, HTTPError) as error:
                if partial.stat().st_size == begin or not (file.sha256 or file.md5):
                    raise MasksrError(f"{url}: {error}") from None
        if fault := _fault(file, partial):
            partial.unlink()
            raise MasksrError(f"{url}: {fault}")
        os.replace(partial, path)
    except OSError as error:
        raise MasksrError(f"{path} cannot be written ({error.strerror or error}); make room") from None
    return path


def _receive(url: str, partial: Path, begin: int) -> None:
    """Append to ``partial``, which has ``begin`` bytes, what is missing."""
    # "identity": lengths and ranges must count the bytes of the file, not of a compressed form of it.
    headers = {"User-Agent": f"masksr/{masksr.__version__}", "Accept-Encoding": "identity"}
    if begin:
        headers["Range"] = f"bytes={begin}-"
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416:
            return  # nothing is missing, or this is part of another file: the checksum will tell
        response.raise_for_status()
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise requests.RequestException("a web page came in place of the file; open it in a browser")
        length = int(response.headers.get("Content-Length", 0)) or None
        # Read undecoded: some servers declare the gzip of a .tar.gz as an encoding.
        body = tqdm.wrapattr(response.raw, "read", desc=partial.name, total=length, disable=None)
        with body as source, partial.open("ab" if response.status_code == 206 else "wb") as out:
            shutil.copyfileobj(source, out, 1 << 16)


def unpack(archives: Sequence[Path], folder: Path) -> None:
    """Unpack archives (zip, tar, tar.gz) into ``folder``, replacing files of equal names: all or nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", suffix=".unfinished", dir=folder) as unfinished:
        try:
            for archive in archives:
                if zipfile.is_zipfile(archive):
                    with zipfile.ZipFile(archive) as zipped:
                        zipped.extractall(unfinished)
                else:
                    with tarfile.open(archive) as tarred:
                        # No links or paths out of the folder; Python has this filter since 3.11.4.
                        tarred.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
                        tarred.extractall(unfinished)
            shutil.copytree(unfinished, folder, copy_function=os.replace, dirs_exist_ok=True)
        except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
            what = f"{', '.join(map(str, archives))} cannot be unpacked ({' '.join(str(error).split())})"
            raise MasksrError(f"{what}; make room, or remove what is damaged, and try again") from None
