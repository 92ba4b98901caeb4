"""TFDS builders over the data sets that come with scikit-learn, by their name as a source."""

from __future__ import annotations

from collections.abc import Mapping

# `module:Class`, so that listing the names imports neither TFDS nor scikit-learn.
BUILDERS: Mapping[str, str] = {
    "breast_cancer": "tfapp.data.builders.tables:BreastCancer",
    "digits": "tfapp.data.builders.digits:Digits",
    "iris": "tfapp.data.builders.tables:Iris",
    "wine": "tfapp.data.builders.tables:Wine",
}
VERSION = "1.0.0"
