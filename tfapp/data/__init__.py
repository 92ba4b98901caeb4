"""Data: from a name or a path to batches.

    splits = load_splits(config.data, data_dir=settings.data)
    preprocess = fit_preprocess(splits, config.data.scaling)
    batches = training_batches(splits.train, batch_size=64, seed=0)

Names are imported on first use, so `import tfapp.data` is cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfapp.lazy import lazy_names

if TYPE_CHECKING:
    from tfapp.data.encode import encode_rows as encode_rows
    from tfapp.data.encode import read_examples as read_examples
    from tfapp.data.examples import load_examples as load_examples
    from tfapp.data.inspection import describe_source as describe_source
    from tfapp.data.inspection import list_sources as list_sources
    from tfapp.data.inspection import prepare_source as prepare_source
    from tfapp.data.pipeline import OnePass as OnePass
    from tfapp.data.pipeline import TrainingBatches as TrainingBatches
    from tfapp.data.pipeline import evaluation_batches as evaluation_batches
    from tfapp.data.pipeline import first_examples as first_examples
    from tfapp.data.pipeline import read_batch as read_batch
    from tfapp.data.pipeline import steps_per_epoch as steps_per_epoch
    from tfapp.data.pipeline import training_batches as training_batches
    from tfapp.data.preprocess import Preprocess as Preprocess
    from tfapp.data.preprocess import fit_preprocess as fit_preprocess
    from tfapp.data.sources import find_source as find_source
    from tfapp.data.sources import load_splits as load_splits
    from tfapp.data.splits import ArraySplit as ArraySplit
    from tfapp.data.splits import Column as Column
    from tfapp.data.splits import DataInfo as DataInfo
    from tfapp.data.splits import Splits as Splits
    from tfapp.data.splits import StreamSplit as StreamSplit
    from tfapp.data.true_labels import read_labels as read_labels

_MODULES = {
    "encode": ("encode_rows", "read_examples"),
    "examples": ("load_examples",),
    "inspection": ("describe_source", "list_sources", "prepare_source"),
    "pipeline": (
        "OnePass",
        "TrainingBatches",
        "evaluation_batches",
        "first_examples",
        "read_batch",
        "steps_per_epoch",
        "training_batches",
    ),
    "preprocess": ("Preprocess", "fit_preprocess"),
    "sources": ("find_source", "load_splits"),
    "true_labels": ("read_labels",),
    "splits": ("ArraySplit", "Column", "DataInfo", "Splits", "StreamSplit"),
}

__getattr__, __all__ = lazy_names(__name__, _MODULES)
