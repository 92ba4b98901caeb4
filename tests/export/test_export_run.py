from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfapp.config import load_config
from tfapp.errors import ExitCode, ExportError, StorageError, UsageError
from tfapp.export import saved_model
from tfapp.export.hidden import hidden_folder
from tfapp.export.saved_model import export_run
from tfapp.export.verification import refuse_differences, verify_export
from tfapp.exported import read_card
from tfapp.runs import Run
from tfapp.training.restore import load_trained
from tfapp.training.samples import read_samples
from tfapp.training.train import train_model

pytestmark = pytest.mark.usefixtures("read_back_here")


def test_an_export_takes_raw_features_and_gives_the_live_probabilities(digits_run, tmp_path):
    exported = export_run(digits_run, tmp_path / "digits")
    assert exported.path == tmp_path / "digits" / "1"
    assert exported.inputs == {"image": "[?, 8, 8, 1] uint8"}
    assert exported.outputs == {"probabilities": "[?, 10] float32", "class_id": "[?] int64"}
    loaded = tf.saved_model.load(str(exported.path))
    images = read_samples(digits_run).features
    live = load_trained(digits_run).predictor(images)
    for name in ("serving_default", "predict"):
        for rows in (1, 5, len(images)):
            found = loaded.signatures[name](image=tf.constant(images[:rows]))
            np.testing.assert_allclose(
                found["probabilities"], live["probabilities"][:rows], atol=1e-6
            )
            np.testing.assert_array_equal(found["class_id"], live["class_id"][:rows])
    assert exported.max_difference <= 1e-6


def test_an_export_says_where_it_comes_from(digits_run, tmp_path):
    exported = export_run(digits_run, tmp_path / "digits")
    labels = (exported.path / "assets" / "labels.txt").read_text().splitlines()
    assert labels == [str(digit) for digit in range(10)]
    card = json.loads((exported.path / "tfapp.json").read_text())
    assert card["run"] == "digits"
    assert card["step"] == exported.step
    assert card["versions"]["tensorflow"] == tf.__version__
    assert card["signatures"]["serving_default"]["inputs"] == exported.inputs
    files = {p.relative_to(exported.path).as_posix() for p in exported.path.rglob("*")}
    assert {*card["files"], "tfapp.json"} == {f for f in files if (exported.path / f).is_file()}
    content = (exported.path / "saved_model.pb").read_bytes()
    assert card["files"]["saved_model.pb"] == hashlib.sha256(content).hexdigest()


def test_versions_count_up_and_are_never_overwritten(digits_run, tmp_path):
    folder = tmp_path / "digits"
    assert [export_run(digits_run, folder).version for _ in range(2)] == [1, 2]
    assert export_run(digits_run, folder, version=10).version == 10
    before = (folder / "2" / "tfapp.json").read_bytes()
    with pytest.raises(UsageError, match=r"2 exists and was not touched.*next free one, 11"):
        export_run(digits_run, folder, version=2)
    assert (folder / "2" / "tfapp.json").read_bytes() == before
    (folder / "2").rename(folder / "0002")
    with pytest.raises(UsageError, match="0002 exists and was not touched"):
        export_run(digits_run, folder, version=2)
    assert sorted(p.name for p in folder.iterdir()) == ["0002", "1", "10"]


@pytest.mark.parametrize("what", ["a file", "a link that leads nowhere", "an empty folder"])
def test_whatever_has_the_name_of_a_version_is_counted_and_kept(digits_run, tmp_path, what):
    folder, taken = tmp_path / "digits", tmp_path / "digits" / "3"
    folder.mkdir()
    if what == "a file":
        taken.write_text("mine")
    elif what == "an empty folder":
        taken.mkdir()
    else:
        taken.symlink_to("nowhere")
    before = taken.lstat()
    assert export_run(digits_run, folder).version == 4
    with pytest.raises(UsageError, match=r"digits/3 exists and was not touched.*free one, 5"):
        export_run(digits_run, folder, version=3)
    assert taken.lstat() == before
    assert sorted(p.name for p in folder.iterdir()) == ["3", "4"]


@pytest.mark.parametrize("name", ["1", "001"])
def test_a_link_that_appears_meanwhile_is_kept(digits_run, tmp_path, monkeypatch, name):
    folder, write = tmp_path / "digits", saved_model.write_draft

    def late(draft, beside):
        (folder / name).symlink_to("nowhere")
        return write(draft, beside)

    monkeypatch.setattr(saved_model, "write_draft", late)
    with pytest.raises(UsageError, match="digits/1 appeared while this one was being written"):
        export_run(digits_run, folder)
    assert [p.name for p in folder.iterdir()] == [name]


@pytest.mark.parametrize("output", [".", ".."])
def test_the_folder_one_stands_in_gives_the_model_its_name(
    digits_run, tmp_path, monkeypatch, output
):
    here = tmp_path / "digits" if output == "." else tmp_path / "digits" / "below"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    exported = export_run(digits_run, output)
    assert exported.path == tmp_path / "digits" / "1"
    assert exported.name == read_card(exported.path)["name"] == "digits"


