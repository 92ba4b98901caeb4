"""Networks as exported models have them, each small, and what is right to ask them.

Those of Keras's layers are saved as Keras does; those of `hostile_operations.py` have inputs of
open sizes. Each answers without randomness, so that its answer can be checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from hostile_operations import operations

Inputs = Mapping[str, np.ndarray]
_Rows = Sequence[int | None]  # shape of a row
_SIDE = 6  # of an image; each network takes a moment at most
_LINE = (_SIDE, 2)
_IMAGE = (_SIDE, _SIDE, 2)
_ROOM = (_SIDE, _SIDE, _SIDE, 2)


@dataclass(frozen=True)
class Network:
    """A network, how it is saved, and what it can be asked.

    Attributes:
        name: Of the model that is served.
        write: Writes it as a SavedModel into a folder.
        right: An array for each input of its `serving_default`.
        answer: Gives what it makes of them, without a server.
    """

    name: str
    write: Callable[[Path], Any]
    right: Inputs
    answer: Callable[[], np.ndarray]


def networks() -> list[Network]:
    """Returns all of them."""
    keras.utils.set_random_seed(0)
    rows = {**_dense(), **_convolutions(), **_pooling(), **_recurrent(), **_shaping()}
    made = [_of_layers(name, *parts) for name, parts in rows.items()]
    made += [_of_model(name, *parts) for name, parts in _lookups().items()]
    return made + [_of_function(name, *parts) for name, parts in operations().items()]


def _dense() -> dict[str, tuple[_Rows, list[Any]]]:
    k = keras.layers
    return {
        "dense": ((4,), [k.Dense(5, activation="relu"), k.Dense(3, activation="softmax")]),
        "dense_gelu": ((4,), [k.Dense(5, activation="gelu"), k.Dense(3, activation="sigmoid")]),
        "dense_of_rows": (_LINE, [k.Dense(3, activation="tanh")]),
        "einsum_dense": (_LINE, [k.EinsumDense("abc,cd->abd", output_shape=(None, 3))]),
        "batch_normalization": (_IMAGE, [k.BatchNormalization()]),
        "layer_normalization": (_LINE, [k.LayerNormalization()]),
        "group_normalization": (_IMAGE, [k.GroupNormalization(2)]),
        "rms_normalization": (_LINE, [k.RMSNormalization()]),
        "normalization": ((4,), [k.Normalization(mean=1.0, variance=2.0)]),
        "discretization": ((4,), [k.Discretization([0.0, 1.0])]),
        "mel_spectrogram": ((512,), [k.MelSpectrogram(fft_length=128, num_mel_bins=8)]),
    }


def _convolutions() -> dict[str, tuple[_Rows, list[Any]]]:
    k, classes = keras.layers, keras.layers.Dense(3, activation="softmax")
    made: dict[str, tuple[_Rows, list[Any]]] = {
        "convolution_causal": (_LINE, [k.Conv1D(3, 3, padding="causal")]),
        "convolution_dilated": (_IMAGE, [k.Conv2D(3, 3, dilation_rate=2)]),
        "convolution_strided": (_IMAGE, [k.Conv2D(3, 3, strides=2), k.LeakyReLU()]),
        "convolution_grouped": (_IMAGE, [k.Conv2D(4, 3, groups=2)]),
        "convolution_pointwise": (_IMAGE, [k.Conv2D(4, 1), k.PReLU()]),
        "convolution_normalized": (
            _IMAGE,
            [k.Conv2D(3, 3, use_bias=False), k.BatchNormalization(), k.ReLU(6.0)],
        ),
        "convolution_open": (
            (None, None, 3),
            [k.Conv2D(3, 3), k.GlobalAveragePooling2D(), classes],
        ),
        "convolution_pooled": (
            _IMAGE,
            [k.Conv2D(3, 3, activation="relu"), k.MaxPooling2D(), k.Flatten(), k.Dense(3)],
        ),
    }
    for size, shape in ((1, _LINE), (2, _IMAGE), (3, _ROOM)):
        made[f"convolution{size}d"] = (shape, [getattr(k, f"Conv{size}D")(3, 3)])
        made[f"transposed{size}d"] = (shape, [getattr(k, f"Conv{size}DTranspose")(3, 3)])
        if size < 3:
            made[f"depthwise{size}d"] = (shape, [getattr(k, f"DepthwiseConv{size}D")(3)])
            made[f"separable{size}d"] = (shape, [getattr(k, f"SeparableConv{size}D")(3, 3)])
    return made


def _pooling() -> dict[str, tuple[_Rows, list[Any]]]:
    made: dict[str, tuple[_Rows, list[Any]]] = {}
    for size, shape in ((1, _LINE), (2, _IMAGE), (3, _ROOM)):
        for kind in ("Max", "Average"):
            for whole, words in (("", (3, 1)), ("Global", ()), ("Adaptive", (2,))):
                layer = getattr(keras.layers, f"{whole}{kind}Pooling{size}D")
                made[f"{whole}{kind}{size}d".lower()] = (shape, [layer(*words)])
    return made


def _recurrent() -> dict[str, tuple[_Rows, list[Any]]]:
    k = keras.layers
    return {
        "lstm": (_LINE, [k.LSTM(3)]),
        "lstm_sequences": (_LINE, [k.LSTM(3, return_sequences=True)]),
        "lstm_masked": (_LINE, [k.Masking(), k.LSTM(2)]),
        "gru": (_LINE, [k.GRU(3)]),
        "rnn": (_LINE, [k.SimpleRNN(3)]),
        "bidirectional": (_LINE, [k.Bidirectional(k.LSTM(2))]),
        "time_distributed": (_LINE, [k.TimeDistributed(k.Dense(3))]),
        "convolution_lstm": ((3, *_IMAGE), [k.ConvLSTM2D(2, 3)]),
    }


def _shaping() -> dict[str, tuple[_Rows, list[Any]]]:
    k = keras.layers
    return {
        "upsampling1d": (_LINE, [k.UpSampling1D(2)]),
        "upsampling2d": (_IMAGE, [k.UpSampling2D(2, interpolation="bilinear")]),
        "upsampling3d": (_ROOM, [k.UpSampling3D(2)]),
        "resizing": (_IMAGE, [k.Resizing(3, 5)]),
        "resizing_cropped": (_IMAGE, [k.Resizing(3, 5, crop_to_aspect_ratio=True)]),
        "center_crop": (_IMAGE, [k.CenterCrop(3, 3)]),
        "rescaling": (_IMAGE, [k.Rescaling(1 / 255)]),
        "cropping2d": (_IMAGE, [k.Cropping2D(1)]),
        "padding1d": (_LINE, [k.ZeroPadding1D(1)]),
        "padding2d": (_IMAGE, [k.ZeroPadding2D(1)]),
        "padding3d": (_ROOM, [k.ZeroPadding3D(1)]),
        "permuted": (_IMAGE, [k.Permute((3, 1, 2)), k.Flatten()]),
        "reshaped": ((4,), [k.Reshape((2, 2)), k.Flatten(), k.RepeatVector(3)]),
    }


def _lookups() -> dict[str, tuple[Any, np.ndarray]]:
    k = keras.layers
    number = keras.Input((3,), name="x", dtype="int32")
    text = keras.Input((1,), name="x", dtype="string")
    line = keras.Input(_LINE, name="x")
    numbers, texts = np.array([[1, 2, 0]], np.int32), np.array([[b"a b"], [b"c"]], object)
    values = np.linspace(-1, 1, 2 * _SIDE * 2, dtype=np.float32).reshape(2, *_LINE)
    vectors = k.TextVectorization(output_sequence_length=4, vocabulary=["a", "b"])
    return {
        "embedding": (keras.Model(number, k.Embedding(5, 3)(number)), numbers),
        "embedding_masked": (
            keras.Model(number, k.LSTM(2)(k.Embedding(5, 3, mask_zero=True)(number))),
            numbers,
        ),
        "encoding": (keras.Model(number, k.CategoryEncoding(4)(number)), numbers),
        "text_vectorization": (keras.Model(text, vectors(text)), texts),
        "string_lookup": (keras.Model(text, k.StringLookup(vocabulary=["a", "b"])(text)), texts),
        "hashing": (keras.Model(text, k.Hashing(7)(text)), texts),
        "multi_head_attention": (
            keras.Model(line, k.MultiHeadAttention(2, 2)(line, line, use_causal_mask=True)),
            values,
        ),
    }


def _of_layers(name: str, shape: _Rows, parts: Sequence[Any]) -> Network:
    rows = (2, *(size or _SIDE for size in shape))
    values = np.linspace(-1, 2, int(np.prod(rows)), dtype=np.float32).reshape(rows)
    return _of_model(name, keras.Sequential([keras.Input(shape, name="x"), *parts]), values)


def _of_model(name: str, model: Any, values: np.ndarray) -> Network:
    return Network(
        name,
        lambda path: model.export(str(path), verbose=False),
        {"x": values},
        lambda: np.asarray(model(tf.constant(values), training=False)),
    )


def _of_function(name: str, function: Callable[..., Any], right: Inputs) -> Network:
    module = tf.Module()
    # What a function looks up in has to be reachable from what is saved.
    module.kept = getattr(function, "__self__", None)
    specs = [
        tf.TensorSpec([None] * array.ndim, tf.as_dtype(array.dtype), alias)
        for alias, array in right.items()
    ]
    module.run = tf.function(lambda *inputs: {"y": function(*inputs)}, input_signature=specs)
    return Network(
        name,
        lambda path: tf.saved_model.save(module, str(path), signatures=module.run),
        right,
        lambda: module.run(*map(tf.constant, right.values()))["y"].numpy(),
    )
