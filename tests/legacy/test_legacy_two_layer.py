from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from legacy_tf1 import by_hand, race, two_layer
from legacy_tf1.training import train


@pytest.fixture(scope="module")
def arrays():
    np.random.seed(0)
    shapes = ((64, 1000), (64, 1000), (1000, 100), (100, 1000))
    return [np.random.randn(*shape) for shape in shapes]


@pytest.fixture(scope="module")
def small():
    random = np.random.default_rng(3)
    return [random.normal(size=shape) for shape in ((6, 5), (6, 4), (5, 3), (3, 4))]


def test_the_arrays_are_those_of_the_notes(arrays):
    for found, expected in zip(two_layer.draw(), arrays, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_first_loss_is_that_of_the_formula(arrays, outcome_of):
    x, y, w1, w2 = arrays
    output = np.maximum(x @ w1, 0) @ w2
    expected = np.mean(np.sum((output - y) ** 2, axis=1))
    assert expected == pytest.approx(5.000416e7, rel=1e-7)
    for name in ("fed", "unfetched", "group", "minimize"):
        loss = outcome_of(f"two-layer-{name}").values["loss"][0]
        assert loss == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["fed", "group", "minimize"])
def test_fifty_losses_fall_as_recorded(name, outcome_of):
    losses = outcome_of(f"two-layer-{name}").values["loss"]
    recorded = {0: 5.000416e7, 1: 1.7931594e7, 2: 9.392927e6, 10: 380319.7, 49: 979.604}
    assert len(losses) == 50
    for step, loss in recorded.items():
        assert losses[step] == pytest.approx(loss, rel=1e-5)


def test_an_assignment_that_nothing_fetches_never_runs(outcome_of, checks_of):
    assert len(set(outcome_of("two-layer-unfetched").values["loss"])) == 1
    checks = checks_of("two-layer-unfetched")
    assert checks["w1 at the end"].holds
    assert checks["w2 at the end"].holds


def test_the_assignments_that_are_not_fetched_are_in_the_graph(small):
    graph = two_layer.build(*small, update="unfetched").graph
    assigned = [
        op.inputs[0].op.name for op in graph.get_operations() if op.type == "AssignVariableOp"
    ]
    assert sorted(assigned) == ["w1", "w1", "w2", "w2"]  # once to initialize, once to update


def test_group_and_minimize_are_equal_bit_by_bit(outcome_of, checks_of):
    group, minimize = (outcome_of(f"two-layer-{name}") for name in ("group", "minimize"))
    assert group.values == minimize.values
    assert checks_of("two-layer-minimize")["w1 of the group"].holds


@pytest.mark.parametrize("update", ["minimize", "group"])
def test_every_step_is_that_of_numpy(update, small):
    weights = dict(zip(("w1", "w2"), small[2:], strict=True))
    x, y = small[:2]
    exact = by_hand.train(lambda step: (x, y), weights, 0.02, 8, mean_over="rows")
    found = train(two_layer.build(*small, learning_rate=0.02, update=update), 8)
    for step, expected in zip(found, exact, strict=True):
        assert float(step.loss) == pytest.approx(expected.loss, rel=1e-5)
        for name in weights:
            np.testing.assert_allclose(
                step.gradients[name], expected.gradients[name], rtol=1e-4, atol=1e-5
            )
            np.testing.assert_allclose(
                step.weights[name], expected.weights[name], rtol=1e-4, atol=1e-5
            )


def test_fed_weights_are_updated_outside_of_the_session(small):
    x, y, w1, w2 = small
    exact = by_hand.train(lambda step: (x, y), {"w1": w1, "w2": w2}, 0.02, 8, mean_over="rows")
    found = two_layer.train_fed(x, y, w1, w2, 0.02, 8)
    for step, expected in zip(found, exact, strict=True):
        assert float(step.loss) == pytest.approx(expected.loss, rel=1e-5)
        np.testing.assert_allclose(step.weights["w2"], expected.weights["w2"], rtol=1e-4, atol=1e-5)
        assert tf.executing_eagerly()


@pytest.mark.parametrize(
    ("update", "kind"),
    [("minimize", "VarHandleOp"), ("group", "VarHandleOp"), ("reference", "VariableV2")],
)
def test_only_the_race_has_reference_variables(update, kind, small):
    graph = two_layer.build(*small, update=update).graph
    assert graph.get_operation_by_name("w1").type == kind


def test_an_unknown_update_is_refused(small):
    allowed = "allowed minimize, group, reference, unfetched"
    with pytest.raises(ValueError, match=f"update: found 'adam', {allowed}"):
        two_layer.build(*small, update="adam")


def test_a_race_gives_nothing_but_correct_and_torn_updates(outcome_of, checks_of):
    assert checks_of("two-layer-race")["reference variables"].holds
    values = dict(outcome_of("two-layer-race").values)
    distinct = values.pop("distinct_outcomes")
    assert set(values) <= {"correct", "torn", "partly_torn"}
    assert sum(values.values()) == 20
    assert 1 <= distinct <= 20


def test_resource_variables_always_give_the_correct_update(checks_of):
    assert checks_of("two-layer-race")["resource variables"].holds


@pytest.fixture(scope="module")
def possible(small):
    return race.first_update(*small, 0.02)


def test_the_correct_update_is_that_of_gradient_descent(small, possible):
    (step,) = train(two_layer.build(*small, learning_rate=0.02), 1)
    np.testing.assert_allclose(possible.correct, step.weights["w1"], rtol=1e-5, atol=1e-6)


def test_the_torn_update_is_that_of_the_new_w2(small, possible):
    x, y, w1, w2 = small
    hidden = np.maximum(x @ w1, 0)
    errors = 2 * (hidden @ w2 - y) / len(x)
    new = w2 - 0.02 * hidden.T @ errors
    torn = w1 - 0.02 * x.T @ ((errors @ new.T) * (hidden > 0))
    np.testing.assert_allclose(possible.torn, torn, rtol=1e-12)


def test_outcomes_are_told_apart(small, possible):
    half = (possible.correct + possible.torn) / 2
    assert possible.name_of(possible.correct) == "correct"
    assert possible.name_of(possible.torn) == "torn"
    assert possible.name_of(half) == "partly torn"
    assert possible.name_of(small[2]) == "neither"  # no update at all


def test_every_mixture_of_old_and_new_is_in_reach(small, possible):
    x, y, w1, w2 = small
    hidden = np.maximum(x @ w1, 0)
    errors = 2 * (hidden @ w2 - y) / len(x)
    new = w2 - 0.02 * hidden.T @ errors
    random = np.random.default_rng(0)
    for _ in range(20):
        mixed = np.where(random.uniform(size=w2.shape) < 0.5, w2, new)
        moved = w1 - 0.02 * x.T @ ((errors @ mixed.T) * (hidden > 0))
        assert possible.name_of(moved) != "neither"
