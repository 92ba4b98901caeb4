"""Three placeholders, one sum, and the gradients TensorFlow finds for it.

Source: CS231n lecture 8, frameworks: c = sum(x y + z) of three [3, 4] arrays, NumPy seed 0. By hand
the gradients are y, x and ones. The arrays are float64; a session casts what it is fed to the
placeholder's float32 and says nothing.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from legacy_tf1.checks import Record
from legacy_tf1.program import NUMPY, Outcome
from legacy_tf1.training import Array, Feeds, TrainingGraph, train

v1 = tf.compat.v1


def build(x: Array, y: Array, z: Array) -> TrainingGraph:
    """Builds c = sum(x y + z) with gradients for all three.

    Args:
        x: `[N, D]`, cast to float32 when it is fed.
        y: `[N, D]`.
        z: `[N, D]`.

    Returns:
        A graph without variables; c is its loss, and its update does nothing.
    """
    graph = tf.Graph()
    with graph.as_default():
        arrays = {"x": x, "y": y, "z": z}
        inputs = {name: v1.placeholder(tf.float32, array.shape) for name, array in arrays.items()}
        loss = tf.reduce_sum(inputs["x"] * inputs["y"] + inputs["z"])
        found = tf.gradients(loss, list(inputs.values()))
        update = tf.no_op()
        initialize = v1.global_variables_initializer()

    def feeds(step: int) -> Feeds:
        return {inputs[name]: array for name, array in arrays.items()}

    gradients = dict(zip(inputs, found, strict=True))
    return TrainingGraph(graph, loss, {}, gradients, update, initialize, feeds)


def draw() -> tuple[Array, Array, Array]:
    """Returns the notes' x, y, z: `[3, 4]` float64, drawn in this order from NumPy's seed 0."""
    random = np.random.RandomState(0)
    x, y, z = (random.randn(3, 4) for _ in range(3))
    return x, y, z


def run(steps: int) -> Outcome:
    """Computes c and its gradients; further steps repeat the first."""
    record = Record()
    x, y, z = draw()
    results = list(train(build(x, y, z), steps))
    first = results[0]
    record.close("c", np.sum(x * y + z), first.loss, tolerance=1e-6, origin=NUMPY)
    record.equal("gradient for x, beside y", y.astype(np.float32), first.gradients["x"])
    record.equal("gradient for y, beside x", x.astype(np.float32), first.gradients["y"])
    record.equal("gradient for z, beside ones", np.ones((3, 4)), first.gradients["z"])
    found = f"{x.dtype} fed, {first.loss.dtype} out"
    record.relation("type of c", "float64 fed, float32 out", found, first.loss.dtype == np.float32)
    losses = [step.loss for step in results]
    record.equal("c of every step", np.full(steps, first.loss), losses)
    return record.outcome(c=losses, gradient_x=first.gradients["x"].ravel()[:4])
