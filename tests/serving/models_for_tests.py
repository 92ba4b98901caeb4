"""SavedModels whose answers can be worked out by hand, written as users write them.

Each function writes one version into a folder that does not exist yet, and returns the folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

v1 = tf.compat.v1

WEIGHTS = np.array([[1.0, 0.0, -1.0], [0.5, 2.0, 0.0]], np.float32)  # [2, 3]
BIAS = np.array([0.0, 1.0, 2.0], np.float32)
CITIES = ("Oslo", "Quito", "Zürich")


def write_half_plus_two(path: Path) -> Path:
    """TF1, five signatures over one graph: y = x/2 + 2, y2 = x/2 + 3, y3 = x2/2 + 3.

    `serving_default` predicts `x` -> `y` and is fed in the middle of the graph, where the static
    shape is [?, 1]. `regress_x_to_y`, `regress_x_to_y2`, `regress_x2_to_y3` and `classify_x_to_y`
    take tf.Example with the float features x and (optional, 0) x2; `classify_x_to_y` has scores
    only, `classify_both` has the classes "low" and "high" too.
    """

    def build() -> Mapping[str, Any]:
        half = v1.get_variable("a", initializer=0.5)
        examples = v1.placeholder(tf.string, [None], name="tf_example")
        features = {
            "x": tf.io.FixedLenFeature([1], tf.float32),
            "x2": tf.io.FixedLenFeature([1], tf.float32, default_value=[0.0]),
        }
        parsed = tf.io.parse_example(examples, features)
        x = tf.identity(parsed["x"], name="x")
        y = tf.add(half * x, 2.0, name="y")
        y2 = tf.add(half * x, 3.0, name="y2")
        y3 = tf.add(half * parsed["x2"], 3.0, name="y3")
        names = tf.broadcast_to([["low", "high"]], [tf.shape(y)[0], 2])
        both = tf.concat([-y, y], axis=1)
        return {
            "serving_default": _signature({"x": x}, {"y": y}, "predict"),
            "regress_x_to_y": _signature({"inputs": examples}, {"outputs": y}, "regress"),
            "regress_x_to_y2": _signature({"inputs": examples}, {"outputs": y2}, "regress"),
            "regress_x2_to_y3": _signature({"inputs": examples}, {"outputs": y3}, "regress"),
            "classify_x_to_y": _signature({"inputs": examples}, {"scores": y}, "classify"),
            "classify_both": _signature(
                {"inputs": examples}, {"classes": names, "scores": both}, "classify"
            ),
        }

    return _write_v1(path, build)


def write_keras(path: Path) -> Path:
    """Keras 3 `model.export`: `features` [?, 2] -> `output_0` = features @ WEIGHTS + BIAS."""
    model = keras.Sequential([keras.Input((2,), name="features"), keras.layers.Dense(3)])
    model.layers[0].set_weights([WEIGHTS, BIAS])
    model.export(path, verbose=False)
    return path


class _Affine(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable(WEIGHTS)
        self.bias = tf.Variable(BIAS)

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def predict(self, x):
        scores = tf.matmul(x, self.weights) + self.bias
        return {"best": tf.argmax(scores, axis=1), "scores": scores}


def write_saved_module(path: Path) -> Path:
    """`tf.saved_model.save` of a tf.Module: `x` [?, 2] -> `scores` (as `write_keras`), `best`."""
    module = _Affine()
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.predict})
    return path


class _ExampleClassifier(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def classify(self, inputs):
        parsed = tf.io.parse_example(
            inputs,
            {
                "x": tf.io.FixedLenFeature([2], tf.float32),
                "name": tf.io.FixedLenFeature([], tf.string, default_value=""),
            },
        )
        classes = tf.stack([parsed["name"] + ":first", parsed["name"] + ":second"], axis=1)
        return {"classes": classes, "scores": parsed["x"]}


def write_example_classifier(path: Path) -> Path:
    """TF2: `inputs` tf.Example {x: float[2], name: bytes} -> `classes` name:first …, `scores` x.

    The method name is `tensorflow/serving/predict`, as TensorFlow 2 always writes it.
    """
    module = _ExampleClassifier()
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.classify})
    return path


def write_strings(path: Path) -> Path:
    """TF1: `text` strings of any shape -> `upper_bytes`, `length` (in bytes, int32)."""

    def build() -> Mapping[str, Any]:
        text = v1.placeholder(tf.string, None, name="text")
        outputs = {"upper_bytes": tf.strings.upper(text), "length": tf.strings.length(text)}
        return {"serving_default": _signature({"text": text}, outputs, "predict")}

    return _write_v1(path, build)


def write_table_v1(path: Path) -> Path:
    """TF1, a table filled from an asset by the init op: `index` int64 [?] -> `city` (CITIES)."""
    vocabulary = _vocabulary(path)

    def build() -> Mapping[str, Any]:
        asset = tf.constant(str(vocabulary))
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, asset)
        table = v1.lookup.StaticHashTable(_lines(asset), default_value="unknown")
        index = v1.placeholder(tf.int64, [None], name="index")
        return {
            "serving_default": _signature(
                {"index": index}, {"city": table.lookup(index)}, "predict"
            )
        }

    written = _write_v1(path, build)
    vocabulary.unlink()  # the model has its own copy
    return written


class _Lookup(tf.Module):
    def __init__(self, vocabulary: Path) -> None:
        super().__init__()
        self.asset = tf.saved_model.Asset(str(vocabulary))
        self.table = tf.lookup.StaticHashTable(_lines(self.asset), default_value="unknown")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, "index")])
    def city(self, index):
        return {"city": self.table.lookup(index)}


def write_table_v2(path: Path) -> Path:
    """As `write_table_v1`, by `tf.saved_model.save`."""
    vocabulary = _vocabulary(path)
    module = _Lookup(vocabulary)
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.city})
    vocabulary.unlink()
    return path


def write_several(path: Path) -> Path:
    """TF1: `a`, `b` float [?, 2], `factor` float [] -> `sum` = factor (a + b), `rows`, `total`.

    `rows` int32 [] counts the rows of a, `total` float [] adds up `sum`. The second signature,
    `with_default`, takes 10 for `factor` when a request leaves it out.
    """

    def build() -> Mapping[str, Any]:
        a = v1.placeholder(tf.float32, [None, 2], name="a")
        b = v1.placeholder(tf.float32, [None, 2], name="b")
        factor = v1.placeholder(tf.float32, [], name="factor")
        total = factor * (a + b)
        outputs = {"sum": total, "rows": tf.shape(a)[0], "total": tf.reduce_sum(total)}
        inputs = {"a": a, "b": b, "factor": factor}
        plain = _signature(inputs, outputs, "predict")
        with_default = _signature(inputs, outputs, "predict")
        with_default.defaults["factor"].CopyFrom(tf.make_tensor_proto(10.0))
        return {"serving_default": plain, "with_default": with_default}

    return _write_v1(path, build)


def write_unknown_rank(path: Path) -> Path:
    """TF1: `x` float of any rank -> `double` = 2 x."""

    def build() -> Mapping[str, Any]:
        x = v1.placeholder(tf.float32, None, name="x")
        return {"serving_default": _signature({"x": x}, {"double": 2 * x}, "predict")}

    return _write_v1(path, build)


def write_types(path: Path) -> Path:
    """TF1: one signature `echo_<dtype>` per type: `x` of any shape -> `y`, the same values."""

    def build() -> Mapping[str, Any]:
        signatures = {}
        for dtype in TYPES:
            x = v1.placeholder(dtype, None, name=f"x_{dtype.name}")
            signatures[f"echo_{dtype.name}"] = _signature(
                {"x": x}, {"y": tf.identity(x)}, "predict"
            )
        return signatures

    return _write_v1(path, build)


TYPES = (
    tf.float32, tf.float64, tf.float16, tf.bfloat16, tf.int8, tf.int16, tf.int32, tf.int64,
    tf.uint8, tf.uint16, tf.uint32, tf.uint64, tf.bool, tf.complex64, tf.complex128, tf.string,
)  # fmt: skip


def write_large(path: Path, megabytes: int) -> Path:
    """TF1: `x` float [?] -> `y` = x + the mean of a variable of ones of that size."""

    def build() -> Mapping[str, Any]:
        ones = v1.get_variable("ones", initializer=tf.ones([megabytes * 2**18]), use_resource=True)
        x = v1.placeholder(tf.float32, [None], name="x")
        return {"serving_default": _signature({"x": x}, {"y": x + tf.reduce_mean(ones)}, "predict")}

    return _write_v1(path, build)


def write_tagged(path: Path, *tags: str) -> Path:
    """TF1: `x` float [?] -> `y` = x + 1, under other tags than `serve`."""

    def build() -> Mapping[str, Any]:
        x = v1.placeholder(tf.float32, [None], name="x")
        return {"serving_default": _signature({"x": x}, {"y": x + 1}, "predict")}

    return _write_v1(path, build, tags)


def write_odd_classifiers(path: Path) -> Path:
    """TF1: signatures that break each rule for classify and regress; see the tests for them."""

    def build() -> Mapping[str, Any]:
        text = v1.placeholder(tf.string, [None], name="text")
        other = v1.placeholder(tf.string, [None], name="other")
        rows = tf.shape(text)[0]
        vector, matrix = tf.zeros([rows]), tf.zeros([rows, 2])
        names = tf.fill([rows, 2], "name")
        outputs: dict[str, dict[str, Any]] = {
            "vector_scores": {"scores": vector},
            "double_scores": {"scores": tf.cast(matrix, tf.float64)},
            "short_scores": {"scores": tf.zeros([1, 2])},
            "vector_classes": {"classes": tf.fill([rows], "name")},
            "float_classes": {"classes": matrix},
            "short_classes": {"classes": tf.fill([1, 2], "name")},
            "unequal": {"classes": names, "scores": tf.zeros([rows, 3])},
            "other_outputs": {"y": matrix},
            "three_outputs": {"classes": names, "scores": matrix, "more": vector},
            "classes_only": {"classes": names},
            "matrix_outputs": {"outputs": matrix},
            "double_outputs": {"outputs": tf.cast(vector, tf.float64)},
            "short_outputs": {"outputs": tf.zeros([1])},
        }
        method = "classify"
        signatures = {
            name: _signature({"inputs": text}, values, method) for name, values in outputs.items()
        }
        signatures["other_input"] = _signature({"x": text}, {"scores": matrix}, method)
        signatures["two_inputs"] = _signature(
            {"inputs": text, "other": other}, {"scores": matrix}, method
        )
        signatures["elsewhere"] = _signature({"inputs": other}, {"scores": matrix}, method)
        return signatures

    return _write_v1(path, build)


def example(**features: Any) -> tf.train.Example:
    """Returns a tf.Example: floats, ints or bytes, alone or in lists."""
    made = tf.train.Example()
    for name, value in features.items():
        values = value if isinstance(value, list) else [value]
        feature = made.features.feature[name]
        if isinstance(values[0], float):
            feature.float_list.value.extend(values)
        elif isinstance(values[0], int):
            feature.int64_list.value.extend(values)
        else:
            feature.bytes_list.value.extend(values)
    return made


def _signature(inputs: Mapping[str, Any], outputs: Mapping[str, Any], method: str) -> Any:
    info = v1.saved_model.build_tensor_info
    return v1.saved_model.build_signature_def(
        {alias: info(tensor) for alias, tensor in inputs.items()},
        {alias: info(tensor) for alias, tensor in outputs.items()},
        f"tensorflow/serving/{method}",
    )


def _write_v1(
    path: Path, build: Callable[[], Mapping[str, Any]], tags: tuple[str, ...] = ("serve",)
) -> Path:
    with tf.Graph().as_default(), v1.Session() as session:
        signatures = build()
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(
            session,
            list(tags),
            signature_def_map=dict(signatures),
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            main_op=v1.tables_initializer(),
        )
        builder.save()
    return path


def _vocabulary(path: Path) -> Path:
    vocabulary = path.with_name(f"{path.name}-cities.txt")
    vocabulary.parent.mkdir(parents=True, exist_ok=True)
    vocabulary.write_text("\n".join(CITIES), encoding="utf-8")
    return vocabulary


def _lines(asset: Any) -> Any:
    return tf.lookup.TextFileInitializer(
        asset,
        key_dtype=tf.int64,
        key_index=tf.lookup.TextFileIndex.LINE_NUMBER,
        value_dtype=tf.string,
        value_index=tf.lookup.TextFileIndex.WHOLE_LINE,
    )
