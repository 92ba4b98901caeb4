"""What the builders over scikit-learn's data share: how the data is cut and written.

The builders are not registered with TFDS, whose own `iris` keeps its name there; once prepared,
`tfds.load("digits", data_dir=...)` reads them from their files like any other data set.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow_datasets as tfds

from tfapp.data.builders import VERSION
from tfapp.data.cutting import cut

TEST_SHARE = 0.2
CUT_SEED = 0

Pairs = tuple[npt.NDArray[Any], npt.NDArray[Any]]


class ScikitLearnBuilder(tfds.core.GeneratorBasedBuilder):
    """A data set of scikit-learn with a `train` and a `test` split, 80 to 20, in stored order."""

    VERSION = tfds.core.Version(VERSION)
    feature_key: str

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(skip_registration=True, **options)

    @abc.abstractmethod
    def read(self) -> Pairs:
        """Returns all features `[N, ...]` and class indices `[N]`."""

    def make_info(self, features: Any, names: list[str], **metadata: Any) -> Any:
        """Returns the `DatasetInfo`; stored in the order of the examples, not shuffled."""
        return tfds.core.DatasetInfo(
            builder=self,
            description=type(self).__doc__,
            features=tfds.features.FeaturesDict(
                {self.feature_key: features, "label": tfds.features.ClassLabel(names=names)}
            ),
            supervised_keys=(self.feature_key, "label"),
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(metadata),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager  # nothing is downloaded
        features, labels = self.read()
        train, test = cut(len(labels), TEST_SHARE, CUT_SEED, labels, self.name)
        return {
            "train": self._generate_examples(features[train], labels[train]),
            "test": self._generate_examples(features[test], labels[test]),
        }

    def _generate_examples(
        self, features: npt.NDArray[Any], labels: npt.NDArray[Any]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, (example, label) in enumerate(zip(features, labels, strict=True)):
            yield index, {self.feature_key: example, "label": np.int64(label)}
