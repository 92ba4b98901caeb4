from __future__ import annotations

import numpy as np
import pytest

from legacy_tf1.control_flow import build_branch, build_polynomial, build_power


def test_a_branch_is_chosen_by_what_is_fed():
    values, slopes = build_branch().run(np.array([3.0, -2.0, 0.0]))
    np.testing.assert_allclose(values, [9.0, 6.0, 0.0])
    np.testing.assert_allclose(slopes, [6.0, -3.0, -3.0])


@pytest.mark.parametrize("times", [0, 1, 2, 7])
def test_a_loop_turns_as_often_as_is_fed(times):
    x = np.array([1.5, -0.5, 2.0])
    values, slopes = build_power().run(x, times=times)
    np.testing.assert_allclose(values, x**times, rtol=1e-5)
    np.testing.assert_allclose(slopes, times * x ** (times - 1), rtol=1e-5)


@pytest.mark.parametrize("coefficients", [[4.0], [1.0, -2.0], [2.0, 0.0, -1.0, 3.0, 0.5]])
def test_a_fold_takes_as_many_elements_as_are_fed(coefficients):
    x = np.array([0.5, -1.0, 2.0])
    values, slopes = build_polynomial().run(x, coefficients=coefficients)
    np.testing.assert_allclose(values, np.polyval(coefficients, x), rtol=1e-5)
    np.testing.assert_allclose(slopes, np.polyval(np.polyder(coefficients), x), rtol=1e-5)


def test_one_graph_holds_both_branches_and_the_whole_loop():
    kinds = [
        {operation.type for operation in built.graph.get_operations()}
        for built in (build_branch(), build_power(), build_polynomial())
    ]
    assert "StatelessIf" in kinds[0]
    assert "StatelessWhile" in kinds[1]
    assert "StatelessWhile" in kinds[2]


def test_more_turns_of_the_program_hold_too():
    from legacy_tf1.control_flow import run

    outcome = run(30)
    assert [check for check in outcome.checks if not check.holds] == []
