"""What is wanted out of an archive that nobody has to trust.

Only contents are taken: no links, no devices, and none of the archive's rights, owners or times.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from masksr.errors import MasksrError
from masksr.fetch.members import Member, content, members
from masksr.files import check_space

MEMBERS = 100_000
LONGEST = 255, 1000  # bytes of a name, characters of a path


def unpack(archive: Path, folder: Path, wanted: Callable[[str], bool], *, limit: int) -> list[str]:
    """Take the regular files that ``wanted`` accepts out of a .zip, .tar, .tar.gz or .tgz, into ``folder``.

    folder: exists, and is the caller's to throw away when this raises. wanted: is asked with the path in the archive,
    forward slashes, without a leading ``./``. limit: bytes of the wanted files together. Returns their paths.

    Raises MasksrError before anything is written when a path would leave the folder or does not suit every system, when
    a wanted file is a link, encrypted, or there twice (be it in other capitals), when there are too many members or too
    many bytes; and when the archive is damaged or of another kind, or the disk is too small or refuses.
    """
    try:
        with archive.open("rb") as file:
            chosen = _choose(archive, members(archive, file), wanted, limit)
            _extract(archive, folder, chosen)
    except OSError as error:
        where = error.filename or folder
        raise MasksrError(f"{archive} could not be unpacked: {where}: {error.strerror or error}") from None
    return list(chosen)


def _choose(archive: Path, listed: Iterable[Member], wanted: Callable[[str], bool], limit: int) -> dict[str, Member]:
    """The wanted files by path; every member is looked at."""
    chosen, seen, folders, total = dict[str, Member](), set[str](), set[str](), 0
    for number, member in enumerate(listed):
        if number >= MEMBERS:
            raise MasksrError(f"{archive}: refused, it has more than {MEMBERS} members")
        path = _path(archive, member)
        if member.kind == "folder" or _is_junk(path) or not wanted(path):
            continue
        if member.kind != "file":
            raise _refused(archive, member, f"is a {member.kind}")
        key = unicodedata.normalize("NFC", path).casefold()  # what macOS and Windows take for the same name
        if key in seen:
            raise _refused(archive, member, "is there twice, if capitals make no difference")
        seen.add(key)
        folders.update(str(parent) for parent in PurePosixPath(key).parents)
        total += member.size
        if total > limit:
            raise MasksrError(f"{archive}: refused, what is wanted of it has more than {limit} bytes")
        chosen[path] = member
    if both := seen & folders:
        raise MasksrError(f"{archive}: refused, because {min(both)!a} is a file and a folder in it")
    return chosen


def _extract(archive: Path, folder: Path, chosen: dict[str, Member]) -> None:
    total = sum(member.size for member in chosen.values())
    check_space(folder, total, f"the content of {archive.name}")
    with tqdm(desc=archive.name, total=total, unit="B", unit_scale=True, leave=False) as bar:
        for path, member in chosen.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            size = 0
            with target.open("xb") as out:  # x: never through a link that is there already
                for block in content(archive, member):
                    size += len(block)
                    if size > member.size:  # the limit was checked with the size in the header
                        break
                    out.write(block)
                    bar.update(len(block))
            if size != member.size:
                raise _refused(archive, member, f"does not have the {member.size} bytes its header promises")


def _path(archive: Path, member: Member) -> str:
    """The path of a member below the folder, if it is one that every system understands the same way."""
    name = member.name
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or re.match("[A-Za-z]:", name):
        raise _refused(archive, member, "has an absolute path")
    if ".." in parts:
        raise _refused(archive, member, "leads out of the folder")
    if "\\" in name or any(unicodedata.category(character) == "Cc" for character in name):
        raise _refused(archive, member, "has a backslash or a control character in its name")
    if len(name) > LONGEST[1] or any(len(part.encode("utf-8", "surrogatepass")) > LONGEST[0] for part in parts):
        raise _refused(archive, member, "has too long a name")
    if not parts and member.kind != "folder":
        raise _refused(archive, member, "has no name")
    return "/".join(parts)


def _is_junk(path: str) -> bool:
    """What macOS adds to archives."""
    name = PurePosixPath(path).name
    return path.startswith("__MACOSX/") or name == ".DS_Store" or name.startswith("._")


def _refused(archive: Path, member: Member, reason: str) -> MasksrError:
    return MasksrError(f"{archive}: refused, because {member.name[:200]!a} {reason}")
