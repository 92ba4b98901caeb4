"""The five programs: where they are, what they need, and who does which step in them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal, Protocol

from tfapp.names import missing_extra

# Who does a step: the user writes it out, or calls the framework for it, or does not mention it.
Doer = Literal["user", "call", "framework"]


class Trainer(Protocol):
    """A network in training."""

    def run(self, steps: int) -> float:
        """Trains at least one step more; returns when it is done.

        Returns:
            The loss of the last step before its update; from `fit` the mean loss of all rows.
        """

    def weights(self) -> dict[str, Any]:
        """Returns the weights `w1` `[784, 256]`, `b1` `[256]` to `w3`, `b3` as they are now."""


# Of images `[N, 784]`, labels `[N]`, weights by name, learning rate and batch size.
Make = Callable[[Any, Any, dict[str, Any], float, int], Trainer]


@dataclass(frozen=True)
class Step:
    """One of the steps of training, in one program.

    Attributes:
        doer: Who does it.
        how: What is called for it, or which call does it unasked; empty if the user writes it.
        functions: Those of the program that are nothing else.
    """

    doer: Doer
    how: str = ""
    functions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Program:
    """One of the programs.

    Attributes:
        name: Its module in `tfapp.compare.frameworks.programs`.
        title: What it is, in a few words.
        packages: What it is written with, in the package index; its framework first.
        steps: Who does what; the keys are the same in all programs, in the same order.
        exchange: Functions that only hand weights in and out, which the comparison asks for.
        module: What must be installed besides tfapp.
        extra: The extra of tfapp that installs it.
    """

    name: str
    title: str
    packages: tuple[str, ...]
    steps: Mapping[str, Step]
    exchange: tuple[str, ...]
    module: str | None = None
    extra: str | None = None

    @property
    def missing(self) -> str | None:
        """How to install what is missing; `None` if nothing is."""
        return missing_extra(self.module, self.extra)

    @property
    def source(self) -> str:
        """Its text; what it imports need not be installed."""
        return resources.files(_PROGRAMS).joinpath(f"{self.name}.py").read_text(encoding="utf-8")

    def load(self) -> Make:
        """Imports what makes its trainer, and with it the framework."""
        make: Make = importlib.import_module(f"{_PROGRAMS}.{self.name}").Trainer
        return make


def _own(*functions: str) -> Step:
    return Step("user", functions=functions)


def _call(how: str, *functions: str) -> Step:
    return Step("call", how, functions)


_PROGRAMS = "tfapp.compare.frameworks.programs"

# Everything is compared with it.
REFERENCE = "by_hand"

PROGRAMS: Mapping[str, Program] = {
    program.name: program
    for program in (
        Program(
            "by_hand",
            "NumPy, by hand",
            ("numpy",),
            {
                "parameters": _own("parameters"),
                "forward": _own("forward"),
                "loss": _own("loss"),
                "gradients": _own("gradients"),
                "update": _own("update"),
                "loop": _own("Trainer.run"),
            },
            exchange=("Trainer.weights",),
        ),
        Program(
            "tape",
            "TensorFlow, gradient tape",
            ("tensorflow",),
            {
                "parameters": _own("parameters"),
                "forward": _own("forward"),
                "loss": _own("loss"),
                "gradients": _call("tf.GradientTape", "gradients"),
                "update": _own("update"),
                "loop": _own("Trainer.run", "Trainer._step"),
            },
            exchange=("Trainer.weights",),
        ),
        Program(
            "fit",
            "Keras, fit",
            ("keras", "tensorflow"),
            {
                "parameters": _call("keras.layers.Dense"),
                "forward": _call("keras.Sequential", "forward"),
                "loss": _call("mean_squared_error"),
                "gradients": Step("framework", "fit"),
                "update": _call("keras.optimizers.SGD"),
                "loop": _call("fit", "Trainer.run"),
            },
            exchange=("load", "Trainer.weights"),
        ),
        Program(
            "torch_module",
            "PyTorch, module and optimizer",
            ("torch",),
            {
                "parameters": _call("nn.Linear", "Network.__init__"),
                "forward": _own("Network.forward"),
                "loss": _call("functional.mse_loss"),
                "gradients": _call("backward"),
                "update": _call("torch.optim.SGD"),
                "loop": _own("Trainer.run"),
            },
            exchange=("load", "Trainer.weights"),
            module="torch",
            extra="torch",
        ),
        Program(
            "jax_grad",
            "JAX, grad and jit",
            ("jax", "jaxlib"),
            {
                "parameters": _own("parameters"),
                "forward": _own("forward"),
                "loss": _own("loss"),
                "gradients": _call("jax.value_and_grad"),
                "update": _own("update"),
                "loop": _own("Trainer.run", "step"),
            },
            exchange=("Trainer.weights",),
            module="jax",
            extra="jax",
        ),
    )
}
