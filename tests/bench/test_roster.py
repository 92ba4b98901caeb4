from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tfapp.bench.roster import (
    BEST_FIT,
    FIT_VARIANTS,
    ROSTER,
    assign,
    find_contenders,
    find_workloads,
)
from tfapp.bench.targets import TARGETS
from tfapp.bench.workloads import WORKLOADS
from tfapp.errors import UnknownName, UsageError


@pytest.mark.parametrize("entry", ROSTER.values(), ids=lambda entry: entry.name)
def test_the_class_of_every_contender_is_there(entry):
    module, _, name = entry.path.partition(":")
    found = importlib.util.find_spec(module)  # its framework may not be installed
    tree = ast.parse(Path(found.origin).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    assert set(entry.default) <= set(entry.fits)
    assert (entry.module is None) == (entry.extra is None)


def test_nothing_heavy_is_loaded_before_a_contender_runs():
    script = (
        "import sys, tfapp.bench.suite, tfapp.bench.memory, tfapp.bench.sweep\n"
        "import tfapp.bench.contenders.base, tfapp.bench.contenders.__main__\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout.split()) & {"tensorflow", "keras", "torch", "jax", "matplotlib"}


def test_fit_best_stands_for_its_variants():
    names = [entry.name for entry in find_contenders(["tfapp", BEST_FIT, "fit-32", "tfapp"])]
    assert names == ["tfapp", *FIT_VARIANTS]


def test_a_contender_of_ones_own_is_an_import_path():
    (entry,) = find_contenders(["mine.loops:Fast"])
    assert (entry.name, entry.path, entry.missing) == ("mine.loops:Fast", "mine.loops:Fast", None)


def test_all_workloads_are_meant_when_none_is_named():
    assert [w.name for w in find_workloads(())] == list(WORKLOADS)
    assert [w.name for w in find_workloads(["cnn", "cnn"])] == ["cnn"]


def test_wrong_names_are_answered_with_near_ones():
    with pytest.raises(UnknownName, match="Did you mean 'two-layer'"):
        find_workloads(["twolayer"])
    with pytest.raises(UnknownName, match=r"Did you mean 'torch'.*mypackage.bench:Mine"):
        find_contenders(["troch"])


def test_who_cannot_train_a_workload_is_left_out():
    cnn, mlp = find_workloads(["cnn", "mlp-sgd"])
    teams = assign([cnn, mlp], find_contenders(["numpy", "tfapp"]))
    assert [e.name for e in teams["cnn"]] == ["tfapp"]
    assert [e.name for e in teams["mlp-sgd"]] == ["numpy", "tfapp"]
    with pytest.raises(UsageError, match=r"numpy cannot train cnn\. These can: tfapp"):
        assign([cnn], find_contenders(["numpy"]))


def test_everybody_takes_part_where_it_makes_sense():
    teams = assign(find_workloads(()), ())
    names = {workload: [e.name for e in team] for workload, team in teams.items()}
    assert {*FIT_VARIANTS, "tfapp-train", "jax-scan", "gemm"} <= set(names["mlp-adam"])
    assert "tfapp-resident" not in names["cnn"]  # XLA and convolutions
    assert "jax-step" in names["cnn"]
    assert "numpy" not in names["quadratic"]
    assert all(team[0] == "tfapp" for team in names.values())


def test_targets_speak_of_what_takes_part_by_default():
    names = {w: {e.name for e in team} for w, team in assign(find_workloads(()), ()).items()}
    for target in TARGETS:
        for workload in target.workloads:
            assert {target.contender} - {BEST_FIT} <= names[workload]
