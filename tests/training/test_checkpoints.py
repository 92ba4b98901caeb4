from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfapp.errors import CheckpointError, CheckpointMismatch, ExitCode, MissingError, StorageError
from tfapp.training.actions import Best
from tfapp.training.checkpoints import Checkpoints, TrainingState


def make_variables(*shapes, value=1.0):
    return {"model": [tf.Variable(tf.fill(shape, value), name="v") for shape in shapes]}


def save(checkpoints, step, best=None, value=0.0):
    state = TrainingState(step=step, best=best, stale_epochs=2, seconds=1.5)
    checkpoints.save(state, make_variables([2, 3], value=float(value)))
    return state


def test_what_was_saved_comes_back(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    state = TrainingState(step=7, best=Best(5, 0.25), stale_epochs=2, seconds=1.5)
    model = keras.Sequential([keras.layers.Dense(2), keras.layers.Dropout(0.5)])
    model(tf.ones([4, 3]), training=True)
    saved = [np.array(v) for v in model.variables]
    checkpoints.save(state, {"model": model.variables})
    for variable in model.variables:
        variable.assign(tf.zeros_like(variable))
    assert checkpoints.restore(7, {"model": model.variables}) == state
    assert len(saved) == 3, "the state of dropout's generator is part of it"
    for before, variable in zip(saved, model.variables, strict=True):
        np.testing.assert_array_equal(before, np.array(variable))


def test_the_newest_and_the_best_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in range(1, 7):
        save(checkpoints, step, Best(2, 0.9))
    assert checkpoints.steps() == [2, 5, 6]
    assert checkpoints.best() == 2
    assert checkpoints.newest() == 6


def test_without_a_finished_epoch_the_newest_counts_as_best(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 3)
    assert checkpoints.best() == 3


def test_no_checkpoint_is_said_with_its_exit_code(tmp_path):
    with pytest.raises(MissingError, match="no checkpoint in") as caught:
        Checkpoints(tmp_path).newest()
    assert caught.value.exit_code == ExitCode.MISSING


@pytest.mark.parametrize("file", ["variables.data-00000-of-00001", "variables.index", "state.json"])
@pytest.mark.parametrize("damage", ["truncated", "missing", "garbled"])
def test_a_damaged_file_is_named(tmp_path, file, damage):
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 4)
    path = checkpoints.path(4) / file
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        changed = bytes(255 - byte for byte in content)
        path.write_bytes(content[:8] if damage == "truncated" else changed)
    variables = make_variables([2, 3], value=8.0)
    with pytest.raises(CheckpointError, match=r"step-000000004.* is damaged"):
        checkpoints.restore(4, variables)
    np.testing.assert_array_equal(variables["model"][0], np.full([2, 3], 8.0))


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ([[2, 4]], r"is float32 \[2, 3\], this one's 'v:0' is float32 \[2, 4\]"),
        ([[2, 3], [1]], "it has 1 model variables, this one has 2"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(tmp_path, shapes, said):
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 4)
    with pytest.raises(CheckpointMismatch, match=said):
        checkpoints.restore(4, make_variables(*shapes))


def test_a_refused_write_keeps_what_was_there(tmp_path, monkeypatch):
    """Disk full, as the operating system reports it."""
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1)

    def full(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(StorageError, match="No space left on device"):
        save(checkpoints, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001"]


def test_a_refusal_inside_tensorflow_keeps_what_was_there(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1)

    def full(prefix, **_):
        raise tf.errors.ResourceExhaustedError(None, None, f"{prefix}; No space left on device")

    monkeypatch.setattr(tf.raw_ops, "SaveV2", full)
    with pytest.raises(StorageError, match=r"No space left.*tfapp train --resume"):
        save(checkpoints, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001"]


_KILLED = """
    import os, pathlib, signal, sys
    import tensorflow as tf
    from tfapp.training.checkpoints import Checkpoints, TrainingState

    die = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL)
    checkpoints = Checkpoints(pathlib.Path(sys.argv[1]), keep=1)
    variables = {"model": [tf.Variable(tf.ones([1000]))]}
    checkpoints.save(TrainingState(step=1), variables)
    if sys.argv[2] == "before the state":
        pathlib.Path.write_text = die
    elif sys.argv[2] == "before it appears":
        pathlib.Path.rename = die
    else:
        import shutil
        shutil.rmtree = die
    checkpoints.save(TrainingState(step=2), variables)
"""


@pytest.mark.parametrize(
    ("moment", "left"),
    [("before the state", 1), ("before it appears", 1), ("while old ones are dropped", 2)],
)
def test_a_kill_while_saving_leaves_only_whole_checkpoints(tmp_path, moment, left):
    script = [sys.executable, "-c", textwrap.dedent(_KILLED), str(tmp_path), moment]
    assert subprocess.run(script, capture_output=True).returncode == -signal.SIGKILL
    checkpoints = Checkpoints(tmp_path, keep=1)
    assert checkpoints.steps() == [left]
    variables = {"model": [tf.Variable(tf.zeros([1000]))]}
    checkpoints.restore(left, variables)
    np.testing.assert_array_equal(variables["model"][0], np.ones(1000))
    checkpoints.save(TrainingState(step=3), variables)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000003"], "leftovers are cleared"


def test_the_state_is_readable_without_tensorflow(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 4, Best(4, 0.5))
    content = json.loads((checkpoints.path(4) / "state.json").read_text())
    assert content["step"] == 4
    assert content["best"] == {"step": 4, "value": 0.5}
    assert content["variables"]["model"] == [["v:0", [2, 3], "float32"]]
