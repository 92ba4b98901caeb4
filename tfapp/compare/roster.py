"""Who can compute a program: a plain table, so that a typo is answered at once."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tfapp.names import choose, missing_extra

if TYPE_CHECKING:
    from tfapp.compare.task import Task
    from tfapp.compare.trace import Step, Train

    Run = Callable[[Task], Iterator[Step]]

DEFAULT_REFERENCE = "tf1"


@dataclass(frozen=True)
class Engine:
    """A way to compute.

    Attributes:
        name: What it is asked for by.
        path: Where the function is that takes a `Task` and yields its steps, `module:function`.
        timed: Where the function is that takes a `Task` and returns what trains it.
        about: What it does, in a few words.
        cannot: Kinds of programs that it does not compute, each with the reason.
        exact: Whether it takes part where every bit must be equal.
        module: What must be installed besides tfapp.
        extra: The extra of tfapp that installs it.
    """

    name: str
    path: str
    timed: str
    about: str
    cannot: Mapping[str, str] = field(default_factory=dict)
    exact: bool = False
    module: str | None = None
    extra: str | None = None

    @property
    def missing(self) -> str | None:
        """How to install what is missing; `None` if nothing is."""
        return missing_extra(self.module, self.extra)

    def load(self) -> Run:
        """Imports the function that yields steps, and with it the framework."""
        return _imported(self.path)

    def load_timed(self) -> Callable[[Task], Train]:
        """Imports the function that returns what trains, and with it the framework."""
        return _imported(self.timed)


def _imported(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


_ENGINES = "tfapp.compare.engines"

ENGINES: Mapping[str, Engine] = {
    engine.name: engine
    for engine in (
        Engine(
            "tf1",
            f"{_ENGINES}.tf1:run",
            f"{_ENGINES}.tf1:train",
            "a graph and a session of tf.compat.v1",
            exact=True,
        ),
        Engine(
            "eager",
            f"{_ENGINES}.tape:run_eager",
            f"{_ENGINES}.tape:train_eager",
            "a tape, operation by operation",
            exact=True,
        ),
        Engine(
            "function",
            f"{_ENGINES}.tape:run_function",
            f"{_ENGINES}.tape:train_function",
            "the same step in tf.function",
            exact=True,
        ),
        Engine(
            "xla",
            f"{_ENGINES}.tape:run_xla",
            f"{_ENGINES}.tape:train_xla",
            "the same step compiled by XLA",
        ),
        Engine(
            "keras_fit",
            f"{_ENGINES}.keras_fit:run",
            f"{_ENGINES}.keras_fit:train",
            "a Keras model trained by fit, without XLA",
            cannot={"sum": "it has no weights, so there is nothing to fit"},
        ),
        Engine(
            "torch",
            f"{_ENGINES}.torch_autograd:run",
            f"{_ENGINES}.torch_autograd:train",
            "PyTorch's autograd",
            module="torch",
            extra="torch",
        ),
        Engine(
            "numpy",
            f"{_ENGINES}.by_hand:run",
            f"{_ENGINES}.by_hand:train",
            "NumPy, gradients by hand",
            cannot={"cnn": "no gradient of a convolution is written by hand"},
        ),
    )
}


def find_engines(names: Iterable[str]) -> list[Engine]:
    """Returns engines by name, each once; all of them when no name is given.

    Raises:
        UnknownName: With the nearest known name.
    """
    return choose("engine", names, ENGINES)
