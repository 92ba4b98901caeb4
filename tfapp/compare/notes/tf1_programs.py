"""Rows that are TF1 sessions: the programs of `legacy_tf1`, and what was measured of them."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np
import tensorflow as tf

from tfapp.compare.engines.tf1 import run_program
from tfapp.compare.notes.checks import CLOSED_FORM, NUMPY, Record
from tfapp.compare.notes.numpy_programs import adam as adam_by_hand

v1 = tf.compat.v1

END, MOVED_END = 4.9999886, 9.999977  # where float32 stops on the way to 5 and to 10
TWO_LAYER_LOSSES = {1: 1.7931594e7, 2: 9.392927e6, 10: 380319.7, 49: 979.604}


def quadratic(record: Record) -> None:
    """Row 1: 1,000 steps to near 5."""
    values = _include(record, "quadratic")
    record.measured("w after step 1000", END, values["w"][1000])
    record.fails("cost = w**2 - 10w + 25", "invalid decimal literal", SyntaxError)


def graph(record: Record) -> None:
    """Row 8: three placeholders and tf.gradients."""
    values = _include(record, "computation-graph")
    record.measured("c", 6.7170086, values["c"][0])
    expected = [0.7610377, 0.12167501, 0.44386324, 0.33367434]
    record.measured("gradient for x, first row", expected, values["gradient_x"])


def fed_once(record: Record) -> None:
    """Row 10: one run of a network whose weights are fed."""
    values = _include(record, "two-layer-fed", steps=1)
    record.measured("loss", 5.000416e7, values["loss"][0])


def fed(record: Record) -> None:
    """Row 11: 50 updates outside of the session."""
    values = _include(record, "two-layer-fed")
    for step, expected in TWO_LAYER_LOSSES.items():
        # Rounding grows where the loss falls steeply.
        name = f"loss after update {step}"
        record.measured(name, expected, values["loss"][step], tolerance=1e-4)


def unfetched(record: Record) -> None:
    """Row 12: nothing asks for the assignments, so they never run."""
    _include(record, "two-layer-unfetched")


def group(record: Record) -> None:
    """Row 13: a group of both assignments, on resource and on reference variables."""
    _include(record, "two-layer-group")
    _include(record, "two-layer-race", steps=8)  # repetitions of the first update


def minimize(record: Record) -> None:
    """Row 14: the optimizer writes the update."""
    _include(record, "two-layer-minimize")


def dense_layers(record: Record) -> None:
    """Row 15: two dense layers, and a loss a thousand times less."""
    record.fails("tf.layers.dense", "not available with Keras 3", AttributeError, tf=v1)
    values = _include(record, "dense-layers")
    # Targets have a variance of 1. Variance scaling by 2 keeps the mean square through a ReLU, so
    # the outputs have one of 2.
    losses = values["loss_at_1e-05"]
    record.close("loss before training", 3, losses[0], tolerance=0.02, origin=CLOSED_FORM)
    for rate, expected in (("1e-05", 2.984474), ("0.01", 1.998111)):
        name = f"loss of step 50 at {float(rate):g}"
        record.measured(name, expected, values[f"loss_at_{rate}"][49], tolerance=0.02)
    _include(record, "mean-squared-error")


def control_flow(record: Record) -> None:
    """Row 22: cond, while_loop and foldl."""
    _include(record, "control-flow")
    record.fails("tf.fold1", "fold1", AttributeError, tf=v1)


def before_training(record: Record) -> None:
    """Row 24: w before training."""
    record.printed("w before training", 0.0, _path("quadratic-functional", 1)[0])


def one_step(record: Record) -> None:
    """Row 25: w after one step."""
    w = _path("quadratic-functional", 1)[1]
    record.printed("w after step 1", 0.1, w)
    record.measured("w after step 1", 0.099999994, w, tolerance=1e-7)


def further_steps(record: Record) -> None:
    """Row 26: w after 1,000 steps more."""
    values = _include(record, "quadratic-functional")
    record.measured("w after step 1001", END, values["w"][1001])


def operators(record: Record) -> None:
    """Row 27: the cost with overloaded operators."""
    values = _include(record, "quadratic-operators")
    record.measured("w after step 1001", END, values["w"][1001])


def coefficients(record: Record) -> None:
    """Row 28: coefficients from a placeholder, and the sign of the prose."""
    values = _include(record, "coefficients")
    record.measured("w after step 1001", END, values["w"][1001])
    _include(record, "coefficients-wrong-sign")
    record.fails("{x: coefficients}", "'coefficients'", NameError, x="x", coefficient=None)


def moved_coefficients(record: Record) -> None:
    """Row 29: coefficients that move the minimum."""
    values = _include(record, "coefficients-moved")
    record.measured("w after step 1", 0.19999999, values["w"][1], tolerance=1e-7)
    record.measured("w after step 1001", MOVED_END, values["w"][1001])


def slide(record: Record) -> None:
    """Row 30: a w of shape [1]."""
    values = _include(record, "coefficients-slide")
    record.measured("w after step 1000", MOVED_END, values["w"][1000])


def with_session(record: Record) -> None:
    """Row 31: the session as a context."""
    values = _include(record, "quadratic-with")
    record.measured("w after step 1001", END, values["w"][1001])
    record.fails("tf.Sessions()", "Sessions", AttributeError, tf=v1)
    record.fails("tf.global variables initializer", "invalid syntax", SyntaxError, tf=v1)


def adam(record: Record) -> None:
    """Row 32: the same program with another optimizer in one line."""
    steps = 1000
    plain, adapted = (
        _train(optimizer(0.01), steps)
        for optimizer in (v1.train.GradientDescentOptimizer, v1.train.AdamOptimizer)
    )
    record.printed("w after step 1 of gradient descent", 0.1, plain[0])
    # Whatever the slope is, the first step is the rate: m / sqrt(v) is its sign.
    record.close("w after step 1 of Adam", 0.01, adapted[0], tolerance=1e-6, origin=CLOSED_FORM)
    found = adam_by_hand(_slope, [np.zeros(())], 0.01, steps, hat=True)
    expected = [float(weights[0]) for _, weights in found]
    record.close("w at every step", expected, adapted, tolerance=1e-5, origin=NUMPY)
    nearer = abs(plain[-1] - 5) < abs(adapted[-1] - 5)
    found_ends = f"{plain[-1]:.6g} and {adapted[-1]:.6g}"
    record.relation("nearer to 5 after step 1000", "gradient descent", found_ends, nearer)


def _include(record: Record, program: str, steps: int | None = None) -> dict[str, Any]:
    values, checks = run_program(program, steps)
    record.include(checks)
    return values


def _path(program: str, steps: int) -> list[float]:
    values, _ = run_program(program, steps)
    path: list[float] = values["w"]
    return path


def _train(optimizer: Any, steps: int) -> list[float]:
    """Returns w after each step of a TF1 optimizer on w^2 - 10 w + 25, from 0."""
    graph = tf.Graph()
    with graph.as_default():
        w = v1.get_variable("w", initializer=0.0, use_resource=True)
        update = optimizer.minimize(w**2 - 10 * w + 25)
        initialize = v1.global_variables_initializer()
    with closing(v1.Session(graph=graph)) as session:
        session.run(initialize)
        path = []
        for _ in range(steps):
            session.run(update)
            path.append(float(session.run(w)))
        return path


def _slope(step: int, weights: Any) -> tuple[float, list[Any]]:
    (w,) = weights
    return float(w**2 - 10 * w + 25), [2 * w - 10]
