"""The quadratic again, with its coefficients fed into a placeholder at every step.

Source: Ng course 3.10/3.11, In[11]-In[16] and the slide: x[0][0] w^2 + x[1][0] w + x[2][0] with
1, -10, 25 (prints 0.0, 0.1, 4.99999), with 1, -20, 100 (prints 0.0, 0.2, 9.99998), and on the
slide with 1, -20, 25 and a w of shape [1]. The slide's comment calls that (w - 5)^2; its minimum
is at 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from legacy_tf1.checks import Record
from legacy_tf1.program import Outcome
from legacy_tf1.quadratic import (
    COEFFICIENTS,
    LEARNING_RATE,
    after,
    check_path,
    check_printed,
    path,
)
from legacy_tf1.quadratic import (
    build as build_constant,
)
from legacy_tf1.training import Feeds, TrainingGraph, descend, make_variables

v1 = tf.compat.v1

MOVED = (1.0, -20.0, 100.0)
SLIDE = (1.0, -20.0, 25.0)
WRONG_SIGN = (1.0, 10.0, 25.0)


def build(
    w: Any,
    coefficients: Sequence[float] = COEFFICIENTS,
    learning_rate: float = LEARNING_RATE,
) -> TrainingGraph:
    """Builds gradient descent on c0 w^2 + c1 w + c2 with c fed.

    Args:
        w: Where it starts: a number, or an array of shape `[1]`.
        coefficients: c0, c1, c2; every step feeds them as `[3, 1]`.
        learning_rate: At least 0.

    Returns:
        A graph with the variable `w` of the given shape.

    Raises:
        ValueError: There are not three coefficients.
    """
    fed = np.asarray(coefficients, np.float32).reshape(-1, 1)
    if len(fed) != 3:
        raise ValueError(f"coefficients: found {len(fed)} of them, allowed 3: c0, c1, c2")
    graph = tf.Graph()
    with graph.as_default():
        variables = make_variables({"w": w})
        x = v1.placeholder(tf.float32, [3, 1], name="coefficients")
        value = x[0][0] * variables["w"] ** 2 + x[1][0] * variables["w"] + x[2][0]
        loss = tf.reshape(value, [])
        gradients, update = descend(loss, variables, learning_rate)
        initialize = v1.global_variables_initializer()

    def feeds(step: int) -> Feeds:
        return {x: fed}

    return TrainingGraph(graph, loss, variables, gradients, update, initialize, feeds)


def run_fed(steps: int) -> Outcome:
    """Coefficients 1, -10, 25: the same numbers as with constants."""
    record = Record()
    weights = path(build(0.0), steps)
    check_printed(record, weights, (0.0, 0.1, 4.99999))
    check_path(record, weights, COEFFICIENTS)
    constant = path(build_constant(0.0, spelling="operators"), steps)
    record.equal("w with constants in the graph", constant, weights)
    return record.outcome(w=weights)


def run_moved(steps: int) -> Outcome:
    """Coefficients 1, -20, 100: another minimum from the same graph."""
    record = Record()
    weights = path(build(0.0, MOVED), steps)
    check_printed(record, weights, (0.0, 0.2, 9.99998))
    check_path(record, weights, MOVED)
    return record.outcome(w=weights)


def run_slide(steps: int) -> Outcome:
    """Coefficients 1, -20, 25 and w of shape [1]: the minimum is at 10, not at 5."""
    record = Record()
    training = build([0.0], SLIDE)
    weights = path(training, steps)
    shape = training.variables["w"].shape.as_list()
    record.relation("shape of w", "[1]", str(shape), shape == [1])
    record.printed("w", 0.0, weights, 0)
    check_path(record, weights, SLIDE)
    record.equal("w with 100 in the place of 25", path(build(0.0, MOVED), steps), weights)
    return record.outcome(w=weights)


def run_wrong_sign(steps: int) -> Outcome:
    """Coefficients 1, +10, 25, as one sentence of the course has it: w goes to -5."""
    record = Record()
    weights = path(build(0.0, WRONG_SIGN), steps)
    check_path(record, weights, WRONG_SIGN)
    mirrored = -after(len(weights) - 1)
    record.close("w at the end", mirrored, weights[-1], tolerance=5e-6)
    return record.outcome(w=weights)
