"""The whole study, as the command and the report get it."""

from __future__ import annotations

import dataclasses
import json

import pytest

from tfapp.compare.graphs import GraphStudy, study, study_graphs
from tfapp.compare.programs import PROGRAMS
from tfapp.errors import UsageError


def test_a_study_of_one_program_is_plain_data():
    told = []
    found = study_graphs([PROGRAMS["graph"]], watch=told.append)
    assert told == ["graph", "control flow", "retracing"]
    assert isinstance(found, GraphStudy)
    assert found.agrees
    (program,) = found.programs
    assert [size.engine for size in program.sizes] == ["tf1", "function", "xla"]
    assert [cost.engine for cost in program.costs] == ["eager", "function", "xla", "tf1"]
    content = json.loads(json.dumps(dataclasses.asdict(found), allow_nan=False))
    assert content["programs"][0]["sizes"][0]["built"] == program.sizes[0].built
    assert set(content) == {
        *("agrees", "programs", "control_flow", "growth", "findings", "retracing"),
    }


def test_a_study_tells_whether_engines_agree(monkeypatch):
    row = study.ControlRow("branch", "eager", "differs")
    monkeypatch.setattr(study, "control_flow_rows", lambda: (row,))
    for part in ("growth_rows", "find_out", "retrace_rows"):
        monkeypatch.setattr(study, part, lambda: ())
    assert not study_graphs([]).agrees


def test_a_program_without_arrays_is_refused_before_anything_is_done():
    told = []
    with pytest.raises(UsageError, match="mnist-mlp brings no arrays"):
        study_graphs([PROGRAMS["graph"], PROGRAMS["mnist-mlp"]], watch=told.append)
    assert told == []
