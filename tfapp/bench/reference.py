"""The first losses of a workload, by backpropagation in NumPy and float64.

This is what contenders are checked against before they are timed: it shares no code with any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tfapp.bench.examples import Array, Examples, epoch_indices, initial_weights
from tfapp.bench.workloads import ADAM, Workload

Update = Callable[[Sequence[Array]], None]


def reference_losses(workload: Workload, examples: Examples, steps: int) -> list[float] | None:
    """Returns the loss of each of the first `steps` batches, before its update.

    Args:
        workload: What is trained.
        examples: Its training split.
        steps: At most those of an epoch.

    Returns:
        The losses; `None` for networks with convolutions, which are compared with one another.
    """
    if workload.architecture == "cnn":
        return None
    weights = [weight.astype(np.float64) for weight in initial_weights(workload)]
    update = _optimizer(workload, weights)
    losses = []
    for rows in epoch_indices(workload, 0)[:steps]:
        features = examples.features[rows].astype(np.float64)
        if workload.architecture == "quadratic":
            loss, gradients = _quadratic(weights[0], features)
        else:
            loss, gradients = _dense(workload, weights, features, examples.labels[rows])
        losses.append(loss)
        update(gradients)
    return losses


def _quadratic(w: Array, coefficients: Array) -> tuple[float, list[Array]]:
    c0, c1, c2 = coefficients.mean(axis=0)
    return float(c0 * w**2 + c1 * w + c2), [np.asarray(2 * c0 * w + c1)]


def _dense(
    workload: Workload, weights: Sequence[Array], features: Array, labels: Array
) -> tuple[float, list[Array]]:
    stride = 2 if workload.has_biases else 1
    matrices = weights[::stride]
    biases = weights[1::2] if workload.has_biases else [np.zeros(1)] * len(matrices)
    activations = [features]
    for layer, (matrix, bias) in enumerate(zip(matrices, biases, strict=True)):
        outputs = activations[-1] @ matrix + bias
        last = layer == len(matrices) - 1
        activations.append(outputs if last else np.maximum(outputs, 0))
    loss, slope = _loss(workload, activations[-1], np.eye(workload.classes)[labels])
    gradients: list[Array] = []
    for layer in reversed(range(len(matrices))):
        own = [activations[layer].T @ slope, slope.sum(axis=0)][:stride]
        gradients = own + gradients
        slope = (slope @ matrices[layer].T) * (activations[layer] > 0)
    return loss, gradients


def _loss(workload: Workload, outputs: Array, targets: Array) -> tuple[float, Array]:
    """Returns the mean loss and its derivative by the outputs `[B, classes]`."""
    if workload.loss == "squared_error":
        errors = outputs - targets
        return float(np.mean(errors**2)), 2 * errors / errors.size
    shifted = outputs - outputs.max(axis=1, keepdims=True)
    shares = np.exp(shifted)
    shares /= shares.sum(axis=1, keepdims=True)
    losses = -np.log((shares * targets).sum(axis=1))
    return float(losses.mean()), (shares - targets) / len(outputs)


def _optimizer(workload: Workload, weights: list[Array]) -> Update:
    rate = workload.learning_rate
    if workload.optimizer == "sgd":

        def descend(gradients: Sequence[Array]) -> None:
            for weight, gradient in zip(weights, gradients, strict=True):
                weight -= rate * gradient

        return descend
    beta_1, beta_2, epsilon = ADAM["beta_1"], ADAM["beta_2"], ADAM["epsilon"]
    moments = [(np.zeros_like(weight), np.zeros_like(weight)) for weight in weights]
    step = 0

    def adam(gradients: Sequence[Array]) -> None:
        nonlocal step
        step += 1
        # Source: Kingma and Ba 2015, the efficient order of section 2, as in Keras and TF1.
        scaled = rate * np.sqrt(1 - beta_2**step) / (1 - beta_1**step)
        for weight, gradient, (first, second) in zip(weights, gradients, moments, strict=True):
            first += (1 - beta_1) * (gradient - first)
            second += (1 - beta_2) * (gradient**2 - second)
            weight -= scaled * first / (np.sqrt(second) + epsilon)

    return adam
