"""NumPy by hand: the dense networks with their backpropagation written out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfapp.bench.contenders.base import Contender, Losses, Task, one_by_one
from tfapp.bench.examples import Array, batch_indices, initial_weights, read_examples
from tfapp.bench.workloads import ADAM


class NumpyLoop(Contender):
    """float32 throughout, updates in place, matrix products by the BLAS that NumPy came with."""

    def __init__(self, task: Task) -> None:
        self._workload = workload = task.workload
        examples = read_examples(task.source)
        self._features, self._labels = examples.features, examples.labels
        self._one_hot = examples.one_hot(workload.classes)
        self._batches = batch_indices(workload)
        self._weights = initial_weights(workload)
        self._moments = [(np.zeros_like(w), np.zeros_like(w)) for w in self._weights]
        self._steps = 0
        self._loss = float("nan")

    def first_losses(self, steps: int) -> Sequence[Losses]:
        """Trains on the first batches of the stored order and returns their losses."""
        return one_by_one(self._step() for _ in range(steps))

    def run(self, steps: int) -> None:
        """Trains `steps` steps more."""
        for _ in range(steps):
            self._loss = self._step()

    def loss(self) -> float:
        """Returns the newest loss."""
        return self._loss

    def _step(self) -> float:
        rows = next(self._batches)
        stride = 2 if self._workload.has_biases else 1
        matrices = self._weights[::stride]
        activations = [self._features[rows]]
        for layer, matrix in enumerate(matrices):
            outputs = activations[-1] @ matrix
            if self._workload.has_biases:
                outputs += self._weights[2 * layer + 1]
            if layer < len(matrices) - 1:
                np.maximum(outputs, 0, out=outputs)
            activations.append(outputs)
        loss, slope = self._loss_and_slope(activations[-1], rows)
        gradients: list[Array] = []
        for layer in reversed(range(len(matrices))):
            own = [activations[layer].T @ slope]
            if self._workload.has_biases:
                own.append(slope.sum(axis=0))
            gradients = own + gradients
            if layer:
                slope = slope @ matrices[layer].T
                slope *= activations[layer] > 0
        self._update(gradients)
        return loss

    def _loss_and_slope(self, outputs: Array, rows: Array) -> tuple[float, Array]:
        """Returns the mean loss and its derivative by the outputs `[B, classes]`."""
        if self._workload.loss == "squared_error":
            errors = outputs - self._one_hot[rows]
            loss = float(np.mean(np.square(errors)))
            errors *= 2 / errors.size
            return loss, errors
        outputs -= outputs.max(axis=1, keepdims=True)
        sums = np.exp(outputs).sum(axis=1, keepdims=True)
        outputs -= np.log(sums)  # log of the shares
        loss = -float(np.mean(outputs[np.arange(len(rows)), self._labels[rows]]))
        slope = np.exp(outputs)
        slope -= self._one_hot[rows]
        slope /= len(rows)
        return loss, slope

    def _update(self, gradients: Sequence[Array]) -> None:
        rate = self._workload.learning_rate
        if self._workload.optimizer == "sgd":
            for weight, gradient in zip(self._weights, gradients, strict=True):
                gradient *= rate
                weight -= gradient
            return
        self._steps += 1
        beta_1, beta_2, epsilon = ADAM["beta_1"], ADAM["beta_2"], ADAM["epsilon"]
        scaled = np.float32(rate * np.sqrt(1 - beta_2**self._steps) / (1 - beta_1**self._steps))
        for weight, gradient, (first, second) in zip(
            self._weights, gradients, self._moments, strict=True
        ):
            first += (1 - beta_1) * (gradient - first)
            second += (1 - beta_2) * (np.square(gradient) - second)
            weight -= scaled * first / (np.sqrt(second) + epsilon)
