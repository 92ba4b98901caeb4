"""What the process of a contender answers, asked in this one."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tfapp.bench.contenders.__main__ import Worker, find_maker
from tfapp.bench.contenders.base import Contender, Losses
from tfapp.bench.workloads import WORKLOADS
from tfapp.errors import UsageError
from tfapp.timing.slices import Slice

PREPARE = {
    "do": "prepare",
    "workload": replace(WORKLOADS["quadratic"], examples=8).to_json(),
    "source": "",
    "folder": "",
    "check_steps": 2,
}


class Told(Contender):
    """Tells what a test says."""

    losses: object = (Losses(1, 3.0),)
    timed = Slice(1, 1.0)
    newest: object = 2.0

    def __init__(self, task):
        pass

    def first_losses(self, steps):
        return self.losses

    def run(self, steps):
        pass

    def time(self, steps):
        return self.timed

    def loss(self):
        return self.newest


def ask(**told):
    """Returns the answers to `prepare` and `time`, as they come out of the other end."""
    worker = Worker(type("Own", (Told,), told))
    answers = [worker.answer(PREPARE), worker.answer({"do": "time", "seconds": 0.1})]
    return [json.loads(json.dumps(answer)) for answer in answers]


def test_the_numbers_of_a_framework_are_numbers():
    prepared, timed = ask(losses=[Losses(np.int64(2), np.float32(1.5))], newest=np.float32(0.5))
    assert prepared["losses"] == [{"steps": 2, "mean": 1.5}]
    assert timed["loss"] == 0.5
    assert ask(newest=None)[1]["loss"] is None


@pytest.mark.parametrize(
    "losses", [[Losses(1, "low")], [Losses(1, None)], [Losses(None, 1.0)], [1.5], None]
)
def test_what_is_no_loss_is_an_error_of_who_told_it(losses):
    prepared, _ = ask(losses=losses)
    assert set(prepared) == {"error"}


@pytest.mark.parametrize("timed", [Slice(0, 1.0), Slice(4, 0.0)])
def test_a_slice_without_a_rate_is_an_error(timed):
    prepared, _ = ask(timed=timed)
    told = f"it told a slice of {timed.steps} steps in {timed.seconds} s"
    assert prepared == {"error": told}


def test_only_a_subclass_of_contender_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no_contenders.py").write_text("class NotOne: pass\ndef make(task): pass\n")
    assert find_maker(f"{__name__}:Told") is Told
    expected = (
        "expected a subclass of tfapp.bench.contenders.base.Contender; docs/benchmarks.md says how"
    )
    for name, found in [("NotOne", "class NotOne"), ("make", "a function")]:
        with pytest.raises(UsageError) as raised:
            find_maker(f"no_contenders:{name}")
        path = f"contender 'no_contenders:{name}'"
        assert str(raised.value).startswith(f"{path}: found {found}, {expected}")
