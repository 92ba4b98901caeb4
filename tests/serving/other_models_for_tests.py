"""Writes SavedModels as other programs do, one function each; their answers are easy to compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from models_for_tests import BIAS, WEIGHTS

v1 = tf.compat.v1

WORDS = ("ant", "bee", "Käfer")
INNER = np.array([[1.0, -1.0], [2.0, 0.5], [0.0, 1.0]], np.float32)  # [3, 2]
MEAN, VARIANCE, EPSILON = np.float32([1, 2, 3]), np.float32([4, 1, 0.25]), 1e-3


# TensorFlow 1


def v1_simple_save(path: Path) -> None:
    """Reference variables, as all programs of TensorFlow 1 had them."""
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 2])
        weights = v1.get_variable("w", initializer=WEIGHTS, use_resource=False)
        y = tf.matmul(x, weights) + v1.get_variable("b", initializer=BIAS, use_resource=False)
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(path), {"x": x}, {"y": y})


def v1_tables(path: Path) -> None:
    """A table from an asset and one from constants, filled by a `legacy_init_op`."""
    vocabulary = path.with_name("words.txt")
    vocabulary.write_text("\n".join(WORDS), encoding="utf-8")
    with tf.Graph().as_default(), v1.Session() as session:
        word = v1.placeholder(tf.string, None)
        asset = tf.constant(str(vocabulary))
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, asset)
        lines = tf.lookup.TextFileInitializer(
            *(asset, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE),
            *(tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER),
        )
        number = v1.lookup.StaticHashTable(lines, default_value=-1).lookup(word)
        legs = tf.lookup.KeyValueTensorInitializer(
            tf.constant([0, 1, 2], tf.int64), tf.constant(["six", "six!", "sechs"])
        )
        outputs = {"number": number, "legs": v1.lookup.StaticHashTable(legs, "?").lookup(number)}
        signature = v1.saved_model.predict_signature_def({"word": word}, outputs)
        session.run(v1.tables_initializer())
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {"serving_default": signature},
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            legacy_init_op=v1.tables_initializer(),
        )
        builder.save()
    vocabulary.unlink()


def v1_sparse(path: Path) -> None:
    """An input that is a sparse tensor: three tensors under one name."""
    method = "tensorflow/serving/predict"
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.sparse_placeholder(tf.float32, [None, 3])
        dense = v1.placeholder(tf.float32, [None])
        info = v1.saved_model.build_tensor_info
        of_sparse = v1.saved_model.build_signature_def(
            {"x": info(x)}, {"y": info(tf.sparse.reduce_sum(x, 1))}, method
        )
        to_sparse = v1.saved_model.build_signature_def(
            {"x": info(dense)},
            {"y": info(tf.sparse.from_dense(dense))},
            "tensorflow/serving/predict",
        )
        builder = v1.saved_model.Builder(str(path))
        signatures = {"serving_default": of_sparse, "to_sparse": to_sparse}
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()


# Keras 3


def _dense_and_norm() -> Any:
    dense = keras.layers.Dense(3)
    norm = keras.layers.BatchNormalization(epsilon=EPSILON)
    model = keras.Sequential([keras.Input((2,), name="x"), dense, norm])
    dense.set_weights([WEIGHTS, BIAS])
    norm.set_weights([np.ones(3), np.zeros(3), MEAN, VARIANCE])
    return model


def _two_inputs() -> Any:
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    dense = keras.layers.Dense(3)
    model = keras.Model([a, b], {"sum": dense(a + b), "product": a * b})
    dense.set_weights([WEIGHTS, BIAS])
    return model


def _of_words() -> Any:
    word = keras.Input((), dtype="string", name="word")
    one_hot = keras.layers.StringLookup(vocabulary=list(WORDS), output_mode="one_hot")(word)
    dense = keras.layers.Dense(2)
    model = keras.Model(word, dense(one_hot))
    dense.set_weights([np.concatenate([[[9, 9]], INNER]), np.zeros(2)])  # first: unknown words
    return model


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.steps = [keras.layers.Dense(3, name="same"), keras.layers.Dense(2, name="same")]

    def call(self, x: Any) -> Any:
        return self.steps[1](self.steps[0](x))


def _subclassed() -> Any:
    model = Subclassed()
    model(tf.zeros([4, 2]))
    model.set_weights([WEIGHTS, BIAS, INNER, np.zeros(2)])
    return model


def keras_export(path: Path) -> None:
    _dense_and_norm().export(path, verbose=False)


def keras_export_two(path: Path) -> None:
    _two_inputs().export(path, verbose=False)


def keras_export_words(path: Path) -> None:
    _of_words().export(path, verbose=False)


def keras_archive(path: Path) -> None:
    """Two endpoints over one model, one of them for rows of any length."""
    model = _subclassed()
    archive = keras.export.ExportArchive()
    archive.track(model)
    features = tf.TensorSpec([None, 2], tf.float32, "features")
    pixels = tf.TensorSpec([None, None], tf.uint8, "pixels")
    archive.add_endpoint("serving_default", lambda x: {"score": model(x)}, [features])
    archive.add_endpoint("mean", lambda x: {"mean": tf.reduce_mean(x / 255, axis=1)}, [pixels])
    archive.write_out(path, verbose=False)


def saved_keras(path: Path) -> None:
    tf.saved_model.save(_dense_and_norm(), str(path))


def saved_keras_compiled(path: Path) -> None:
    """With the optimizer's variables and metrics beside the weights."""
    model = _dense_and_norm()
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(np.zeros((4, 2)), np.zeros((4, 3)), verbose=0)
    model.set_weights([WEIGHTS, BIAS, np.ones(3), np.zeros(3), MEAN, VARIANCE])
    tf.saved_model.save(model, str(path))


