"""Decodes image files, and reads their size from the header alone.

H, W and C are height, width and channels. Only the header is read to learn the size of thousands
of files; decoding is TensorFlow's, the same inside a graph and for a single file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfapp.data.raw import reading
from tfapp.errors import DataError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")

# Colour types of PNG that have no colour: grey, and grey with transparency.
_PNG_GREY = (0, 4)


@dataclass(frozen=True)
class ImageHeader:
    """What the first bytes of an image file say: size in pixels, and whether it is grey."""

    height: int
    width: int
    grey: bool


def read_header(path: Path) -> ImageHeader:
    """Returns size and colour of an image file.

    Raises:
        MissingError: The file is not there.
        DataError: It is none of the known formats, or ends inside its header.
    """
    with reading(path), path.open("rb") as file:
        data = file.read(64)
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            width, height, _, colour = struct.unpack(">IIBB", data[16:26])
            return ImageHeader(height, width, colour in _PNG_GREY)
        if data[:4] == b"GIF8":
            width, height = struct.unpack("<HH", data[6:10])
            return ImageHeader(height, width, grey=False)
        if data[:2] == b"BM":
            width, height = struct.unpack("<ii", data[18:26])
            return ImageHeader(abs(height), width, grey=False)
        if data[:2] == b"\xff\xd8":
            return _read_jpeg_header(path)
    except struct.error:
        pass
    raise unreadable(path, "it is empty" if not data else "its first bytes are of no such format")


def _read_jpeg_header(path: Path) -> ImageHeader:
    with reading(path):
        data = path.read_bytes()
    position = 2
    while True:
        marker, length = struct.unpack(">HH", data[position : position + 4])
        # Start-of-frame segments carry the size; C4, C8 and CC share their range but do not.
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            height, width, channels = struct.unpack(">HHB", data[position + 5 : position + 10])
            return ImageHeader(height, width, channels == 1)
        position += 2 + length


def unreadable(path: Path, reason: str) -> DataError:
    """Returns the error for an image file that cannot be decoded."""
    return DataError(
        f"{path} is not a readable image: {reason}. Remove it, or replace it by a PNG, JPEG, GIF"
        " or BMP file."
    )


def decode(data: Any, channels: int, size: tuple[int, int] | None) -> Any:
    """Returns `[H, W, C]` uint8 from the bytes of one image; works inside a graph.

    Args:
        data: Scalar string tensor, the content of the file. Of an animation, the first picture.
        channels: 1 for grey, 3 for colour; transparency is dropped.
        size: Height and width to resize to (area-averaged when shrinking), `None` to keep them.
    """
    import tensorflow as tf

    # Decoded as stored and converted here: not every decoder can convert by itself.
    image = tf.io.decode_image(data, expand_animations=False)
    grey = tf.shape(image)[-1] < 3
    if channels == 1:
        image = tf.cond(
            grey,
            lambda: image[..., :1],
            lambda: tf.image.rgb_to_grayscale(tf.ensure_shape(image[..., :3], [None, None, 3])),
        )
    else:
        image = tf.cond(grey, lambda: tf.repeat(image[..., :1], 3, axis=-1), lambda: image[..., :3])
    if size is not None:
        resized = tf.image.resize(
            tf.ensure_shape(image, [None, None, channels]), size, antialias=True
        )
        image = tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.uint8)
    return tf.ensure_shape(image, [*(size or (None, None)), channels])


def decode_file(path: Path, channels: int, size: tuple[int, int] | None) -> Any:
    """Returns the `[H, W, C]` uint8 NumPy array of one image file.

    Raises:
        MissingError: The file is not there.
        DataError: It cannot be decoded.
    """
    import tensorflow as tf

    with reading(path):
        data = path.read_bytes()
    try:
        return decode(tf.constant(data), channels, size).numpy()
    except tf.errors.InvalidArgumentError as error:
        raise unreadable(path, str(error.message).splitlines()[0]) from error
