from __future__ import annotations

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import models_for_tests as written
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf import saved_model_pb2

from tfapp.serving.servable import Servable, load_servable
from tfapp.serving.status import Code, ServingError

FEATURES = np.array([[1, 2], [3, 4], [-1, 0.5]], np.float32)


def run(servable: Servable, inputs, outputs=None, signature="serving_default"):
    return servable.run(servable.signatures[signature], inputs, outputs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("servables")


@pytest.fixture(scope="module")
def half_plus_two(folder):
    return load_servable("half", 3, written.write_half_plus_two(folder / "half" / "3"))


@pytest.fixture(scope="module")
def several(folder):
    return load_servable("several", 1, written.write_several(folder / "several" / "1"))


@pytest.fixture(scope="module")
def strings(folder):
    return load_servable("strings", 1, written.write_strings(folder / "strings" / "1"))


def test_a_model_of_tensorflow_1_computes_half_plus_two(half_plus_two):
    answer = run(half_plus_two, {"x": np.array([[1], [2], [5]], np.float32)})

    assert list(answer) == ["y"]
    np.testing.assert_array_equal(answer["y"], [[2.5], [3.0], [4.5]])


@pytest.mark.parametrize("value", [2.0, [1.0, 2.0, 5.0], [[1.0, 5.0]], [[[2.0]]], []])
def test_a_shape_unlike_the_placeholders_reaches_the_graph(half_plus_two, value):
    x = np.array(value, np.float32)  # the signature says [?, 1]

    y = run(half_plus_two, {"x": x})["y"]

    assert (y.shape, y.dtype) == (x.shape, np.float32)
    np.testing.assert_array_equal(y, x / 2 + 2)


def test_keras_and_saved_modules_compute_what_they_were_saved_with(folder):
    expected = FEATURES @ written.WEIGHTS + written.BIAS
    exported = load_servable("keras", 1, written.write_keras(folder / "keras"))
    saved = load_servable("module", 1, written.write_saved_module(folder / "module"))

    from_keras = run(exported, {"features": FEATURES})["output_0"]
    from_module = run(saved, {"x": FEATURES})

    np.testing.assert_allclose(from_keras, expected, rtol=1e-6)
    np.testing.assert_allclose(from_module["scores"], expected, rtol=1e-6)
    np.testing.assert_array_equal(from_module["best"], expected.argmax(axis=1))


def test_signatures_tell_names_types_and_shapes(several, strings, half_plus_two):
    signature = several.signatures["serving_default"]
    text = strings.signatures["serving_default"].inputs["text"]

    assert (several.name, several.version) == ("several", 1)
    assert list(signature.inputs) == ["a", "b", "factor"]
    assert list(signature.outputs) == ["rows", "sum", "total"]
    assert signature.inputs["a"].shape == (None, 2)
    assert signature.inputs["a"].dtype == tf.float32
    assert signature.inputs["factor"].shape == ()
    assert signature.outputs["rows"].dtype == tf.int32
    assert signature.method_name == "tensorflow/serving/predict"
    assert (text.dtype, text.shape) == (tf.string, None)
    regress = half_plus_two.signatures["regress_x_to_y"]
    assert regress.method_name == "tensorflow/serving/regress"
    assert regress.inputs["inputs"].name == "tf_example:0"


def test_several_inputs_give_several_outputs_of_rank_0_and_2(several):
    a, b = FEATURES, FEATURES[::-1]

    answer = run(several, {"a": a, "b": b, "factor": np.array(3, np.float32)})

    np.testing.assert_allclose(answer["sum"], 3 * (a + b))
    assert answer["rows"].shape == answer["total"].shape == ()
    assert (answer["rows"].dtype, int(answer["rows"])) == (np.int32, 3)
    assert float(answer["total"]) == pytest.approx(3 * (a + b).sum())


def test_only_the_outputs_asked_for_are_computed_in_that_order(several):
    inputs = {"a": FEATURES, "b": FEATURES, "factor": np.array(1, np.float32)}

    assert list(run(several, inputs, ["total", "rows"])) == ["total", "rows"]
    assert list(run(several, inputs, ["rows"])) == ["rows"]
    # `rows` needs nothing but `a`: what cannot be added does no harm if it is not added.
    unequal = inputs | {"b": np.zeros((7, 2), np.float32)}
    assert run(several, unequal, ["rows"])["rows"] == 3


@pytest.mark.parametrize("shape", [(), (1,), (4,), (2, 2), (0,)])
def test_strings_go_in_and_come_out_as_bytes(strings, shape):
    values = [b"a\0b", b"\xff\xfe", "zürich".encode(), b""]
    text = np.empty(shape, object)
    text.flat = values[: text.size]

    answer = run(strings, {"text": text})

    upper = answer["upper_bytes"]
    assert (upper.shape, upper.dtype) == (shape, object)
    expected = [b"A\0B", b"\xff\xfe", "ZüRICH".encode(), b""][: text.size]
    assert upper.ravel().tolist() == expected
    assert answer["length"].ravel().tolist() == [len(value) for value in values[: text.size]]


@pytest.mark.parametrize("write", [written.write_table_v1, written.write_table_v2])
def test_tables_are_filled_from_assets_wherever_the_model_was_moved_to(folder, write):
    path = write(folder / write.__name__)
    moved = path.rename(folder / f"moved-{write.__name__}")

    servable = load_servable("cities", 1, moved)
    answer = run(servable, {"index": np.array([2, 0, 5])})

    assert answer["city"].tolist() == ["Zürich".encode(), b"Oslo", b"unknown"]


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (1, 2, 3)])
def test_any_rank_goes_where_none_is_prescribed(folder, shape):
    path = folder / "any"
    servable = load_servable("any", 1, path if path.exists() else written.write_unknown_rank(path))

    x = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    np.testing.assert_array_equal(run(servable, {"x": x})["double"], 2 * x)


