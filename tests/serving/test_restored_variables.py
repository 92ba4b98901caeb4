"""Variables that signatures read, and that the graph's own restore operation leaves empty."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import other_models_for_tests as written
import pytest
import tensorflow as tf
from models_for_tests import BIAS, WEIGHTS, write_half_plus_two

from tfapp.serving.variables import fill_variables

v1 = tf.compat.v1


def loaded(path: Path):
    session = v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        meta_graph = v1.saved_model.load(session, ["serve"], str(path))
    return session, meta_graph


def read(session, copy: bool):
    """Returns the variables whose names are those that TensorFlow gives copies, or the others."""
    ops = [op for op in session.graph.get_operations() if op.type == "VarHandleOp"]
    with session.graph.as_default():
        values = {
            op.name: tf.raw_ops.ReadVariableOp(resource=op.outputs[0], dtype=op.get_attr("dtype"))
            for op in ops
            if op.name.startswith("Variable") is copy
        }
    return session.run(values)


def test_they_get_the_values_of_their_copies_and_the_copies_are_freed(tmp_path):
    written.saved_keras(tmp_path / "1")
    session, meta_graph = loaded(tmp_path / "1")
    with pytest.raises(tf.errors.FailedPreconditionError, match="Could not find variable"):
        read(session, copy=False)
    before = read(session, copy=True)

    assert fill_variables(session, meta_graph) == 6  # two of Dense, four of BatchNormalization

    found = {name.rpartition("/")[2]: value for name, value in read(session, copy=False).items()}
    np.testing.assert_array_equal(found["kernel"], WEIGHTS)
    np.testing.assert_array_equal(found["bias"], BIAS)
    np.testing.assert_array_equal(found["moving_mean"], written.MEAN)
    np.testing.assert_array_equal(found["moving_variance"], written.VARIANCE)
    assert len(before) == 6
    with pytest.raises(tf.errors.FailedPreconditionError, match="Could not find variable"):
        read(session, copy=True)


@pytest.mark.parametrize(
    "write", [written.keras_export, written.v1_simple_save, write_half_plus_two]
)
def test_what_was_restored_is_left_alone(tmp_path, write):
    write(tmp_path / "1")
    session, meta_graph = loaded(tmp_path / "1")
    assert fill_variables(session, meta_graph) == 0


def test_variables_of_a_model_that_trains_on_are_filled_once(tmp_path):
    written.saved_keras_compiled(tmp_path / "1")
    session, meta_graph = loaded(tmp_path / "1")
    assert fill_variables(session, meta_graph) > 6  # those of the optimizer, too
    with pytest.raises(tf.errors.FailedPreconditionError):
        read(session, copy=True)
