"""Dense layers by `tf.compat.v1.layers` and without it, and the loss that is a thousand times less.

Source: CS231n lecture 8, frameworks: two `tf.layers.dense` with `variance_scaling_initializer(2.0)`
and `tf.losses.mean_squared_error`, learning rate 1e-5 (and 1e-2), 50 steps.

Beside Keras 3 every name of `tf.compat.v1.layers` raises. tf-keras, Keras 2 as a package of its
own, still has the layers. TensorFlow would take them from there with `TF_USE_LEGACY_KERAS=1`, but
that turns `tf.keras` into Keras 2 for the whole process. `routed_layers` lends them for the length
of a `with`. Where tf-keras is not installed, `dense` makes the same variables under the same names.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from legacy_tf1 import by_hand
from legacy_tf1.checks import Record
from legacy_tf1.program import NUMPY, Outcome
from legacy_tf1.training import (
    Array,
    Feeds,
    TrainingGraph,
    descend,
    initial_weights,
    train,
)

v1 = tf.compat.v1

IMPLEMENTATIONS = ("own", "tf_keras")
MEANS = ("entries", "rows")
HIDDEN = 100
WEIGHTS = ("dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias")


def legacy_layers() -> dict[str, ModuleType]:
    """Returns tf-keras's `layers` and `rnn_cell` for TF1; none if tf-keras is not installed."""
    try:
        importlib.import_module("tf_keras")
    except ModuleNotFoundError as error:
        if error.name != "tf_keras":
            raise
        return {}
    home = "tf_keras.api._v1.keras.__internal__.legacy"
    return {name: importlib.import_module(f"{home}.{name}") for name in ("layers", "rnn_cell")}


@contextmanager
def routed_layers() -> Iterator[None]:
    """Inside, `tf.compat.v1.layers` and `tf.compat.v1.nn.rnn_cell` are those of tf-keras.

    Unmodified TF1 code can call `tf.layers.dense` there. `tf.keras` stays Keras 3, inside as well;
    afterwards everything is as it was.

    Raises:
        ModuleNotFoundError: tf-keras is not installed.
    """
    found = legacy_layers()
    if not found:
        raise ModuleNotFoundError(
            "tf.compat.v1.layers needs tf-keras, which is not installed: pip install tf-keras;"
            " or use legacy_tf1.layers.dense",
            name="tf_keras",
        )
    lent: list[tuple[dict[str, Any], str]] = []
    for name, module in found.items():
        public = {key: value for key, value in vars(module).items() if not key.startswith("_")}
        for placeholder in _placeholders(name):
            missing = {key: value for key, value in public.items() if key not in placeholder}
            placeholder.update(missing)
            lent += [(placeholder, key) for key in missing]
    try:
        yield
    finally:
        for placeholder, key in lent:
            del placeholder[key]


def dense(
    inputs: tf.Tensor,
    units: int,
    activation: Callable[[tf.Tensor], tf.Tensor] | None = None,
    kernel_initializer: Any = None,
    bias_initializer: Any = None,
    name: str | None = None,
) -> tf.Tensor:
    """Does what `tf.layers.dense` did, by `get_variable`.

    Args:
        inputs: `[B, in]`.
        units: How many outputs.
        activation: Applied to the outputs; linear when omitted.
        kernel_initializer: For `<scope>/kernel`, `[in, units]`; Glorot uniform when omitted.
        bias_initializer: For `<scope>/bias`, `[units]`; zeros when omitted.
        name: The scope; `dense`, `dense_1` and so on when omitted.

    Returns:
        `[B, units]`.
    """
    with v1.variable_scope(name, default_name="dense"):
        shape = [inputs.shape[-1], units]
        initializer = kernel_initializer or v1.glorot_uniform_initializer()
        kernel = v1.get_variable("kernel", shape, initializer=initializer, use_resource=True)
        initializer = bias_initializer or v1.zeros_initializer()
        bias = v1.get_variable("bias", [units], initializer=initializer, use_resource=True)
        outputs = tf.nn.bias_add(tf.matmul(inputs, kernel), bias)
        return outputs if activation is None else activation(outputs)


def build(
    x: Array,
    y: Array,
    weights: Mapping[str, Array] | None = None,
    *,
    learning_rate: float = 1e-5,
    implementation: str | None = None,
    mean_over: str = "entries",
) -> TrainingGraph:
    """Builds dense-ReLU-dense on squared errors.

    Args:
        x: `[N, D]`, fed at every step and cast to float32.
        y: `[N, D_out]`, likewise.
        weights: By the names in `WEIGHTS`; when omitted 100 hidden units are drawn by variance
            scaling 2.0 with graph seed 0, and biases are 0.
        learning_rate: At least 0.
        implementation: `tf_keras` for `tf.compat.v1.layers.dense`, `own` for `dense`; when omitted
            `tf_keras` if it is installed.
        mean_over: `entries` for `tf.losses.mean_squared_error`; `rows` for the average over rows
            of a row's sum.

    Returns:
        A graph with the variables of `WEIGHTS`.

    Raises:
        ValueError: `implementation` or `mean_over` is another word.
        ModuleNotFoundError: `tf_keras` was asked for and is not installed.
    """
    implementation = implementation or ("tf_keras" if legacy_layers() else "own")
    for name, word, allowed in (
        ("implementation", implementation, IMPLEMENTATIONS),
        ("mean_over", mean_over, MEANS),
    ):
        if word not in allowed:
            raise ValueError(f"{name}: found {word!r}, allowed {', '.join(allowed)}")
    graph = tf.Graph()
    with graph.as_default():
        v1.set_random_seed(0)
        features = v1.placeholder(tf.float32, [None, x.shape[1]])
        targets = v1.placeholder(tf.float32, [None, y.shape[1]])
        outputs = _network(features, y.shape[1], weights, implementation)
        if mean_over == "entries":
            loss = v1.losses.mean_squared_error(labels=targets, predictions=outputs)
        else:
            loss = tf.reduce_mean(tf.reduce_sum((outputs - targets) ** 2, axis=1))
        variables = {variable.op.name: variable for variable in v1.trainable_variables()}
        gradients, update = descend(loss, variables, learning_rate)
        initialize = v1.global_variables_initializer()

    def feeds(step: int) -> Feeds:
        return {features: x, targets: y}

    return TrainingGraph(graph, loss, variables, gradients, update, initialize, feeds)


