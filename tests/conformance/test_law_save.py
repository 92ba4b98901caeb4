"""Law 3: what was saved comes back equal, into a new process's empty hands."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from descriptors import Descriptor, numbers, stir

# Keras's own writing of arrays.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def saved_and_loaded(model, case: Descriptor, folder: Path):
    if isinstance(model, keras.Model):
        model.save(folder / "model.keras")
        return keras.saving.load_model(folder / "model.keras")
    path = tf.train.Checkpoint(model=model).save(folder / "model")
    fresh = case.build(seed=1)
    tf.train.Checkpoint(model=fresh).restore(path).assert_consumed()
    return fresh


def test_loaded_model_is_equal(case: Descriptor, tmp_path: Path):
    model = stir(case.build())
    loaded = saved_and_loaded(model, case, tmp_path)
    assert type(loaded) is type(model)
    for ours, theirs in zip(numbers(model), numbers(loaded), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    tf.debugging.assert_equal(
        loaded(case.features(), training=False), model(case.features(), training=False)
    )
