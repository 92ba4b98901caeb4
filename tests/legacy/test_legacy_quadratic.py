"""The printed numbers of the course, closed forms, and what float32 makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from legacy_tf1 import coefficients, quadratic
from legacy_tf1.training import train


def float32_path(linear: float, steps: int = 1001) -> np.ndarray:
    """Returns `[steps + 1]` float32: w of gradient descent on w^2 + linear w + c, in NumPy."""
    w, found = np.float32(0), [np.float32(0)]
    for _ in range(steps):
        w = w - np.float32(0.01) * (np.float32(2) * w + np.float32(linear))
        found.append(w)
    return np.array(found)


PROGRAMS = {
    "functional": "quadratic-functional",
    "operators": "quadratic-operators",
    "with": "quadratic-with",
    "fed": "coefficients",
    "moved": "coefficients-moved",
    "slide": "coefficients-slide",
    "wrong sign": "coefficients-wrong-sign",
}


@pytest.fixture(scope="module")
def paths(outcome_of) -> dict[str, list[float]]:
    """Returns `[steps + 1]` values of w by the name of the spelling; float32, so exact."""
    return {name: outcome_of(program).values["w"] for name, program in PROGRAMS.items()}


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("functional", ["0", "0.1", "4.99999"]),
        ("operators", ["0", "0.1", "4.99999"]),
        ("fed", ["0", "0.1", "4.99999"]),
        ("moved", ["0", "0.2", "9.99998"]),
        ("slide", ["0", "0.2", "9.99998"]),
        ("wrong sign", ["0", "-0.1", "-4.99999"]),
    ],
)
def test_numbers_print_as_in_the_notes(name, printed, paths):
    assert [f"{paths[name][step]:.6g}" for step in (0, 1, -1)] == printed


@pytest.mark.parametrize("spelling", ["operators", "with", "fed"])
def test_every_spelling_gives_the_same_bits(spelling, paths):
    assert paths[spelling] == paths["functional"]


def test_the_constant_term_changes_no_bit(paths):
    assert paths["slide"] == paths["moved"][:1001]


@pytest.mark.parametrize(
    ("name", "linear"), [("functional", -10), ("moved", -20), ("wrong sign", 10)]
)
def test_a_session_gives_the_bits_of_float32_in_numpy(name, linear, paths):
    np.testing.assert_array_equal(paths[name], float32_path(linear, len(paths[name]) - 1))


@pytest.mark.parametrize(
    ("name", "limit"), [("functional", 5), ("moved", 10), ("slide", 10), ("wrong sign", -5)]
)
def test_w_after_k_steps_is_the_closed_form(name, limit, paths):
    exact = limit * (1 - 0.98 ** np.arange(len(paths[name])))
    np.testing.assert_allclose(paths[name], exact, rtol=0, atol=2.5e-6 * abs(limit))


def test_the_closed_form_is_descent_in_float64():
    w = 2.0
    for _ in range(40):
        w -= 0.05 * (2 * 3.0 * w - 12.0)
    assert quadratic.after(40, 2.0, (3.0, -12.0, 7.0), 0.05) == pytest.approx(w, rel=1e-12)
    assert quadratic.after(1000) == pytest.approx(4.9999999916, abs=1e-10)
    assert quadratic.after(200) == pytest.approx(4.9120603, abs=1e-7)


def test_float32_stops_at_step_636(paths):
    w = np.array(paths["functional"])
    assert f"{w[636]:.8g}" == "4.9999886"
    assert np.flatnonzero(np.diff(w) == 0)[0] == quadratic.STALL
    assert set(w[636:].tolist()) == {w[636]}


def test_the_stop_is_where_the_update_rounds_away():
    w = float32_path(-10)[636]
    update = np.float32(0.01) * (2 * w - 10)
    assert 0 < abs(update) < np.spacing(w) / 2


def test_loss_and_gradient_of_each_step_belong_to_the_weight_before_it():
    steps = list(train(quadratic.build(3.0, (2.0, 1.0, -4.0), 0.1), 5))
    w = 3.0
    for step in steps:
        assert step.loss == pytest.approx(2 * w**2 + w - 4, rel=1e-6)
        assert step.gradients["w"] == pytest.approx(4 * w + 1, rel=1e-6)
        w = float(step.weights["w"])


def test_the_vector_keeps_its_shape():
    training = coefficients.build([0.0], (1, -20, 25))
    (step,) = train(training, 1)
    assert (step.weights["w"].shape, step.gradients["w"].shape) == ((1,), (1,))
    assert np.shape(step.loss) == ()
    assert step.loss == 25.0


def test_coefficients_are_fed_anew_at_every_step():
    training = coefficients.build(0.0)
    (placeholder,) = training.feeds(0)
    assert placeholder.shape.as_list() == [3, 1]
    np.testing.assert_array_equal(training.feeds(7)[placeholder], [[1], [-10], [25]])


def test_an_unknown_spelling_is_refused():
    with pytest.raises(ValueError, match="spelling: found 'polish', allowed functional, operators"):
        quadratic.build(0.0, spelling="polish")


def test_another_number_of_coefficients_is_refused():
    with pytest.raises(ValueError, match="coefficients: found 2 of them, allowed 3"):
        coefficients.build(0.0, (1, 2))


def test_the_first_program_comes_near_five(outcome_of, checks_of):
    assert outcome_of("quadratic").values["w"][1000] == pytest.approx(5, abs=1e-4)
    assert checks_of("quadratic")["w near 5"].found == "4.9999886"


def test_the_slide_goes_to_ten_and_the_wrong_sign_to_minus_five(outcome_of):
    assert outcome_of("coefficients-slide").values["w"][-1] == pytest.approx(10, abs=1e-4)
    assert outcome_of("coefficients-wrong-sign").values["w"][-1] == pytest.approx(-5, abs=1e-4)
