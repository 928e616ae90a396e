"""The members of a .zip, .tar or .tar.gz, in one form for all of them; read in small pieces, damage as one error."""

from __future__ import annotations

import contextlib
import gzip
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from masksr.errors import MasksrError

BLOCK = 1 << 20  # bytes
DIRECTORY = 1 << 25  # bytes of a zip's directory, which is read at once; 100 000 members take 10 MB
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others take memory by the word of a header


class Member(NamedTuple):
    """One member, as the archive describes it."""

    name: str
    size: int  # bytes
    kind: Literal["file", "encrypted file", "file of a rare compression", "folder", "link or device"]
    open: Callable[[], IO[bytes] | None]


def members(archive: Path, file: IO[bytes]) -> Iterator[Member]:
    """All members of the open ``file``, of the kind that its first bytes tell; archive: its name in messages.

    Raises MasksrError, after the members before it, where it is damaged, cut off or of another kind.
    """
    with _damage(archive):
        start = file.read(2)
        file.seek(0)
        if start == b"PK":
            yield from _in_zip(zipfile.ZipFile(_Frugal(file, DIRECTORY)))  # type: ignore[arg-type]
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
        elif info.flag_bits & 0x41:
            kind = "encrypted file"
        else:
            kind = "file" if info.compress_type in METHODS else "file of a rare compression"
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
    """A file that is never read in large pieces: tarfile takes the size of a header from the header, and zipfile reads
    the directory at once.
    """

    def __init__(self, file: Any, limit: int = BLOCK) -> None:
        self.file, self.seek, self.tell, self.limit = file, file.seek, file.tell, limit
        self.seekable = file.seekable

    def read(self, size: int = -1) -> bytes:
        if not -1 <= size <= self.limit:
            raise tarfile.ReadError(f"a header of {size} bytes")
        content = self.file.read(self.limit + 1 if size < 0 else size)  # -1: all that is left, for zipfile its end
        if len(content) > self.limit:
            raise tarfile.ReadError(f"a header of more than {self.limit} bytes")
        return content


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
    except MasksrError:
        raise
    except Exception as error:  # headers without sense: zipfile and tarfile raise a dozen kinds
        if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
            raise  # the disk
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise MasksrError(
            f"{archive}: is damaged, incomplete or no .zip, .tar or .tar.gz ({reason}); remove it and fetch it again"
        ) from None
