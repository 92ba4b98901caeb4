"""Handwritten digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from tfapp.data.builders.base import Pairs, ScikitLearnBuilder


class Digits(ScikitLearnBuilder):
    """1,797 handwritten digits of 8x8 pixels, values 0 to 16 (scikit-learn's `load_digits`)."""

    feature_key = "image"

    def read(self) -> Pairs:
        """Returns `[1797, 8, 8, 1]` uint8 and `[1797]`."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        return digits.images[..., np.newaxis].astype(np.uint8), digits.target

    def _info(self) -> Any:
        image = tfds.features.Image(shape=(8, 8, 1), dtype=np.uint8, encoding_format="png")
        return self.make_info(image, [str(digit) for digit in range(10)])
