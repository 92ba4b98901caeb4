"""What would end the process is refused, or carried around what dies of it."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfapp.serving.fragile import Fragility, check_shapes, fragility
from tfapp.serving.servable import load_servable
from tfapp.serving.status import Code, ServingError

# Operations by oneDNN or TensorFlow itself that end the process, with shapes that do.
ENDS = {
    "MaxPool": ("tf.nn.max_pool2d(x, 3, 1, 'VALID')", (None, 6, 6, 2), [1, 2, 2, 2]),
    "Conv2D": ("tf.nn.conv2d(x, tf.ones([3, 3, 1, 4]), 1, 'VALID')", (None, 6, 6, 2), [1, 6, 6, 0]),
    "MaxPool3D": ("tf.nn.max_pool3d(x, 2, 2, 'VALID')", (None, 6, 6, 6, 2), [2, 2, 2, 2]),
    "IRFFT": ("tf.signal.irfft(tf.cast(x, tf.complex64))", (None, 8), [1, 1]),
    "EncodePng": ("tf.io.encode_png(tf.cast(x, tf.uint8))", (6, 6, 3), [6, 0, 3]),
    "ScatterNd": ("tf.scatter_nd(tf.cast(x, tf.int32), [1.0], [9])", (1, 1), [1, 1, 1]),
    "FakeQuantWithMinMaxVarsPerChannel": (
        "tf.quantization.fake_quant_with_min_max_vars_per_channel(x, [0.0], [1.0])",
        (None, 1),
        [],
    ),
}


def save(function, shape, folder, dtype=tf.float32):
    module = tf.Module()
    specs = [tf.TensorSpec(shape, dtype, "x")]
    module.run = tf.function(lambda x: {"y": function(x)}, input_signature=specs)
    tf.saved_model.save(module, str(folder), signatures=module.run)
    return load_servable("model", 1, folder)


def run(servable, x):
    return servable.run(servable.signatures["serving_default"], {"x": x})["y"]


@pytest.mark.parametrize("name", ENDS)
def test_a_shape_that_would_end_the_process_is_refused(tmp_path, name):
    code, declared, shape = ENDS[name]
    servable = save(eval(f"lambda x: {code}"), declared, tmp_path / "1")

    with pytest.raises(ServingError, match="input must be") as caught:
        run(servable, np.ones(shape, np.float32))

    assert caught.value.code is Code.INVALID_ARGUMENT
    run(servable, np.zeros([size or 1 for size in declared], np.float32))
    servable.close()


def test_the_process_would_be_ended_without_that():
    """When TensorFlow stands it, there is nothing left to refuse."""
    code = """
        import numpy as np, tensorflow as tf
        tf.nn.max_pool2d(np.ones([1, 2, 2, 1], np.float32), 3, 1, "VALID")
    """
    words = [sys.executable, "-c", textwrap.dedent(code)]
    ended = subprocess.run(words, capture_output=True, timeout=120, check=False)
    if ended.returncode >= 0:
        pytest.skip("oneDNN's kernels are not used here")
    assert b"Traceback" not in ended.stderr


def test_larger_sizes_are_left_to_the_graph(tmp_path):
    model = keras.Sequential(
        [keras.Input((6, 6, 1), name="x"), keras.layers.Conv2D(1, 3), keras.layers.MaxPooling2D()]
    )
    model.export(str(tmp_path / "1"), verbose=False)
    servable = load_servable("model", 1, tmp_path / "1")
    signature = servable.signatures["serving_default"]

    (answer,) = servable.run(signature, {"x": np.ones([1, 10, 8, 1], np.float32)}).values()

    assert answer.shape == (1, 4, 3, 1)
    servable.close()


def test_a_model_that_says_the_rows_it_was_traced_with_takes_any_number(tmp_path):
    def pooled(x):
        return tf.reduce_sum(tf.nn.max_pool2d(x, 3, 1, "VALID"), [1, 2, 3])

    servable = save(pooled, (4, 6, 6, 1), tmp_path / "1")
    for rows in (1, 4, 5):
        assert run(servable, np.ones([rows, 6, 6, 1], np.float32)).tolist() == [16.0] * rows
    with pytest.raises(
        ServingError, match=r"^input must be \[\?,6,6,1\] or larger: \[4,2,6,1\]\.$"
    ):
        run(servable, np.ones([4, 2, 6, 1], np.float32))
    servable.close()


def test_the_first_dimension_counts_where_it_is_no_number_of_rows(tmp_path):
    def alone(x):
        return tf.reduce_sum(tf.nn.max_pool2d(x[tf.newaxis], 3, 1, "VALID"), [0, 1])

    servable = save(alone, (6, 6, 1), tmp_path / "1")
    assert run(servable, np.ones([6, 6, 1], np.float32)).tolist() == [[4.0]] * 4
    with pytest.raises(ServingError, match="input must be"):
        run(servable, np.ones([2, 6, 1], np.float32))
    servable.close()


def test_shapes_are_compared_from_the_first_dimension_to_the_last():
    x = np.ones([2, 3])
    check_shapes([(None, 3), (2, None), None], [x, x, x])
    with pytest.raises(ServingError, match=r"^input must be \[\?,4\] or larger: \[2,3\]\.$"):
        check_shapes([None, (None, 4)], [x, x])
    with pytest.raises(ServingError, match=r"^input must be 1-dimensional: \[2,3\]\.$"):
        check_shapes([(2,)], [x])


def test_operations_are_found_in_functions_of_a_graph():
    @tf.function
    def inner(x):
        return tf.nn.max_pool2d(x, 2, 2, "VALID")

    outer = tf.function(lambda x: inner(x) + 1).get_concrete_function(tf.TensorSpec([1, 4, 4, 1]))
    assert fragility(outer.graph.as_graph_def()) is Fragility.BUT_ROWS
    assert fragility(tf.Graph().as_graph_def()) is Fragility.NOTHING


@pytest.mark.parametrize("shape", [[], [0], [2, 3], [1] * 33, [1] * 64, [0] * 64])
def test_text_of_any_number_of_dimensions_is_answered(tmp_path, shape):
    servable = save(tf.strings.as_string, None, tmp_path / "1", tf.int32)

    answer = run(servable, np.full(shape, 7, np.int32))

    assert (answer.shape, answer.dtype) == (tuple(shape), object)
    assert answer.ravel().tolist() == [b"7"] * answer.size
    servable.close()


def test_text_of_more_dimensions_than_an_array_has_is_refused(tmp_path):
    servable = save(lambda x: tf.strings.as_string(x)[tf.newaxis], None, tmp_path / "1", tf.int32)

    with pytest.raises(ServingError, match="An output has 65 dimensions") as caught:
        run(servable, np.ones([1] * 64, np.int32))

    assert caught.value.code is Code.INVALID_ARGUMENT
    servable.close()
