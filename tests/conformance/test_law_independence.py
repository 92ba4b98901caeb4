"""Law 8: in inference an example's output does not depend on the rest of its batch."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from descriptors import Descriptor, stir


def test_other_rows_do_not_matter(case: Descriptor):
    model = stir(case.build())
    features, others = case.features(), 10 * case.features(1)
    changed = tf.concat([features[:2], others[2:]], axis=0)
    alone = model(features, training=False)[:2]
    np.testing.assert_allclose(model(changed, training=False)[:2], alone, rtol=1e-6, atol=1e-6)


def test_an_example_alone_is_like_in_a_batch(case: Descriptor):
    model = stir(case.build())
    features = case.features()
    # Kernels for one row sum in another order.
    np.testing.assert_allclose(
        model(features[:1], training=False),
        model(features, training=False)[:1],
        rtol=1e-5,
        atol=1e-5,
    )