def test_arrays_in_another_memory_order_are_read_right(several):
    a = np.asfortranarray(FEATURES)
    b = np.zeros((6, 4), np.float32)[::2, ::2]

    answer = run(several, {"a": a, "b": b, "factor": np.array(1, np.float32)}, ["sum"])

    np.testing.assert_array_equal(answer["sum"], FEATURES)


def test_tensors_of_several_signatures_are_fetched_in_one_run(half_plus_two):
    examples = np.array([written.example(x=4.0, x2=8.0).SerializeToString()], object)

    call = half_plus_two.call(half_plus_two.signatures["regress_x_to_y"], ("y3:0", "y:0"))

    y3, y = half_plus_two.compute(call, [examples])

    assert (y.tolist(), y3.tolist()) == ([[4.0]], [[7.0]])


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({"x": np.zeros((1, 1))}, "Type mismatch: actual double vs. expect float"),
        ({"x": np.array([b"a"], object)}, "Type mismatch: actual string vs. expect float"),
        ({}, "Missing input 'x' of signature serving_default."),
    ],
)
def test_inputs_of_another_type_or_none_are_refused(half_plus_two, inputs, text):
    with pytest.raises(ServingError, match=text) as caught:
        run(half_plus_two, inputs)

    assert caught.value.code is Code.INVALID_ARGUMENT


def test_an_error_of_the_graph_keeps_its_code_and_text(several, half_plus_two):
    inputs = {"a": FEATURES, "b": np.zeros((2, 2), np.float32), "factor": np.float32(1)}
    with pytest.raises(ServingError, match=r"Incompatible shapes: \[3,2\] vs. \[2,2\]") as caught:
        run(several, inputs)
    assert caught.value.code is Code.INVALID_ARGUMENT

    with pytest.raises(ServingError, match="Could not parse example input") as caught:
        run(half_plus_two, {"inputs": np.array([b"\xff"], object)}, None, "regress_x_to_y")
    assert caught.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("dimensions", [1, 2, 3], ids=["conv1d", "conv2d", "conv3d"])
