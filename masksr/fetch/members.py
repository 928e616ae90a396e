"""The members of a .zip, .tar or .tar.gz, in one form for all of them; read in small pieces, damage as one error."""

from __future__ import annotations

import contextlib
import gzip
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from masksr.errors import MasksrError

BLOCK = 1 << 20  # bytes

_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, struct.error)
_DAMAGE += (EOFError, ValueError, KeyError, IndexError, OverflowError, NotImplementedError)  # headers without sense


class Member(NamedTuple):
    """One member, as the archive describes it."""

    name: str
    size: int  # bytes
    kind: Literal["file", "encrypted file", "folder", "link or device"]
    open: Callable[[], IO[bytes] | None]


def members(archive: Path, file: IO[bytes]) -> Iterator[Member]:
    """All members of the open ``file``, of the kind that its first bytes tell; archive: its name in messages.

    Raises MasksrError, after the members before it, where it is damaged, cut off or of another kind.
    """
    with _damage(archive):
        start = file.read(2)
        file.seek(0)
        if start == b"PK":
            yield from _in_zip(zipfile.ZipFile(file))
        elif start == b"\x1f\x8b":
            yield from _in_tar(_Frugal(gzip.GzipFile(fileobj=file)))
        else:
            yield from _in_tar(_Frugal(file))


def _in_zip(zip_file: zipfile.ZipFile) -> Iterator[Member]:
    for info in zip_file.infolist():
        if info.is_dir():
            kind = "folder"
        elif stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            kind = "link or device"
        else:
            kind = "encrypted file" if info.flag_bits & 0x41 else "file"
        yield Member(info.orig_filename, info.file_size, kind, partial(zip_file.open, info))


def _in_tar(file: _Frugal) -> Iterator[Member]:
    tar = tarfile.TarFile(fileobj=file)  # type: ignore[arg-type]
    while info := tar.next():
        if info.size < 0:
            raise tarfile.ReadError("a negative size")
        kind = "folder" if info.isdir() else "file" if info.isreg() else "link or device"
        yield Member(info.name, info.size, kind, partial(tar.extractfile, info))
    file.seek(tar.offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # where tarfile met nonsense it just stops
        raise tarfile.ReadError("the end is missing")
    while file.read(BLOCK):
        pass  # the checksum of a .gz stands behind its last byte


class _Frugal:
    """A file that is never read in large pieces: tarfile takes the size of a header from the header."""

    def __init__(self, file: Any) -> None:
        self.file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= BLOCK:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self.file.read(size)


def content(archive: Path, member: Member) -> Iterator[bytes]:
    """What is in a member of kind "file", while its archive is open. Raises MasksrError where it is damaged."""
    with _damage(archive):
        file = member.open()
        assert file is not None  # it is a regular one
        with file:
            while block := file.read(BLOCK):
                yield block


@contextlib.contextmanager
def _damage(archive: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise MasksrError(
            f"{archive}: is damaged, incomplete or no .zip, .tar or .tar.gz ({error}); remove it and fetch it again"
        ) from None
