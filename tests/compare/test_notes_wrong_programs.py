"""A program of the notes with a mistake in it is caught."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from legacy_tf1 import quadratic
from tfapp.compare.notes import keras_programs as keras_rows
from tfapp.compare.notes import numpy_programs, reproduce_notes, tf1_programs, tf2_programs
from tfapp.compare.notes.checks import CLOSED_FORM, Record

v1 = tf.compat.v1
OFF = 1.01  # a learning rate that is a little too large


def differing(number):
    """Runs a row that must differ; returns what it says and the names of what does not hold."""
    (result,) = reproduce_notes([number])
    assert result.status == "differs"
    return result.detail, [check.name for check in result.checks if not check.holds]


@pytest.fixture
def torch_rows():
    pytest.importorskip("torch", reason="torch is not installed")
    from tfapp.compare.notes import torch_programs

    return torch_programs


def faster(function):
    """The same function with its `rate` a little too large."""

    @functools.wraps(function)
    def run(*arguments, rate):
        return function(*arguments, rate=rate * OFF)

    return run


def test_a_wrong_rate_of_the_tape_differs(monkeypatch):
    real = tf2_programs.train_quadratic
    wrong = keras.optimizers.SGD(0.01 * OFF)
    monkeypatch.setattr(tf2_programs, "train_quadratic", lambda _, steps: real(wrong, steps))
    detail, wrong_names = differing(2)
    assert detail.startswith("5 of 5 checks do not hold, first w at every step: expected [0.1, ")
    assert detail.endswith("(closed form)")
    assert "w after step 1" in wrong_names


def test_a_wrong_rate_of_raw_variables_differs(monkeypatch):
    monkeypatch.setattr(tf2_programs, "train_raw", faster(tf2_programs.train_raw))
    _, wrong = differing(6)
    assert wrong == [
        "loss of the first 5 steps",
        "loss of the first 50 steps, beside a TF1 session",
    ]


def test_a_wrong_rate_of_a_session_differs(monkeypatch):
    wrong_build = functools.partial(quadratic.build, learning_rate=0.01 * OFF)
    monkeypatch.setattr(quadratic, "build", wrong_build)
    for number in (24, 25, 26):
        (result,) = reproduce_notes([number])
        assert result.status == ("reproduced" if number == 24 else "differs"), number
    _, wrong = differing(26)
    assert "w after step 1" in wrong


def test_a_wrong_optimizer_differs(monkeypatch):
    real = v1.train.AdamOptimizer
    monkeypatch.setattr(v1.train, "AdamOptimizer", lambda rate: real(rate, beta2=0.99))
    _, wrong = differing(32)
    assert "w at every step" in wrong


def test_a_wrong_rate_of_fit_differs(monkeypatch):
    real = keras_rows.fit
    monkeypatch.setattr(keras_rows, "fit", lambda model, x, y, rate: real(model, x, y, rate * OFF))
    _, wrong = differing(16)
    assert wrong == ["loss of every epoch at 0.01"]


def test_an_initializer_that_is_not_keras_s_default_differs(monkeypatch):
    real = keras.layers.Dense
    he = functools.partial(real, kernel_initializer="he_uniform")
    monkeypatch.setattr(keras.layers, "Dense", he)
    _, wrong = differing(5)
    assert "largest weight of 200 x 300" in wrong


def test_a_mistake_of_the_notes_that_no_longer_fails_differs(monkeypatch):
    monkeypatch.setattr(keras_rows, "PrintedNetwork", keras_rows.NeuralNetwork)
    detail, wrong = differing(4)
    assert wrong == ["as printed: NeuralNetwork()"]
    assert "found it runs" in detail


def test_a_mistake_that_fails_in_another_way_does_not_count():
    record = Record()
    record.fails("1 / 0", "division", ZeroDivisionError)
    record.fails("1 / 0", "by hand", ZeroDivisionError)
    record.fails("1 / 0", "division", ValueError)
    record.fails("1 / 1", "division", ZeroDivisionError)
    assert [check.holds for check in record.checks] == [True, False, False, False]


def test_swapped_gradients_differ(monkeypatch):
    real = numpy_programs.sum_and_gradients

    def swapped(x, y, z):
        total, (for_x, for_y, for_z) = real(x, y, z)
        return total, [for_y, for_x, for_z]

    monkeypatch.setattr(numpy_programs, "sum_and_gradients", swapped)
    _, wrong = differing(7)
    assert wrong == ["gradient for x", "gradient for y", "beside difference quotients"]


@pytest.mark.parametrize("number", [18, 19, 20, 21])
def test_a_wrong_rate_of_adam_in_torch_differs(number, torch_rows, monkeypatch):
    monkeypatch.setattr(torch_rows, "STEPS", torch_rows.FEW)  # the first steps tell
    monkeypatch.setattr(torch_rows, "train", faster(torch_rows.train))
    _, wrong = differing(number)
    assert {"loss of the first 10 steps", "loss of the first epoch"} & set(wrong)


def test_a_wrong_rate_of_autograd_differs(torch_rows, monkeypatch):
    monkeypatch.setattr(torch_rows, "train_matrices", faster(torch_rows.train_matrices))
    _, wrong = differing(17)
    assert "loss of the first 100 steps, divided" in wrong


def test_shuffled_batches_differ(torch_rows, monkeypatch):
    shuffling = functools.partial(torch_rows.DataLoader, shuffle=True)
    monkeypatch.setattr(torch_rows, "DataLoader", shuffling)
    _, wrong = differing(21)
    assert "loss of the first epoch" in wrong


def test_a_row_that_raises_differs_and_does_not_end_the_others(monkeypatch):
    def fail(record):
        record.exactly("parameters", 1, 1)
        raise RuntimeError("the weights are gone")

    monkeypatch.setattr(tf1_programs, "graph", fail)
    eighth, seventh = reproduce_notes([8, 7])
    assert (eighth.status, seventh.status) == ("differs", "reproduced")
    assert eighth.detail == "raised RuntimeError: the weights are gone"
    assert [check.name for check in eighth.checks] == ["parameters"]
    assert eighth.seconds > 0


def test_numbers_that_are_not_numbers_or_have_another_shape_do_not_hold():
    record = Record()
    for found in (np.nan, np.inf, [1.0], 1.0 + 2e-6):
        record.close("x", 1.0, found, tolerance=1e-6, origin=CLOSED_FORM)
    record.between("x", 0, np.nan, 1)
    record.printed("x", 4.99999, 4.9999)
    assert [check.holds for check in record.checks] == [False] * 6
    right = Record()
    right.close("x", 1.0, 1.0 + 9e-7, tolerance=1e-6, origin=CLOSED_FORM)
    right.printed("x", 4.99999, np.float32(4.9999886))
    assert [check.holds for check in right.checks] == [True] * 2
