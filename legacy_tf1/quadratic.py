"""Gradient descent on w^2 - 10 w + 25, the first program of two of the notes.

Sources: Ng course notes, framework demonstration, section 1.1 (a picture: w goes from 0 to near 5);
Ng course 3.10/3.11 (prints 0.0, then 0.1 after one step, then 4.99999 after 1,000 more).

In float32 w stops at 4.9999886 from step 636 on: the update has become smaller than half the
distance to the next float. So 4.99999 is where rounding ends the descent, not a descent that is
still going on. In float64 w would be 4.9999999916 after 1,000 steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from legacy_tf1.checks import Record
from legacy_tf1.program import Outcome
from legacy_tf1.training import (
    TrainingGraph,
    descend,
    make_variables,
    nothing_fed,
    train,
)

v1 = tf.compat.v1

COEFFICIENTS = (1.0, -10.0, 25.0)
LEARNING_RATE = 0.01
SPELLINGS = ("functional", "operators")
STALL = 636  # the first step in float32 after which nothing changes


def build(
    w: float,
    coefficients: Sequence[float] = COEFFICIENTS,
    learning_rate: float = LEARNING_RATE,
    spelling: str = "functional",
) -> TrainingGraph:
    """Builds gradient descent on c0 w^2 + c1 w + c2.

    Args:
        w: Where it starts.
        coefficients: c0, c1, c2, constants of the graph.
        learning_rate: At least 0.
        spelling: `functional` calls `tf.add` and `tf.multiply`; `operators` writes `+` and `*`.

    Returns:
        A graph with the scalar variable `w`.

    Raises:
        ValueError: `spelling` is another word.
    """
    if spelling not in SPELLINGS:
        raise ValueError(f"spelling: found {spelling!r}, allowed {', '.join(SPELLINGS)}")
    graph = tf.Graph()
    with graph.as_default():
        variables = make_variables({"w": w})
        loss = _loss(variables["w"], [float(value) for value in coefficients], spelling)
        gradients, update = descend(loss, variables, learning_rate)
        initialize = v1.global_variables_initializer()
    return TrainingGraph(graph, loss, variables, gradients, update, initialize, nothing_fed)


def after(
    step: Any,
    start: float = 0.0,
    coefficients: Sequence[float] = COEFFICIENTS,
    learning_rate: float = LEARNING_RATE,
) -> Any:
    """Returns w after so many steps of exact arithmetic.

    Each step multiplies the distance to the minimum -c1 / (2 c0) by 1 - 2 c0 times the learning
    rate, so with the notes' numbers it is 5 (1 - 0.98^k).

    Args:
        step: k, a number or an array of numbers.
        start: w before training.
        coefficients: c0, c1, c2 with c0 > 0.
        learning_rate: As in `build`.
    """
    squared, linear, _ = coefficients
    minimum = -linear / (2 * squared)
    return minimum + (start - minimum) * (1 - 2 * squared * learning_rate) ** np.asarray(step)


def path(training: TrainingGraph, steps: int) -> list[Any]:
    """Returns `[steps + 1]` float32 scalars: w before training and after each step."""
    start = np.float32(0)
    return [start, *(step.weights["w"].reshape(())[()] for step in train(training, steps))]


def check_path(record: Record, weights: Sequence[Any], coefficients: Sequence[float]) -> None:
    """Compares a path from 0 with the closed form, and its end with where float32 stops.

    Args:
        record: Takes the checks down.
        weights: `[steps + 1]`, as `path` returns them.
        coefficients: c0, c1, c2.
    """
    exact = after(np.arange(len(weights)), 0.0, coefficients)
    record.close("w at every step", exact, np.array(weights), tolerance=5e-6)
    name = f"w from step {STALL} on"
    if record.reached(name, STALL + 1, len(weights) - 1):
        still = len({float(w) for w in weights[STALL:]}) == 1
        record.relation(name, "does not change", "does not" if still else "changes", still)


def run_picture(steps: int) -> Outcome:
    """The program of the framework demonstration: 1,000 steps to near 5."""
    record = Record()
    weights = path(build(0.0, spelling="operators"), steps)
    check_path(record, weights, COEFFICIENTS)
    if record.reached("w near 5", 1000, steps):
        near = abs(weights[1000] - 5) < 1e-4
        record.relation("w near 5", "within 0.0001", f"{weights[1000]:.8g}", near)
    return record.outcome(w=weights)


def run_functional(steps: int) -> Outcome:
    """Written with `tf.add` and `tf.multiply`: one step, then 1,000 more."""
    record = Record()
    weights = path(build(0.0, spelling="functional"), steps)
    check_printed(record, weights, (0.0, 0.1, 4.99999))
    check_path(record, weights, COEFFICIENTS)
    return record.outcome(w=weights)


def run_operators(steps: int) -> Outcome:
    """Written with operators: the same numbers, bit by bit."""
    record = Record()
    weights = path(build(0.0, spelling="operators"), steps)
    check_printed(record, weights, (0.0, 0.1, 4.99999))
    record.equal("w of both spellings", path(build(0.0, spelling="functional"), steps), weights)
    return record.outcome(w=weights)


def run_with(steps: int) -> Outcome:
    """The `with` form of a session: closed even when a step fails, and the same numbers."""
    record = Record()
    training = build(0.0, spelling="operators")
    w = training.variables["w"]
    with v1.Session(graph=training.graph) as session:
        session.run(training.initialize)
        weights = [session.run(w)]
        for _ in range(steps):
            session.run(training.update)
            weights.append(session.run(w))
    check_printed(record, weights, (0.0, 0.1, 4.99999))
    record.equal("w without the with", path(training, steps), weights)
    return record.outcome(w=weights)


def check_printed(record: Record, weights: Sequence[Any], expected: Sequence[float]) -> None:
    """Compares with what the course prints: before training, after 1 step, after 1,000 more."""
    for step, number in zip((0, 1, 1001), expected, strict=True):
        record.printed("w", number, weights, step)


def _loss(w: Any, coefficients: Sequence[float], spelling: str) -> tf.Tensor:
    squared, linear, constant = coefficients
    if spelling == "functional":
        terms = tf.add(tf.multiply(squared, w**2), tf.multiply(linear, w))
        return tf.add(terms, constant)
    return squared * w**2 + linear * w + constant