def test_a_convolution_is_not_given_what_would_end_the_process(tmp_path, dimensions):
    """oneDNN's convolutions abort on inputs of another rank instead of refusing them."""
    size = [4] * dimensions
    layer = getattr(keras.layers, f"Conv{dimensions}D")(1, 3, padding="same")
    keras.Sequential([keras.Input((*size, 1), name="x"), layer]).export(
        str(tmp_path / "1"), verbose=False
    )
    servable = load_servable("conv", 1, tmp_path / "1")
    kernel = np.asarray(layer.kernel).ravel()

    for shape in ([], [2], [1, 2], [1, 2, 3], size, [1, *size], [1, 1, *size, 1]):
        if len(shape) == dimensions + 2:
            continue
        with pytest.raises(ServingError, match=f"input must be {dimensions + 2}-dim") as caught:
            run(servable, {"x": np.ones(shape, np.float32)})
        assert caught.value.code is Code.INVALID_ARGUMENT
    one = np.zeros([1, *size, 1], np.float32)
    one[(0, *[1] * dimensions, 0)] = 1.0
    (answer,) = run(servable, {"x": one}).values()
    # Around a single one stands the kernel, mirrored.
    np.testing.assert_allclose(answer[(0, *[slice(3)] * dimensions, 0)].ravel(), kernel[::-1])
    assert len(next(iter(run(servable, {"x": one[:0]}).values()))) == 0
    servable.close()


def test_threads_get_their_own_answers(folder, several):
    fresh = load_servable("several", 1, several.path)  # the first calls are made at once, too

    def one(number: int) -> bool:
        a = np.full((number % 5 + 1, 2), number, np.float32)
        outputs = [None, ["sum"], ["rows", "sum"]][number % 3]
        inputs = {"a": a, "b": a, "factor": np.float32(2)}
        answer = run(fresh, inputs, outputs, ["serving_default", "with_default"][number % 2])
        return bool((answer["sum"] == 4 * a).all()) and answer["sum"].shape == a.shape

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(one, range(400)))


def test_tensorflow_still_has_the_private_call_and_it_is_used(several, monkeypatch):
    base = tf.compat.v1.Session.__mro__[1]
    made = []
    private = base._make_callable_from_options
    monkeypatch.setattr(
        base,
        "_make_callable_from_options",
        lambda session, options: made.append(options) or private(session, options),
    )
    fresh = load_servable("several", 1, several.path)

    run(fresh, {"a": FEATURES, "b": FEATURES, "factor": np.float32(1)}, ["rows"])
    run(fresh, {"a": FEATURES, "b": FEATURES, "factor": np.float32(1)}, ["rows"])
    run(fresh, {"a": FEATURES, "b": FEATURES, "factor": np.float32(1)})
    run(fresh, {"a": FEATURES, "b": FEATURES, "factor": np.float32(1)})

    assert [len(options.fetch) for options in made] == [1, 3]  # each made once, called twice


def test_without_the_private_call_the_public_one_does(several, strings, monkeypatch):
    monkeypatch.delattr(tf.compat.v1.Session.__mro__[1], "_make_callable_from_options")
    fresh = load_servable("several", 1, several.path)
    inputs = {"a": FEATURES, "b": FEATURES, "factor": np.array(2, np.float32)}

    answer = run(fresh, inputs)
    upper = run(load_servable("strings", 1, strings.path), {"text": np.array(b"a", object)})

    np.testing.assert_allclose(answer["sum"], 4 * FEATURES)
    assert answer["rows"].shape == ()
    assert upper["upper_bytes"].tolist() == b"A"
    with pytest.raises(ServingError, match="Cannot feed value of shape") as caught:
        run(fresh, inputs | {"a": FEATURES[0]})
    assert caught.value.code is Code.INVALID_ARGUMENT


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_models_that_are_loaded_and_closed_in_turn_take_the_memory_of_one(tmp_path):
    path = written.write_large(tmp_path / "1", megabytes=64)

    def megabytes_after_a_cycle() -> float:
        servable = load_servable("large", 1, path)
        assert run(servable, {"x": np.zeros(1, np.float32)})["y"].tolist() == [1.0]
        servable.close()
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

    used = [megabytes_after_a_cycle() for _ in range(5)]

    # The allocator of oneDNN keeps what was freed for the next model; it does not take more.
    assert used[-1] - used[0] < 16


