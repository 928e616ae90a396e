"""What comes out of an archive, what never does, and what is refused as a whole."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from masksr.errors import MasksrError
from masksr.fetch import archives
from masksr.fetch.archives import unpack

KINDS = ("zip", "tar", "tar.gz")
SPECIAL = [*((kind, "symlink") for kind in KINDS), ("tar", "hardlink"), ("tar.gz", "fifo"), ("zip", "fifo")]
SOME = {"Set/HR/a.png": b"a" * 3000, "Set/HR/b.png": os.urandom(200_000), "Set/readme.txt": b"hello"}


def pack(path: Path, members: dict[str, bytes]) -> Path:
    """An archive of the kind that its name says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in members.items():
                info = zipfile.ZipInfo()
                info.filename = info.orig_filename = name  # its constructor would tidy the name
                info.compress_type = zipfile.ZIP_DEFLATED
                file.writestr(info, content)
    else:
        with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as file:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size, info.mode = len(content), 0o4777
                file.addfile(info, io.BytesIO(content))
    return path


def pack_special(path: Path, name: str, kind: str) -> Path:
    """An archive with one member that is no regular file, and a picture."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as file:
            info = zipfile.ZipInfo(name)
            info.external_attr = {"symlink": stat.S_IFLNK, "fifo": stat.S_IFIFO}[kind] << 16
            file.writestr(info, "/etc/passwd")
            file.writestr("a.png", b"a")
    else:
        with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as file:
            info = tarfile.TarInfo(name)
            info.type = {"symlink": tarfile.SYMTYPE, "hardlink": tarfile.LNKTYPE, "fifo": tarfile.FIFOTYPE}[kind]
            info.linkname = "" if kind == "fifo" else "/etc/passwd"
            file.addfile(info)
            picture = tarfile.TarInfo("a.png")
            picture.size = 1
            file.addfile(picture, io.BytesIO(b"a"))
    return path


@pytest.fixture
def into(tmp_path) -> Path:
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


@pytest.fixture
def refused(into) -> Callable[..., str]:
    """Unpack what must be refused; nothing may be written. Returns the message."""

    def check(archive: Path, wanted=lambda path: True, limit: int = 10**6) -> str:
        before = sorted(into.parent.rglob("*"))
        with pytest.raises(MasksrError) as error:
            unpack(archive, into, wanted, limit=limit)
        assert sorted(into.parent.rglob("*")) == before
        assert archive.name in str(error.value)
        return str(error.value)

    return check


@pytest.mark.parametrize("kind", KINDS)
def test_wanted_files_come_out(kind, tmp_path, into):
    archive = pack(tmp_path / f"x.{kind}", SOME)
    paths = unpack(archive, into, lambda path: path.endswith(".png"), limit=10**6)
    assert paths == ["Set/HR/a.png", "Set/HR/b.png"]
    assert {p.relative_to(into).as_posix() for p in into.rglob("*") if p.is_file()} == set(paths)
    assert all((into / path).read_bytes() == SOME[path] for path in paths)


def test_tgz_and_a_wrong_suffix_are_told_by_content(tmp_path, into):
    archive = pack(tmp_path / "x.tar.gz", SOME).rename(tmp_path / "x.tgz")
    assert len(unpack(archive, into, lambda path: True, limit=10**6)) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_paths_are_tidied_and_junk_is_passed_over(kind, tmp_path, into):
    names = ["./a.png", ".//B/./b.png", "__MACOSX/a.png", "B/._b.png", ".DS_Store", "B/.DS_Store"]
    archive, asked = pack(tmp_path / f"x.{kind}", dict.fromkeys(names, b"1")), []
    paths = unpack(archive, into, lambda path: not asked.append(path), limit=99)
    assert paths == asked == ["a.png", "B/b.png"]


def test_rights_and_times_are_not_taken_over(tmp_path, into):
    unpack(pack(tmp_path / "x.tar", SOME), into, lambda path: True, limit=10**6)
    ours = tmp_path / "ours"
    ours.touch()
    for path in filter(Path.is_file, into.rglob("*")):
        assert path.stat().st_mode == ours.stat().st_mode
        assert abs(path.stat().st_mtime - ours.stat().st_mtime) < 60


BAD = ["/etc/x", "../x", "a/../../x", "a/..", "a\\b", "..\\x", "C:/x", "c:x", "a\nb", "a\x7fb"]
BAD += ["n" * 256, "a/" * 600 + "b"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", BAD)
def test_a_bad_path_refuses_the_archive_even_if_unwanted(kind, name, tmp_path, refused):
    archive = pack(tmp_path / f"x.{kind}", {"a.png": b"good", name: b"bad"})
    message = refused(archive, lambda path: path == "a.png")
    assert ascii(name)[1:6] in message


def test_a_nul_in_a_zip_name_is_seen(tmp_path, refused):
    archive = pack(tmp_path / "x.zip", {"a.pngX.exe": b"1"})
    archive.write_bytes(archive.read_bytes().replace(b"a.pngX.exe", b"a.png\0.exe"))
    assert "control character" in refused(archive)


@pytest.mark.parametrize("kind, special", SPECIAL)
def test_a_link_or_device_is_refused_if_wanted_and_skipped_if_not(kind, special, tmp_path, into, refused):
    archive = pack_special(tmp_path / f"x.{kind}", "b.png", special)
    assert "link or device" in refused(archive)
    assert unpack(archive, into, lambda path: path == "a.png", limit=99) == ["a.png"]
    assert [p.name for p in into.iterdir()] == ["a.png"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("names", [("a.png", "./a.png"), ("A/a.png", "a/A.PNG"), ("\u00e9.png", "e\u0301.png")])
def test_a_path_twice_is_refused(kind, names, tmp_path, refused):
    assert "twice" in refused(pack(tmp_path / f"x.{kind}", dict.fromkeys(names, b"1")))


def test_a_file_that_is_also_a_folder_is_refused(tmp_path, refused):
    assert "folder" in refused(pack(tmp_path / "x.tar", {"a/b/c.png": b"1", "A": b"2"}))


def test_a_file_that_is_there_is_not_written_over(tmp_path, into):
    (into / "a.png").symlink_to(tmp_path / "outside")
    with pytest.raises(MasksrError, match=r"a\.png: File exists"):
        unpack(pack(tmp_path / "x.zip", {"a.png": b"1"}), into, lambda path: True, limit=9)
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_is_refused_by_its_header(kind, tmp_path, refused):
    archive = pack(tmp_path / f"x.{kind}", {"a.png": bytes(3_000_000), "b.png": bytes(3_000_000)})
    assert "more than 5000000 bytes" in refused(archive, limit=5_000_000)


def test_the_limit_counts_what_is_wanted_only(tmp_path, into):
    archive = pack(tmp_path / "x.tar.gz", {"big.mat": bytes(3_000_000), "a.png": b"1"})
    assert unpack(archive, into, lambda path: path == "a.png", limit=1) == ["a.png"]


def test_a_zip_whose_header_lies_writes_no_more_than_it_says(tmp_path, into):
    archive = pack(tmp_path / "x.zip", {"a.png": bytes(5_000_000)})
    archive.write_bytes(archive.read_bytes().replace((5_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(MasksrError):
        unpack(archive, into, lambda path: True, limit=100)
    assert sum(p.stat().st_size for p in into.rglob("*") if p.is_file()) <= 100


def test_a_zip_that_promises_more_than_it_holds_is_refused(tmp_path, into):
    archive = pack(tmp_path / "x.zip", {"a.png": bytes(5000)})
    archive.write_bytes(archive.read_bytes().replace((5000).to_bytes(4, "little"), (6000).to_bytes(4, "little")))
    with pytest.raises(MasksrError, match="does not have the 6000 bytes"):
        unpack(archive, into, lambda path: True, limit=10_000)


def test_bytes_are_counted_whatever_the_reader_gives(tmp_path, into, monkeypatch):
    monkeypatch.setattr(archives, "content", lambda *_: iter([bytes(1000)] * 1000))
    with pytest.raises(MasksrError, match="does not have the 1500 bytes"):
        unpack(pack(tmp_path / "x.zip", {"a.png": bytes(1500)}), into, lambda path: True, limit=1500)
    assert (into / "a.png").stat().st_size <= 1500


def tar_with_size(size: int, content: bytes) -> bytes:
    """A tar whose first header says ``size``, whatever follows."""
    info = tarfile.TarInfo("a.png")
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512) + bytes(1024)


@pytest.mark.parametrize("size", [10, 3000, 10**5, -512, -1024])
def test_a_tar_whose_header_lies_is_damaged(size, tmp_path, refused):
    archive = tmp_path / "x.tar"
    archive.write_bytes(tar_with_size(size, b"x" * 2000))
    assert "fetch it again" in refused(archive)


@pytest.mark.parametrize("kind", [b"x", b"L", b"K", b"g"])
@pytest.mark.parametrize("size", [2**33, -1024])
def test_a_tar_header_cannot_ask_for_gigabytes_of_memory(kind, size, tmp_path, refused):
    info = tarfile.TarInfo("a.png")
    info.size, info.type = size, kind
    archive = tmp_path / "x.tar"
    archive.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    message = refused(archive)
    assert "fetch it again" in message and (size < 0 or "a header of 85" in message)


def test_too_many_members_are_refused(tmp_path, monkeypatch, refused):
    monkeypatch.setattr(archives, "MEMBERS", 5)
    archive = pack(tmp_path / "x.zip", {f"{i}.png": b"1" for i in range(6)})
    assert "more than 5 members" in refused(archive, lambda path: False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keep", [0.0, 0.001, 0.3, 0.7, 0.9])
def test_a_cut_archive_says_fetch_it_again(kind, keep, tmp_path, into):
    archive = pack(tmp_path / f"x.{kind}", SOME)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(MasksrError, match="fetch it again"):
        unpack(archive, into, lambda path: True, limit=10**6)


def test_a_tar_cut_between_two_members_is_noticed(tmp_path, refused):
    archive = pack(tmp_path / "x.tar", {"a.png": b"1" * 512, "b.png": b"2"})
    archive.write_bytes(archive.read_bytes()[:1024])
    assert "incomplete" in refused(archive)


def test_a_wrong_checksum_of_a_gz_is_noticed(tmp_path, refused):
    archive = pack(tmp_path / "x.tar.gz", SOME)
    whole = bytearray(archive.read_bytes())
    whole[-8] ^= 1
    archive.write_bytes(whole)
    assert "CRC" in refused(archive)


def test_other_kinds_and_missing_files(tmp_path, refused, into):
    other = tmp_path / "x.rar"
    other.write_bytes(b"Rar!\x1a\x07\x01\x00" + bytes(2000))
    assert "no .zip, .tar or .tar.gz" in refused(other)
    assert "No such file" in refused(tmp_path / "missing.zip")


def test_an_encrypted_file_is_refused(tmp_path, refused):
    archive = pack(tmp_path / "x.zip", {"a.png": b"1"})
    content = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    archive.write_bytes(content)
    assert "encrypted" in refused(archive)


def test_the_disk_is_checked_beforehand(tmp_path, monkeypatch, refused):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 10}))
    assert "has only 10 bytes free" in refused(pack(tmp_path / "x.zip", SOME))


def test_an_error_of_wanted_is_not_called_damage(tmp_path, into):
    def wanted(path: str) -> bool:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        unpack(pack(tmp_path / "x.zip", SOME), into, wanted, limit=10**6)


PIECES = st.sampled_from(["a", "A", "..", ".", "", "/", "//", "\\", "C:", "~", "\0", "\n", "e\u0301", "x" * 300, " "])
NAMES = st.builds(str.join, st.sampled_from(["", "/"]), st.lists(PIECES, max_size=6)) | st.text(max_size=20)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(names=st.lists(NAMES.filter(lambda name: name.isascii() or name.isprintable()), min_size=1, max_size=3))
@example(names=["../a"])
def test_nothing_is_ever_written_outside(kind, names):
    with tempfile.TemporaryDirectory() as place:
        into = Path(place, "deep", "into")
        into.mkdir(parents=True)
        try:
            archive = pack(Path(place, f"x.{kind}"), dict.fromkeys(names, b"1"))
        except (ValueError, OSError):
            return  # Python cannot write such a name
        try:
            paths = unpack(archive, into, lambda path: True, limit=99)
        except MasksrError:
            paths = None
        everything = {p for p in Path(place).rglob("*") if not p.is_dir()} - {archive}
        assert all(p.is_relative_to(into) for p in everything)
        assert paths is None or everything == {into / path for path in paths}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(data=st.data())
def test_random_damage_ends_in_a_clear_error_or_in_files_inside(kind, data):
    with tempfile.TemporaryDirectory() as place:
        into = Path(place, "into")
        into.mkdir()
        archive = pack(Path(place, f"x.{kind}"), {"a/b.png": b"abc" * 100, "c.png": b"1"})
        content = bytearray(archive.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, min(len(content), 2000) - 1))] = data.draw(st.integers(0, 255))
        archive.write_bytes(content)
        with contextlib.suppress(MasksrError):
            unpack(archive, into, lambda path: True, limit=10_000)
        written = [p for p in Path(place).rglob("*") if not p.is_dir() and p != archive]
        assert all(p.is_relative_to(into) for p in written)
        assert sum(p.lstat().st_size for p in written) <= 10_000
