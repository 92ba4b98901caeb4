"""PyTorch: layers, loss and optimizer are named, autograd differentiates, the loop is written.

B is the batch size.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import nn
from torch.nn import functional

Arrays = dict[str, Any]


class Network(nn.Module):
    """Layers of 256, 128 and 10 units."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Linear(784, 256)
        self.layer2 = nn.Linear(256, 128)
        self.layer3 = nn.Linear(128, 10)

    def forward(self, images: Any) -> Any:
        """Returns the output `[B, 10]` for images `[B, 784]`."""
        first = functional.relu(self.layer1(images))
        second = functional.relu(self.layer2(first))
        return self.layer3(second)


def load(network: Network, weights: Arrays) -> None:
    """Puts kernels `[inputs, outputs]`, transposed, and biases in place of those drawn."""
    state = {}
    for n in (1, 2, 3):
        state[f"layer{n}.weight"] = torch.from_numpy(weights[f"w{n}"].T)
        state[f"layer{n}.bias"] = torch.from_numpy(weights[f"b{n}"])
    network.load_state_dict(state)


class Trainer:
    """Trains batch after batch, in the order of the rows and again from the start."""

    def __init__(
        self, images: Any, labels: Any, weights: Arrays, learning_rate: float, batch_size: int
    ) -> None:
        self._network = Network()
        load(self._network, weights)
        self._optimizer = torch.optim.SGD(self._network.parameters(), lr=learning_rate)
        inputs = torch.from_numpy(images).split(batch_size)
        targets = functional.one_hot(torch.from_numpy(labels).long(), 10).float().split(batch_size)
        self._batches = itertools.cycle(zip(inputs, targets, strict=True))

    def run(self, steps: int) -> float:
        """Trains `steps` steps more and returns the loss of the last, before its update."""
        for images, targets in itertools.islice(self._batches, steps):
            self._optimizer.zero_grad()
            value = functional.mse_loss(self._network(images), targets)
            value.backward()
            self._optimizer.step()
        return value.item()

    def weights(self) -> Arrays:
        """Returns the weights as they are now."""
        found = {}
        for n in (1, 2, 3):
            layer = self._network.get_submodule(f"layer{n}")
            found[f"w{n}"] = layer.weight.detach().numpy().T
            found[f"b{n}"] = layer.bias.detach().numpy()
        return found
