"""The requests that real rows make, one for each signature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

Arrays = Mapping[str, npt.NDArray[Any]]


def request_for(signature: str, inputs: Arrays) -> dict[str, npt.NDArray[Any]]:
    """Returns what a client sends to a signature of an export.

    Args:
        signature: `serving_default`, `predict`, `classify`, `regress` or `encoded_image`.
        inputs: Named inputs of `serving_default`, N rows of each.
    """
    if signature in ("classify", "regress"):
        return {"inputs": serialize_examples(inputs)}
    if signature == "encoded_image":
        images = [tf.io.encode_png(image).numpy() for image in inputs["image"]]
        return {"image_bytes": np.array(images, object)}
    return dict(inputs)


def serialize_examples(inputs: Arrays) -> npt.NDArray[Any]:
    """Returns N rows as serialized `tf.train.Example`s, `[N]` bytes."""
    rows = len(next(iter(inputs.values())))
    return np.array(
        [
            tf.train.Example(
                features=tf.train.Features(
                    feature={name: _feature(values[row]) for name, values in inputs.items()}
                )
            ).SerializeToString()
            for row in range(rows)
        ],
        object,
    )


def _feature(value: Any) -> tf.train.Feature:
    values = np.ravel(value)
    if values.dtype.kind in "SO":
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values.tolist()))
    if values.dtype.kind in "iu":
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))
