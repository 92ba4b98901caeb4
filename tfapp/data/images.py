"""Reads a folder of images: `root/class/*.png`, or `root/{train,validation,test}/class/*.png`.

Folders are the classes. Colour decides itself: grey when every file is grey, else three channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tfapp.data.image_files import SUFFIXES, decode, decode_file, read_header
from tfapp.data.raw import RawData, RawImages, RawPart, reading
from tfapp.errors import DataError

PARTS = {"train": ("train",), "validation": ("validation", "val"), "test": ("test",)}

Size = tuple[int, int]


def read_image_folder(root: Path, size: Size | None, memory_limit_bytes: int) -> RawData:
    """Returns the images of a folder, labelled by the names of their folders.

    Args:
        root: The folder.
        size: Height and width to resize to; `None`: all files must have one size.
        memory_limit_bytes: Above this size in memory images are decoded batch by batch.

    Raises:
        DataError: There are no images, they differ in size, or one cannot be decoded.
    """
    folders = _part_folders(root)
    files = {name: list_images(folder) for name, folder in folders.items()}
    for name, folder in folders.items():
        if not files[name]:
            raise DataError(
                f"no images in {folder}; expected one folder for each class with"
                f" {', '.join(SUFFIXES)} files in it, such as {folder.name}/cat/1.png."
            )
    images = _describe(root, [file for part in files.values() for file in part], size)
    count = sum(len(part) for part in files.values())
    decoded = count * int(np.prod(images.shape)) <= memory_limit_bytes
    parts = {name: _part(part, images, size, decoded) for name, part in files.items()}
    return RawData(parts, images=None if decoded else images)


def list_images(folder: Path) -> list[Path]:
    """Returns the image files of `folder/class/` in the order of their names."""
    with reading(folder):
        classes = sorted(path for path in folder.iterdir() if _is_visible_folder(path))
        found = {path: _images_in(path) for path in classes}
    empty = [path for path, images in found.items() if not images]
    if empty and len(empty) < len(classes):
        raise DataError(
            f"no images in {empty[0]}, but its name makes it a class. Put"
            f" {', '.join(SUFFIXES)} files into it, or remove the folder."
        )
    _refuse_undecoded(path for path, images in found.items() if images)
    return [image for images in found.values() for image in images]


def _refuse_undecoded(classes: Iterable[Path]) -> None:
    """Raises `DataError` for a name that exports, reports and cards could not hold as text."""
    for path in classes:
        try:
            path.name.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"the name of the folder {str(path)!r} is not UTF-8, so it cannot be the name of a"
                " class. Rename the folder."
            ) from error


def _images_in(folder: Path) -> list[Path]:
    """Returns the image files of one class in the order of their names."""
    return [
        file
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    ]


def _is_visible_folder(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _part_folders(root: Path) -> dict[str, Path]:
    """Returns the folder of each part; `root` itself is `train` when it has no folder `train`."""
    with reading(root):
        names = {path.name for path in root.iterdir() if path.is_dir()}
    if "train" not in names:
        return {"train": root}
    return {
        part: root / name
        for part, spellings in PARTS.items()
        for name in spellings
        if name in names
    }


def _describe(root: Path, files: list[Path], size: Size | None) -> RawImages:
    """Checks the headers of all files, and returns what they have in common."""
    headers = [(file, read_header(file)) for file in files]
    first, header = headers[0]
    for file, other in headers:
        if size is None and (other.height, other.width) != (header.height, header.width):
            raise DataError(
                f"images differ in size: {first} is {header.height}x{header.width} (height x"
                f" width), {file} is {other.height}x{other.width}. Set data.image_size, e.g."
                f" --set data.image_size=[{header.height},{header.width}], to resize them all."
            )
    channels = 1 if all(header.grey for _, header in headers) else 3
    shape = (*(size or (header.height, header.width)), channels)
    return RawImages(make_load(channels, size, shape), shape, root)


def make_load(
    channels: int, size: Size | None, shape: tuple[int, int, int]
) -> Callable[[Any], Any]:
    """Returns the function from `[B]` file names to `[B, H, W, C]` uint8, for use in a graph."""

    def load(files: Any) -> Any:
        import tensorflow as tf

        return tf.map_fn(
            lambda file: tf.ensure_shape(decode(tf.io.read_file(file), channels, size), shape),
            files,
            fn_output_signature=tf.TensorSpec(shape, tf.uint8),
        )

    return load


def _part(files: list[Path], images: RawImages, size: Size | None, decoded: bool) -> RawPart:
    if decoded:
        features = np.stack([decode_file(file, images.shape[2], size) for file in files])
    else:
        features = np.array([str(file) for file in files])
    labels = np.array([file.parent.name for file in files])
    return RawPart(features, labels, lambda i: str(files[i]), lambda i: str(files[i]))
