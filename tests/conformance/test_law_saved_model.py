"""Law 5: exported behind a signature with a free batch, a model computes the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf
from descriptors import Descriptor, stir

# One compiled graph may fuse what eager mode does one by one.
TOLERANCE = 1e-5


def exported(model, case: Descriptor, folder: Path):
    wrapper = tf.Module()
    wrapper.model = model
    signature = [tf.TensorSpec([None, *case.feature_shape], tf.float32)]
    wrapper.predict = tf.function(lambda x: model(x, training=False), input_signature=signature)
    tf.saved_model.save(wrapper, str(folder))
    return tf.saved_model.load(str(folder))


def test_reloaded_saved_model_is_equal(case: Descriptor, tmp_path: Path):
    model = stir(case.build())
    loaded = exported(model, case, tmp_path)
    for features in (case.features(), case.features(1)[:3]):
        np.testing.assert_allclose(
            loaded.predict(features),
            model(features, training=False),
            rtol=TOLERANCE,
            atol=TOLERANCE,
        )
