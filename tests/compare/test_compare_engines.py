"""Every program on every engine: against each other, and against what is known of it."""

from __future__ import annotations

import dataclasses
from itertools import islice

import numpy as np
import pytest

from tfapp.compare import arrays, compare_programs
from tfapp.compare.plan import make_plan
from tfapp.compare.programs import PROGRAMS
from tfapp.compare.roster import ENGINES
from tfapp.compare.task import Task
from tfapp.compare.tolerances import TOLERANCES

DRAWN = [program for program in PROGRAMS.values() if program.draw is not None]
EXACT = ["tf1", "eager", "function"]


def able(program):
    return [
        engine
        for engine in ENGINES.values()
        if program.kind not in engine.cannot and engine.missing is None
    ]


def steps_of(engine, name, steps, **changes):
    program = dataclasses.replace(PROGRAMS[name], **changes)
    return list(ENGINES[engine].load()(Task(program, program.draw(), steps)))


@pytest.mark.parametrize("program", DRAWN, ids=lambda program: program.name)
def test_every_engine_stays_inside_its_tolerance(program):
    (result,) = compare_programs([program.name], steps=min(program.steps, 3)).programs
    assert [row.engine for row in result.rows] == list(ENGINES)
    for row in result.rows:
        if program.kind in ENGINES[row.engine].cannot:
            assert (row.status, row.parity) == ("cannot", None)
            assert row.detail
        elif row.engine != "tf1" and row.status != "missing":
            assert row.status == "inside", row.detail
            assert row.parity.steps == result.steps


@pytest.mark.parametrize("name", ["quadratic", "coefficients", "two-layer", "mlp"])
def test_without_grappler_every_bit_is_equal(name):
    comparison = compare_programs([name], steps=12, exact=True)
    assert comparison.agrees
    assert comparison.exact
    rows = comparison.programs[0].rows
    assert [row.engine for row in rows] == EXACT
    assert all(row.parity.same_bits for row in rows[1:])


def test_exact_mode_puts_grappler_back():
    import tensorflow as tf

    from tfapp.compare.engines.tape import rewriting

    def off():
        return tf.config.optimizer.get_experimental_options().get("disable_meta_optimizer", False)

    before = off()
    compare_programs(["quadratic"], steps=1, exact=True)
    assert off() == before
    with rewriting(grappler=False):
        assert off()
        with pytest.raises(RuntimeError), rewriting(grappler=True):
            assert not off()
            raise RuntimeError
        assert off()
    assert off() == before


@pytest.mark.parametrize("engine", able(PROGRAMS["quadratic"]), ids=lambda engine: engine.name)
def test_the_quadratic_follows_its_closed_form(engine):
    steps = steps_of(engine.name, "quadratic", 40)
    exact = 5 * (1 - 0.98 ** np.arange(41))
    found = np.array([step.weights["w"] for step in steps])
    np.testing.assert_allclose(found, exact[1:], rtol=1e-6)
    losses = np.array([step.loss for step in steps])
    np.testing.assert_allclose(losses, (exact[:-1] - 5) ** 2, atol=2e-5)
    gradients = np.array([step.gradients["w"] for step in steps])
    np.testing.assert_allclose(gradients, 2 * exact[:-1] - 10, atol=2e-5)


@pytest.mark.parametrize("engine", able(PROGRAMS["coefficients"]), ids=lambda engine: engine.name)
def test_the_fed_coefficients_lead_to_ten(engine):
    steps = steps_of(engine.name, "coefficients", 40)
    found = np.array([step.weights["w"] for step in steps])
    np.testing.assert_allclose(found, 10 * (1 - 0.98 ** np.arange(1, 41)), rtol=1e-6)


@pytest.mark.parametrize("engine", able(PROGRAMS["graph"]), ids=lambda engine: engine.name)
def test_the_graph_gives_its_inputs_as_gradients(engine):
    (step,) = steps_of(engine.name, "graph", 1)
    data = arrays.three_inputs().data
    assert step.loss == pytest.approx(6.7170086, rel=1e-6)
    np.testing.assert_allclose(
        step.gradients["x"][0], [0.7610377, 0.12167501, 0.44386324, 0.33367434], rtol=1e-6
    )
    np.testing.assert_array_equal(step.gradients["x"], data["y"])
    np.testing.assert_array_equal(step.gradients["y"], data["x"])
    np.testing.assert_array_equal(step.gradients["z"], np.ones((3, 4)))
    assert step.weights == {}


@pytest.mark.parametrize("engine", able(PROGRAMS["two-layer"]), ids=lambda engine: engine.name)
def test_two_layers_have_the_losses_of_the_notes(engine):
    losses = [float(step.loss) for step in steps_of(engine.name, "two-layer", 11)]
    assert losses[:3] == pytest.approx([5.000416e7, 1.7931594e7, 9.392927e6], rel=1e-6)
    assert losses[10] == pytest.approx(380319.7, rel=1e-5)


@pytest.mark.parametrize("engine", able(PROGRAMS["mlp"]), ids=lambda engine: engine.name)
def test_a_weight_moves_by_the_learning_rate_times_its_gradient(engine):
    weights = arrays.mlp_weights()
    (step,) = steps_of(engine.name, "mlp", 1)
    for name, value in weights.items():
        moved = value - 0.001 * step.gradients[name].astype(np.float64)
        np.testing.assert_allclose(step.weights[name], moved, rtol=2e-7, atol=1e-9)