def test_no_version_is_larger_than_readers_take(digits_run, tmp_path, cli):
    folder, largest = tmp_path / "digits", 2**63 - 1
    for wanted in (0, largest + 1):
        with pytest.raises(UsageError, match=f"version {wanted}: .* from 1 to {largest}"):
            export_run(digits_run, folder, version=wanted)
        typed = cli("export", "digits", "--output", folder, "--version", wanted)
        assert typed.code == ExitCode.USAGE
        assert "1<=x<=9223372036854775807" in typed.err
    assert export_run(digits_run, folder, version=largest).version == largest
    assert verify_export(folder).path == folder / str(largest)
    with pytest.raises(UsageError, match=f"{largest} has the largest number.* with --version"):
        export_run(digits_run, folder)
    with pytest.raises(UsageError, match=f"{largest} exists and was not touched. Give another"):
        export_run(digits_run, folder, version=largest)
    (folder / str(largest)).rename(folder / str(largest + 1))
    assert export_run(digits_run, folder).version == 1, "nobody takes that one for a version"


@pytest.mark.parametrize(
    ("output", "advice"),
    [
        ("om/digits/7", "om/digits/7 is a number.* Type --output om/digits --version 7$"),
        ("om/digits/0", "om/digits/0 is a number.* Type --output om/digits for the next"),
        ("om/digits/9223372036854775808", "Type --output om/digits for the next free number"),
        ("om/digits/1", "om/digits/1 is a SavedModel; .* Type --output om/digits for the next"),
        ("om/digits/1/more", "om/digits/1 is a SavedModel, and .*more is inside; .* om/digits for"),
        ("om/best", "om/best is a SavedModel; .* leave --output out for saved_models/NAME"),
        ("om/digits/1/../2", "om/digits/2 is a number.* --output om/digits --version 2"),
    ],
)
def test_a_version_is_no_folder_for_versions(digits_export, cli, digits_run, output, advice):
    om = digits_export.parent.with_name("om")
    shutil.copytree(digits_export.parent, om / "digits")
    shutil.copytree(digits_export, om / "best")
    before = sorted(om.rglob("*"))
    result = cli("export", "digits", "--output", output)
    assert result.code == ExitCode.USAGE
    assert re.search(advice, " ".join(result.err.split()).rstrip(".")), result.err
    assert sorted(om.rglob("*")) == before
    assert cli("predict", "om/digits", digits_run.path / "samples.npz").code == ExitCode.DONE


def test_a_table_with_texts_is_one_input_a_column(tmp_path):
    table = tmp_path / "shop.csv"
    rows = [f"{i % 5},{['red', 'blue'][i % 2]},{['low', 'high'][i % 2]}" for i in range(80)]
    table.write_text("\n".join(["size (cm),class,price", *rows]))
    config = load_config(overrides={"data.source": str(table), "train.epochs": 2})
    run = Run(train_model(config, runs=tmp_path).path)
    exported = export_run(run, tmp_path / "shop")
    assert exported.inputs == {"size_cm": "[?] float32", "class_": "[?] string"}
    signature = tf.saved_model.load(str(exported.path)).signatures["serving_default"]
    found = signature(size_cm=tf.constant([1.0, 1.0]), class_=tf.constant(["red", "unheard of"]))
    live = load_trained(run).predictor(np.array([[1, 2], [1, 0]], np.float32))
    assert load_trained(run).predictor.info.columns[1].vocabulary == ("blue", "red")
    np.testing.assert_allclose(found["probabilities"], live["probabilities"], atol=1e-6)


def test_other_folders_beside_the_versions_are_left_alone(digits_run, tmp_path):
    mine = tmp_path / "digits" / ".mine.tmp"
    mine.mkdir(parents=True)
    (mine / "thesis.txt").write_text("mine")
    export_run(digits_run, tmp_path / "digits")
    assert (mine / "thesis.txt").read_text() == "mine"


def test_large_numbers_are_compared_by_their_size(tmp_path):
    table = tmp_path / "prices.csv"
    table.write_text("x,y\n" + "\n".join(f"{x},{2e5 + 3.5e3 * x}" for x in range(80)))
    config = load_config(
        overrides={
            "data.source": str(table),
            "train.precision": "mixed_bfloat16",
            "train.epochs": 30,
            "train.optimizer.learning_rate": 1.0,
        }
    )
    exported = export_run(train_model(config, runs=tmp_path).path, tmp_path / "prices")
    assert exported.max_difference <= 2e-2


def test_what_computes_something_else_is_not_published(digits_run, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "tfapp.export.draft.differences_in_new_process", lambda _: {"predict": float("nan")}
    )
    with pytest.raises(ExportError, match="computes something else") as caught:
        export_run(digits_run, tmp_path / "digits")
    assert caught.value.exit_code == ExitCode.FAILED
    assert not (tmp_path / "digits").exists()


