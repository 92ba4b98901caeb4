"""The five programs: what they compute, and that each has all steps where the roster says."""

from __future__ import annotations

import ast
import re

import numpy as np
import pytest

from tfapp.compare import arrays
from tfapp.compare.frameworks.programs import by_hand
from tfapp.compare.frameworks.roster import PROGRAMS

STEPS = ["parameters", "forward", "loss", "gradients", "update", "loop"]
ROWS, BATCH = 250, 200


def trainer_of(program, drawn, rows=ROWS):
    if program.missing is not None:
        pytest.skip(program.missing)
    data = {name: array[:rows] for name, array in drawn.data.items()}
    weights = dict(drawn.weights)
    return program.load()(data["images"], data["labels"], weights, 0.001, BATCH)


def network(weights, images):
    """The network in float64, written for these tests."""
    weights = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    for layer in (1, 2):
        images = np.maximum(images @ weights[f"w{layer}"] + weights[f"b{layer}"], 0)
    return images @ weights["w3"] + weights["b3"]


def error(weights, images, labels):
    return np.mean((network(weights, images) - np.eye(10)[labels]) ** 2)


def quotient(weights, name, place, images, labels):
    """The central difference quotient of the loss by one entry."""
    shift = np.zeros_like(weights[name], np.float64)
    shift[place] = 1e-6
    above, below = (
        error({**weights, name: weights[name] + d}, images, labels) for d in (shift, -shift)
    )
    return (above - below) / 2e-6


def test_gradients_by_hand_are_difference_quotients():
    drawn = arrays.mlp()
    weights = {name: value.astype(np.float64) for name, value in drawn.weights.items()}
    images = drawn.data["images"][:20].astype(np.float64)
    labels = drawn.data["labels"][:20]
    layers = by_hand.forward(weights, images)
    targets = np.eye(10)[labels]
    assert by_hand.loss(layers[-1], targets) == pytest.approx(error(weights, images, labels))
    slopes = by_hand.gradients(weights, images, layers, targets)
    assert set(slopes) == set(weights)
    for name, slope in slopes.items():
        assert slope.shape == weights[name].shape
        steepest = np.unravel_index(np.argsort(np.abs(slope), axis=None)[-3:], slope.shape)
        for place in zip(*steepest, strict=True):
            found = quotient(weights, name, place, images, labels)
            assert slope[place] == pytest.approx(found, rel=1e-6), name


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=lambda program: program.name)
def test_a_step_goes_down_the_slope(program):
    drawn = arrays.mlp()
    data = {name: array[:BATCH] for name, array in drawn.data.items()}
    trainer = trainer_of(program, drawn)
    start = error(drawn.weights, **data)
    assert trainer.run(1) == pytest.approx(start, rel=1e-6)
    moved = trainer.weights()
    for name, place in (("w1", (5, 7)), ("b2", (3,)), ("w3", (100, 4)), ("b3", (9,))):
        wanted = -0.001 * quotient(drawn.weights, name, place, **data)
        # A weight near 0.1 is rounded to 7e-9.
        assert moved[name][place] - drawn.weights[name][place] == pytest.approx(
            wanted, rel=1e-3, abs=1e-8
        )


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=lambda program: program.name)
def test_training_goes_on_where_it_stopped(program):
    drawn = arrays.mlp()
    before = {name: value.copy() for name, value in (drawn.weights | drawn.data).items()}
    single = trainer_of(program, drawn)
    losses = [single.run(1) for _ in range(5)]
    # Batches of 200 and 50 rows take turns; the one loss is far from the other.
    assert abs(losses[0] - losses[1]) > 1e-3
    longer = trainer_of(program, drawn)
    for taken, rows in ((losses[:3], (200, 50, 200)), (losses[3:], (50, 200))):
        wanted = np.average(taken, weights=rows) if program.name == "fit" else taken[-1]
        assert longer.run(len(taken)) == pytest.approx(wanted, rel=1e-6)
    for name, value in single.weights().items():
        np.testing.assert_allclose(longer.weights()[name], value, rtol=1e-6, atol=1e-9)
    for name, value in (drawn.weights | drawn.data).items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=lambda program: program.name)
def test_every_step_is_where_the_roster_says(program):
    functions = {
        f"{outer.name}.{node.name}" if isinstance(outer, ast.ClassDef) else node.name
        for outer in ast.walk(ast.parse(program.source))
        if isinstance(outer, ast.ClassDef | ast.Module)
        for node in outer.body
        if isinstance(node, ast.FunctionDef)
    }
    told = [name for step in program.steps.values() for name in step.functions]
    assert list(program.steps) == STEPS
    assert len(told) == len(set(told))
    # What is neither a step nor exchange makes the batches and puts the parts together.
    assert functions == {*told, *program.exchange, "Trainer.__init__"}
    for name, step in program.steps.items():
        called = bool(step.how) and re.search(rf"\b{re.escape(step.how)}\b", program.source)
        assert bool(called) == (step.doer != "user"), name
        assert step.functions or step.doer != "user", name
        assert not step.functions or step.doer != "framework", name


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=lambda program: program.name)
def test_a_program_knows_nothing_of_tfapp(program):
    imported = {
        name
        for node in ast.walk(ast.parse(program.source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None), *(alias.name for alias in node.names)]
        if name is not None
    }
    assert not [name for name in imported if name.startswith(("tfapp", "."))]


def test_what_a_framework_takes_over():
    doers = {name: [p.steps[step].doer for step in STEPS] for name, p in PROGRAMS.items()}
    assert doers["by_hand"] == ["user"] * 6
    assert "user" not in doers["fit"]
    for name in ("tape", "jax_grad", "torch_module", "fit"):
        assert PROGRAMS[name].steps["gradients"].doer != "user"
