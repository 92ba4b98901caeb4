"""TensorFlow 1: a graph, a session, and either a feed dictionary or a `tf.data` iterator.

The graph is an explicit `tf.Graph`; nothing of TensorFlow 2 is switched off for it.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfapp.bench.contenders.base import Contender, Losses, Task, one_by_one
from tfapp.bench.contenders.input_pipeline import shuffled_batches, stored_batches
from tfapp.bench.examples import Examples, batch_indices, initial_weights, read_examples
from tfapp.bench.workloads import ADAM, NORM_EPSILON, NORM_MOMENTUM, Workload

v1 = tf.compat.v1


class Tf1Session(Contender):
    """A graph and its session; subclasses bring the batches."""

    def __init__(self, task: Task) -> None:
        self._workload = task.workload
        examples = read_examples(task.source)
        squared = task.workload.loss == "squared_error"
        labels = examples.one_hot(task.workload.classes) if squared else examples.labels
        self._examples = Examples(examples.features, labels)
        self._last = float("nan")
        self._graph = tf.Graph()
        with self._graph.as_default():
            features, labels = self._inputs()
            self._loss, self._train = _training(task.workload, features, labels)
            self._session = v1.Session()
            self._session.run(v1.global_variables_initializer())

    def loss(self) -> float:
        """Returns the newest loss."""
        return float(self._last)

    def close(self) -> None:
        """Closes the session."""
        self._session.close()

    @abc.abstractmethod
    def _inputs(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the batch of a step, `[B, *feature_shape]` and `[B, ...]`, inside the graph."""


class FeedDict(Tf1Session):
    """NumPy batches through `feed_dict`, one `session.run` a step."""

    def first_losses(self, steps: int) -> Sequence[Losses]:
        """Trains on the first batches of the stored order and returns their losses."""
        return one_by_one(self._step() for _ in range(steps))

    def run(self, steps: int) -> None:
        """Trains `steps` steps more."""
        for _ in range(steps):
            self._last = self._step()

    def _step(self) -> float:
        rows = next(self._batches)
        batch = {
            self._placeholders[0]: self._examples.features[rows],
            self._placeholders[1]: self._examples.labels[rows],
        }
        loss, _ = self._session.run([self._loss, self._train], feed_dict=batch)
        return loss

    def _inputs(self) -> tuple[tf.Tensor, tf.Tensor]:
        self._batches = batch_indices(self._workload)
        self._placeholders = _placeholders(self._examples)
        return self._placeholders


class Dataset(Tf1Session):
    """An iterator inside the graph, one call of `session.make_callable` a step."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._call = self._session.make_callable([self._loss, self._train])

    def first_losses(self, steps: int) -> Sequence[Losses]:
        """Trains on the first batches of the stored order and returns their losses."""
        self._begin(self._stored(steps))
        losses = one_by_one(self._call()[0] for _ in range(steps))
        self._begin(self._shuffled)
        return losses

    def run(self, steps: int) -> None:
        """Trains `steps` steps more."""
        for _ in range(steps):
            self._last = self._call()[0]

    def _inputs(self) -> tuple[tf.Tensor, tf.Tensor]:
        self._placeholders = _placeholders(self._examples)
        dataset = shuffled_batches(self._workload, *self._placeholders)
        specs = dataset.element_spec
        self._iterator = v1.data.Iterator.from_structure(
            tuple(spec.dtype for spec in specs), tuple(spec.shape for spec in specs)
        )
        self._shuffled = self._iterator.make_initializer(dataset)
        features, labels = self._iterator.get_next()
        return features, labels

    def _stored(self, steps: int) -> Any:
        with self._graph.as_default():
            dataset = stored_batches(self._workload, *self._placeholders, steps)
            return self._iterator.make_initializer(dataset)

    def _begin(self, initializer: Any) -> None:
        arrays = (self._examples.features, self._examples.labels)
        feed = dict(zip(self._placeholders, arrays, strict=True))
        self._session.run(initializer, feed_dict=feed)


def _placeholders(examples: Examples) -> tuple[tf.Tensor, tf.Tensor]:
    features, labels = (
        v1.placeholder(array.dtype, [None, *array.shape[1:]])
        for array in (examples.features, examples.labels)
    )
    return features, labels


def _training(
    workload: Workload, features: tf.Tensor, labels: tf.Tensor
) -> tuple[tf.Tensor, tf.Operation]:
    """Returns the loss and the operation that updates everything once."""
    variables = [
        v1.get_variable(f"weight_{number}", initializer=weight)
        for number, weight in enumerate(initial_weights(workload))
    ]
    outputs = _forward(workload, variables, features)
    loss = _loss(workload, outputs, labels)
    if workload.optimizer == "sgd":
        optimizer = v1.train.GradientDescentOptimizer(workload.learning_rate)
    else:
        optimizer = v1.train.AdamOptimizer(workload.learning_rate, *ADAM.values())
    averages = v1.get_collection(v1.GraphKeys.UPDATE_OPS)
    return loss, tf.group(optimizer.minimize(loss, var_list=variables), *averages)


def _forward(workload: Workload, variables: list[Any], x: tf.Tensor) -> tf.Tensor:
    if workload.architecture == "quadratic":
        (w,) = variables
        return x[:, 0] * w**2 + x[:, 1] * w + x[:, 2]
    if workload.architecture == "cnn":
        for _ in workload.hidden[:-1]:
            kernel, scale, offset, *variables = variables
            x = tf.nn.relu(_normalized(tf.nn.conv2d(x, kernel, 1, "SAME"), scale, offset))
            x = tf.nn.max_pool2d(x, 2, 2, "SAME")
        x = tf.reshape(x, [-1, variables[0].shape[0]])
    stride = 2 if workload.has_biases else 1
    for start in range(0, len(variables), stride):
        x = tf.matmul(x, variables[start])
        if workload.has_biases:
            x = tf.nn.bias_add(x, variables[start + 1])
        if start + stride < len(variables):
            x = tf.nn.relu(x)
    return x


def _normalized(x: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    """Batch normalization as `tf.layers` did it: one fused kernel, averages moved beside it."""
    y, mean, variance = v1.nn.fused_batch_norm(x, scale, offset, epsilon=NORM_EPSILON)
    for start, value in ((tf.zeros, mean), (tf.ones, variance)):
        average = v1.Variable(start(value.shape), trainable=False)
        moved = average.assign_sub((average - value) * (1 - NORM_MOMENTUM))
        v1.add_to_collection(v1.GraphKeys.UPDATE_OPS, moved)
    return y


def _loss(workload: Workload, outputs: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    if workload.loss == "squared_error":
        return tf.reduce_mean(tf.math.squared_difference(outputs, labels))
    if workload.loss == "cross_entropy":
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, outputs)
        return tf.reduce_mean(losses)
    return tf.reduce_mean(outputs)
