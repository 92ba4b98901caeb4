"""Rows in PyTorch, written as its users write them.

B is the batch size. Each row draws from seed 0 and leaves PyTorch's generator as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise, repeat
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional, init
from torch.utils.data import DataLoader, TensorDataset

from tfapp.compare.notes.checks import NUMPY, Record
from tfapp.compare.notes.numpy_programs import (
    adam,
    dense_parameters,
    descend,
    forward,
    parallel_blocks_error,
    squared_error,
    sum_and_gradients,
)

IMAGE = (128, 128, 3)
SMALL_IMAGE = (8, 8, 3)  # the whole network but for the height of its first kernel
HIDDEN = (1024, 512, 128, 32, 8, 3)
SIZES = (1000, 100, 10)
STEPS = 500
FEW = 10  # steps that are compared with NumPy

Tensor = Any


class NeuralNetwork(nn.Module):
    """Seven linear layers on a flattened image, the last with a sigmoid.

    Takes images `[B, H, W, C]` and returns probabilities `[B, 1]`.

    Args:
        image: Height, width and channels.
    """

    def __init__(self, image: tuple[int, int, int]) -> None:
        super().__init__()
        sizes = (int(np.prod(image)), *HIDDEN)
        self.flatten = nn.Flatten()
        self.hidden = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))
        self.out = nn.Linear(sizes[-1], 1)
        init.xavier_uniform_(self.out.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Returns `[B, 1]` for images `[B, H, W, C]`."""
        x = self.flatten(images)
        for layer in self.hidden:
            x = torch.relu(layer(x))
        return torch.sigmoid(self.out(x))


class TwoLayerNet(nn.Module):
    """Linear, ReLU, linear.

    Args:
        inputs: Features of a row.
        hidden: Width of the hidden layer.
        outputs: Numbers that come out for a row.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, hidden)
        self.second = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Returns `[B, outputs]` for `[B, inputs]`."""
        return self.second(self.first(x).clamp(min=0))


class ParallelBlock(nn.Module):
    """The ReLU of the product of two linear layers.

    Args:
        inputs: Features of a row.
        outputs: Width of both layers.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.left = nn.Linear(inputs, outputs)
        self.right = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Returns `[B, outputs]` for `[B, inputs]`."""
        return (self.left(x) * self.right(x)).clamp(min=0)


def neural_network(record: Record) -> None:
    """Row 3: the size of the network on paper, and its outputs on small images."""
    record.fails("init.xavier_uniform_(weight)", "'init'", NameError, weight=torch.zeros(1, 3))
    with torch.device("meta"):  # shapes without memory: the kernels would take 200 MB
        whole = NeuralNetwork(IMAGE)
        shape = list(whole(torch.zeros(2, *IMAGE)).shape)
    pixels = int(np.prod(IMAGE))
    record.exactly("parameters", dense_parameters((pixels, *HIDDEN, 1)), count_parameters(whole))
    record.relation("outputs of 2 images", "[2, 1]", shape, shape == [2, 1])
    with seeded():
        model = NeuralNetwork(SMALL_IMAGE)
        images = torch.rand(4, *SMALL_IMAGE)
        outputs = model(images)
    _, logits = forward(_array(images).reshape(4, -1), weights_of(model))
    name = f"outputs for images of {' x '.join(map(str, SMALL_IMAGE))}"
    expected = 1 / (1 + np.exp(-logits))
    record.close(name, expected, _array(outputs), tolerance=1e-5, origin=NUMPY)
    largest = float(model.out.weight.detach().abs().max())
    record.between("largest weight by Xavier", 0, largest, (6 / (3 + 1)) ** 0.5)


def graph(record: Record) -> None:
    """Row 9: sum(x y + z), gradients wanted for x only."""
    with seeded():
        x, y, z = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4), torch.randn(3, 4)
        c = (x * y + z).sum()
        c.backward()
    expected, _ = sum_and_gradients(_array(x), _array(y), _array(z))
    # Twelve terms of about 1 may nearly cancel.
    record.close("c", expected, c.item(), tolerance=1e-5, origin=NUMPY)
    record.equal("gradient for x, beside y", y, x.grad)
    for name, tensor in (("y", y), ("z", z)):
        record.relation(f"{name}.grad", "None", tensor.grad, tensor.grad is None)
    record.relation("requires_grad by default", "False", y.requires_grad, not y.requires_grad)
    if not torch.cuda.is_available():  # the notes compute on cuda:0
        line = "torch.randn(3, 4, device='cuda:0')"
        record.fails(line, "", AssertionError, RuntimeError, torch=torch)


def autograd(record: Record) -> None:
    """Row 17: two matrices, updated by hand."""
    with seeded():
        x, y = _draw()
        w1, w2 = torch.randn(1000, 100), torch.randn(100, 10)
        start = [_array(w1), _array(w2)]
        losses = train_matrices(x, y, w1, w2, rate=1e-6)
    features, targets = _array(x), _array(y)
    found = descend(lambda _, w: squared_error(features, targets, w, 1), start, 1e-6, 100)
    expected = np.array([loss for loss, _ in found])
    share = np.array(losses[:100]) / expected
    name = "loss of the first 100 steps, divided"
    record.close(name, np.ones(100), share, tolerance=1e-3, origin=NUMPY)
    for step, figure in ((1, 2.94e7), (2, 2.27e7), (100, 427.8)):
        record.measured(f"loss of step {step}", figure, losses[step - 1], tolerance=3e-3)
    record.between("loss of step 500", 0, losses[-1], 1e-4)


