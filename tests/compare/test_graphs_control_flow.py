"""Branches and loops on every engine: closed forms, and graphs that do and do not grow."""

from __future__ import annotations

import numpy as np
import pytest

from tfapp.compare import roster
from tfapp.compare.graphs import control_flow
from tfapp.compare.graphs.control_flow import control_flow_rows
from tfapp.compare.graphs.findings import find_out
from tfapp.compare.graphs.growth import growth_rows

CONSTRUCTS = ["branch", "power", "polynomial"]
ENGINES = ["numpy", "tf1", "function", "eager", "torch", "xla"]


@pytest.fixture(scope="module")
def rows():
    return {(row.construct, row.engine): row for row in control_flow_rows()}


@pytest.fixture(scope="module")
def growth():
    return {(row.form, row.engine): row for row in growth_rows()}


@pytest.fixture(scope="module")
def found():
    return {finding.tried: finding.found for finding in find_out()}


def expected(construct: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if construct == "branch":
        return np.where(x > 0, x**2, -3 * x), np.where(x > 0, 2 * x, -3.0)
    if construct == "power":
        return x**10, 10 * x**9
    polynomial = [2.0, -3.0, 0.5, 4.0]
    return np.polyval(polynomial, x), np.polyval(np.polyder(polynomial), x)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("construct", CONSTRUCTS)
def test_values_and_gradients_are_those_of_the_closed_form(rows, construct, engine):
    row = rows[construct, engine]
    assert row.remark
    if row.status == "missing":
        pytest.skip(f"torch is {row.remark}")
    if (construct, engine) == ("power", "xla"):
        assert (row.status, row.values, row.gradients) == ("cannot", (), ())
        assert "list" in row.remark
        return
    assert row.status == ("reference" if engine == "numpy" else "agrees")
    points = np.array(row.points)
    assert points.min() < 0 < points.max()  # both branches
    values, gradients = expected(construct, points)
    np.testing.assert_allclose(row.values, values, rtol=1e-5)
    np.testing.assert_allclose(row.gradients, gradients, rtol=1e-5)


@pytest.mark.parametrize("construct", CONSTRUCTS)
def test_only_graphs_have_operations(rows, construct):
    graphs = {e for e in ENGINES if rows[construct, e].operations is not None}
    assert graphs == ({"tf1", "function"} if construct == "power" else {"tf1", "function", "xla"})


@pytest.mark.parametrize("engine", ["tf1", "eager"])
def test_a_wrong_gradient_is_told(monkeypatch, engine):
    monkeypatch.setitem(control_flow.BY_HAND, "power", lambda x: (x**10, 10.01 * x**9))
    rows = {(row.construct, row.engine): row.status for row in control_flow_rows()}
    assert rows["power", engine] == "differs"
    assert rows["branch", engine] == "agrees"


def test_without_torch_rows_say_how_to_install_it(monkeypatch):
    monkeypatch.setattr(
        roster, "missing_extra", lambda module, extra: f"no {extra}" if extra else None
    )
    rows = [row for row in control_flow_rows() if row.engine == "torch"]
    assert {(row.status, row.remark) for row in rows} == {("missing", "no torch")}
    (row,) = (row for row in growth_rows() if row.engine == "torch")
    assert (row.missing, row.counts) == ("no torch", ())


def test_an_unrolled_loop_grows_by_three_products_a_turn(growth):
    # One forward; backward one for each of its two factors.
    for form in (
        ("Python's while, unrolled", "tf1"),
        ("while on a number, unrolled", "function"),
    ):
        one, ten, hundred = growth[form].counts
        assert (hundred - ten) / 90 == 3
        assert one < ten


def test_a_loop_in_a_graph_does_not_grow(growth):
    for form in (("tf.while_loop", "tf1"), ("while on a tensor", "function")):
        assert len(set(growth[form].counts)) == 1
        assert growth[form].counts[0] > 0


def test_autograd_records_a_node_a_turn(growth):
    pytest.importorskip("torch", reason="pip install 'tfapp[torch]'")
    row = growth["Python's while, recorded", "torch"]
    # And one that keeps the gradient of x.
    assert row.counts == tuple(turns + 1 for turns in row.turns)


def test_an_if_on_a_tensor_needs_autograph(found):
    for tried in (
        "if on a tensor, in a graph of TF1",
        "if on a tensor, tf.function without AutoGraph",
    ):
        assert found[tried].startswith("OperatorNotAllowedInGraphError: ")
    assert found["if on a tensor, tf.function"] == (
        "graphs for 1.25 and -1.25: 1; branches in a graph: 2"
    )
    assert found["if on a number of Python, tf.function"] == (
        "graphs for 1.25 and -1.25: 2; branches in a graph: 0"
    )


def test_xla_needs_a_bound_for_the_gradient_of_a_loop(found):
    value, slope = f"{1.25**10:.6g}", f"{10 * 1.25**9:.6g}"
    assert found["while on a tensor, XLA"] == value
    assert "fixed tensor list size" in found["while on a tensor, XLA, gradient"]
    assert found["tf.while_loop with maximum_iterations, XLA, gradient"] == slope
    assert found["for over tf.range(n), XLA, gradient"].startswith(f"{slope}; n is a constant")