def saved_keras_two(path: Path) -> None:
    tf.saved_model.save(_two_inputs(), str(path))


def saved_keras_words(path: Path) -> None:
    tf.saved_model.save(_of_words(), str(path))


def saved_module_with_keras(path: Path) -> None:
    """A module around a model whose layers, and so whose variables, have the same name."""
    module = tf.Module()
    module.model = _subclassed()
    module.weight = tf.Variable(2.0)
    spec = tf.TensorSpec([None, 2], tf.float32)
    module.f = tf.function(lambda x: {"y": module.weight * module.model(x)}, input_signature=[spec])
    tf.saved_model.save(module, str(path), {"serving_default": module.f})


# `tf.saved_model.save` of a tf.Module


class _Shapes(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([], tf.float64, "x")])
    def square(self, x: Any) -> Any:
        return {"square": x * x, "rank": tf.rank(x)}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.int64, "x")])
    def any_rank(self, x: Any) -> Any:
        return {"double": 2 * x, "sum": tf.reduce_sum(x)}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.float32, "x"),
            tf.TensorSpec([], tf.int32, "n"),
        ]
    )
    def repeat(self, x: Any, n: Any) -> Any:
        return {"repeated": tf.repeat(x, n, axis=1)}

    @tf.function(input_signature=[])
    def nothing(self) -> Any:
        return {"answer": tf.constant([42])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, "start")])
    def halvings(self, start: Any) -> Any:
        count = tf.zeros_like(start)
        while tf.reduce_any(start > 1):
            count += tf.cast(start > 1, tf.int32)
            start //= 2
        return {"count": count}


def module_shapes(path: Path) -> None:
    module = _Shapes()
    names = ("square", "any_rank", "repeat", "nothing", "halvings")
    tf.saved_model.save(module, str(path), {name: getattr(module, name) for name in names})


class _Types(tf.Module):
    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.uint8, "bytes"),
            tf.TensorSpec([None], tf.bool, "flags"),
            tf.TensorSpec([None], tf.int64, "counts"),
        ]
    )
    def plain(self, bytes: Any, flags: Any, counts: Any) -> Any:
        return {
            "inverted": 255 - bytes,
            "not": ~flags,
            "next": counts + 1,
            "halves": tf.cast(counts, tf.float64) / 2,
        }

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.bfloat16, "small"),
            tf.TensorSpec([None], tf.complex64, "z"),
        ]
    )
    def rare(self, small: Any, z: Any) -> Any:
        return {"double": small * 2, "conjugate": tf.math.conj(z), "phase": tf.math.angle(z)}


def module_types(path: Path) -> None:
    module = _Types()
    tf.saved_model.save(module, str(path), {"serving_default": module.plain, "rare": module.rare})


class _Tuple(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    def __call__(self, x: Any) -> Any:
        return tf.reduce_sum(x, axis=1), tf.strings.as_string(tf.cast(x, tf.int32))


def module_without_signatures(path: Path) -> None:
    """The one function of the module becomes `serving_default`."""
    tf.saved_model.save(_Tuple(), str(path))


class _Large(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, "n")])
    def count(self, n: Any) -> Any:
        return {"numbers": tf.range(n[0], dtype=tf.int32)[tf.newaxis]}


def module_large(path: Path) -> None:
    module = _Large()
    tf.saved_model.save(module, str(path), {"serving_default": module.count})


# tf_keras, which is Keras 2


def _keras_2() -> Any:
    import tf_keras

    layers = [tf_keras.Input((2,), name="x"), tf_keras.layers.Dense(3, name="head")]
    model = tf_keras.Sequential(layers)
    model.set_weights([WEIGHTS, BIAS])
    return model


def keras_2_save(path: Path) -> None:
    _keras_2().save(path, save_format="tf")


def keras_2_export(path: Path) -> None:
    _keras_2().export(path)


def keras_2_saved(path: Path) -> None:
    tf.saved_model.save(_keras_2(), str(path))
