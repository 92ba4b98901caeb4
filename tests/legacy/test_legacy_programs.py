from __future__ import annotations

import ast
import sys
from pathlib import Path

import keras
import pytest
import tensorflow as tf

import legacy_tf1
from legacy_tf1.programs import PROGRAMS

FILES = sorted(Path(legacy_tf1.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_gives_what_it_must(name, outcome_of):
    outcome = outcome_of(name)
    assert [check for check in outcome.checks if not check.holds] == []
    assert outcome.holds
    assert outcome.checks
    assert outcome.unchecked == ()


@pytest.mark.parametrize("name", PROGRAMS)
def test_nothing_is_switched_by_a_program(name, outcome_of):
    outcome_of(name)
    assert tf.executing_eagerly()
    assert tf.compat.v1.get_default_session() is None
    assert tf.keras.__version__ == keras.__version__
    assert tf.keras.layers.Dense is keras.layers.Dense


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_holds_with_another_number_of_steps(name):
    outcome = PROGRAMS[name].run(2)
    assert [check for check in outcome.checks if not check.holds] == []


def test_a_check_that_needs_more_steps_is_named_and_not_made():
    outcome = PROGRAMS["quadratic-functional"].run(10)
    assert outcome.unchecked == (
        "w after step 1001 (needs 1001 steps)",
        "w from step 636 on (needs 637 steps)",
    )
    assert "w after step 1" in {check.name for check in outcome.checks}
    assert len(outcome.values["w"]) == 11


@pytest.mark.parametrize("steps", [0, -3])
def test_less_than_one_step_is_refused(steps):
    with pytest.raises(ValueError, match=f"steps: found {steps}, allowed whole numbers from 1 up"):
        PROGRAMS["quadratic"].run(steps)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_only_the_standard_library_numpy_and_tensorflow_are_imported(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert found <= {*sys.stdlib_module_names, "numpy", "tensorflow", "legacy_tf1"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_and_functions_stay_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            said = ast.get_docstring(node, clean=False) or ""
            length = node.end_lineno - node.lineno + 1 - len(said.splitlines())
            assert length <= 40, node.name
