"""Branches and loops inside a static graph, with gradients through them.

Source: CS231n lecture 8, frameworks, static against dynamic graphs: `tf.cond`, `tf.while_loop` and
`tf.foldl` (the slide's "fold1" ends in the letter l). The lecture shows no numbers; the closed
forms are known. The graph is built once. Which branch is taken, and how often a loop turns, is
decided by what is fed.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np
import tensorflow as tf

from legacy_tf1.checks import Record
from legacy_tf1.program import Outcome
from legacy_tf1.training import Array, open_session

v1 = tf.compat.v1

POLYNOMIAL = (2.0, -3.0, 0.5, 4.0)  # 2 x^3 - 3 x^2 + 0.5 x + 4


class ScalarGraph:
    """A scalar function of a scalar, with its gradient, as a graph.

    Attributes:
        graph: Holds both.
        x: Placeholder of the argument.
        value: Scalar.
        gradient: Scalar, of `value` for `x`.
        also: Other placeholders, by name.
    """

    def __init__(self, graph: tf.Graph, x: Any, value: Any, **also: Any) -> None:
        self.graph = graph
        self.x = x
        self.value = value
        self.also = also
        with graph.as_default():
            (self.gradient,) = tf.gradients(value, x)

    def run(self, arguments: Array, **also: Any) -> tuple[Array, Array]:
        """Computes the function at several points in one session.

        Args:
            arguments: `[N]` points.
            also: Fed to the other placeholders.

        Returns:
            Values `[N]` and gradients `[N]`, in float32.
        """
        fed = {self.also[name]: value for name, value in also.items()}
        with closing(open_session(self.graph)) as session:
            results = [
                session.run([self.value, self.gradient], feed_dict={self.x: x, **fed})
                for x in arguments
            ]
        values, gradients = np.array(results).T
        return values, gradients


def build_branch() -> ScalarGraph:
    """Builds x^2 where x > 0 and -3 x elsewhere, with `tf.cond`."""
    graph = tf.Graph()
    with graph.as_default():
        x = v1.placeholder(tf.float32, [])
        value = v1.cond(x > 0, lambda: x**2, lambda: -3 * x)
    return ScalarGraph(graph, x, value)


def build_power() -> ScalarGraph:
    """Builds x^n with `tf.while_loop`, where n is the placeholder `times`."""
    graph = tf.Graph()
    with graph.as_default():
        x = v1.placeholder(tf.float32, [])
        times = v1.placeholder(tf.int32, [])
        _, value = v1.while_loop(
            lambda done, _: done < times,
            lambda done, product: (done + 1, product * x),
            (tf.constant(0), tf.ones_like(x)),
        )
    return ScalarGraph(graph, x, value, times=times)


def build_polynomial() -> ScalarGraph:
    """Builds a polynomial by Horner's rule with `tf.foldl`.

    Its coefficients are the placeholder `coefficients`, `[n]`, the highest power first.
    """
    graph = tf.Graph()
    with graph.as_default():
        x = v1.placeholder(tf.float32, [])
        coefficients = v1.placeholder(tf.float32, [None])
        value = v1.foldl(lambda sum_, c: sum_ * x + c, coefficients, initializer=tf.zeros_like(x))
    return ScalarGraph(graph, x, value, coefficients=coefficients)


def run(steps: int) -> Outcome:
    """Compares values and gradients of all three with closed forms.

    Args:
        steps: How often the `while` loop turns.
    """
    record = Record()
    points = np.array([-1.25, -0.5, 0.5, 0.75, 1.25])
    values, gradients = build_branch().run(points)
    expected = np.where(points > 0, points**2, -3 * points)
    record.close("cond", expected, values, tolerance=1e-6)
    slopes = np.where(points > 0, 2 * points, -3.0)
    record.close("cond, gradient", slopes, gradients, tolerance=1e-6)
    powers, power_slopes = build_power().run(points, times=steps)
    rounding = 1e-6 * steps  # one rounding a turn
    record.close("while_loop", points**steps, powers, tolerance=rounding)
    slopes = steps * points ** (steps - 1)
    record.close("while_loop, gradient", slopes, power_slopes, tolerance=rounding)
    sums, sum_slopes = build_polynomial().run(points, coefficients=POLYNOMIAL)
    record.close("foldl", np.polyval(POLYNOMIAL, points), sums, tolerance=1e-6)
    derivative = np.polyval(np.polyder(POLYNOMIAL), points)
    record.close("foldl, gradient", derivative, sum_slopes, tolerance=1e-6)
    return record.outcome(x=points, cond=values, while_loop=powers, foldl=sums)
