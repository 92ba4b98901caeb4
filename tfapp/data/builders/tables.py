"""Tables of measurements with a class for each row."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from tfapp.data.builders.base import Pairs, ScikitLearnBuilder


class TableBuilder(ScikitLearnBuilder):
    """A table of float32 columns; their names are kept in the metadata as `columns`."""

    feature_key = "features"
    loader: str

    def read(self) -> Pairs:
        """Returns `[N, C]` float32 and `[N]`."""
        table = self._load()
        return table.data.astype(np.float32), table.target

    def _load(self) -> Any:
        from sklearn import datasets

        return getattr(datasets, self.loader)()

    def _info(self) -> Any:
        table = self._load()
        features = tfds.features.Tensor(shape=table.data.shape[1:], dtype=np.float32)
        names = [str(name) for name in table.target_names]
        return self.make_info(features, names, columns=[str(name) for name in table.feature_names])


class Iris(TableBuilder):
    """150 irises of 3 species, 4 lengths and widths in cm (scikit-learn's `load_iris`)."""

    loader = "load_iris"


class Wine(TableBuilder):
    """178 wines of 3 growers, 13 chemical measurements (scikit-learn's `load_wine`)."""

    loader = "load_wine"


class BreastCancer(TableBuilder):
    """569 tumours, 30 measurements of cell nuclei (scikit-learn's `load_breast_cancer`)."""

    loader = "load_breast_cancer"
