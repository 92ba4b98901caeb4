"""PyTorch: the loop of its tutorials, with and without `torch.compile`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tfapp.bench.contenders.base import Contender, Losses, Task, one_by_one
from tfapp.bench.examples import Array, batch_indices, initial_weights, read_examples
from tfapp.bench.workloads import ADAM, NORM_EPSILON, NORM_MOMENTUM, Workload


class TorchLoop(Contender):
    """Eager PyTorch: forward, backward, optimizer step.

    The optimizers are the fused ones, the fastest that PyTorch has on a CPU.
    """

    def __init__(self, task: Task) -> None:
        workload = task.workload
        examples = read_examples(task.source)
        self._features = torch.from_numpy(examples.features)
        squared = workload.loss == "squared_error"
        labels = examples.one_hot(workload.classes) if squared else examples.labels.astype("int64")
        self._labels = torch.from_numpy(labels)
        self._batches = batch_indices(workload)
        model = _build(workload)
        self._optimizer = _optimizer(workload, model)
        self._objective = self._compile(_objective(workload, model))
        self._last = torch.tensor(float("nan"))

    def first_losses(self, steps: int) -> Sequence[Losses]:
        """Trains on the first batches of the stored order and returns their losses."""
        return one_by_one(self._step().item() for _ in range(steps))

    def run(self, steps: int) -> None:
        """Trains `steps` steps more."""
        for _ in range(steps):
            self._last = self._step()

    def loss(self) -> float:
        """Returns the newest loss."""
        return self._last.item()

    def _compile(self, objective: Callable[..., Any]) -> Callable[..., Any]:
        return objective

    def _step(self) -> torch.Tensor:
        rows = torch.from_numpy(next(self._batches))
        self._optimizer.zero_grad()
        loss = self._objective(self._features[rows], self._labels[rows])
        loss.backward()
        self._optimizer.step()
        return loss.detach()


class TorchCompile(TorchLoop):
    """The same with forward, loss and backward compiled by `torch.compile`."""

    def _compile(self, objective: Callable[..., Any]) -> Callable[..., Any]:
        torch.compiler.reset()  # else it takes the sizes of another workload for changing ones
        return torch.compile(objective)


class Quadratic(nn.Module):
    """The cost c0 w^2 + c1 w + c2 of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(()))

    def forward(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Returns `[B]` costs for coefficients `[B, 3]`."""
        c0, c1, c2 = coefficients.unbind(1)
        return c0 * self.w**2 + c1 * self.w + c2


class Images(nn.Module):
    """tfapp's `cnn` without its dropout; takes images `[B, H, W, C]`."""

    def __init__(self, workload: Workload) -> None:
        super().__init__()
        *filters, dense = workload.hidden
        height, width, channels = workload.feature_shape
        layers: list[nn.Module] = []
        for count in filters:
            layers += [
                nn.Conv2d(channels, count, 3, padding=1, bias=False),
                nn.BatchNorm2d(count, eps=NORM_EPSILON, momentum=1 - NORM_MOMENTUM),
                nn.ReLU(),
                nn.MaxPool2d(2, ceil_mode=True),
            ]
            channels, height, width = count, -(-height // 2), -(-width // 2)
        self.convolutions = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Linear(height * width * channels, dense),
            nn.ReLU(),
            nn.Linear(dense, workload.classes),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns logits `[B, classes]`."""
        maps = self.convolutions(images.permute(0, 3, 1, 2))
        # Back to channels last, the order in which the dense weights were drawn.
        return self.head(maps.permute(0, 2, 3, 1).flatten(1))


def _build(workload: Workload) -> nn.Module:
    if workload.architecture == "quadratic":
        return Quadratic()
    if workload.architecture == "cnn":
        model: nn.Module = Images(workload)
    else:
        layers: list[nn.Module] = []
        for fan_in, fan_out in zip(workload.widths, workload.widths[1:], strict=False):
            layers += [nn.Linear(fan_in, fan_out, bias=workload.has_biases), nn.ReLU()]
        model = nn.Sequential(*layers[:-1])
    with torch.no_grad():
        parameters = list(model.parameters())
        for parameter, weight in zip(parameters, initial_weights(workload), strict=True):
            parameter.copy_(torch.from_numpy(_turned(weight)))
    return model


def _turned(weight: Array) -> Array:
    """PyTorch has `[out, in]` where everybody else has `[in, out]`."""
    if weight.ndim == 4:
        return weight.transpose(3, 2, 0, 1).copy()
    return weight.T.copy()


def _objective(workload: Workload, model: nn.Module) -> Callable[..., Any]:
    if workload.loss == "squared_error":
        return lambda features, labels: functional.mse_loss(model(features), labels)
    if workload.loss == "cross_entropy":
        return lambda features, labels: functional.cross_entropy(model(features), labels)
    return lambda features, labels: model(features).mean()


def _optimizer(workload: Workload, model: nn.Module) -> torch.optim.Optimizer:
    rate = workload.learning_rate
    if workload.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), rate, fused=True)
    return torch.optim.Adam(
        model.parameters(),
        rate,
        betas=(ADAM["beta_1"], ADAM["beta_2"]),
        eps=ADAM["epsilon"],
        fused=True,
    )
