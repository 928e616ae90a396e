"""Damage to files: of bytes, of numbers in headers, of text, and below checksums and compression."""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

Mutation = Callable[[random.Random, bytes], bytes]

NUMBERS = [0, 1, -1, 2, 127, 128, 255, 256, 32767, 65535, 2**24, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, -(2**63)]
TOKENS = [
    *("*a", "&a ", "<<: ", "!!binary ", "!!python/name:os.system", "!!set ", "!!float ", "[", "]", "{", "}", ":", "- "),
    *("? ", "|", ">", '"', "'", "\\", "#", "%", "@", "`", "~", "\t", "\n", "null", "yes", ".nan", "-.inf", "1e999"),
    *("0x_", "0b", "9999999999999999999999", "1_0", "1:30", "010", "2024-13-45", "NaN", "Infinity", "1e400", "-1"),
    *("[[[[[[[[", "{{{{{{{", "../../x", "/etc/passwd", "{name}", "{name!r}", "${profile}", "$(id)", ";id", "\0", "$x$"),
    *("\x1b[2J", "\u202e", "\u2028", "\ud800", "\\ud800", "<script>alert(1)</script>", "<svg><style>", "<!--", "-->"),
    *('"><img/src=x/onerror=alert(1)>', "<![CDATA[><img/src=x/onerror=alert(1)>]]>", '<a href="java&#9;script:x">'),
    *("<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>", "javascript:alert(1)", "\\frac{"),
    '<meta http-equiv="refresh" content="0;url=x">',
]


