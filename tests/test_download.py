"""Downloads from a server that misbehaves, and archives: each ends in the right files or in a clear error."""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_server import Server, serving

from masksr.fetch.download import download, unpack
from masksr.fetch.registry import File
from masksr.io import MasksrError

CONTENT, OTHER = os.urandom(400_000), os.urandom(400_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[Server]:
    """Has the file at /x and another one at /other."""
    monkeypatch.delenv("MASKSR_OFFLINE", raising=False)
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "x").write_bytes(CONTENT)
    (folder / "other").write_bytes(OTHER)
    with serving(folder) as server:
        yield server


def a_file(server: Server, *paths: str, **known: object) -> File:
    return File(name="x.zip", urls=[server.address + path for path in paths], **(known or {"sha256": SHA256}))


def fails(file: File, folder: Path) -> str:
    """The message of a download that must fail and leave nothing that passes for the file."""
    with pytest.raises(MasksrError) as error:
        download(file, folder)
    assert not (folder / "x.zip").exists()
    return str(error.value)


KNOWN = [{"bytes": 400_000}, {"md5": hashlib.md5(CONTENT).hexdigest()}, {"sha256": SHA256[:8]}]


@pytest.mark.parametrize("known", KNOWN)
def test_a_download_is_checked_and_not_repeated(known, server, tmp_path):
    file = a_file(server, "/x", **known)
    path = download(file, tmp_path / "new")
    assert path.read_bytes() == CONTENT and path.name == "x.zip"
    assert download(file, tmp_path / "new") == path and len(server.requests) == 1
    path.write_bytes(OTHER[1:])
    with pytest.raises(MasksrError, match=r"expected (is|are) .*remove the file"):
        download(file, tmp_path / "new")
    assert path.read_bytes() == OTHER[1:], "it may be somebody's only copy"


@pytest.mark.parametrize("fault", ["cut", "stall"])
def test_a_connection_that_breaks_off_or_falls_silent_is_resumed(fault, server, tmp_path, monkeypatch):
    monkeypatch.setattr("masksr.fetch.download.TIMEOUT", (5.0, 0.5))
    server.faults["/x"] = [fault, fault]
    assert download(a_file(server, "/x"), tmp_path).read_bytes() == CONTENT
    first, *others = [wanted for _, wanted in server.requests]
    assert first is None and len(others) == 2


def test_a_later_call_and_another_mirror_continue_what_can_be_checked(server, tmp_path):
    server.faults["/x"] = ["cut", 404]
    assert "404" in fails(a_file(server, "/x"), tmp_path)
    server.faults["/x"] = [404]
    (server.folder / "mirror").write_bytes(CONTENT)
    assert download(a_file(server, "/x", "/mirror"), tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == ("/mirror", "bytes=200000-")
    (tmp_path / "new").mkdir()
    (tmp_path / "new/.x.zip.partial").write_bytes(OTHER[:9])
    assert download(a_file(server, "/x", about=9), tmp_path / "new").read_bytes() == CONTENT
    assert server.requests[-1] == ("/x", None), "without a checksum nothing could tell"


def test_wrong_content_goes_to_the_next_mirror_and_is_named_in_the_end(server, tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1/.x.zip.partial").write_bytes(OTHER[:9])  # a part of another file
    assert download(a_file(server, "/x", "/other", "/x"), tmp_path / "1").read_bytes() == CONTENT
    message = fails(a_file(server, "/other"), tmp_path / "2")
    assert f"{server.address}/other: its sha256 is {hashlib.sha256(OTHER).hexdigest()}" in message
    assert SHA256 in message and f"put it into {tmp_path / '2'} as x.zip" in message
    assert not list((tmp_path / "2").glob("*.partial")), "it would be continued"


def test_every_mirror_is_tried_and_named(server, tmp_path):
    (server.folder / "page.html").write_text("log in first")
    file = a_file(server, "/none", "/page.html")
    message = fails(file.model_copy(update={"urls": [*file.urls, "http://127.0.0.1:9/x"]}), tmp_path)
    for url, problem in zip([*file.urls, "http://127.0.0.1:9/x"], ("404", "a web page", ".*refused"), strict=True):
        assert re.search(f"{url}: {problem}", message)


@pytest.fixture(params=["zip", "tar", "gztar"])
def archive(request, tmp_path) -> Path:
    content = tmp_path / "content/Set/HR"
    content.mkdir(parents=True)
    for name in ("a.png", "b.png"):
        (content / name).write_bytes(OTHER)
    return Path(shutil.make_archive(str(tmp_path / "archive/x"), request.param, tmp_path / "content"))


def test_an_archive_is_unpacked_beside_what_is_there_or_not_at_all(archive, tmp_path):
    into = tmp_path / "sets"
    (into / "Set/HR").mkdir(parents=True)
    (into / "Set/HR/old.png").touch()
    unpack([archive], into)
    assert sorted(path.name for path in into.rglob("*.png")) == ["a.png", "b.png", "old.png"]
    assert (into / "Set/HR/b.png").read_bytes() == OTHER and [path.name for path in into.iterdir()] == ["Set"]
    whole = archive.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"nonsense" * 999):
        archive.write_bytes(damaged)
        with pytest.raises(MasksrError, match=rf"{archive} cannot be unpacked .*try again") as caught:
            unpack([archive], tmp_path / "other")
        assert not list((tmp_path / "other").iterdir()) and "\n" not in str(caught.value)
