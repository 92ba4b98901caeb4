"""Functions of TensorFlow that exported models are made of, with inputs that are right for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfapp.data.image_files import decode

Operations = dict[str, tuple[Callable[..., Any], Mapping[str, np.ndarray]]]


def operations() -> Operations:
    """Gives a function and right inputs for it, by name of the network."""
    return {
        **_of_arrays(),
        **_of_neighbours(),
        **_of_indices(),
        **_of_segments(),
        **_of_algebra(),
        **_of_images(),
        **_of_texts(),
        **_of_records(),
        **_of_control(),
        **_quantized(),
    }


def _floats(*shape: int) -> np.ndarray:
    return np.linspace(-1, 2, int(np.prod(shape)), dtype=np.float32).reshape(shape)


def _whole(*values: Any, dtype: Any = np.int32) -> np.ndarray:
    return np.array(values, dtype)


def _texts(*values: bytes) -> np.ndarray:
    return np.array(values, object)


def _of_arrays() -> Operations:
    x, pair = {"x": _floats(2, 3, 4)}, {"a": _floats(2, 3), "b": _floats(3, 2)}
    return {
        "matmul": (tf.matmul, pair),
        "matmul_relu": (lambda x: tf.nn.relu(x @ tf.ones([3, 2]) + 1.0), {"x": _floats(2, 3)}),
        "batch_matmul": (tf.matmul, {"a": _floats(2, 2, 3), "b": _floats(2, 3, 2)}),
        "einsum": (lambda a, b: tf.einsum("ij,jk->ik", a, b), pair),
        "tensordot": (lambda a, b: tf.tensordot(a, b, 1), pair),
        "add": (lambda a, b: a + b * a - b, {"a": _floats(2, 3), "b": _floats(3)}),
        "divide": (lambda a, b: a // b + a % b, {"a": _whole(4, 5), "b": _whole(2, 3)}),
        "power": (lambda a, b: a**b, {"a": _whole(2, 3), "b": _whole(2, 3)}),
        "reduce": (lambda x: tf.reduce_sum(x, 1) + tf.reduce_max(x, 1), x),
        "reduce_by": (tf.reduce_mean, {**x, "axis": _whole(0, 1)}),
        "argmax": (lambda x: tf.argmax(x, -1), x),
        "cumsum": (lambda x: tf.cumsum(x, 1), x),
        "transpose": (tf.transpose, {**x, "by": _whole(2, 0, 1)}),
        "squeeze": (lambda x: tf.squeeze(x, [1]), {"x": _floats(2, 1, 3)}),
        "concat": (lambda a, b: tf.concat([a, b], 0), {"a": _floats(2, 3), "b": _floats(1, 3)}),
        "unstack": (lambda x: tf.add_n(tf.unstack(x, 3, 1)), x),
        "split": (lambda x: tf.split(x, 2, 2)[1], x),
        "slice": (lambda x: x[:, 0, ::2], x),
        "sliced_by": (tf.slice, {**x, "begin": _whole(0, 1, 2), "size": _whole(1, 2, -1)}),
        "reverse": (lambda x: tf.reverse(x, [1]), x),
        "one_hot": (lambda x: tf.one_hot(x, 4), {"x": _whole(1, 2)}),
        "cast": (lambda x: tf.cast(x, tf.int32), x),
        "where": (lambda x: tf.where(x > 0), x),
        "buckets": (lambda x: tf.raw_ops.Bucketize(input=x, boundaries=[0.0, 1.0]), x),
        "attention": (
            lambda x: tf.nn.softmax(tf.matmul(x, x, transpose_b=True) * 0.5) @ x,
            x,
        ),
    }


def _of_neighbours() -> Operations:
    x, kernel = {"x": _floats(1, 6, 6, 3)}, tf.ones([2, 2, 3, 2])
    return {
        "convolution_by": (lambda x, k: tf.nn.conv2d(x, k, 1, "SAME"), {**x, "k": kernel.numpy()}),
        "convolution_relu": (
            lambda x: tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), [1.0, 2.0])),
            x,
        ),
        "pooling_argmax": (lambda x: tf.nn.max_pool_with_argmax(x, 2, 2, "SAME")[1], x),
        "local_normalization": (tf.nn.local_response_normalization, x),
        "patches": (
            lambda x: tf.image.extract_patches(x, [1, 2, 2, 1], [1] * 4, [1] * 4, "VALID"),
            x,
        ),
        "space_to_depth": (lambda x: tf.nn.space_to_depth(x, 2), x),
        "depth_to_space": (lambda x: tf.nn.depth_to_space(x, 2), {"x": _floats(1, 2, 2, 4)}),
        "space_to_batch": (lambda x: tf.space_to_batch(x, [2, 2], [[0, 0], [0, 0]]), x),
    }


def _of_indices() -> Operations:
    x, i = {"x": _floats(4, 3)}, {"i": _whole(1, 2)}
    scattered = {"x": _floats(4), "i": _whole([1], [2]), "u": _floats(2)}
    return {
        "embedding_table": (lambda i: tf.gather(tf.ones([5, 3]), i), i),
        "labels": (lambda i: tf.gather(tf.constant(["a", "b", "c"]), i), i),
        "gather": (tf.gather, {**x, **i}),
        "gather_rows": (lambda x, i: tf.gather(x, i, batch_dims=1), {**x, "i": _whole(*[[1]] * 4)}),
        "gather_nd": (tf.gather_nd, {**x, "i": _whole([1, 2], [0, 0])}),
        "scatter": (tf.tensor_scatter_nd_update, scattered),
        "scatter_add": (tf.tensor_scatter_nd_add, scattered),
        "partition": (
            lambda x, i: tf.concat(tf.dynamic_partition(x, i, 2), 0),
            {"x": _floats(3), "i": _whole(0, 1, 0)},
        ),
        "stitch": (
            lambda i, x: tf.dynamic_stitch([i], [x]),
            {"i": _whole(0, 1), "x": _floats(2, 2)},
        ),
        "top_k": (lambda x: tf.math.top_k(x, 2)[1], x),
        "top_k_by": (lambda x, k: tf.math.top_k(x, k)[0], {**x, "k": np.array(2, np.int32)}),
        "in_top_k": (lambda y, x: tf.math.in_top_k(y, x, 2), {"y": _whole(1, 2, 0, 1), **x}),
        "sort": (lambda x: tf.sort(x, direction="DESCENDING"), x),
        "argsort": (lambda x: tf.argsort(x, axis=0), x),
        "unique": (lambda x: tf.unique(x)[0], {"x": _whole(3, 1, 3)}),
        "searchsorted": (tf.searchsorted, {"x": _floats(4), "v": _floats(2)}),
        "counts": (
            lambda x: tf.math.bincount(x, minlength=4, maxlength=4, axis=-1),
            {"x": _whole([1, 2], [0, 2])},
        ),
    }


def _of_segments() -> Operations:
    sparse = {
        "i": _whole([0, 1], [1, 0], dtype=np.int64),
        "v": _whole(1, 2, dtype=np.int64),
    }

    def looked_up(i: Any, v: Any) -> Any:
        ids = tf.sparse.reorder(tf.SparseTensor(i, v, [2, 2]))
        return tf.nn.safe_embedding_lookup_sparse(tf.ones([5, 3]), ids)

    return {
        "segment_sum": (
            lambda x, i: tf.math.unsorted_segment_sum(x, i, 3),
            {"x": _floats(3, 2), "i": _whole(0, 1, 0)},
        ),
        "sparse": (lambda i, v: tf.sparse.to_dense(tf.SparseTensor(i, v, [2, 2])), sparse),
        "sparse_embedding": (looked_up, sparse),
        "sparse_of_dense": (
            lambda x: tf.sparse.reduce_sum(tf.sparse.from_dense(x), 1),
            {"x": _floats(4, 3)},
        ),
        "ragged": (
            lambda v, n: tf.RaggedTensor.from_row_lengths(v, n).to_tensor(),
            {"v": _floats(3), "n": _whole(1, 2, dtype=np.int64)},
        ),
        "ragged_sum": (
            lambda v, i: tf.reduce_sum(tf.RaggedTensor.from_value_rowids(v, i), 1),
            {"v": _floats(3), "i": _whole(0, 1, 1, dtype=np.int64)},
        ),
    }


def _of_algebra() -> Operations:
    square = {"x": np.eye(3, dtype=np.float32) * 2}
    both, waves = {**square, "b": _floats(3, 2)}, {"x": _floats(2, 8)}
    return {
        "cholesky": (tf.linalg.cholesky, square),
        "inverse": (tf.linalg.inv, square),
        "determinant": (tf.linalg.det, square),
        "solve": (tf.linalg.solve, both),
        "triangular": (tf.linalg.triangular_solve, both),
        "least_squares": (tf.linalg.lstsq, both),
        "svd": (lambda x: tf.linalg.svd(x)[0], square),
        "qr": (lambda x: tf.linalg.qr(x)[1], square),
        "eigenvalues": (lambda x: tf.linalg.eigh(x)[0], square),
        "fft": (lambda x: tf.abs(tf.signal.fft(tf.cast(x, tf.complex64))), waves),
        "rfft": (lambda x: tf.abs(tf.signal.rfft(x)), waves),
        "dct": (tf.signal.dct, waves),
        "stft": (lambda x: tf.abs(tf.signal.stft(x, 4, 2)), waves),
        "spectrogram": (
            lambda x: tf.raw_ops.AudioSpectrogram(input=x, window_size=8, stride=4),
            {"x": _floats(32, 1)},
        ),
    }


def _of_images() -> Operations:
    x, one = {"x": _floats(1, 6, 6, 3)}, {"x": _floats(6, 6, 3)}
    boxes = {"b": np.array([[0, 0, 1, 1], [0, 0, 0.5, 0.5]], np.float32), "s": _floats(2)}
    png = tf.io.encode_png(np.zeros([4, 4, 3], np.uint8)).numpy()
    return {
        "encoded_image": (  # as `tfapp export` writes it
            lambda x: tf.map_fn(
                lambda data: decode(data, 3, (4, 4)),
                x,
                fn_output_signature=tf.TensorSpec([4, 4, 3], tf.uint8),
            ),
            {"x": _texts(png, png)},
        ),
        "resize": (lambda x: tf.image.resize(x, [3, 4]), x),
        "resize_area": (lambda x: tf.image.resize(x, [3, 4], "area"), x),
        "resize_padded": (lambda x: tf.image.resize_with_pad(x, 3, 4), x),
        "crop_or_pad": (lambda x: tf.image.resize_with_crop_or_pad(x, 3, 9), x),
        "central_crop": (lambda x: tf.image.central_crop(x, 0.5), one),
        "boxes": (lambda b, s: tf.image.non_max_suppression(b, s, 2), boxes),
        "hsv": (tf.image.rgb_to_hsv, one),
        "hue": (lambda x: tf.image.adjust_hue(x, 0.2), x),
        "standardized": (tf.image.per_image_standardization, x),
        "sobel": (tf.image.sobel_edges, x),
        "jpeg": (lambda x: tf.io.encode_jpeg(tf.cast(x, tf.uint8)), one),
    }


def _of_texts() -> Operations:
    x = {"x": _texts(b"a b", b"c")}
    keys = tf.lookup.KeyValueTensorInitializer(["a", "b"], [1, 2])
    table = tf.lookup.StaticHashTable(keys, 0)
    return {
        "lookup": (table.lookup, x),
        "hash": (lambda x: tf.strings.to_hash_bucket_fast(x, 7), x),
        "hash_strong": (lambda x: tf.strings.to_hash_bucket_strong(x, 7, [1, 2]), x),
        "lower": (lambda x: tf.strings.lower(x, "utf-8"), x),
        "length": (lambda x: tf.strings.length(x, "UTF8_CHAR"), x),
        "substring": (lambda x: tf.strings.substr(x, 0, 1, "UTF8_CHAR"), x),
        "to_number": (tf.strings.to_number, {"x": _texts(b"1", b"2.5")}),
        "as_string": (tf.strings.as_string, {"x": _floats(3)}),
        "split_text": (lambda x: tf.strings.split(x).to_tensor(), x),
        "split_bytes": (lambda x: tf.strings.bytes_split(x).to_tensor(), x),
        "regex": (lambda x: tf.strings.regex_replace(x, "(a|b)+ *", "c"), x),
        "ngrams": (lambda x: tf.strings.ngrams(tf.strings.split(x), 1).to_tensor(), x),
        "unicode": (lambda x: tf.strings.unicode_decode(x, "UTF-8").to_tensor(), x),
        "transcode": (lambda x: tf.strings.unicode_transcode(x, "UTF-16-BE", "UTF-8"), x),
    }


def _of_records() -> Operations:
    floats = tf.train.Feature(float_list=tf.train.FloatList(value=[1, 2]))
    example = tf.train.Example(features=tf.train.Features(feature={"f": floats}))
    x = {"x": _texts(example.SerializeToString())}
    fixed, ragged = tf.io.FixedLenFeature([2], tf.float32), tf.io.RaggedFeature(tf.float32)
    tensor = tf.io.serialize_tensor(tf.constant([1.0])).numpy()
    sound = tf.audio.encode_wav(_floats(8, 1), 8000).numpy()
    return {
        "examples": (lambda x: tf.io.parse_example(x, {"f": fixed})["f"], x),
        "examples_ragged": (lambda x: tf.io.parse_example(x, {"f": ragged})["f"].to_tensor(), x),
        "raw": (lambda x: tf.io.decode_raw(x, tf.int32), {"x": _texts(b"abcd", b"efgh")}),
        "base64": (tf.io.decode_base64, {"x": _texts(b"AAAA")}),
        "csv": (lambda x: tf.io.decode_csv(x, [0.0, 0.0])[0], {"x": _texts(b"1,2")}),
        "tensor": (lambda x: tf.io.parse_tensor(x, tf.float32), {"x": np.array(tensor, object)}),
        "sound": (lambda x: tf.audio.decode_wav(x)[0], {"x": np.array(sound, object)}),
    }


def _of_control() -> Operations:
    n, x = {"n": np.array(3, np.int32)}, {"x": _floats(3, 2)}

    def grown(n: Any) -> Any:
        array = tf.TensorArray(tf.int32, 0, dynamic_size=True)
        end = tf.minimum(n, 1000)
        loop = tf.while_loop(lambda i, _: i < end, lambda i, a: (i + 1, a.write(i, i)), (0, array))
        return loop[1].stack()

    return {
        "loop": (grown, n),
        "choice": (lambda n: tf.switch_case(n, [lambda: 1.0, lambda: 2.0]), n),
        "map": (lambda x: tf.map_fn(lambda row: row * 2, x), x),
        "scan": (lambda x: tf.scan(lambda a, b: a + b, x), x),
        "checked": (lambda x: tf.ensure_shape(x, [3, 2]), x),
        "random": (lambda s: tf.random.stateless_uniform([2], s), {"s": _whole(1, 2)}),
    }


def _quantized() -> Operations:
    x = {"x": _whole([1, 2, 3], [4, 5, 6], dtype=np.uint8)}

    def product(x: Any) -> Any:
        kernel = tf.bitcast(tf.ones([3, 2], tf.uint8), tf.quint8)
        ends = {"min_a": -1.0, "max_a": 1.0, "min_b": -1.0, "max_b": 1.0}
        made = tf.raw_ops.QuantizedMatMul(a=tf.bitcast(x, tf.quint8), b=kernel, **ends)
        return tf.bitcast(made[0], tf.int32)

    return {
        "fake_quant": (tf.quantization.fake_quant_with_min_max_args, {"x": _floats(3)}),
        "quantized_matmul": (product, x),
        "dequantize": (
            lambda x: tf.quantization.dequantize(tf.bitcast(x, tf.quint8), -1.0, 1.0),
            x,
        ),
    }