def sequential(record: Record) -> None:
    """Row 18: nn.Sequential and Adam."""
    record.fails("torch.nn.ReLu()", "ReLu", AttributeError, torch=torch)
    losses, _ = _check_training(record, two_layers, dense_error)
    record.measured("loss of step 1", 0.98169, losses[0], tolerance=1e-5)
    record.between("loss of step 500", 0, losses[-1], 1e-7)


def module(record: Record) -> None:
    """Row 19: the same network as a module."""
    losses, model = _check_training(record, lambda: TwoLayerNet(*SIZES), dense_error)
    record.exactly("parameters", dense_parameters(SIZES), count_parameters(model))
    with seeded():
        x, y = _draw()
        same = train(two_layers(), repeat((x, y), FEW), rate=1e-4)
    record.equal(f"loss of {FEW} steps, beside nn.Sequential's", same, losses[:FEW])
    record.measured("loss of step 1", 0.98169, losses[0], tolerance=1e-5)
    record.between("loss of step 500", 0, losses[-1], 1e-7)


def parallel_blocks(record: Record) -> None:
    """Row 20: two parallel blocks and a linear layer."""

    def build() -> Any:
        return nn.Sequential(ParallelBlock(1000, 100), ParallelBlock(100, 100), nn.Linear(100, 10))

    losses, model = _check_training(record, build, parallel_blocks_error)
    pairs = 2 * dense_parameters((1000, 100)) + 2 * dense_parameters((100, 100))
    expected = pairs + dense_parameters((100, 10))
    record.exactly("parameters", expected, count_parameters(model))
    record.measured("loss of step 1", 0.96493, losses[0], tolerance=1e-5)
    record.between("loss of step 500", 0, losses[-1], 1e-10)


def data_loader(record: Record) -> None:
    """Row 21: batches of 8 in the order of the rows, 20 epochs."""
    with seeded():
        x, y = _draw()
        model = two_layers()
        start = weights_of(model)
        loader = DataLoader(TensorDataset(x, y), batch_size=8)
        batches = [batch for _ in range(20) for batch in loader]
        losses = train(model, batches, rate=1e-2)
    record.exactly("steps", 20 * 64 // 8, len(losses))
    features, targets = _array(x), _array(y)

    def differentiate(step: int, weights: Any) -> tuple[float, Any]:
        rows = slice(8 * step, 8 * step + 8)
        return dense_error(features[rows], targets[rows], weights)

    expected = [loss for loss, _ in adam(differentiate, start, 1e-2, 8)]
    record.close("loss of the first epoch", expected, losses[:8], tolerance=1e-4, origin=NUMPY)
    record.measured("loss of step 1", 1.03257, losses[0], tolerance=1e-5)
    # Rounding has 160 steps of 0.01 to grow in.
    record.measured("loss of step 160", 0.00537, losses[-1], tolerance=0.1)


@contextmanager
def seeded() -> Iterator[None]:
    """Inside, PyTorch draws from seed 0 and computes on one thread; then all is as it was.

    The matrices are small. With several threads these wait for one another, and where another
    program keeps the processors busy a second becomes ten.
    """
    threads = torch.get_num_threads()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def train_matrices(x: Tensor, y: Tensor, w1: Tensor, w2: Tensor, rate: float) -> list[float]:
    """Descends on the sum of squares; returns the loss of each step.

    Args:
        x: `[B, in]`.
        y: `[B, out]`.
        w1: `[in, H]`, changed in place.
        w2: `[H, out]`, changed in place.
        rate: Of gradient descent.
    """
    weights = [w.requires_grad_() for w in (w1, w2)]
    losses = []
    for _ in range(STEPS):
        loss = ((x @ w1).clamp(min=0) @ w2 - y).pow(2).sum()
        loss.backward()
        with torch.no_grad():
            for weight in weights:
                weight -= rate * weight.grad
                weight.grad.zero_()
        losses.append(loss.item())
    return losses


def train(model: Any, batches: Iterable[tuple[Tensor, Tensor]], rate: float) -> list[float]:
    """Trains with Adam on the mean squared error; returns the loss of each step."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    losses = []
    for x, y in batches:
        loss = functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def two_layers() -> Any:
    """Builds 1000-100-10 as `nn.Sequential`."""
    inputs, hidden, outputs = SIZES
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def count_parameters(model: Any) -> int:
    """Returns how many weights and biases a module has."""
    return sum(parameter.numel() for parameter in model.parameters())


def weights_of(model: Any) -> list[Any]:
    """Returns kernels `[in, out]` and biases `[out]` in float64."""
    return [_array(parameter).T for parameter in model.parameters()]


def dense_error(x: Any, y: Any, weights: Any) -> tuple[float, Any]:
    """Returns the mean squared error of dense layers and its gradients, in NumPy."""
    return squared_error(x, y, weights, y.size)


def _check_training(
    record: Record, build: Callable[[], Any], error: Callable[..., tuple[float, Any]]
) -> tuple[list[float], Any]:
    """Trains a model of rows 18 to 20 and compares its first steps; returns losses and model."""
    with seeded():
        x, y = _draw()
        model = build()
        start = weights_of(model)
        losses = train(model, repeat((x, y), STEPS), rate=1e-4)
    features, targets = _array(x), _array(y)
    found = adam(lambda _, weights: error(features, targets, weights), start, 1e-4, FEW)
    name = f"loss of the first {FEW} steps"
    expected = [loss for loss, _ in found]
    record.close(name, expected, losses[:FEW], tolerance=1e-5, origin=NUMPY)
    return losses, model


def _draw() -> tuple[Tensor, Tensor]:
    """Returns x `[64, 1000]` and y `[64, 10]`."""
    return torch.randn(64, SIZES[0]), torch.randn(64, SIZES[-1])


def _array(tensor: Tensor) -> Any:
    return tensor.detach().double().numpy()