def test_a_folder_without_a_saved_model_is_said_to_be_so(tmp_path):
    with pytest.raises(ServingError) as caught:
        load_servable("none", 1, tmp_path)

    assert caught.value.code is Code.NOT_FOUND
    assert str(caught.value).startswith(
        f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {tmp_path}."
    )


def test_a_broken_file_is_said_to_be_so(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\x0a\xff\xff garbage")

    with pytest.raises(ServingError) as caught:
        load_servable("broken", 1, tmp_path)

    assert caught.value.code is Code.DATA_LOSS
    assert str(caught.value) == f"Can't parse {tmp_path / 'saved_model.pb'} as binary proto"


def test_a_file_that_cannot_be_read_ends_the_loading_with_the_reason(tmp_path):
    (tmp_path / "saved_model.pb").mkdir()

    with pytest.raises(ServingError, match=r"saved_model\.pb; Is a directory") as caught:
        load_servable("odd", 1, tmp_path)

    assert caught.value.code is Code.UNKNOWN


def test_tags_choose_the_graph_and_wrong_ones_name_those_there(folder):
    path = written.write_tagged(folder / "tagged", "serve", "tpu")

    servable = load_servable("tagged", 1, path, tags=["tpu", "serve"])
    with pytest.raises(ServingError) as caught:
        load_servable("tagged", 1, path)

    assert run(servable, {"x": np.array([1], np.float32)})["y"].tolist() == [2.0]
    assert caught.value.code is Code.NOT_FOUND
    assert str(caught.value) == (
        "Could not find meta graph def matching supplied tags: { serve }. To inspect available"
        " tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli`. Its"
        " tag-sets: { serve tpu }."
    )


def copy_of(servable: Servable, path: Path) -> Path:
    return shutil.copytree(servable.path, path)


@pytest.mark.skipif(sys.platform != "linux", reason="others have no such names")
def test_what_is_wrong_in_a_folder_whose_name_is_no_utf8_can_be_told(tmp_path):
    folder = tmp_path / "caf\udce9"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "saved_model.pb").write_bytes(b"none")
    with pytest.raises(ServingError) as caught:
        load_servable("m", 1, folder / "1")
    assert "caf\ufffd" in str(caught.value)
    str(caught.value).encode()


def test_missing_and_damaged_variables_end_the_loading(half_plus_two, tmp_path):
    missing = copy_of(half_plus_two, tmp_path / "missing")
    shutil.rmtree(missing / "variables")
    damaged = copy_of(half_plus_two, tmp_path / "damaged")
    (damaged / "variables" / "variables.data-00000-of-00001").write_bytes(b"")

    with pytest.raises(ServingError) as caught:
        load_servable("half", 1, missing)
    assert str(missing) in str(caught.value)
    with pytest.raises(ServingError) as caught:
        load_servable("half", 1, damaged)
    assert caught.value.code is Code.OUT_OF_RANGE


def test_an_operation_that_tensorflow_does_not_have_is_named(half_plus_two, tmp_path):
    path = copy_of(half_plus_two, tmp_path / "1")
    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    saved.meta_graphs[0].graph_def.node[0].op = "Frobnicate"
    (path / "saved_model.pb").write_bytes(saved.SerializeToString())

    with pytest.raises(ServingError, match="Frobnicate"):
        load_servable("half", 1, path)


def test_the_text_form_of_a_saved_model_is_read(half_plus_two, tmp_path):
    path = copy_of(half_plus_two, tmp_path / "1")
    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    (path / "saved_model.pb").unlink()
    (path / "saved_model.pbtxt").write_text(text_format.MessageToString(saved))

    servable = load_servable("half", 1, path)

    assert run(servable, {"x": np.array([[1]], np.float32)})["y"].tolist() == [[2.5]]
