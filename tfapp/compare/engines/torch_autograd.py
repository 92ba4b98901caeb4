"""PyTorch: autograd, and gradient descent as `torch.optim.SGD` does it.

Tensors keep TensorFlow's layouts and are permuted inside the losses, so that gradients and weights
come out in the form of the reference. B is the batch size, D the features of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.nn import functional

from tfapp.compare.task import Task
from tfapp.compare.trace import Step, Train, step_by_step

EPSILON = 1e-3
NEW_SHARE = 0.01  # what PyTorch calls momentum: the share of the new value in a moving average

Tensors = Mapping[str, Any]


def run(task: Task) -> Iterator[Step]:
    """Yields the steps of gradient descent."""
    descent = Descent(task)
    for number in range(task.steps):
        loss = descent.step(number)
        # An update leaves gradients as they are.
        gradients = {name: _copy(descent.tensors[name].grad) for name in descent.trained}
        weights = {name: _copy(descent.tensors[name]) for name in task.arrays.weights}
        yield Step(_copy(loss), gradients, weights)


def train(task: Task) -> Train:
    """Returns what makes the steps of `run`."""
    descent = Descent(task)
    return step_by_step(lambda number: descent.step(number).item())


class Descent:
    """Gradient descent on tensors.

    Args:
        task: What is computed.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        initial = task.arrays.weights or task.arrays.data
        self.trained = task.trained or tuple(initial)
        self.tensors = {name: torch.tensor(value) for name, value in initial.items()}
        for name in self.trained:
            self.tensors[name].requires_grad_()
        parameters = [self.tensors[name] for name in self.trained]
        self._optimizer = torch.optim.SGD(parameters, lr=task.program.learning_rate)

    def step(self, number: int) -> Any:
        """Updates once, if there is anything to update; returns the loss before that."""
        batch = self._task.batch(number)
        data = {name: torch.from_numpy(array) for name, array in batch.items()}
        self._optimizer.zero_grad()
        loss = _LOSSES[self._task.program.kind](self.tensors, data)
        loss.backward()
        if self._task.arrays.weights:
            self._optimizer.step()
        return loss


def polynomial(weights: Tensors, data: Tensors) -> Any:
    """Returns c0 w^2 + c1 w + c2; the coefficients are `[3, 1]`."""
    squared, linear, constant = data["coefficients"].ravel()
    w = weights["w"]
    return squared * w**2 + linear * w + constant


def total(weights: Tensors, data: Tensors) -> Any:
    """Returns sum(x y + z) of three `[N, D]`, which are differentiated and so come as weights."""
    return (weights["x"] * weights["y"] + weights["z"]).sum()


def two_layer(weights: Tensors, data: Tensors) -> Any:
    """Returns the squared error of x `[B, D]` against y, summed in a row, then averaged."""
    hidden = (data["x"] @ weights["w1"]).clamp(min=0)
    difference = hidden @ weights["w2"] - data["y"]
    return (difference**2).sum(dim=1).mean()


def mlp(weights: Tensors, data: Tensors) -> Any:
    """Returns the squared error of images `[B, D]` against labels `[B]`, over all entries."""
    hidden = functional.relu(data["images"] @ weights["w1"] + weights["b1"])
    hidden = functional.relu(hidden @ weights["w2"] + weights["b2"])
    out = hidden @ weights["w3"] + weights["b3"]
    wanted = functional.one_hot(data["labels"].long(), out.shape[1]).to(out.dtype)
    return ((wanted - out) ** 2).mean()


def cnn(weights: Tensors, data: Tensors) -> Any:
    """Returns the cross-entropy of images `[B, H, W, C]` and labels `[B]`; moves the averages."""
    x = data["images"].permute(0, 3, 1, 2)
    x = functional.conv2d(x, weights["conv/kernel"].permute(3, 2, 0, 1), padding="same")
    x = functional.batch_norm(
        x,
        weights["bn/moving_mean"],
        weights["bn/moving_variance"],
        weights["bn/gamma"],
        weights["bn/beta"],
        training=True,
        momentum=NEW_SHARE,
        eps=EPSILON,
    )
    x = functional.max_pool2d(functional.relu(x), 2)
    x = x.permute(0, 2, 3, 1).flatten(1)  # rows of the dense kernel are in the order H, W, C
    logits = x @ weights["dense/kernel"] + weights["dense/bias"]
    return functional.cross_entropy(logits, data["labels"].long())


def _copy(tensor: Any) -> Any:
    return tensor.detach().numpy().copy()


_LOSSES: Mapping[str, Callable[[Tensors, Tensors], Any]] = {
    "polynomial": polynomial,
    "fed polynomial": polynomial,
    "sum": total,
    "two-layer": two_layer,
    "mlp": mlp,
    "cnn": cnn,
}
