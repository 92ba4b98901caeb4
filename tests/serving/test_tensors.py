from __future__ import annotations

import models_for_tests as written
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.framework import tensor_pb2, types_pb2

from tfapp.serving import tensors
from tfapp.serving.servable import load_servable
from tfapp.serving.status import Code, ServingError
from tfapp.serving.tensors import data_type_name, to_array, to_arrays, write_proto

SHAPES = [(), (3,), (2, 3), (2, 0, 3)]
ODD_FLOATS = [np.nan, np.inf, -np.inf, -0.0, 1e-40, 1 / 3]


def values(dtype: tf.DType, shape: tuple[int, ...]) -> np.ndarray:
    count = int(np.prod(shape))
    if dtype == tf.string:
        array = np.empty(shape, object)
        array.flat = [b"\xff\0" * (n % 200) for n in range(count)]
        return array
    numbers = np.arange(count) - count // 2
    if dtype.is_complex:
        return (numbers + 0.5j).astype(dtype.as_numpy_dtype).reshape(shape)
    if dtype.is_floating:
        return (numbers / 4).astype(dtype.as_numpy_dtype).reshape(shape)
    if dtype == tf.bool:
        return (numbers % 2 == 0).reshape(shape)
    top = int(np.iinfo(dtype.as_numpy_dtype).max)
    return np.array([top - n for n in range(count)], dtype.as_numpy_dtype).reshape(shape)


def read_by_tensorflow(proto, dtype) -> np.ndarray:
    """What `Tensor::FromProto` of the C++ runtime makes of it."""
    return tf.io.parse_tensor(proto.SerializeToString(), dtype).numpy()


def same(found: np.ndarray, expected: np.ndarray) -> bool:
    equal = (found == expected) | ((found != found) & (expected != expected))
    return (found.shape, found.dtype) == (expected.shape, expected.dtype) and bool(np.all(equal))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", written.TYPES, ids=lambda dtype: dtype.name)
def test_tensors_of_clients_are_read_whatever_form_they_have(dtype, shape):
    array = values(dtype, shape)

    by_value = tensor_pb2.TensorProto()
    by_value.CopyFrom(tf.make_tensor_proto(array, dtype))  # numbers in tensor_content
    by_runtime = tensor_pb2.TensorProto.FromString(tf.io.serialize_tensor(array).numpy())

    assert same(to_array(by_value, "x"), array)
    assert same(to_array(by_runtime, "x"), array)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("as_content", [False, True], ids=["values", "content"])
@pytest.mark.parametrize("dtype", written.TYPES, ids=lambda dtype: dtype.name)
def test_tensors_are_written_as_tensorflow_reads_them(dtype, as_content, shape):
    array = values(dtype, shape)
    proto = tensor_pb2.TensorProto()

    write_proto(array, proto, as_content=as_content)

    assert same(tf.make_ndarray(proto), array)
    assert same(to_array(proto, "x"), array)
    assert same(np.asarray(read_by_tensorflow(proto, dtype), array.dtype), array)
    filled = {field.name for field, _ in proto.ListFields()} - {"dtype", "tensor_shape"}
    in_content = as_content and dtype != tf.string
    assert ("tensor_content" in filled) is (in_content and array.size > 0)
    assert bool(filled) is (array.size > 0)


def test_floats_are_in_float_val_with_every_bit():
    proto = tensor_pb2.TensorProto()

    write_proto(np.array(ODD_FLOATS, np.float32), proto)

    assert proto.dtype == types_pb2.DT_FLOAT
    assert not proto.tensor_content
    expected = np.array(ODD_FLOATS, np.float32)
    assert np.array(proto.float_val, np.float32).tobytes() == expected.tobytes()


def test_arrays_in_another_memory_order_are_written_in_row_order():
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    for given in (np.asfortranarray(array), array[::-1, ::2], array.T):
        for as_content in (False, True):
            proto = tensor_pb2.TensorProto()
            write_proto(given, proto, as_content=as_content)
            assert same(tf.make_ndarray(proto), np.ascontiguousarray(given))


def test_a_long_tensor_has_all_its_values():
    array = np.arange(3 * 2**15, dtype=np.float64)  # its length takes three bytes in the message
    proto = tensor_pb2.TensorProto()

    write_proto(array, proto)

    np.testing.assert_array_equal(proto.double_val, array)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"float_val": [7.0]}, [7, 7, 7, 7]),
        ({"float_val": [1.0, 2.0]}, [1, 2, 2, 2]),
        ({}, [0, 0, 0, 0]),
        ({"float_val": [1.0, 2.0, 3.0, 4.0, 5.0]}, [1, 2, 3, 4]),
    ],
)
def test_values_are_repeated_or_left_out_to_fill_the_shape(fields, expected):
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, **fields)
    proto.tensor_shape.dim.add(size=2)
    proto.tensor_shape.dim.add(size=2)

    array = to_array(proto, "x")

    assert (array.shape, array.ravel().tolist()) == ((2, 2), expected)
    assert same(array, read_by_tensorflow(proto, tf.float32))


