"""Every row of the notes, run."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from tfapp.compare.notes import reproduce_notes
from tfapp.compare.notes.checks import CLOSED_FORM, MEASURED, NUMPY, PRINTED, RELATION
from tfapp.compare.notes.rows import ROWS
from tfapp.errors import UsageError

# What the notes print, in their order, and what their programs gave when they were first run.
NOTES = {
    24: ["0"],
    25: ["0.1"],
    26: ["0", "0.1", "4.99999"],
    27: ["0", "0.1", "4.99999"],
    28: ["0", "0.1", "4.99999"],
    29: ["0", "0.2", "9.99998"],
    31: ["0", "0.1", "4.99999"],
}
FIRST_RUN = {
    1: "4.9999886",
    2: "4.9120612",
    8: "6.7170086",
    10: "50004160",
    11: "380319.7",
    15: "1.998111",
    17: "427.8",
    18: "0.98169",
    20: "0.96493",
    21: "0.00537",
    25: "0.099999994",
    30: "9.999977",
}
ORIGINS = {PRINTED, CLOSED_FORM, NUMPY, RELATION, MEASURED}
PARAMETERS = {3: "50,927,559", 4: "50,927,559", 19: "101,110", 20: "221,410"}


@cache
def result_of(number):
    (result,) = reproduce_notes([number])
    return result


def reproduced(number):
    if (missing := ROWS[number].missing) is not None:
        pytest.skip(missing)
    return result_of(number)


@pytest.mark.parametrize("number", [number for number in ROWS if number != 23])
def test_every_row_is_reproduced(number):
    result = reproduced(number)
    assert result.status == "reproduced", result.detail
    assert result.checks
    assert all(check.holds for check in result.checks)
    assert {check.origin for check in result.checks} <= ORIGINS
    row = ROWS[number]
    told = (result.number, result.source, result.title, result.framework, result.detail)
    assert told == (row.number, row.source, row.title, row.framework, row.remark)


def test_prose_has_no_numbers_and_says_why():
    result = result_of(23)
    assert (result.status, result.checks, result.seconds) == ("no numbers", (), 0.0)
    assert "without a program" in result.detail


@pytest.mark.parametrize("number", NOTES)
def test_the_numbers_of_the_notes_are_printed_again(number):
    printed = [check for check in reproduced(number).checks if check.origin == PRINTED]
    assert [check.expected for check in printed] == NOTES[number]
    assert [check.found for check in printed] == NOTES[number]


@pytest.mark.parametrize("number", FIRST_RUN)
def test_the_numbers_of_the_first_run_come_again(number):
    measured = [check for check in reproduced(number).checks if check.origin == MEASURED]
    assert FIRST_RUN[number] in [check.expected for check in measured]


@pytest.mark.parametrize("number", PARAMETERS)
def test_parameters_are_counted(number):
    checks = {check.name: check for check in reproduced(number).checks}
    assert checks["parameters"].found == PARAMETERS[number]


@pytest.mark.parametrize(
    ("number", "line", "error"),
    [
        (1, "cost = w**2 - 10w + 25", "SyntaxError"),
        (3, "init.xavier_uniform_(weight)", "NameError"),
        (4, "NeuralNetwork()", "AttributeError"),
        (6, "tf.broadcast_to(b1, [x.shape[0], 256])", "TypeError"),
        (15, "tf.layers.dense", "AttributeError"),
        (16, "SGD(lr=1e-5)", "ValueError"),
        (16, "tf.keras.losses.mean_squared_error", "AttributeError"),
        (18, "torch.nn.ReLu()", "AttributeError"),
        (22, "tf.fold1", "AttributeError"),
        (28, "{x: coefficients}", "NameError"),
        (31, "tf.Sessions()", "AttributeError"),
        (31, "tf.global variables initializer", "SyntaxError"),
    ],
)
def test_what_the_notes_print_wrong_fails(number, line, error):
    checks = {check.name: check for check in reproduced(number).checks}
    check = checks[f"as printed: {line}"]
    assert check.holds
    assert check.found.startswith(f"{error}: ")


def test_rows_come_in_the_order_asked_for_and_are_told_when_they_begin():
    told = []
    results = reproduce_notes([23, 7, 23], watch=lambda row: told.append(row.number))
    assert [result.number for result in results] == told == [23, 7]


def test_an_unknown_row_is_refused_before_any_runs():
    told = []
    with pytest.raises(UsageError, match="found 99, allowed 1 to 32"):
        reproduce_notes([7, 99], watch=told.append)
    assert told == []


def test_without_torch_and_tf_keras_their_rows_say_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    wanted = [number for number, row in ROWS.items() if row.needs]
    for result in reproduce_notes(wanted):
        assert (result.status, result.checks) == ("not installed", ())
        extra = "legacy" if result.number == 15 else "torch"
        assert result.detail == f"not installed: pip install 'tfapp[{extra}]'"
    (other,) = reproduce_notes([7])
    assert other.status == "reproduced"


def test_nothing_stays_switched():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    import keras
    import tensorflow as tf

    def state():
        numbers = np.random.get_state()[1].tobytes()
        return torch.get_rng_state().numpy().tobytes(), torch.get_num_threads(), numbers

    before = state()
    results = reproduce_notes([5, 9, 11, 21])
    assert {result.status for result in results} == {"reproduced"}
    assert state() == before
    assert tf.executing_eagerly()
    assert keras.config.floatx() == "float32"
    assert torch.get_default_dtype() == torch.float32
