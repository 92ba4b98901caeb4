from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from legacy_tf1 import by_hand, computation_graph, quadratic, two_layer
from legacy_tf1.training import (
    batches,
    descend,
    initial_weights,
    make_variables,
    open_session,
    train,
)


def draw_small(seed=0):
    random = np.random.default_rng(seed)
    shapes = ((6, 5), (6, 4), (5, 3), (3, 4))
    return [random.normal(size=shape).astype(np.float32) for shape in shapes]


def test_a_step_has_the_loss_before_and_the_weights_after_the_update():
    first, second = train(quadratic.build(0.0), 2)
    assert first.loss == 25.0
    assert first.gradients["w"] == -10.0
    assert first.weights["w"] == np.float32(0.1) or first.weights["w"] == pytest.approx(0.1)
    w = float(first.weights["w"])
    assert second.loss == pytest.approx(w**2 - 10 * w + 25, rel=1e-6)
    assert second.gradients["w"] == pytest.approx(2 * w - 10, rel=1e-6)


def test_eager_execution_is_on_between_two_steps():
    for _ in train(quadratic.build(0.0), 2):
        assert tf.executing_eagerly()
        assert tf.compat.v1.get_default_session() is None


def test_training_anew_starts_anew():
    training = quadratic.build(1.0)
    once, again = ([step.weights["w"] for step in train(training, 5)] for _ in range(2))
    assert once == again
    assert initial_weights(training) == {"w": 1.0}


def test_two_trainings_of_one_graph_do_not_meet():
    training = quadratic.build(0.0)
    pairs = zip(train(training, 5), train(training, 5), strict=True)
    assert all(a.weights["w"] == b.weights["w"] for a, b in pairs)


def test_a_graph_without_variables_has_no_weights():
    (step,) = train(computation_graph.build(*computation_graph.draw()), 1)
    assert step.weights == {}
    assert set(step.gradients) == {"x", "y", "z"}


def test_variables_are_resource_variables_and_float32():
    with tf.Graph().as_default():
        variables = make_variables({"a": np.arange(3), "b": 1.5})
    assert [variable.dtype for variable in variables.values()] == [tf.float32] * 2
    assert [variable.handle.dtype for variable in variables.values()] == [tf.resource] * 2


def before(operation):
    """Returns every operation that must have run before this one."""
    found, waiting = set(), [operation]
    while waiting:
        last = waiting.pop()
        news = {tensor.op for tensor in last.inputs} | set(last.control_inputs)
        waiting += news - found
        found |= news
    return found


def test_the_update_waits_for_every_read():
    graph = tf.Graph()
    with graph.as_default():
        variables = make_variables({"w": 0.0})
        w = variables["w"]
        loss = w**2 - 10 * w + 25
        gradients, update = descend(loss, variables, 0.01)
    (apply,) = [op for op in graph.get_operations() if "ApplyGradientDescent" in op.type]
    assert {loss.op, gradients["w"].op} <= before(apply)
    reads = {op for op in before(loss.op) if op.type == "ReadVariableOp"}
    assert len(reads) == 2
    assert apply in before(update)


@pytest.mark.parametrize(("grappler", "disabled"), [(True, False), (False, True)])
def test_rewriting_of_graphs_is_switched_in_the_session(grappler, disabled):
    with open_session(tf.Graph(), grappler=grappler) as session:
        options = session._config.graph_options.rewrite_options
    assert options.disable_meta_optimizer is disabled


def tape_of_quadratic(steps):
    w = tf.Variable(0.0)
    for _ in range(steps):
        with tf.GradientTape() as tape:
            loss = tf.add(tf.add(tf.multiply(1.0, w**2), tf.multiply(-10.0, w)), 25.0)
        gradient = tape.gradient(loss, w)
        w.assign_sub(0.01 * gradient)
        yield loss.numpy(), gradient.numpy(), w.numpy()


def test_without_rewriting_a_session_gives_the_bits_of_a_tape():
    steps = train(quadratic.build(0.0), 200, grappler=False)
    found = [(step.loss, step.gradients["w"], step.weights["w"]) for step in steps]
    assert found == list(tape_of_quadratic(200))


def tape_of_two_layer(x, y, w1, w2, steps):
    weights = [tf.Variable(w1), tf.Variable(w2)]
    for _ in range(steps):
        with tf.GradientTape() as tape:
            hidden = tf.maximum(tf.matmul(x, weights[0]), 0)
            difference = tf.matmul(hidden, weights[1]) - y
            loss = tf.reduce_mean(tf.reduce_sum(difference**2, axis=1))
        for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
            weight.assign_sub(0.01 * gradient)
        yield loss.numpy(), *(weight.numpy() for weight in weights)


def test_without_rewriting_two_layers_give_the_bits_of_a_tape():
    arrays = draw_small()
    training = two_layer.build(*arrays, learning_rate=0.01)
    steps = train(training, 20, grappler=False)
    for step, (loss, w1, w2) in zip(steps, tape_of_two_layer(*arrays, 20), strict=True):
        assert step.loss == loss
        np.testing.assert_array_equal(step.weights["w1"], w1)
        np.testing.assert_array_equal(step.weights["w2"], w2)


def test_batches_go_through_the_rows_in_order_and_start_again():
    feeds = batches({"x": np.arange(7), "y": np.arange(7) * 10}, 3)
    found = [feeds(step)["x"].tolist() for step in range(5)]
    assert found == [[0, 1, 2], [3, 4, 5], [6], [0, 1, 2], [3, 4, 5]]
    assert feeds(1)["y"].tolist() == [30, 40, 50]


@pytest.mark.parametrize("size", [0, -1, 8])
def test_a_batch_size_out_of_range_is_refused(size):
    with pytest.raises(ValueError, match=f"batch_size: found {size}, allowed 1 to 7"):
        batches({"x": np.arange(7)}, size)


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"found lengths \[6, 7\]"):
        batches({"x": np.arange(7), "y": np.arange(6)}, 2)


@pytest.mark.parametrize("mean_over", ["rows", "entries"])
def test_gradients_by_hand_are_those_of_differences(mean_over):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(6, 5)), random.normal(size=(6, 3))
    shapes = {"w1": (5, 4), "b1": (4,), "w2": (4, 4), "w3": (4, 3), "b3": (3,)}
    weights = {name: random.normal(size=shape) for name, shape in shapes.items()}

    def loss(name, index, change):
        moved = {key: value.copy() for key, value in weights.items()}
        moved[name][index] += change
        return by_hand.loss_and_gradients(x, y, moved, mean_over=mean_over)[0]

    _, gradients = by_hand.loss_and_gradients(x, y, weights, mean_over=mean_over)
    for name, gradient in gradients.items():
        for index in np.ndindex(gradient.shape):
            slope = (loss(name, index, 1e-6) - loss(name, index, -1e-6)) / 2e-6
            assert gradient[index] == pytest.approx(slope, rel=1e-5, abs=1e-7)


def test_the_loss_by_hand_is_its_definition():
    x = np.array([[1.0, -2.0]])
    weights = {"w1": np.array([[1.0, 0.0], [0.0, 1.0]]), "w2": np.array([[2.0, 1.0], [5.0, 5.0]])}
    y = np.array([[0.0, 0.0]])  # the ReLU closes -2, so the output is [2, 1]
    assert by_hand.loss_and_gradients(x, y, weights, mean_over="rows")[0] == 5.0
    assert by_hand.loss_and_gradients(x, y, weights, mean_over="entries")[0] == 2.5
