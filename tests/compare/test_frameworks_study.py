"""What the study tells of programs that are right, wrong, broken and not installed."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util

import numpy as np
import pytest

from tfapp.compare.frameworks import study_frameworks
from tfapp.compare.frameworks.programs import by_hand, tape
from tfapp.compare.frameworks.roster import PROGRAMS
from tfapp.compare.frameworks.timing import framework_timers
from tfapp.errors import UsageError
from tfapp.timing.schedule import unwatched

INSTALLED = [name for name, program in PROGRAMS.items() if program.missing is None]


@pytest.fixture
def only():
    """Leaves only some programs besides that by hand; afterwards all are there, in their order."""
    every = dict(PROGRAMS)

    def leave(*names):
        for name in set(PROGRAMS) - {"by_hand", *names}:
            del PROGRAMS[name]

    yield leave
    PROGRAMS.clear()
    PROGRAMS.update(every)


def test_every_program_computes_what_that_by_hand_does():
    watched = []
    study = study_frameworks(watch=watched.append)
    assert watched == INSTALLED
    assert len(INSTALLED) >= 3  # without PyTorch and JAX
    assert [row.program for row in study.rows] == list(PROGRAMS)
    assert study.agrees
    assert study.steps == 50
    assert study.first_loss == pytest.approx(0.68390942, rel=1e-6)  # as TF1 has them
    assert study.last_loss == pytest.approx(0.24528174, rel=1e-6)
    for row in study.rows:
        if row.program in INSTALLED[1:]:
            assert row.status == "ok", row.detail
            assert row.loss <= 1e-5
            assert row.weights <= 5e-4
        assert row.timing is None


def test_lines_add_up_to_the_file(only):
    only()
    (row,) = study_frameworks(steps=2).rows
    assert (row.status, row.loss, row.weights) == ("reference", None, None)
    lines = row.lines
    assert sum(lines.steps.values()) + lines.rest + lines.exchange == lines.total
    assert lines.own == lines.total - lines.exchange
    # def, with, for or the like, and what is in it: counted in the file by eye.
    assert lines.steps == {
        "parameters": 2,
        "forward": 4,
        "loss": 2,
        "gradients": 8,
        "update": 3,
        "loop": 7,
    }
    assert (lines.exchange, lines.imports) == (2, 4)
    assert row.source.count("\ndef ") == 5


@pytest.mark.parametrize(("module", "name"), [("torch", "torch_module"), ("jax", "jax_grad")])
def test_a_framework_that_is_not_installed_is_told_with_what_to_type(
    module, name, only, monkeypatch
):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *rest: None if n == module else found(n, *rest)
    )
    only(name)
    watched = []
    study = study_frameworks(steps=2, watch=watched.append)
    row = study.row(name)
    assert watched == ["by_hand"]
    assert row.status == "not installed"
    assert row.detail == f"not installed: pip install 'tfapp[{module}]'"
    assert (row.loss, row.weights) == (None, None)
    assert row.lines.total > 20
    assert study.agrees


@pytest.mark.parametrize("factor", [1.0001, 0.99])
def test_a_wrong_learning_rate_differs(factor, only, monkeypatch):
    class Wrong(tape.Trainer):
        def __init__(self, images, labels, weights, learning_rate, batch_size):
            super().__init__(images, labels, weights, learning_rate * factor, batch_size)

    monkeypatch.setattr(tape, "Trainer", Wrong)
    only("tape")
    study = study_frameworks()
    row = study.row("tape")
    assert row.status == "differs"
    assert not study.agrees
    assert row.loss > 1e-5
    assert row.detail.startswith("losses differ by ")


def test_rows_in_another_order_differ(only, monkeypatch):
    class Backwards(tape.Trainer):
        def __init__(self, images, labels, *rest):
            super().__init__(images[::-1], labels[::-1], *rest)

    monkeypatch.setattr(tape, "Trainer", Backwards)
    only("tape")
    row = study_frameworks(steps=2).row("tape")
    assert row.status == "differs"
    assert row.detail.startswith("losses differ by ")
    assert row.detail.count("differ by") == 2


def test_a_program_that_fails_does_not_stop_the_others(only, monkeypatch):
    class Transposed(tape.Trainer):
        def weights(self):
            return {name: value.T for name, value in super().weights().items()}

    class Broken:
        def __init__(self, *arguments):
            raise RuntimeError("no such kernel")

    only("tape", "fit")
    monkeypatch.setattr(tape, "Trainer", Transposed)
    monkeypatch.setattr(importlib.import_module(f"{tape.__package__}.fit"), "Trainer", Broken)
    study = study_frameworks(steps=2)
    assert not study.agrees
    assert study.row("tape").status == study.row("fit").status == "failed"
    assert study.row("tape").detail.startswith("its weights are {'w1': (256, 784)")
    assert study.row("fit").detail == "RuntimeError: no such kernel"


def test_a_loss_that_is_not_a_number_differs(only, monkeypatch):
    class Diverged(by_hand.Trainer):
        def run(self, steps):
            super().run(steps)
            return float(np.nan)

    only("tape")
    monkeypatch.setattr(tape, "Trainer", Diverged)
    row = study_frameworks(steps=2).row("tape")
    assert row.status == "differs"
    assert row.detail == "losses differ by inf, allowed at most 1.00e-05"


def test_times_are_put_beside_their_programs(only):
    only()
    with framework_timers("mlp") as timers:
        timings = timers.time(reference="by_hand", rounds=1, watch=unwatched)
    assert timings.failures == {"mlp": {}}
    (timing,) = timings.programs["mlp"].values()
    assert timing.first_loss == pytest.approx(0.68390942, rel=1e-6)
    assert timing.speed == 1, "by hand is what the others are measured by"
    study = study_frameworks(steps=2, timings=timings)
    assert study.row("by_hand").timing == timing
    broken = dataclasses.replace(
        timings, programs={"mlp": {}}, failures={"mlp": {"by_hand": "out of luck"}}
    )
    row = study_frameworks(steps=2, timings=broken).row("by_hand")
    assert (row.timing, row.timing_failure) == (None, "out of luck")


def test_no_steps_are_refused():
    with pytest.raises(UsageError, match="found 0, allowed 1 or more"):
        study_frameworks(steps=0)
