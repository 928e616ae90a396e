"""MAT-files as MATLAB 5 to 7.2 writes them, read without trust: real numbers, cells and structs.

scipy's reader follows nested cells down the C stack, so a small file can end the process, and takes a header's word for
how much memory there is to fill. Here depth and sizes are bounded by what the file can hold. The format:
"MAT-File Format", The MathWorks, chapter 1.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

LARGEST = 1 << 31  # bytes of a file, and of what is compressed in it; the official Ma model has 67 MB
DEEPEST = 5  # model, rf, forest, field: 4
MOST = 10_000  # arrays in one
MATRIX, COMPRESSED = 14, 15
NUMBERS = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8", 12: "<i8", 13: "<u8"}
CELL, STRUCT, DENSE = 1, 2, range(6, 16)  # classes of arrays
COMPLEX = 0x800


class _Element(NamedTuple):
    kind: int
    content: memoryview


def read_mat(path: Path) -> dict[str, Any]:
    """The variables of a file, by name.

    Numbers are arrays in MATLAB's order, of at least two dimensions; a cell is an array of objects, a struct one of
    dicts; all else (text, complex, sparse, objects) is None. Raises ValueError for a file that is damaged, too large,
    of another version (7.3) or byte order; OSError.
    """
    if path.stat().st_size > LARGEST:
        raise ValueError("too large")
    content = memoryview(path.read_bytes())
    if len(content) < 128 or bytes(content[124:128]) != b"\x00\x01IM":
        raise ValueError("not a little-endian MAT-file of version 5")
    variables, left = {}, LARGEST
    for element in _elements(content[128:]):
        if element.kind == COMPRESSED:
            inside = _inflated(element.content, left)
            left -= len(inside)
            (element,) = _elements(memoryview(inside))
        if element.kind != MATRIX:
            raise ValueError("a variable that is no array")
        name, value = _array(element.content, depth=1)
        variables[name] = value
    return variables


def _inflated(content: memoryview, limit: int) -> bytes:
    limit = min(limit, (1 << 24) + 100 * len(content))  # numbers that matter do not shrink further
    unpacker = zlib.decompressobj()
    try:
        inside = unpacker.decompress(content, limit)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not unpacker.eof:
        raise ValueError("too large or cut short")
    return inside


def _elements(content: memoryview) -> Iterator[_Element]:
    """The data elements one after the other, each padded to a multiple of 8 bytes unless it is compressed."""
    place = count = 0
    while place < len(content):
        count += 1
        if len(content) - place < 8 or count > MOST:
            raise ValueError("cut short, or too many arrays")
        kind, size = struct.unpack_from("<II", content, place)
        if kind >> 16:  # a small element: up to 4 bytes, which stand in the tag
            kind, size, begin, end = kind & 0xFFFF, kind >> 16, place + 4, place + 8
            if size > 4:
                raise ValueError("a small element that is none")
        else:
            begin = place + 8
            end = begin + size + (0 if kind == COMPRESSED else -size % 8)
        if begin + size > len(content):
            raise ValueError("cut short")
        yield _Element(kind, content[begin : begin + size])
        place = end


def _array(content: memoryview, depth: int) -> tuple[str, Any]:
    """Name and value of an array."""
    if not content:
        return "", np.zeros((0, 0))  # how an empty cell is written
    if depth > DEEPEST:
        raise ValueError("nested too deeply")
    parts = list(_elements(content))
    if len(parts) < 3:
        raise ValueError("not an array")
    flags, dims, name, *rest = parts
    if flags.kind != 6 or len(flags.content) != 8 or dims.kind != 5 or name.kind != 1:
        raise ValueError("not an array")
    (word,) = struct.unpack("<I", flags.content[:4])
    shape = tuple(np.frombuffer(dims.content, "<i4").tolist())
    if len(shape) < 2 or len(shape) > 8 or min(shape) < 0:
        raise ValueError("not a shape")
    size, kind = math.prod(shape), word & 0xFF
    title = bytes(name.content).decode("ascii")
    if kind == CELL:
        return title, _shaped(_objects(rest, size, depth), shape)
    if kind == STRUCT:
        return title, _shaped(_structs(rest, size, depth), shape)
    if kind not in DENSE or word & COMPLEX:
        return title, None
    if len(rest) != 1 or rest[0].kind not in NUMBERS:
        raise ValueError("not numbers")
    dtype = np.dtype(NUMBERS[rest[0].kind])
    if len(rest[0].content) != size * dtype.itemsize:
        raise ValueError("not as many numbers as it says")
    return title, np.frombuffer(rest[0].content, dtype).reshape(shape, order="F")


def _objects(parts: list[_Element], size: int, depth: int) -> list[Any]:
    """``size`` unnamed arrays."""
    if len(parts) != size or any(part.kind != MATRIX for part in parts):
        raise ValueError("not as many arrays as it says")
    return [_array(part.content, depth + 1)[1] for part in parts]


def _structs(parts: list[_Element], size: int, depth: int) -> list[dict[str, Any]]:
    if len(parts) < 2 or parts[0].kind != 5 or len(parts[0].content) != 4 or parts[1].kind != 1:
        raise ValueError("a struct without fields")
    length, names = int.from_bytes(parts[0].content, "little"), bytes(parts[1].content)
    if not 0 < length <= 64 or len(names) % length or len(names) > 64 * 100:
        raise ValueError("a struct without fields")
    fields = [names[i : i + length].partition(b"\0")[0].decode("ascii") for i in range(0, len(names), length)]
    if len(set(fields)) != len(fields):
        raise ValueError("two fields of one name")
    values = _objects(parts[2:], size * len(fields), depth)
    return [dict(zip(fields, values[i * len(fields) :], strict=False)) for i in range(size if fields else 0)]


def _shaped(values: list[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    array = np.empty(len(values), object)
    for place, value in enumerate(values):  # numpy would take arrays apart
        array[place] = value
    return array.reshape(shape, order="F")