def draw() -> tuple[Array, Array]:
    """Returns x and y, `[64, 1000]` each, drawn in this order from NumPy's seed 0."""
    random = np.random.RandomState(0)
    return random.randn(64, 1000), random.randn(64, 1000)


def run_dense(steps: int) -> Outcome:
    """Two dense layers, at the lecture's learning rate and at one that suits the loss."""
    record = Record()
    x, y = draw()
    values = {}
    for rate, least, most in ((1e-5, 0.0, 1e-3), (1e-2, 0.25, 1.0)):
        training = build(x, y, learning_rate=rate)
        start = initial_weights(training)
        losses = [step.loss for step in train(training, steps)]
        few = min(steps, 10)
        exact = by_hand.train(lambda step: (x, y), start, rate, few, mean_over="entries")
        expected = [step.loss for step in exact]
        name = f"loss of the first {few} steps at {rate:g}"
        record.close(name, expected, losses[:few], tolerance=1e-5, origin=NUMPY)
        name = f"share by which the loss falls at {rate:g}"
        if record.reached(name, 50, steps):
            share = 1 - losses[49] / losses[0]
            record.relation(name, f"{least:g} to {most:g}", f"{share:.3g}", least < share < most)
        values[f"loss_at_{rate:g}"] = losses
    kernel = start["dense/kernel"]
    record.close("spread of the first kernel", (2 / 1000) ** 0.5, kernel.std(), tolerance=0.01)
    record.relation("names", ", ".join(WEIGHTS), ", ".join(start), tuple(start) == WEIGHTS)
    return record.outcome(**values)


def run_mean(steps: int) -> Outcome:
    """The same network and weights under both losses: one is D = 1000 times the other."""
    record = Record()
    x, y = draw()
    width = y.shape[1]
    start = initial_weights(build(x, y))
    rows, entries = (
        list(train(build(x, y, start, learning_rate=1e-5, mean_over=mean), steps))
        for mean in ("rows", "entries")
    )
    ratio = rows[0].loss / entries[0].loss
    record.close("loss of the sum over the mean's", width, ratio, tolerance=1e-6)
    for name in WEIGHTS:
        found, expected = rows[0].gradients[name], width * entries[0].gradients[name]
        record.close(f"gradient for {name}", expected, found, tolerance=1e-5)
    falls = {"sum": rows, "mean": entries}
    share = {name: 1 - float(found[-1].loss / found[0].loss) for name, found in falls.items()}
    if steps > 1:
        found_text = f"{share['sum']:.3g} and {share['mean']:.3g}"
        better = share["sum"] > 100 * share["mean"]
        record.relation("fall at 1e-5", "sum 100 times the mean's", found_text, better)
    return record.outcome(
        ratio=ratio, loss_of_sum=[s.loss for s in rows], loss_of_mean=[s.loss for s in entries]
    )


def _network(
    features: tf.Tensor, outputs: int, weights: Mapping[str, Array] | None, implementation: str
) -> tf.Tensor:
    def initial(name: str) -> Any:
        if weights is None:
            return v1.variance_scaling_initializer(2.0) if name.endswith("kernel") else None
        return v1.constant_initializer(weights[name])

    def layer(inputs: tf.Tensor, units: int, activation: Any, name: str) -> tf.Tensor:
        function = dense if implementation == "own" else v1.layers.dense
        bias = initial(f"{name}/bias") or v1.zeros_initializer()
        return function(
            inputs,
            units,
            activation=activation,
            kernel_initializer=initial(f"{name}/kernel"),
            bias_initializer=bias,
            name=name,
        )

    def network() -> tf.Tensor:
        hidden = HIDDEN if weights is None else weights["dense/bias"].shape[0]
        return layer(layer(features, hidden, tf.nn.relu, "dense"), outputs, None, "dense_1")

    if implementation == "own":
        return network()
    with routed_layers(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that tf.layers.dense is deprecated
        return network()


def _placeholders(name: str) -> list[dict[str, Any]]:
    """Returns the namespace of every stand-in that TensorFlow has for a module of TF1's layers.

    There are several, because `tf.compat.v1` and `import tensorflow.compat.v1` are two modules.
    """
    found = {}
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("tensorflow"):
            loader = vars(module).get(name)
            if type(loader).__name__ == "KerasLazyLoader":
                found[id(loader)] = vars(loader)
    return list(found.values())
