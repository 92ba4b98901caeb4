"""Why TF1's reference variables are not safe to update from a group of assignments.

Source: CS231n lecture 8, frameworks, the stage with `tf.group(new_w1, new_w2)`, on the variables
that TF1 had. The gradient for w1 needs w2. With a reference variable it reads w2's own memory, and
nothing in the graph says that the assignment of w2 has to wait for that. If the assignment comes
first, w1 is moved by a gradient that belongs to no loss: half of it old, half new. A resource
variable gives each reader a value that stays what it was.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from legacy_tf1 import by_hand, two_layer
from legacy_tf1.checks import Record
from legacy_tf1.program import Outcome
from legacy_tf1.training import Array, train

ROUNDING = 1e-5  # of the largest magnitude; a torn update is off by more


@dataclass(frozen=True)
class FirstUpdate:
    """What the first update of w1 can be, in float64.

    Attributes:
        correct: `[D, H]`, from the old w2.
        torn: `[D, H]`, from the new w2.
        reach: `[D, H]`, how far w1 can be from `correct` if each entry of w2 that the gradient
            reads is either the old or the new one.
    """

    correct: Array
    torn: Array
    reach: Array

    def name_of(self, w1: Array) -> str:
        """Tells `correct`, `torn`, `partly torn` or `neither`.

        Args:
            w1: `[D, H]`, after one update.
        """
        slack = ROUNDING * np.abs(self.correct).max()
        if np.all(np.abs(w1 - self.correct) <= slack):
            return "correct"
        if np.all(np.abs(w1 - self.torn) <= slack):
            return "torn"
        if np.all(np.abs(w1 - self.correct) <= self.reach + slack):
            return "partly torn"
        return "neither"


def first_update(x: Array, y: Array, w1: Array, w2: Array, learning_rate: float) -> FirstUpdate:
    """Works out in NumPy what a group of two assignments can do to w1.

    Args:
        x: `[N, D]`.
        y: `[N, D_out]`.
        w1: `[D, H]`.
        w2: `[H, D_out]`.
        learning_rate: At least 0.
    """
    weights = {"w1": w1, "w2": w2}
    _, gradients = by_hand.loss_and_gradients(x, y, weights, mean_over="rows")
    change = -learning_rate * gradients["w2"]
    before = x @ w1
    flowing = 2 * (np.maximum(before, 0) @ w2 - y) / len(x)

    def gradient(features: Array, errors: Array, second: Array) -> Array:
        return features.T @ ((errors @ second.T) * (before > 0))

    correct = w1 - learning_rate * gradient(x, flowing, w2)
    torn = w1 - learning_rate * gradient(x, flowing, w2 + change)
    reach = learning_rate * gradient(np.abs(x), np.abs(flowing), np.abs(change))
    return FirstUpdate(correct, torn, reach)


def run(steps: int) -> Outcome:
    """Makes the first update again and again from the same weights, and counts what comes out.

    The race need not show on every machine. What is checked is that nothing comes out but what a
    race can give, and that resource variables always give the correct update.

    Args:
        steps: How often.
    """
    record = Record()
    arrays = two_layer.draw()
    possible = first_update(*arrays, two_layer.LEARNING_RATE)
    training = {
        update: two_layer.build(*arrays, update=update) for update in ("reference", "group")
    }
    names: dict[str, Counter[str]] = {update: Counter() for update in training}
    outcomes: dict[str, set[bytes]] = {update: set() for update in training}
    for _ in range(steps):
        for update, graph in training.items():
            (step,) = train(graph, 1)
            names[update][possible.name_of(step.weights["w1"])] += 1
            outcomes[update].add(step.weights["w1"].tobytes())
    found = ", ".join(f"{count} {name}" for name, count in sorted(names["reference"].items()))
    expected = "each correct or torn"
    record.relation("reference variables", expected, found, not names["reference"]["neither"])
    always = names["group"] == {"correct": steps} and len(outcomes["group"]) == 1
    found = "one outcome" if always else f"{len(outcomes['group'])} outcomes"
    record.relation("resource variables", "one outcome, the correct one", found, always)
    values = {f"{name.replace(' ', '_')}": count for name, count in names["reference"].items()}
    return record.outcome(distinct_outcomes=len(outcomes["reference"]), **values)
