"""The yardstick itself, against a closed form and against differences of losses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tfapp.bench import reference
from tfapp.bench.examples import initial_weights, read_examples, write_examples
from tfapp.bench.reference import reference_losses
from tfapp.bench.workloads import WORKLOADS

TINY = {"examples": 24, "batch_size": 8, "feature_shape": (5,), "hidden": (9, 7), "classes": 3}


def examples_of(workload, tmp_path):
    write_examples(workload, tmp_path / "x.npz")
    return read_examples(tmp_path / "x.npz")


def test_gradient_descent_on_the_parabola_is_geometric(tmp_path):
    workload = WORKLOADS["quadratic"]
    losses = reference_losses(workload, examples_of(workload, tmp_path), 20)
    assert losses == pytest.approx([25 * 0.98 ** (2 * n) for n in range(20)])


@pytest.mark.parametrize("name", ["mlp-sgd", "mlp-adam"])
def test_the_second_loss_is_that_of_numeric_gradients(name, tmp_path, monkeypatch):
    workload = replace(WORKLOADS[name], **TINY, learning_rate=0.05)
    examples = examples_of(workload, tmp_path)
    weights = [w.astype(np.float64) for w in initial_weights(workload)]

    def loss_at(values, steps=1):
        monkeypatch.setattr(reference, "initial_weights", lambda _: values)
        return reference_losses(workload, examples, steps)[-1]

    moved = []
    for number, weight in enumerate(weights):
        gradient = np.zeros_like(weight)
        for place in np.ndindex(weight.shape):
            sides = []
            for change in (1e-6, -1e-6):
                values = [w.copy() for w in weights]
                values[number][place] += change
                sides.append(loss_at(values))
            gradient[place] = (sides[0] - sides[1]) / 2e-6
        # Adam's first step is as long as the rate, whatever the gradient, where there is one.
        flat = np.abs(gradient) < 1e-7
        step = gradient if workload.optimizer == "sgd" else np.where(flat, 0, np.sign(gradient))
        moved.append(weight - 0.05 * step)
    second = replace(workload, examples=16)
    monkeypatch.setattr(reference, "initial_weights", lambda _: weights)
    expected = reference_losses(second, examples, 2)[1]
    rows = slice(8, 16)
    later = replace(examples, features=examples.features[rows], labels=examples.labels[rows])
    monkeypatch.setattr(reference, "initial_weights", lambda _: moved)
    measured = reference_losses(replace(workload, examples=8), later, 1)[0]
    assert expected == pytest.approx(measured, rel=1e-6)


def test_convolutions_are_not_computed_by_hand(tmp_path):
    workload = replace(WORKLOADS["cnn"], examples=128)
    assert reference_losses(workload, examples_of(workload, tmp_path), 1) is None
