"""The one form in which every program hands over its graph, and the one loop that runs it.

    training = quadratic.build(0.0)
    for step in train(training, 1000):
        print(step.loss, step.gradients["w"], step.weights["w"])

Builders take NumPy arrays and put nothing random into the graph, so another framework that is
given the same arrays can be compared step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1

Array = np.ndarray
Feeds = dict[Any, Array]  # by placeholder


@dataclass(frozen=True)
class TrainingGraph:
    """A graph that can be trained.

    Attributes:
        graph: Holds everything below.
        loss: Scalar, before the update.
        variables: By name; what is not trained, such as moving averages, is among them.
        gradients: Of the loss, by the names of what it was differentiated for.
        update: Changes every variable once, after `loss` and `gradients` have been computed.
        initialize: Gives every variable its initial value.
        feeds: What a step feeds, by the number of the step from 0 up.
    """

    graph: tf.Graph
    loss: tf.Tensor
    variables: Mapping[str, Any]
    gradients: Mapping[str, tf.Tensor]
    update: tf.Operation
    initialize: tf.Operation
    feeds: Callable[[int], Feeds]


@dataclass(frozen=True)
class Step:
    """What one step gave.

    Attributes:
        loss: Scalar, before the update.
        gradients: By name, as they were applied.
        weights: By name, after the update.
    """

    loss: Any
    gradients: Mapping[str, Array]
    weights: Mapping[str, Array]


def open_session(graph: tf.Graph, *, grappler: bool = True) -> Any:
    """Opens a session without making it or its graph the default.

    Args:
        graph: What it runs.
        grappler: Whether TensorFlow may rewrite the graph before it runs it. Rewriting changes
            last bits; without it a session gives the bits of eager execution on the programs here.
    """
    config = v1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = not grappler
    return v1.Session(graph=graph, config=config)


def train(training: TrainingGraph, steps: int, *, grappler: bool = True) -> Iterator[Step]:
    """Trains from the initial values, in a session that lasts as long as the iteration.

    The weights are fetched in a run of their own: in one run with the update it would be left
    open whether they are read before or after it.

    Args:
        training: What to train.
        steps: How many updates.
        grappler: As in `open_session`.

    Yields:
        One `Step` for every update.
    """
    # Not `with session`: that would turn eager execution off for the caller between two steps.
    with closing(open_session(training.graph, grappler=grappler)) as session:
        session.run(training.initialize)
        for number in range(steps):
            loss, gradients, _ = session.run(
                [training.loss, dict(training.gradients), training.update],
                feed_dict=training.feeds(number),
            )
            yield Step(loss, gradients, read_weights(session, training))


def read_weights(session: Any, training: TrainingGraph) -> dict[str, Array]:
    """Returns the value of every variable by its name."""
    values: dict[str, Array] = session.run(dict(training.variables))
    return values


def make_variables(weights: Mapping[str, Any], *, trainable: bool = True) -> dict[str, Any]:
    """Makes a resource variable of each array in the default graph.

    Args:
        weights: Initial values by name; stored as float32.
        trainable: Whether optimizers find them by themselves.
    """
    return {
        name: v1.get_variable(
            name,
            initializer=np.asarray(value, np.float32),
            trainable=trainable,
            use_resource=True,
        )
        for name, value in weights.items()
    }


def descend(
    loss: tf.Tensor, variables: Mapping[str, Any], learning_rate: float
) -> tuple[dict[str, tf.Tensor], tf.Operation]:
    """Adds one step of gradient descent to the default graph.

    It is `GradientDescentOptimizer.minimize` with one promise more: a variable changes only after
    `loss` and all gradients are there. A variable that a formula names twice is read twice, and
    without the promise the second read may see the new value.

    Args:
        loss: Scalar.
        variables: What is trained, by name.
        learning_rate: At least 0.

    Returns:
        The gradients by name, and the operation that applies them.
    """
    optimizer = v1.train.GradientDescentOptimizer(learning_rate)
    pairs = optimizer.compute_gradients(loss, list(variables.values()))
    gradients = {name: pair[0] for name, pair in zip(variables, pairs, strict=True)}
    with tf.control_dependencies([loss, *gradients.values()]):
        update = optimizer.apply_gradients(pairs)
    return gradients, update


def nothing_fed(step: int) -> Feeds:
    """Feeds of a graph without placeholders."""
    return {}


def batches(arrays: Mapping[Any, Array], batch_size: int) -> Callable[[int], Feeds]:
    """Makes feeds that go through arrays in their order, again and again.

    Args:
        arrays: `[N, ...]` each, by placeholder.
        batch_size: B, from 1 to N; the last batch of a pass holds what is left.

    Returns:
        The feeds of a step, `[B, ...]` or less.

    Raises:
        ValueError: `batch_size` is out of range, or the arrays differ in length.
    """
    sizes = {len(array) for array in arrays.values()}
    if len(sizes) != 1:
        raise ValueError(f"arrays of one length are needed, found lengths {sorted(sizes)}")
    (size,) = sizes
    if not 1 <= batch_size <= size:
        raise ValueError(f"batch_size: found {batch_size}, allowed 1 to {size}, the rows there are")
    starts = range(0, size, batch_size)

    def feeds(step: int) -> Feeds:
        start = starts[step % len(starts)]
        return {key: array[start : start + batch_size] for key, array in arrays.items()}

    return feeds


def initial_weights(training: TrainingGraph) -> dict[str, Array]:
    """Returns every variable's value before training."""
    with closing(open_session(training.graph)) as session:
        session.run(training.initialize)
        return read_weights(session, training)