def damaged(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """One to four kinds of damage to the bytes as they lie there."""
    content = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        rng.choice(_BYTES)(rng, content, others)
    return bytes(content)


def _flip(rng: random.Random, content: bytearray, _: list[bytes]) -> None:
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        if content:
            content[_place(rng, content)] ^= 1 << rng.randrange(8)


def _number(rng: random.Random, content: bytearray, _: list[bytes]) -> None:
    form = rng.choice(["B", "<H", ">H", "<I", ">I", "<Q", ">Q"])
    place, size = _place(rng, content), struct.calcsize(form)
    number = rng.choice([*NUMBERS, len(content), rng.getrandbits(32)])
    content[place : place + size] = struct.pack(form, number % (1 << 8 * size))


def _cut(rng: random.Random, content: bytearray, _: list[bytes]) -> None:
    del content[_place(rng, content) :]


def _remove(rng: random.Random, content: bytearray, _: list[bytes]) -> None:
    place = _place(rng, content)
    del content[place : place + rng.choice([1, 4, 8, 100, 5000])]


def _repeat(rng: random.Random, content: bytearray, _: list[bytes]) -> None:
    begin, end = sorted((_place(rng, content), _place(rng, content)))
    content[begin:begin] = content[begin : min(end, begin + 50_000)] * rng.choice([1, 1, 3])


def _splice(rng: random.Random, content: bytearray, others: list[bytes]) -> None:
    other = rng.choice(others)
    begin, end = sorted((_place(rng, other), _place(rng, other)))
    place = _place(rng, content)
    content[place : place + (end - begin) * rng.randrange(2)] = other[begin:end]


def _token(rng: random.Random, content: bytearray, _: list[bytes]) -> None:
    place = _place(rng, content)
    token = rng.choice(TOKENS).encode("utf-8", "surrogatepass")
    content[place : place + rng.choice([0, 0, 1, len(token)])] = token * rng.choice([1, 1, 1, 2, 3000])


_BYTES = (_flip, _flip, _number, _number, _cut, _remove, _repeat, _splice, _token)


def _place(rng: random.Random, content: bytes | bytearray) -> int:
    """More often near the beginning, where headers are."""
    return int(len(content) * rng.random() ** rng.choice([1, 3])) if content else 0


def in_png(rng: random.Random, data: bytes) -> bytes:
    """Damage to chunks of a PNG, whose checksums are then right; also chunks that are there twice or too early."""
    chunks, place = [], 8
    while place + 8 <= len(data):
        (size,) = struct.unpack_from(">I", data, place)
        chunks.append([data[place + 4 : place + 8], data[place + 8 : place + 8 + size]])
        place += 12 + size
    if not chunks:
        return data
    chosen = rng.randrange(len(chunks))
    name, body = chunks[chosen]
    if rng.random() < 0.3:
        bomb = zlib.compress(bytes(rng.choice([10, 10**6, 10**8])))
        kinds = {b"zTXt": b"k\0\0", b"iCCP": b"k\0\0", b"iTXt": b"k\0\1\0\0\0", b"eXIf": b"", b"tRNS": b""}
        kind = rng.choice(list(kinds))
        chunks.insert(rng.randrange(1, len(chunks)) if len(chunks) > 1 else 0, [kind, kinds[kind] + bomb])
    elif rng.random() < 0.2:
        chunks.insert(rng.randrange(len(chunks)), list(rng.choice(chunks)))
    else:
        chunks[chosen][1] = damaged(rng, body, [data]) if name != b"IDAT" or rng.random() < 0.5 else body[:-9]
    return data[:8] + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def in_zip(rng: random.Random, data: bytes) -> bytes:
    """Damage to a member of a zip, whose checksums are then right; perhaps a bomb in its place."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    chosen = rng.randrange(len(members))
    name, body = members[chosen]
    method = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
    body = bytes(10**8) if rng.random() < 0.02 else damaged(rng, body, [other for _, other in members])
    members[chosen] = (name + rng.choice(["", "", "", "/../x", "\u202e"]), body)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, body in members:
            archive.writestr(zipfile.ZipInfo(name), body, compress_type=method)
    return buffer.getvalue()


def in_mat(rng: random.Random, data: bytes) -> bytes:
    """Damage to a variable of a MAT-file, which is then compressed or not."""
    (size,) = struct.unpack_from("<I", data, 132)
    inside = zlib.decompress(data[136 : 136 + size])
    inside = damaged(rng, inside, [inside])
    packed = zlib.compress(inside)
    return data[:128] + rng.choice([inside, struct.pack("<II", 15, len(packed)) + packed])


def in_gzip(rng: random.Random, data: bytes) -> bytes:
    inside = gzip.decompress(data)
    return gzip.compress(damaged(rng, inside, [inside]))


def in_safetensors(rng: random.Random, data: bytes) -> bytes:
    """Damage to the header's JSON, or to the text it is; its length is then right."""
    size = int.from_bytes(data[:8], "little")
    header = (in_json if rng.random() < 0.7 else lambda rng, text: damaged(rng, text, [text]))(rng, data[8 : 8 + size])
    return len(header).to_bytes(8, "little") + header + data[8 + size :]


def in_json(rng: random.Random, data: bytes) -> bytes:
    """A value somewhere in JSON replaced by an absurd one, removed, or given another name."""
    tree = json.loads(data)
    place: Any = tree
    while isinstance(place, dict | list) and place:
        key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if not isinstance(place[key], dict | list) or not place[key] or rng.random() < 0.15:
            break
        place = place[key]
    if not isinstance(place, dict | list) or not place:
        return data
    values = [*NUMBERS, 10**400, 1e308, float("nan"), None, True, [], {}, "", "x" * 5000, *TOKENS]
    action = rng.randrange(6)
    if action == 0:
        del place[key]
    elif action == 1 and isinstance(place, dict):
        place[str(rng.choice(values))] = place.pop(key)
    elif action == 2 and isinstance(place, list):
        place *= rng.choice([2, 50])
    elif action == 3 and isinstance(place[key], str):
        middle = rng.randrange(len(place[key]) + 1)
        place[key] = place[key][:middle] + rng.choice(TOKENS) + place[key][middle:]
    else:
        place[key] = rng.choice(values)
    return json.dumps(tree).encode()
