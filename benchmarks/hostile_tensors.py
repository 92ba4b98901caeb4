"""Shapes and values that no honest client sends to a network, by what is right to send."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

_FLOATS = (np.nan, np.inf, -np.inf, -1.0, 0.0, 1e38, -1e38, 1e-45, 2.0**31, 2.0**63)
_WHOLE = (0, -1, 7, 255, 2**16, 2**31 - 1, -(2**31), 2**40, 2**63 - 1, -(2**63))
_LARGEST = 2**20  # values of an array; some networks make the square of one dimension
_MOST_TEXTS = 2**14  # each may be an image to decode
_LARGEST_EMPTY = 2**22  # what an array without values would have without its zeros


def requests(right: Mapping[str, np.ndarray]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Gives names and inputs: each input in turn is made wrong, then all of them."""
    for alias, array in right.items():
        for shape in _shapes(array):
            yield f"{alias} {_named(shape)}", {**right, alias: _resized(array, shape)}
        for index, value in enumerate(_values(array.dtype)):
            for shape in (list(array.shape), [1], [0], [2, 2]):
                said = value if not isinstance(value, bytes) else f"text {index}"
                wrong = np.full(shape, value, array.dtype)
                yield f"{alias} {_named(shape)} of {said}", {**right, alias: wrong}
    if len(right) > 1:
        for size in (0, 1, 2):
            for rank in range(10):
                shape = [size] * rank
                every = {alias: _resized(array, shape) for alias, array in right.items()}
                yield f"all {_named(shape)}", every


def _shapes(array: np.ndarray) -> list[list[int]]:
    there = list(array.shape)
    found = [[size] * rank for rank in range(10) for size in (0, 1, 2, 3)]
    for place in range(array.ndim):
        for size in (0, 1, 2, 3, 5, 7, 2**10):
            found.append([*there[:place], size, *there[place + 1 :]])
            # Of two small dimensions one may be what a check looks at, and one what it forgets.
            found += [
                [*there[:before], 1, *there[before + 1 : place], size, *there[place + 1 :]]
                for before in range(place)
            ]
    found += [[*there, 1], [1, *there], [0, *there], [*there, 0], there[1:], there[:-1]]
    found += [[2**14], [2**20], [1, 2**20], [2**20, 0], [0, 2**20], [1, 0, 2**20], [1] * 32]
    if array.dtype != object:
        found += [[1] * 33, [1] * 64, [0] * 64]
    unique = {tuple(shape): shape for shape in found}
    most = _MOST_TEXTS if array.dtype == object else _LARGEST
    return [shape for shape in unique.values() if _fits(shape, most)]


def _fits(shape: list[int], most: int) -> bool:
    most = _LARGEST_EMPTY if 0 in shape else most
    return float(np.prod([float(size or 1) for size in shape])) <= most


def _named(shape: list[int]) -> str:
    same = len(shape) > 4 and len(set(shape)) == 1
    return f"[{shape[0]}] * {len(shape)}" if same else str(shape)


def _resized(array: np.ndarray, shape: list[int]) -> np.ndarray:
    if 0 in shape:
        return np.zeros(shape, array.dtype)
    if np.prod(shape) > 2**12:  # of one value, to be small on the wire
        return np.broadcast_to(array.ravel()[:1].reshape([1] * len(shape)), shape)
    return np.resize(array, shape)


def _values(dtype: Any) -> list[Any]:
    if dtype.kind == "O":
        return [*_texts(), *_images()]
    if dtype.kind == "f":
        return list(_FLOATS)
    ends = np.iinfo(dtype)
    return [value for value in _WHOLE if ends.min <= value <= ends.max]


def _texts() -> list[bytes]:
    numbers = [b"1", b"1e999", b"nan", b"-0x1p99", b"9" * 10**5]
    odd = [
        b"",
        b"\0",
        b"\xff\xfe\0",
        b"\xf0\x9f\x98\x80" * 1000,
        b"%s%n",
        b"(" * 10**4,
        b"[" * 10**5,
    ]
    records = [b"\x0a\xff\xff\xff\xff\x0f", b"\x0a" * 10**5, b"RIFF" + b"\xff" * 60, b"," * 10**5]
    return [*numbers, *odd, *records, b"a" * 10**6, b"a b " * 10**5]


def _images() -> list[bytes]:
    """Image files: cut, of sizes that they do not have, and of many pixels in few bytes."""
    pixels = np.zeros([8, 8, 3], np.uint8)
    png, jpeg = tf.io.encode_png(pixels).numpy(), tf.io.encode_jpeg(pixels).numpy()
    frame = jpeg.index(b"\xff\xc0") + 5  # where height and width stand
    gif = b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0x80, 0, 0) + bytes(6)
    image = b",\0\0\0\0" + struct.pack("<HHB", 8, 8, 0) + b"\x02\x02\x4c\x01\0"
    whole_gif = gif + image + b";"
    bmp = b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 8, 8, 1, 24, 0, 0, 0, 0, 0, 0)
    cut = [data[:end] for data in (png, jpeg, whole_gif, bmp) for end in (4, 12, 30, len(data) - 9)]
    sizes = [
        *(_png(*size) for size in ((2**31 - 1, 1), (2**16, 2**16), (0, 0), (4000, 4000), (8, 9))),
        *(jpeg[:frame] + size + jpeg[frame + 4 :] for size in (b"\xff" * 4, bytes(4), b"\0\1\0\1")),
        *(gif[:6] + size + gif[10:] + image for size in (b"\xff" * 4, bytes(4))),
        gif + image * 10**4 + b";",  # an animation
        *(bmp[:18] + struct.pack("<ii", *size) + bmp[26:] for size in _BMP_SIZES),
    ]
    return [png, jpeg, whole_gif, *cut, *sizes]


_BMP_SIZES = ((2**31 - 1, 2**31 - 1), (-(2**31), -(2**31)), (0, 0), (8, -8), (2**16, 2**15))


def _png(width: int, height: int) -> bytes:
    """Returns a PNG in grey of that size, with its pixels if there are not too many."""
    rows = bytes((width + 1) * height) if width * height < 2**25 else b""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