def test_a_gradient_of_the_mlp_is_its_difference_quotient():
    task = Task(PROGRAMS["mlp"], arrays.mlp(), 1)
    (step,) = ENGINES["numpy"].load()(task)
    batch = task.batch(0)

    def loss(shift):
        values = {name: value.astype(np.float64) for name, value in task.arrays.weights.items()}
        values["w2"][3, 5] += shift
        hidden = np.maximum(batch["images"] @ values["w1"] + values["b1"], 0)
        hidden = np.maximum(hidden @ values["w2"] + values["b2"], 0)
        out = hidden @ values["w3"] + values["b3"]
        return np.mean((np.eye(10)[batch["labels"]] - out) ** 2)

    assert step.loss == pytest.approx(loss(0), rel=1e-6)
    quotient = (loss(1e-6) - loss(-1e-6)) / 2e-6
    assert step.gradients["w2"][3, 5] == pytest.approx(quotient, rel=1e-4)


@pytest.mark.parametrize("engine", able(PROGRAMS["cnn"]), ids=lambda engine: engine.name)
def test_keras_alone_averages_the_biased_variance(engine):
    task = Task(PROGRAMS["cnn"], arrays.cnn(), 1)
    images, kernel = task.batch(0)["images"], task.arrays.weights["conv/kernel"]
    padded = np.pad(images.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    channels = np.einsum("bhwcij,ijcf->bhwf", windows, kernel).reshape(-1, 8)
    assert len(channels) == 4608
    (step,) = ENGINES[engine.name].load()(task)
    variance = channels.var(axis=0, ddof=0 if engine.name == "keras_fit" else 1)
    # The other divisor would be off by 0.01 / 4608 = 2e-6.
    expected = 0.99 + 0.01 * variance
    np.testing.assert_allclose(step.weights["bn/moving_variance"], expected, rtol=4e-7)
    mean = 0.01 * channels.mean(axis=0)
    np.testing.assert_allclose(step.weights["bn/moving_mean"], mean, rtol=1e-4, atol=1e-8)
    assert set(step.gradients) == set(task.trained)


def test_a_short_last_batch_and_a_second_pass_are_the_same_rows_everywhere():
    rows = {name: array[:250] for name, array in arrays.mlp().data.items()}
    drawn = arrays.Arrays(arrays.mlp_weights(), rows)
    program = dataclasses.replace(PROGRAMS["mlp"], draw=lambda: drawn)
    task = Task(program, drawn, 4)
    assert [len(task.batch(n)["labels"]) for n in range(4)] == [200, 50, 200, 50]
    engines = able(program)
    traces = [engine.load()(task) for engine in engines]
    losses = np.array([[step.loss for step in trace] for trace in traces])
    assert losses.shape == (len(engines), 4)
    assert len(engines) >= 6  # without PyTorch
    np.testing.assert_allclose(losses, np.broadcast_to(losses[0], losses.shape), rtol=1e-6)
    assert abs(losses[0][0] - losses[0][1]) > 1e-3


def test_fit_hands_over_steps_beyond_one_call():
    from tfapp.compare.engines.keras_fit import CHUNK

    long = steps_of("keras_fit", "quadratic", CHUNK + 2)
    assert len(long) == CHUNK + 2
    assert float(long[-1].weights["w"]) == pytest.approx(5 * (1 - 0.98 ** (CHUNK + 2)), rel=1e-6)


def test_an_engine_does_not_change_the_arrays_of_the_next():
    drawn = arrays.cnn()
    before = {name: value.copy() for name, value in (drawn.weights | drawn.data).items()}
    for engine in able(PROGRAMS["cnn"]):
        list(islice(engine.load()(Task(PROGRAMS["cnn"], drawn, 1)), 1))
    for name, value in (drawn.weights | drawn.data).items():
        np.testing.assert_array_equal(value, before[name])


def test_every_engine_that_can_compute_a_program_has_a_stated_tolerance():
    for program in PROGRAMS.values():
        stated = TOLERANCES[program.kind]
        assert set(stated) == {e.name for e in ENGINES.values() if program.kind not in e.cannot}
        assert all(stated[name].reason for name in stated if name != "tf1")


def test_another_reference_is_given_the_tolerance_of_both():
    plan = make_plan(["two-layer"], engines=["numpy"], reference="eager", steps=2)
    assert plan.reference.name == "eager"
    (result,) = compare_programs(
        ["two-layer"], engines=["numpy"], reference="eager", steps=2
    ).programs
    stated = TOLERANCES["two-layer"]
    assert result.row("numpy").tolerance.loss == stated["numpy"].loss + stated["eager"].loss
    assert result.row("numpy").status == "inside"
    assert result.row("eager").status == "reference"


def test_tf1_rounds_the_product_before_it_subtracts():
    weight, found = np.float32(0), []
    for _ in range(60):
        gradient = np.float32(2) * weight + np.float32(-10)
        weight = weight - np.float32(0.01) * gradient
        found.append(weight)
    assert [step.weights["w"] for step in steps_of("tf1", "quadratic", 60)] == found


def test_grappler_adds_the_terms_of_the_quadratic_from_the_right():
    steps = steps_of("tf1", "quadratic", 60)
    weights = np.array([0, *(step.weights["w"] for step in steps[:-1])], np.float32)
    square, line, constant = weights * weights, np.float32(-10) * weights, np.float32(25)
    losses = [step.loss for step in steps]
    assert losses == list(square + (line + constant))
    assert losses != list((square + line) + constant)
