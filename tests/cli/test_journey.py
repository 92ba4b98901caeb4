"""The commands in the order in which they are used, in one process."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tfapp.errors import ExitCode
from tfapp.runs import Run, find_run, summarize_run

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = ("--data", "iris", "--epochs", "3", "--set", "model.options.hidden=[8]")


def the_json(result) -> dict:
    assert result.code == 0, result.err
    content = json.loads(result.out)
    assert content["schema_version"] == 1
    return content


def test_train_evaluate_export_predict(cli, tmp_path):
    trained = the_json(cli("train", "--data", "digits", "--epochs", "2", "--json"))
    run = Path(trained["path"])
    assert (run / "plots" / "curves.svg").exists()
    evaluated = the_json(cli("evaluate", "runs/latest", "--json"))
    assert evaluated["run"] == str(run)
    assert evaluated["split"] == "test"
    assert set(evaluated["metrics"]) == {"loss", "accuracy"}
    assert (run / "plots" / "confusion-test.svg").exists()
    exported = the_json(cli("export", "latest", "--json"))
    assert exported["path"] == "saved_models/digits-mlp/1"
    predicted = the_json(cli("predict", exported["path"], run / "samples.npz", "--json"))
    assert len(predicted["predictions"]) == 64
    assert sum(predicted["predictions"][0]["probabilities"]) == pytest.approx(1, abs=1e-5)


def test_without_json_people_are_told_what_to_type_next(cli):
    trained = cli("train", *SMALL, "--run", "mine")
    assert trained.code == 0
    assert "best val_accuracy" in trained.out
    assert "next: tfapp evaluate runs/mine" in trained.err
    assert trained.err.count("epoch ") == 3, "a pipe gets one plain line an evaluation"
    assert "s left" in trained.err
    evaluated = cli("evaluate", "mine")
    assert "setosa" in evaluated.out
    assert "next: tfapp export runs/mine" in evaluated.err
    exported = cli("export", "mine")
    assert "input features" in exported.out
    assert "next: tfapp predict saved_models/iris-mlp/1 runs/mine/samples.npz" in exported.err
    predicted = cli("predict", "saved_models/iris-mlp", "runs/mine/samples.npz")
    assert "probability" in predicted.out
    assert "of 12 right" in predicted.err


def test_quiet_says_only_what_was_asked_for(cli):
    assert cli("train", *SMALL, "--quiet").err == ""


def test_predictions_as_csv_hold_every_probability(cli, digits_run):
    result = cli("predict", digits_run.path, digits_run.path / "samples.npz", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(result.out)))
    assert len(rows) == 64
    assert {f"p({digit})" for digit in range(10)} < set(rows[0])
    assert float(rows[0]["probability"]) == max(float(rows[0][f"p({d})"]) for d in range(10))


def test_rows_on_stdin_are_predicted(cli, monkeypatch):
    cli("train", *SMALL, "--run", "mine")
    monkeypatch.setattr("sys.stdin", io.StringIO("[[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]"))
    result = the_json(cli("predict", "mine", "-", "--json"))
    assert [p["input"] for p in result["predictions"]] == ["stdin:1", "stdin:2"]


def test_predictions_are_drawn(cli, digits_run, tmp_path):
    words = ("predict", digits_run.path, digits_run.path / "samples.npz", "--limit", "2")
    assert cli(*words, "--plot", "p.svg").code == 0
    assert (tmp_path / "p.svg").read_text().startswith("<?xml")


def test_a_dry_run_shows_the_resolved_config_and_writes_nothing(cli, tmp_path):
    result = cli("train", *SMALL, "--dry-run")
    assert 'loss = "sparse_categorical_crossentropy"' in result.out
    assert "parameters   67" in result.out, "4*8 + 8 + 8*3 + 3"
    assert not (tmp_path / "runs").exists()


def test_later_settings_win(cli, tmp_path, monkeypatch):
    """Defaults, file, environment, --set, named options."""
    (tmp_path / "c.toml").write_text(
        'seed = 1\n[data]\nsource = "iris"\nbatch_size = 1\n[train]\nepochs = 1\n'
        "[train.optimizer]\nlearning_rate = 0.1\n"
    )
    monkeypatch.setenv("TFAPP_TRAIN_EPOCHS", "2")
    monkeypatch.setenv("TFAPP_TRAIN_BATCH_SIZE", "2")
    monkeypatch.setenv("TFAPP_TRAIN_LEARNING_RATE", "0.2")
    result = cli(
        *("train", "c.toml", "--set", "data.batch_size=3", "--set", "seed=3"),
        *("--set", "train.optimizer.learning_rate=0.3", "--learning-rate", "0.4", "--dry-run"),
    )
    assert result.code == 0, result.err
    for line in ("seed = 3", "batch_size = 3", "epochs = 2", "learning_rate = 0.4"):
        assert f"\n{line}\n" in f"\n{result.out}"


def test_runs_are_listed_shown_and_compared(cli):
    cli("train", *SMALL, "--run", "one")
    cli("train", *SMALL, "--run", "two", "--seed", "5")
    listed = the_json(cli("runs", "list", "--json"))["runs"]
    assert [(r["name"], r["state"]) for r in listed] == [("two", "done"), ("one", "done")]
    shown = the_json(cli("runs", "show", "one", "--json"))
    assert shown["config"]["model"]["options"] == {"hidden": [8]}
    compared = the_json(cli("runs", "compare", "one", "two", "--json"))
    assert compared["differences"] == {"seed": [0, 5]}
    assert "seed" in cli("runs", "compare", "one", "two").out
    assert "train.epochs" in cli("runs", "show", "latest").out


def test_data_and_models_are_listed_and_shown(cli):
    sources = {s["name"] for s in the_json(cli("data", "list", "--json"))["sources"]}
    assert sources >= {"digits", "iris", "wine", "breast_cancer", "synthetic/blobs"}
    iris = the_json(cli("data", "show", "iris", "--json"))
    assert iris["splits"]["test"]["class_counts"] == {
        "setosa": 10,
        "versicolor": 10,
        "virginica": 10,
    }
    prepared = the_json(cli("data", "prepare", "wine", "--json"))
    assert Path(prepared["path"]).is_dir()
    names = {m["name"] for m in the_json(cli("models", "list", "--json"))["models"]}
    assert names >= {"mlp", "cnn", "course"}
    mlp = the_json(cli("models", "show", "mlp", "--shape", "784", "--json"))
    assert mlp["parameters"] == 784 * 256 + 256 + 256 * 128 + 128 + 128 * 10 + 10
    for words in (("data", "show", "iris"), ("models", "show", "cnn"), ("data", "list")):
        assert cli(*words).code == 0


def test_the_doctor_finds_a_working_installation(cli, tmp_path):
    report = the_json(cli("doctor", "--json"))
    assert report["works"]
    assert report["packages"]["tensorflow"] != "missing"
    assert list(tmp_path.iterdir()) == [], "it leaves nothing behind"


def test_the_doctor_finds_a_folder_that_cannot_be_written(cli, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TFAPP_RUNS", str(tmp_path / "file" / "runs"))
    result = cli("doctor")
    assert result.code == ExitCode.FAILED
    assert "FAILS" in result.out


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_can_be_trained(cli, example):
    first = example.read_text().splitlines()[0]
    assert re.search(rf"tfapp train (--tune )?examples/{re.escape(example.name)}", first)
    words = ["train", example, "--epochs", "1", "--set", "train.schedule.warmup_steps=0"]
    if "mnist" in example.stem:
        words += ["--data", "digits"]
    assert cli(*words).code == 0


def test_a_model_of_ones_own_by_import_path(cli, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES / "my_model"))
    words = ("train", "--data", "digits", "--model", "my_model:Mine", "--epochs", "2")
    assert cli(*words, "--run", "mine").code == 0
    assert the_json(cli("evaluate", "mine", "--json"))["metrics"]["accuracy"] > 0.5
    assert (
        the_json(cli("export", "mine", "--json"))["outputs"]["probabilities"] == "[?, 10] float32"
    )


def test_signals_end_a_run_cleanly_and_it_continues(tmp_path):
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    words = [sys.executable, "-m", "tfapp", "train", "--data", "iris", "--epochs", "100000"]
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        name = number.name.lower()
        process = subprocess.Popen(
            [*words, "--run", name],
            cwd=tmp_path,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch "):
                break
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == code
        assert f"Continue with: tfapp train --resume runs/{name}" in err
        assert "Traceback" not in err
        run = find_run(name, tmp_path / "runs")
        assert summarize_run(run).state == "interrupted"
    assert summarize_run(Run(tmp_path / "runs" / "sigterm")).step > 0


def test_a_killed_run_is_seen_as_killed_and_resumes(tmp_path, cli):
    words = [sys.executable, "-m", "tfapp", "train", "--data", "iris", "--epochs", "2000"]
    process = subprocess.Popen(
        [*words, "--run", "mine", "--set", "train.checkpoint.every_steps=7"],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
    )
    run = Run(tmp_path / "runs" / "mine")
    deadline = time.monotonic() + 60
    while len(list(run.checkpoints.glob("step-*"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert summarize_run(run).state == "killed"
    step = summarize_run(run).step
    assert 0 < step < 4000
    epochs = step // 2 + 2  # 108 examples in batches of 64: two steps an epoch
    result = the_json(cli("train", "--resume", "mine", "--epochs", str(epochs), "--json"))
    assert (result["state"], result["step"]) == ("done", 2 * epochs)
    assert [r["step"] for r in run.metrics() if r["split"] == "train"] == [
        *range(2, 2 * epochs + 1, 2)
    ]