@pytest.mark.parametrize(
    ("dtype", "fields"),
    [
        (tf.string, {"string_val": [b"a"]}),
        (tf.string, {}),
        (tf.bool, {"bool_val": [True]}),
        (tf.float16, {"half_val": [0xC000]}),
        (tf.bfloat16, {"half_val": [0xC000]}),
        (tf.complex64, {"scomplex_val": [1.0, 2.0]}),
        (tf.uint8, {"int_val": [300]}),
        (tf.int8, {"int_val": [-200]}),
        (tf.int64, {"int64_val": [-(2**62)]}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_one_value_of_any_type_fills_the_shape_as_in_tensorflow(dtype, fields):
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum, **fields)
    proto.tensor_shape.dim.add(size=3)

    array = to_array(proto, "x")

    assert array.dtype == dtype.as_numpy_dtype
    assert array.tolist() == read_by_tensorflow(proto, dtype).tolist()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("dtype: DT_FLOAT tensor_content: '12345678'", "has 8 bytes, expected 4 for shape []"),
        ("dtype: DT_FLOAT tensor_shape { dim { size: -1 } }", "has a negative dimension"),
        ("dtype: DT_FLOAT tensor_shape { unknown_rank: true }", "its shape is not known"),
        ("float_val: 1", "dtype DT_INVALID cannot be read"),
        ("dtype: DT_RESOURCE", "dtype DT_RESOURCE cannot be read"),
        ("dtype: DT_STRING tensor_content: '\\005ab'", "does not hold 1 strings"),
        ("dtype: DT_STRING tensor_content: '\\377'", "ends within the length of a string"),
        (
            "dtype: DT_STRING tensor_shape { dim { size: 9 } } tensor_content: 'a'",
            "ends before the lengths of 9 strings",
        ),
        (
            "dtype: DT_INT32 int_val: 1 tensor_shape { dim { size: 4611686018427387904 } }",
            "1 values for a shape of 4611686018427387904 elements",
        ),
    ],
)
def test_a_tensor_that_cannot_be_read_is_refused_by_name(text, reason):
    proto = text_format.Parse(text, tensor_pb2.TensorProto())

    with pytest.raises(ServingError) as caught:
        to_array(proto, "image")

    assert caught.value.code is Code.INVALID_ARGUMENT
    assert str(caught.value).startswith("tensor parsing error: image (")
    assert reason in str(caught.value)


def test_a_type_without_a_field_is_not_sent():
    with pytest.raises(ServingError, match="Tensors of type datetime64") as caught:
        write_proto(np.zeros(1, "datetime64[s]"), tensor_pb2.TensorProto())

    assert caught.value.code is Code.UNIMPLEMENTED


def test_types_are_named_as_in_the_protocol():
    assert data_type_name(np.zeros(1, np.float32)) == "DT_FLOAT"
    assert data_type_name(np.array([b"a"], object)) == "DT_STRING"


@pytest.mark.parametrize(
    ("dtype", "fields", "shape", "said"),
    [
        # Each asks for more than a gigabyte with a few bytes.
        (tf.float32, {"float_val": [1.0]}, (2**28,), "1 values for a shape of 268435456 elements"),
        (tf.int8, {}, (2**30, 1), "0 values for a shape of 1073741824 elements"),
        (tf.string, {"string_val": [b"a" * 1000]}, (10**6,), "1 values for a shape of 1000000"),
        (tf.string, {}, (2**26,), "0 values for a shape of 67108864 elements"),
        # TensorFlow would end the process.
        (tf.string, {"string_val": [b"a"]}, (1,) * 33, "33 dimensions, of at most 32"),
        (tf.string, {}, (0,) * 64, "64 dimensions, of at most 32"),
        (tf.float32, {"float_val": [1.0]}, (1,) * 65, "65 dimensions, of at most 64"),
        (tf.float32, {}, (0, 2**40, 2**40), "has no elements, but"),
        (tf.string, {}, (2**40, 2**40, 0), "has no elements, but"),
    ],
    ids=["floats", "int8", "long-strings", "strings", "33", "64", "65", "zero-first", "zero-last"],
)
def test_a_small_message_cannot_ask_for_a_huge_tensor(dtype, fields, shape, said):
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum, **fields)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)

    with pytest.raises(ServingError, match="tensor parsing error: x") as found:
        to_array(proto, "x")

    assert said in str(found.value)


@pytest.fixture(scope="module")
def strings(tmp_path_factory):
    path = written.write_strings(tmp_path_factory.mktemp("strings") / "1")
    servable = load_servable("strings", 1, path)
    yield servable
    servable.close()


def test_small_tensors_of_one_message_cannot_ask_for_much_together(monkeypatch):
    monkeypatch.setattr(tensors, "_REPEATED_LIMIT", 4 * 1000)
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[0.5])
    proto.tensor_shape.dim.add(size=501)
    sent = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[0.5] * 10**5)
    sent.tensor_shape.dim.add(size=10**5)
    plain = np.ones(10**6, np.float32)
    # What is in the message itself does not count.
    read = to_arrays({"sent": sent, "a": proto, "b": proto, "plain": plain})
    np.testing.assert_array_equal(read["b"], np.full(501, 0.5, np.float32))
    assert read["plain"] is plain
    with pytest.raises(ServingError, match=r"^tensor parsing error: c \(1 values for a shape of"):
        to_arrays(dict.fromkeys("abc", proto))


def test_a_tensor_without_elements_cannot_have_rows_without_end():
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT)
    for size in (10**6, 0):
        proto.tensor_shape.dim.add(size=size)
    assert to_array(proto, "x").shape == (10**6, 0)
    proto.tensor_shape.dim[0].size = 2**28
    with pytest.raises(
        ServingError, match=r"^tensor parsing error: x \(shape \[268435456, 0\] has no"
    ):
        to_array(proto, "x")


def test_strings_may_have_32_dimensions(strings):
    text = np.full((1,) * 32, b"a", object)
    answer = strings.run(strings.signatures["serving_default"], {"text": text})
    assert answer["upper_bytes"].shape == (1,) * 32
