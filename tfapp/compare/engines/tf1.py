"""TF1: a graph and a session, built by the package of TF1 programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from legacy_tf1 import (
    coefficients,
    computation_graph,
    control_flow,
    quadratic,
    raw_mlp,
    small_cnn,
    two_layer,
)
from legacy_tf1.control_flow import ScalarGraph
from legacy_tf1.programs import PROGRAMS
from legacy_tf1.training import TrainingGraph, open_session
from legacy_tf1.training import train as trace
from tfapp.compare.notes.checks import Check
from tfapp.compare.task import Task
from tfapp.compare.trace import Array, Step, Train, step_by_step


def run(task: Task) -> Iterator[Step]:
    """Yields the steps of a session that lasts as long as the iteration."""
    for step in trace(build(task), task.steps, grappler=task.grappler):
        yield Step(step.loss, step.gradients, step.weights)


def train(task: Task) -> Train:
    """Returns what makes the steps of `run`, in a session that is closed when it is forgotten."""
    training = build(task)
    session = open_session(training.graph, grappler=task.grappler)
    session.run(training.initialize)
    # Gradients are computed, also where no update needs them, and not fetched.
    computed = [training.update, *(gradient.op for gradient in training.gradients.values())]

    def step(number: int) -> Any:
        return session.run([training.loss, *computed], training.feeds(number))[0]

    return step_by_step(step)


def run_program(name: str, steps: int | None = None) -> tuple[dict[str, Any], tuple[Check, ...]]:
    """Runs a program of the notes by its name.

    Args:
        name: A key of `legacy_tf1.programs.PROGRAMS`.
        steps: How many; the program's own number when omitted.

    Returns:
        Its values by name, a number or a list with one for each step, and its checks.
    """
    outcome = PROGRAMS[name].run(steps)
    return dict(outcome.values), tuple(Check(**asdict(check)) for check in outcome.checks)


def build(task: Task) -> TrainingGraph:
    """Builds the graph of a program."""
    return _BUILDERS[task.program.kind](task)


def _polynomial(task: Task) -> TrainingGraph:
    start = float(task.arrays.weights["w"])
    return quadratic.build(start, _column(task), task.program.learning_rate)


def _fed_polynomial(task: Task) -> TrainingGraph:
    return coefficients.build(task.arrays.weights["w"], _column(task), task.program.learning_rate)


def _column(task: Task) -> list[float]:
    column: list[float] = task.arrays.data["coefficients"].ravel().tolist()
    return column


def _sum(task: Task) -> TrainingGraph:
    return computation_graph.build(*(task.arrays.data[name] for name in "xyz"))


def _two_layer(task: Task) -> TrainingGraph:
    data, weights = task.arrays.data, task.arrays.weights
    rate = task.program.learning_rate
    return two_layer.build(data["x"], data["y"], weights["w1"], weights["w2"], rate)


def _mlp(task: Task) -> TrainingGraph:
    return raw_mlp.build(*_images(task))


def _cnn(task: Task) -> TrainingGraph:
    return small_cnn.build(*_images(task))


def _images(task: Task) -> tuple[Array, Array, Mapping[str, Array], int, float]:
    """Returns images, labels, weights, batch size and learning rate."""
    data, program = task.arrays.data, task.program
    size = program.batch_size or len(data["labels"])
    return data["images"], data["labels"], task.arrays.weights, size, program.learning_rate


_BUILDERS: Mapping[str, Callable[[Task], TrainingGraph]] = {
    "polynomial": _polynomial,
    "fed polynomial": _fed_polynomial,
    "sum": _sum,
    "two-layer": _two_layer,
    "mlp": _mlp,
    "cnn": _cnn,
}

# Control flow inside a graph, each with its gradient.
SCALAR_GRAPHS: Mapping[str, Callable[[], ScalarGraph]] = {
    "branch": control_flow.build_branch,
    "power": control_flow.build_power,
    "polynomial": control_flow.build_polynomial,
}
