"""Downloads from a server on this machine that misbehaves: each ends in the right file or in a clear error."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from masksr.errors import MasksrError
from masksr.fetch import download as module
from masksr.fetch import transfer, web
from masksr.fetch.download import answers, download, forget, offline, verify
from masksr.fetch.registry import File

CONTENT = os.urandom(300_000)
OTHER = os.urandom(300_000)
DATE = "Sun, 01 Nov 2026 10:00:00 GMT"


@dataclass
class Answer:
    """What the server does with one request."""

    content: bytes = CONTENT
    status: int = 200
    etag: str | None = '"1"'
    ranges: bool = True
    cut: int | None = None  # close the connection after so many bytes
    stall: int | None = None  # fall silent after so many bytes
    slow: float = 0.0  # seconds between two pieces
    length: int | None = -1  # of Content-Length; -1: the right one, None: no such header
    chunked: bool = False
    headers: dict[str, str] = field(default_factory=dict)

    def send(self, handler: BaseHTTPRequestHandler, over: threading.Event) -> int:
        """Returns the number of bytes of the body that were sent."""
        asked, body, status = handler.headers["Range"], self.content, self.status
        headers = dict(self.headers)
        if self.etag:
            headers["ETag"] = self.etag
        if asked and self.ranges and status == 200 and handler.headers["If-Range"] in (None, self.etag, DATE):
            begin = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            status, body = (206, body[begin:]) if begin < len(body) else (416, b"")
            headers["Content-Range"] = f"bytes {begin}-{len(self.content) - 1}/{len(self.content)}"
        if self.chunked:
            headers["Transfer-Encoding"] = "chunked"
            handler.protocol_version = "HTTP/1.1"
        elif self.length is not None:
            headers["Content-Length"] = str(len(body) if self.length < 0 else self.length)
        handler.send_response(status)
        for header in headers.items():
            handler.send_header(*header)
        handler.send_header("Connection", "close")
        handler.end_headers()
        sent, stop = 0, min(x for x in (self.cut, self.stall, len(body)) if x is not None)
        while sent < stop:
            piece = body[sent : min(sent + 20_000, stop)]
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if self.chunked else piece)
            sent += len(piece)
            over.wait(self.slow)
        if self.stall is not None:
            over.wait(5)
        elif self.chunked and self.cut is None:
            handler.wfile.write(b"0\r\n\r\n")
        return sent


class Site:
    """A server; ``answers[path]`` are used up one by one, the last one stays."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.requests: list[tuple[str, str | None, int]] = []  # path, Range, bytes sent
        self.headers: dict[str, str] = {}  # of the last request
        self.over = threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                rest = site.answers.get(self.path, [Answer(b"no", 404)])
                answer = rest.pop(0) if len(rest) > 1 else rest[0]
                number = len(site.requests)
                site.requests.append((self.path, self.headers["Range"], 0))
                site.headers = dict(self.headers)
                with contextlib.suppress(OSError):
                    site.requests[number] = (self.path, self.headers["Range"], answer.send(self, site.over))

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.scheme = "https" if context else "http"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def url(self, path: str, *answers: Answer) -> str:
        self.answers[path] = list(answers) or [Answer()]
        return f"{self.scheme}://127.0.0.1:{self.server.server_port}{path}"

    def close(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    for variable in (
        "MASKSR_OFFLINE",
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(module, "PAUSES", (0.01, 0.01, 0.01))
    monkeypatch.setattr(web, "TIMEOUT", (1.0, 0.3))


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


def a_file(*urls: str, **known: object) -> File:
    return File(name="x.zip", urls=list(urls), **known)


def with_sum(*urls: str) -> File:
    return a_file(*urls, sha256=hashlib.sha256(CONTENT).hexdigest(), bytes=len(CONTENT))


def get(file: File, folder: Path) -> Path:
    return download(file, folder, progress=False)


def fails(file: File, folder: Path) -> str:
    """The message of a download that must fail and leave nothing that passes for the file."""
    with pytest.raises(MasksrError) as error:
        get(file, folder)
    assert not (folder / "x.zip").exists()
    return str(error.value)


def ranges(site: Site) -> list[str | None]:
    return [asked for _, asked, _ in site.requests]


def test_a_download_is_whole_and_not_repeated(site, tmp_path):
    file = with_sum(site.url("/x"))
    path = get(file, tmp_path / "new" / "folder")
    assert path.read_bytes() == CONTENT and path.name == "x.zip"
    assert get(file, path.parent) == path and len(site.requests) == 1
    assert site.headers["User-Agent"].startswith("masksr/") and site.headers["Accept-Encoding"] == "identity"
    assert not list(path.parent.glob("*partial*")) and not list(path.parent.glob(".*partial*"))


def test_a_verified_file_is_not_read_again_until_it_changes(site, tmp_path, monkeypatch):
    file = with_sum(site.url("/x"))
    path = get(file, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("masksr.fetch.checksums._digest", lambda *_: pytest.fail("it was read"))
        get(file, tmp_path)
    path.write_bytes(OTHER)
    with pytest.raises(MasksrError, match=r"sha256 is .*, expected is .*remove the file"):
        get(file, tmp_path)
    assert path.read_bytes() == OTHER, "it may be somebody's only copy"


def test_another_checksum_in_the_registry_makes_it_look_again(site, tmp_path):
    get(with_sum(site.url("/x")), tmp_path)
    with pytest.raises(MasksrError, match="md5"):
        get(a_file(site.url("/x"), md5="0" * 32), tmp_path)


@pytest.mark.parametrize("known", ["sha256", "md5", "nothing"])
def test_a_file_put_there_by_hand_is_taken(known, tmp_path):
    sums = {kind: hashlib.new(kind, CONTENT).hexdigest() for kind in ("sha256", "md5") if kind == known}
    (tmp_path / "x.zip").write_bytes(CONTENT)
    assert get(a_file("http://127.0.0.1:9/x", **sums), tmp_path).read_bytes() == CONTENT


def test_a_broken_connection_is_resumed(site, tmp_path):
    file = with_sum(site.url("/x", Answer(cut=100_000), Answer(cut=50_000), Answer()))
    assert get(file, tmp_path).read_bytes() == CONTENT
    assert ranges(site) == [None, "bytes=100000-", "bytes=150000-"]
    assert sum(sent for *_, sent in site.requests) == len(CONTENT)


def test_progress_counts_anew_so_a_line_that_always_breaks_gets_there(site, tmp_path):
    file = with_sum(site.url("/x", Answer(cut=20_000)))
    assert get(file, tmp_path).read_bytes() == CONTENT
    assert len(site.requests) == 15 > len(module.PAUSES) + 1


def test_of_some_files_only_the_beginning_of_the_checksum_is_published(site, tmp_path):
    """EDSR's checkpoints carry eight digits in their names; the rest is what the first download had."""
    url, whole = site.url("/x"), hashlib.sha256(CONTENT).hexdigest()
    assert "expected is 00000000" in fails(File(name="x.zip", urls=[url], sha256="0" * 8), tmp_path)
    file = File(name="x.zip", urls=[url], sha256=whole[:8])
    assert get(file, tmp_path).read_bytes() == CONTENT
    asked = len(site.requests)
    assert get(file, tmp_path) and len(site.requests) == asked
    record = json.loads((tmp_path / "checksums.json").read_text())
    record["x.zip"]["sha256"] = whole[:8] + whole[:7:-1]  # another file that begins alike was the first
    (tmp_path / "checksums.json").write_text(json.dumps(record))
    os.utime(tmp_path / "x.zip", ns=(1, 1))
    with pytest.raises(MasksrError, match="but that of the first download"):
        get(file, tmp_path)


def test_a_later_call_resumes_even_without_a_known_checksum(site, tmp_path):
    url = site.url("/x", Answer(cut=100_000), Answer(status=403))
    assert "goes on after 100 kB" in fails(a_file(url), tmp_path)
    site.url("/x")
    assert get(a_file(url), tmp_path).read_bytes() == CONTENT
    assert (site.headers["Range"], site.headers["If-Range"]) == ("bytes=100000-", '"1"')


def test_last_modified_serves_where_the_etag_is_weak(site, tmp_path):
    weak = {"etag": 'W/"1"', "headers": {"Last-Modified": DATE}}
    assert get(a_file(site.url("/x", Answer(cut=9, **weak), Answer(**weak))), tmp_path).read_bytes() == CONTENT
    assert (site.headers["Range"], site.headers["If-Range"]) == ("bytes=9-", DATE)


@pytest.mark.parametrize("honest", [True, False], ids=["200", "206 in spite of If-Range"])
def test_a_file_that_changed_meanwhile_is_started_over(honest, site, tmp_path):
    url = site.url("/x", Answer(OTHER, cut=100_000, etag='"0"'), Answer(etag='"1"', status=200))
    if not honest:
        site.answers["/x"].insert(
            1, Answer(CONTENT[100_000:], status=206, headers={"Content-Range": "bytes 100000-299999/300000"})
        )
    assert get(a_file(url), tmp_path).read_bytes() == CONTENT


def test_without_validator_and_checksum_nothing_is_joined(site, tmp_path):
    assert (
        get(a_file(site.url("/x", Answer(OTHER, cut=9, etag=None), Answer(etag=None))), tmp_path).read_bytes()
        == CONTENT
    )
    assert ranges(site) == [None, None]


def test_a_server_without_ranges_starts_over(site, tmp_path):
    file = with_sum(site.url("/x", Answer(cut=100_000), Answer(ranges=False)))
    assert get(file, tmp_path).read_bytes() == CONTENT


def test_a_range_that_cannot_be_satisfied_starts_over(site, tmp_path):
    file = with_sum(site.url("/x", Answer(cut=100_000), Answer(status=416), Answer()))
    assert get(file, tmp_path).read_bytes() == CONTENT
    assert ranges(site) == [None, "bytes=100000-", None]


def test_what_was_whole_before_the_name_is_not_fetched_again(site, tmp_path):
    url = site.url("/x")
    (tmp_path / ".x.zip.partial").write_bytes(CONTENT)
    (tmp_path / ".x.zip.partial.json").write_text(json.dumps({"url": url, "validator": '"1"', "total": len(CONTENT)}))
    assert get(with_sum(url), tmp_path).read_bytes() == CONTENT
    assert site.requests == []


@pytest.mark.parametrize("note", ["", "{", "[]", "{}", '{"url": "http://elsewhere/x"}'])
@pytest.mark.parametrize("known", [True, False])
def test_a_partial_with_a_strange_note_does_no_harm(note, known, site, tmp_path):
    (tmp_path / ".x.zip.partial").write_bytes(OTHER[:500])
    if note:
        (tmp_path / ".x.zip.partial.json").write_text(note)
    url = site.url("/x")
    assert get(with_sum(url) if known else a_file(url), tmp_path).read_bytes() == CONTENT


def test_the_next_mirror_continues_if_the_whole_can_be_verified(site, tmp_path):
    urls = site.url("/a", Answer(cut=100_000), Answer(status=404)), site.url("/b", Answer(etag='"b"'))
    assert get(with_sum(*urls), tmp_path).read_bytes() == CONTENT
    assert site.requests[-1] == ("/b", "bytes=100000-", 200_000)


def test_the_next_mirror_starts_over_if_it_cannot(site, tmp_path):
    urls = site.url("/a", Answer(OTHER, cut=100_000), Answer(status=404)), site.url("/b")
    assert get(a_file(*urls), tmp_path).read_bytes() == CONTENT


def test_a_wrong_beginning_is_not_blamed_on_the_mirror_that_continued_it(site, tmp_path):
    urls = site.url("/a", Answer(OTHER, cut=100_000), Answer(status=404)), site.url("/b")
    assert get(with_sum(*urls), tmp_path).read_bytes() == CONTENT
    assert ranges(site)[-2:] == ["bytes=100000-", None]


def test_wrong_content_goes_to_the_next_mirror_and_is_named_in_the_end(site, tmp_path):
    wrong = site.url("/a", Answer(OTHER))
    assert get(with_sum(wrong, site.url("/b")), tmp_path / "1").read_bytes() == CONTENT
    message = fails(with_sum(wrong), tmp_path / "2")
    assert hashlib.sha256(OTHER).hexdigest() in message and hashlib.sha256(CONTENT).hexdigest() in message
    assert (wrong in message and str(tmp_path / "2") in message and "by hand" in message) or "yourself" in message
    assert not list((tmp_path / "2").glob(".*.partial")), "it would be continued"


@pytest.mark.parametrize("status", [401, 403, 404, 410, 451])
def test_a_refusal_is_not_repeated(status, site, tmp_path):
    assert str(status) in fails(with_sum(site.url("/x", Answer(b"", status))), tmp_path)
    assert len(site.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_trouble_is_waited_for(status, site, tmp_path, monkeypatch):
    slept: list[float] = []
    monkeypatch.setattr(module.time, "sleep", slept.append)
    busy = Answer(b"", status, headers={"Retry-After": "7"})
    assert get(with_sum(site.url("/x", busy, Answer(b"", status), Answer())), tmp_path).read_bytes() == CONTENT
    assert slept == [7, 0.01]


def test_nobody_waits_for_hours(site, tmp_path):
    busy = Answer(b"", 429, headers={"Retry-After": "7200"})
    assert "come back in 7200 s" in fails(with_sum(site.url("/x", busy)), tmp_path)


def test_every_mirror_is_tried_and_named(site, tmp_path):
    urls = site.url("/a", Answer(b"", 503)), site.url("/b", Answer(b"", 404)), "http://127.0.0.1:9/c"
    message = fails(with_sum(*urls), tmp_path)
    assert all(url in message for url in urls)
    assert "503" in message and "404" in message and "refused" in message and "Run the same command again" in message
    assert [path for path, *_ in site.requests] == ["/a"] * 4 + ["/b"]


def test_a_stalled_connection_is_resumed(site, tmp_path, monkeypatch):
    monkeypatch.setattr(web, "TIMEOUT", (5.0, 0.3))
    assert get(with_sum(site.url("/x", Answer(stall=140_000), Answer())), tmp_path).read_bytes() == CONTENT
    assert len(site.requests) >= 2 and site.requests[1][1] is not None


def test_a_slow_one_is_not_given_up(site, tmp_path):
    assert get(with_sum(site.url("/x", Answer(slow=0.03))), tmp_path).read_bytes() == CONTENT
    assert len(site.requests) == 1


def test_a_silent_server_is_named(site, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PAUSES", ())
    monkeypatch.setattr(web, "TIMEOUT", (0.1, 0.1))
    assert "silent" in fails(with_sum(site.url("/x", Answer(stall=0))), tmp_path)


@pytest.mark.parametrize("length", [400_000, 200_000])
@pytest.mark.parametrize("known", ["bytes", "sha256"])
def test_a_wrong_content_length_is_an_error(length, known, site, tmp_path):
    value = {"bytes": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}[known]
    fails(a_file(site.url("/x", Answer(length=length, ranges=False)), **{known: value}), tmp_path)


def test_a_file_shorter_than_announced_is_never_believed(site, tmp_path):
    url = site.url("/x", Answer(length=400_000, ranges=False))
    assert "broke off" in fails(a_file(url), tmp_path)
    assert "ended after 0" in fails(a_file(site.url("/y", Answer(b""))), tmp_path / "empty")


def test_another_size_than_the_registry_knows_is_not_even_begun(site, tmp_path):
    urls = site.url("/a", Answer(cut=100_000), Answer(b"", 404)), site.url("/b", Answer(OTHER[:9], ranges=False))
    assert f"{urls[1]}: it has 9 bytes there, expected are 300000" in fails(with_sum(*urls), tmp_path)
    assert (tmp_path / ".x.zip.partial").stat().st_size == 100_000


def test_more_than_the_registry_knows_is_not_written(site, tmp_path):
    assert "more than" in fails(a_file(site.url("/x", Answer(length=None)), bytes=100_000), tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 1000


def test_an_end_that_nobody_announced_is_not_believed(site, tmp_path):
    assert "how long" in fails(a_file(site.url("/x", Answer(length=None))), tmp_path)
    assert get(a_file(site.url("/x", Answer(chunked=True))), tmp_path / "chunked").read_bytes() == CONTENT
    fails(a_file(site.url("/x", Answer(chunked=True, cut=100_000, etag=None))), tmp_path / "cut")
    assert get(with_sum(site.url("/x", Answer(length=None))), tmp_path / "sum").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "page",
    [
        Answer(b"<p>Quota exceeded", ranges=False, headers={"Content-Type": "text/html; charset=utf-8"}),
        Answer(b"\n<!DOCTYPE html><html>Log in", ranges=False),
    ],
)
def test_a_web_page_is_not_taken_and_leaves_the_part_alone(page, site, tmp_path):
    url = site.url("/x", Answer(cut=100_000), page)
    for file in (a_file(url), with_sum(url)):
        assert "web page" in fails(file, tmp_path)
    assert (tmp_path / ".x.zip.partial").stat().st_size == 100_000


def test_bytes_are_kept_as_sent(site, tmp_path):
    packed = gzip.compress(b"a tar, let us say")
    url = site.url("/x", Answer(packed, headers={"Content-Encoding": "x-gzip"}))
    assert get(a_file(url), tmp_path).read_bytes() == packed


def test_redirects_are_followed_but_not_for_ever(site, tmp_path):
    end = site.url("/end", Answer(cut=100_000), Answer())
    middle = site.url("/middle", Answer(b"", 307, headers={"Location": "/end"}))
    start = site.url("/start", Answer(b"", 302, headers={"Location": middle}))
    assert get(a_file(start), tmp_path).read_bytes() == CONTENT
    assert site.requests[-1] == ("/end", "bytes=100000-", 200_000) and end
    loop = site.url("/loop", Answer(b"", 302, headers={"Location": "/loop"}))
    assert "redirects more than 10 times" in fails(a_file(loop), tmp_path / "loop")
    for target in ("file:///etc/passwd", "http://", "ftp://127.0.0.1/x"):
        fails(a_file(site.url("/odd", Answer(b"", 302, headers={"Location": target}))), tmp_path / "odd")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_https_is_not_left_and_a_strange_certificate_not_accepted(site, tmp_path, monkeypatch):
    names = [
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        "key.pem",
        "-out",
        "cert.pem",
    ]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *names]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    safe = Site(context)
    url = safe.url("/x", Answer(b"", 302, headers={"Location": site.url("/x")}))
    assert "certificate" in fails(with_sum(url), tmp_path / "1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "cert.pem"))
    assert "from https to http://" in fails(with_sum(url), tmp_path / "2")
    assert site.requests == []
    assert get(with_sum(safe.url("/x")), tmp_path / "3").read_bytes() == CONTENT
    safe.close()


def test_the_first_download_is_the_standard_for_later_ones(site, tmp_path):
    file = a_file(site.url("/x"))
    get(file, tmp_path).unlink()
    entry = json.loads((tmp_path / "checksums.json").read_text())["x.zip"]
    assert entry["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert (entry["bytes"], entry["url"]) == (len(CONTENT), file.urls[0]) and entry["date"][:2] == "20"
    site.url("/x", Answer(OTHER))
    message = fails(file, tmp_path)
    assert "first download" in message and "remove the entry 'x.zip'" in message and "checksums.json" in message
    forget(file, tmp_path)
    assert get(file, tmp_path).read_bytes() == OTHER


def test_a_damaged_record_is_named(site, tmp_path):
    (tmp_path / "checksums.json").write_text("{")
    assert "checksums.json: is damaged" in fails(a_file(site.url("/x")), tmp_path)


def test_verify_reads_all_of_it(site, tmp_path):
    file = with_sum(site.url("/x"))
    path = get(file, tmp_path)
    verify(file, path, tmp_path)
    stat = path.stat()
    path.write_bytes(CONTENT[:-1] + b"?")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(MasksrError, match="sha256"):
        verify(file, path, tmp_path)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(MasksrError, match="299999 bytes, expected are 300000"):
        verify(file, path, tmp_path)
    with pytest.raises(MasksrError, match="no such file"):
        verify(file, tmp_path / "y.zip", tmp_path)


@pytest.mark.parametrize("value, off", [("1", True), ("yes", True), ("0", False), ("", False)])
def test_offline_says_what_to_fetch_and_where_to_put_it(value, off, site, tmp_path, monkeypatch):
    monkeypatch.setenv("MASKSR_OFFLINE", value)
    file = with_sum(site.url("/x"))
    assert offline() is off and answers(file.urls[0], 5.0) is not off
    if off:
        message = fails(file, tmp_path)
        assert (
            file.urls[0] in message
            and str(tmp_path) in message
            and "300 kB" in message
            and f"as {file.name}" in message
            and site.requests == []
        )


def test_answers(site):
    assert answers(site.url("/x", Answer(stall=10)), 5.0)
    assert not answers(site.url("/y", Answer(b"", 404)), 5.0)
    assert not answers("http://127.0.0.1:9/x", 5.0)


def test_answers_does_not_wait_for_a_name_that_is_never_resolved(monkeypatch):
    def hang(*_: object, **__: object) -> None:
        time.sleep(2)
        raise OSError

    monkeypatch.setattr("socket.getaddrinfo", hang)
    begun = time.monotonic()
    assert not answers("http://nowhere.invalid/x", 0.1)
    assert time.monotonic() - begun < 1.5


def test_the_disk_is_checked_beforehand(site, tmp_path, monkeypatch):
    free = type("Usage", (), {"free": 250_000})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: free)
    message = fails(with_sum(site.url("/x")), tmp_path)
    assert "300 kB" in message and "250 kB" in message and str(tmp_path) in message
    (tmp_path / ".x.zip.partial").write_bytes(CONTENT[:100_000])
    (tmp_path / ".x.zip.partial.json").write_text(json.dumps({"url": "http://elsewhere/x"}))
    assert get(with_sum(site.url("/x")), tmp_path).read_bytes() == CONTENT


def test_a_full_disk_keeps_the_part(site, tmp_path, monkeypatch):
    file = with_sum(site.url("/x", Answer()))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(transfer.os, "fsync", full)
        patch.setattr(transfer, "write_atomic", lambda path, content: path.write_bytes(content))
        assert "No space left on device" in fails(file, tmp_path)
    assert (tmp_path / ".x.zip.partial").stat().st_size == len(CONTENT)
    (tmp_path / "in the way").touch()
    assert "could not be read or written" in fails(file, tmp_path / "in the way" / "folder")


def test_two_at_the_same_time_download_it_once(site, tmp_path, capsys):
    file = with_sum(site.url("/x", Answer(slow=0.02)))
    with ThreadPoolExecutor(3) as pool:
        paths = list(pool.map(lambda _: get(file, tmp_path), range(3)))
    assert paths == [tmp_path / "x.zip"] * 3 and len(site.requests) == 1
    assert "another process is downloading it" in capsys.readouterr().err


def test_the_bar_starts_where_the_last_one_ended(site, tmp_path, capsys):
    download(with_sum(site.url("/x", Answer(cut=150_000), Answer())), tmp_path)
    shown = capsys.readouterr()
    assert "x.zip:  50%" in shown.err and "trying again" in shown.err and shown.out == ""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_process_is_continued_by_the_next(how, site, tmp_path):
    file = with_sum(site.url("/x", Answer(slow=0.05)))
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # even behind an &
        "from pathlib import Path; from masksr.fetch.download import download; from masksr.fetch.registry import File\n"
        "download(File.model_validate_json(sys.argv[1]), Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, file.model_dump_json(), str(tmp_path)]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    partial = tmp_path / ".x.zip.partial"
    while child.poll() is None and not (partial.exists() and partial.stat().st_size):
        time.sleep(0.01)
    child.send_signal(how)
    assert child.wait(10) != 0
    begin = partial.stat().st_size
    assert 0 < begin < len(CONTENT) and not (tmp_path / "x.zip").exists()
    site.answers["/x"] = [Answer()]
    subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "x.zip").read_bytes() == CONTENT
    assert site.requests[-1] == ("/x", f"bytes={begin}-", len(CONTENT) - begin)