@pytest.mark.parametrize("there", [(), ("new",), ("new", "models", "digits")], ids="/".join)
def test_an_export_that_fails_leaves_no_folder_that_it_made(digits_run, tmp_path, there):
    folder = tmp_path.joinpath("new", "models", "digits")
    tmp_path.joinpath(*there).mkdir(parents=True, exist_ok=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="version 0"):
        export_run(digits_run, folder, version=0)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_others_put_into_a_new_folder_stays(digits_run, tmp_path, monkeypatch):
    def fail(draft, beside):
        (beside.parent / "intended_use.md").write_text("Mine.")
        raise ExportError("no")

    monkeypatch.setattr(saved_model, "write_draft", fail)
    with pytest.raises(ExportError):
        export_run(digits_run, tmp_path / "new" / "digits")
    assert [p.name for p in (tmp_path / "new" / "digits").iterdir()] == ["intended_use.md"]


@pytest.mark.parametrize("difference", [1e-4, float("inf"), float("nan")])
def test_only_rounding_is_accepted(difference):
    refuse_differences({"predict": 1e-6}, 1e-5)
    with pytest.raises(ExportError, match="classify differs by"):
        refuse_differences({"predict": 1e-6, "classify": difference}, 1e-5)


def test_a_full_disk_leaves_the_versions_that_were_there(digits_run, tmp_path, monkeypatch):
    folder = tmp_path / "digits"
    export_run(digits_run, folder)

    def full(*arguments, **options):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", full)
    with pytest.raises(StorageError, match=r"No space left on device.*No version was added"):
        export_run(digits_run, folder)
    assert [p.name for p in folder.iterdir()] == ["1"]


_KILLED = """
    import os, pathlib, signal, sys
    from tfapp.export import draft, saved_model
    die = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL)
    if sys.argv[3] == "before the card":
        draft.write_card = die
    else:
        saved_model._publish = die
    saved_model.export_run(sys.argv[1], pathlib.Path(sys.argv[2]))
"""


@pytest.mark.parametrize("moment", ["before the card", "before it appears"])
def test_a_killed_export_is_invisible_and_is_cleared_by_the_next(digits_run, tmp_path, moment):
    folder = tmp_path / "digits"
    script = textwrap.dedent(_KILLED)
    words = [sys.executable, "-c", script, str(digits_run.path), str(folder), moment]
    assert subprocess.run(words, capture_output=True).returncode == -signal.SIGKILL
    assert [p.name for p in folder.iterdir() if p.name.isdigit()] == [], "a server sees nothing"
    assert len(list(folder.iterdir())) == 1
    export_run(digits_run, folder)
    assert [p.name for p in folder.iterdir()] == ["1"]


def test_what_is_left_of_a_process_of_the_same_number_is_cleared(digits_run, tmp_path):
    folder = tmp_path / "digits"
    # In a container every process has the number 1, so the number tells nothing.
    for left in (f"1.{os.getpid()}", "ab12cd34"):
        (folder / f".tfapp-export-{left}" / "model").mkdir(parents=True)
    export_run(digits_run, folder)
    assert [p.name for p in folder.iterdir()] == ["1"]


def test_an_export_in_between_is_whole_and_is_not_touched(digits_run, tmp_path, monkeypatch):
    folder = tmp_path / "digits"
    write, between = saved_model.write_draft, []

    def late(draft, beside):
        monkeypatch.setattr(saved_model, "write_draft", write)
        between.append(export_run(digits_run, folder))
        assert beside.is_dir(), "what is being written is no leftover"
        return write(draft, beside)

    monkeypatch.setattr(saved_model, "write_draft", late)
    with pytest.raises(UsageError, match=r"1 appeared while this one was being written"):
        export_run(digits_run, folder)
    assert [p.name for p in folder.iterdir()] == ["1"]
    read_card(between[0].path)


def test_a_folder_that_another_export_took_for_a_leftover_is_made_again(tmp_path, monkeypatch):
    make, taken = tempfile.mkdtemp, []

    def making(**options):
        made = make(**options)
        if not taken:
            taken.append(made)
            with hidden_folder(tmp_path):  # which is given a folder of its own
                assert not Path(made).exists()
        return made

    monkeypatch.setattr(tempfile, "mkdtemp", making)
    with hidden_folder(tmp_path) as found:
        assert [p.name for p in tmp_path.iterdir()] == [found.name]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_a_failed_export_removes_is_made_again(tmp_path, monkeypatch):
    make, removed = tempfile.mkdtemp, []

    def making(**options):
        if not removed:
            removed.append(options["dir"])
            options["dir"].rmdir()
        return make(**options)

    monkeypatch.setattr(tempfile, "mkdtemp", making)
    with hidden_folder(tmp_path / "digits") as found:
        assert removed == [found.parent]
    assert not (tmp_path / "digits").exists()


def test_only_what_the_disk_refuses_is_told_as_such(digits_run, tmp_path, monkeypatch):
    def failing(number):
        def fail(draft, beside):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(saved_model, "write_draft", fail)

    failing(errno.ENOSPC)
    with pytest.raises(StorageError, match=r"cannot write .*/1: No space left.* Free some space"):
        export_run(digits_run, tmp_path / "digits")
    failing(errno.ENOMEM)
    with pytest.raises(OSError, match="Cannot allocate memory"):
        export_run(digits_run, tmp_path / "digits")
    assert not (tmp_path / "digits").exists()
