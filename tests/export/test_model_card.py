from __future__ import annotations

import csv
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from model_card_for_tests import card_of, train
from sklearn.datasets import load_digits

from tfapp.errors import ExitCode, ExportError
from tfapp.evaluation import evaluate_run
from tfapp.export.model_card.model import layer_rows
from tfapp.export.saved_model import export_run
from tfapp.exported import read_card
from tfapp.models import build_model
from tfapp.prediction import predict
from tfapp.runs import Run
from tfapp.training.restore import load_trained

pytestmark = pytest.mark.usefixtures("read_back_here")
SECTIONS = [
    "Model details",
    "Intended use",
    "Training data",
    "Training",
    "Evaluation",
    "How to ask it",
    "What was not measured",
]


def number(text: str) -> float:
    return float(text.replace(",", ""))


def test_the_sections_stand_in_their_order(digits_run, tmp_path):
    sections = list(card_of(export_run(digits_run, tmp_path / "digits").path))
    assert sections == ["", "Model card: digits, version 1", *SECTIONS]


def test_details_are_those_of_the_run(digits_run, tmp_path):
    exported = export_run(digits_run, tmp_path / "digits")
    details = card_of(exported.path)["Model details"]
    made = digits_run.read_json("environment.json")
    assert details.facts["Model"] == "mlp with hidden = [32]"
    assert details.facts["Parameters"] == f"{64 * 32 + 32 + 32 * 10 + 10:,}, all trained"
    assert details.facts["Run"] == "digits"
    assert details.facts["Command"] == made["command"]
    assert made["git"] == details.facts.get("Commit of the working folder", "")
    assert f"TensorFlow {tf.__version__}" in details.facts["Trained with"]
    assert "Exported with" not in details.facts, "the same versions"
    assert details.facts["Checkpoint"].startswith(f"step {exported.step}, the end of epoch")
    best = digits_run.read_json("status.json")["best"]
    assert best["step"] == exported.step
    assert details.facts["Checkpoint"].endswith(f"the best by val_accuracy, {best['value']:.4g}")
    assert details.table("layer") == [
        ["hidden_0", "kernel [64, 32], bias [32]", "2,080"],
        ["head", "kernel [32, 10], bias [10]", "330"],
    ]


@pytest.mark.parametrize("functional", [True, False])
def test_layers_of_ones_own_model_have_a_row_each(functional):
    x = keras.Input([4])
    a, b = keras.layers.Dense(3, name="a"), keras.layers.Dense(2, use_bias=False, name="b")
    model = keras.Model(x, b(a(x))) if functional else keras.Sequential([x, a, b])
    assert layer_rows(model) == [
        ("`a`", "`kernel [4, 3]`, `bias [3]`", 4 * 3 + 3),
        ("`b`", "`kernel [3, 2]`", 3 * 2),
    ]


def test_many_layers_are_told_by_groups():
    model = build_model("resnet", {}, feature_shape=(8, 8, 1), outputs=10)
    rows = layer_rows(model)
    assert len(rows) <= 30
    assert ("`stage_0_block_0`", "10 variables") in [row[:2] for row in rows]
    assert sum(row[2] for row in rows) == model.count_params()


def test_other_versions_at_the_export_are_told(digits_run, tmp_path):
    made = digits_run.read_json("environment.json")
    made["packages"]["keras"] = "3.0.0"
    digits_run.write_json("environment.json", made)
    details = card_of(export_run(digits_run, tmp_path / "digits").path)["Model details"].facts
    assert "Keras 3.0.0" in details["Trained with"]
    assert f"Keras {keras.__version__}" in details["Exported with"]


def test_data_and_training_are_those_of_the_run(digits_run, tmp_path):
    exported = export_run(digits_run, tmp_path / "digits")
    card = card_of(exported.path)
    data = card["Training data"]
    assert data.facts["Source"] == "digits"
    assert data.facts["One example"] == "an image of 8 x 8 pixels and 1 channel, uint8"
    assert data.facts["Fingerprint of the training split"].endswith(
        digits_run.read_json("data.json")["info"]["fingerprint"]
    )
    *by_class, every = data.table("class")
    found = np.array([[number(cell) for cell in row[1:]] for row in by_class])
    np.testing.assert_array_equal(found.sum(axis=1), np.bincount(load_digits().target))
    np.testing.assert_array_equal([number(cell) for cell in every[1:]], found.sum(axis=0))
    training = card["Training"]
    steps = 3 * int(np.ceil(found.sum(axis=0)[0] / 64))
    assert training.facts["Epochs"] == f"3 of 3, in {steps} steps"
    assert training.facts["Optimizer"] == "adam, learning_rate = 0.001"
    assert training.facts["Loss"] == "sparse_categorical_crossentropy"
    assert training.facts["Seed"] == "0"
    rows = {r["split"]: r for r in digits_run.metrics() if r["step"] == exported.step}
    for name, *values in training.table("value")[:2]:
        told = [rows[split][name] for split in ("train", "validation")]
        assert [number(value) for value in values] == pytest.approx(told, rel=1e-3)


def test_names_are_shown_as_they_are_whatever_they_hold(tmp_path):
    classes = ["a|b", "two\nlines", "*bold* _x_ `tick`", "<script>x</script> & [l](u)"]
    table = tmp_path / "odd.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["si|ze\n(cm)", "col'our", "label"])
        writer.writerows([i % 7, ["re'd", "b|ue"][i % 2], classes[i % 4]] for i in range(80))
    run = train(tmp_path, data__source=str(table), model__name="mlp")
    evaluate_run(run)
    exported = export_run(run, tmp_path / "odd|name")
    card = card_of(exported.path)
    assert "Model card: odd|name, version 1" in card
    names = [name.replace("\n", "↵") for name in load_trained(run).predictor.info.classes]
    assert sorted(names) == sorted(name.replace("\n", "↵") for name in classes)
    assert [row[0] for row in card["Training data"].table("class")] == [*names, "all"]
    assert [row[0] for row in card["Evaluation"].table("class")] == names
    assert [row[0] for row in card["Evaluation"].table("true \\ predicted")] == names
    assert [len(row) for row in card["Evaluation"].table("true \\ predicted")] == [5] * 4
    assert [row[0] for row in card["Training data"].table("column")] == ["si|ze↵(cm)", "col'our"]
    labels = (exported.path / "assets" / "labels.txt").read_text().splitlines()
    assert labels == [name.replace("↵", " ") for name in names], "one line a class"


def test_the_owners_words_are_kept_by_every_later_version(digits_run, tmp_path):
    folder = tmp_path / "digits"
    use = card_of(export_run(digits_run, folder).path)["Intended use"]
    assert use.text[0].startswith("To be written by the owner.")
    (folder / "intended_use.md").write_text("Sorting *our* post.\n\n### Not for\n\nCheques.\n")
    for version in (2, 3):
        card = card_of(export_run(digits_run, folder).path)
        assert card["Intended use"].text[1:] == ["Sorting our post."]
        assert card["Not for"].text == ["Cheques."], version
    assert sorted(p.name for p in folder.iterdir()) == ["1", "2", "3", "intended_use.md"]


def test_words_that_are_no_text_stop_the_export(cli, digits_run, tmp_path):
    folder = tmp_path / "digits"
    folder.mkdir()
    (folder / "intended_use.md").write_bytes(b"\xff\xfe\x00")
    result = cli("export", digits_run.path, "--output", folder)
    assert result.code == ExitCode.USAGE
    assert "intended_use.md cannot be read" in result.err
    assert "Save it as text in UTF-8, or take it away." in result.err
    assert [p.name for p in folder.iterdir()] == ["intended_use.md"]


def test_the_card_belongs_to_the_version(digits_run, tmp_path):
    exported = export_run(digits_run, tmp_path / "digits")
    assert "model_card.md" in read_card(exported.path)["files"]
    (exported.path / "model_card.md").write_text("99 % accuracy\n")
    with pytest.raises(ExportError, match=r"model_card\.md is not what was written"):
        predict(exported.path, [digits_run.path / "samples.npz"])


def test_a_run_of_an_older_version_shows_what_it_knows(digits_run, tmp_path):
    data = digits_run.read_json("data.json")
    del data["sizes"], data["class_counts"]
    digits_run.write_json("data.json", data)
    (digits_run.path / "environment.json").unlink()
    (digits_run.path / "loop.json").unlink()
    card = card_of(export_run(digits_run, tmp_path / "digits").path)
    assert card["Training data"].tables == []
    assert "Command" not in card["Model details"].facts
    assert "Machine" not in card["Training"].facts
    assert not [v for s in card.values() for v in s.facts.values() if v in ("", "None", "-")]


JOURNAL = [
    {
        "event": "search", "format": 1, "at": 100.0, "algorithm": "random", "seed": 4,
        "objective": "val_accuracy", "direction": "max", "trials": 3, "executions": 2,
        "space": {
            "train.optimizer.learning_rate": {"float": [1e-4, 1e-1], "log": True},
            "model.options.hidden": {"choice": [[32], [64]]},
        },
    },
    *(
        {"event": event, "trial": number, **more}
        for number, (rate, hidden, scores, state) in enumerate(
            [
                (0.001, [32], [0.90, 0.92], "done"),
                (0.002, [64], [0.80, 0.90], "done"),
                (0.09, [64], [], "diverged"),
            ]
        )
        for event, more in (
            (
                "begin",
                {
                    "at": 101.0 + 10 * number, "epochs": 3, "first_epoch": 0, "parent": None,
                    "bracket": None, "worker": "w", "attempt": 1,
                    "values": {
                        "train.optimizer.learning_rate": rate, "model.options.hidden": hidden,
                    },
                },
            ),
            (
                "end",
                {
                    "at": 109.0 + 10 * number, "state": state, "scores": scores, "best_epoch": 3,
                    "seconds": 8.0, "reason": "",
                },
            ),
        )
    ),
    {"event": "over", "at": 130.0, "state": "done", "reason": ""},
]  # fmt: skip


@pytest.mark.parametrize("exported", ["the run", "a trial"])
def test_a_run_that_was_searched_for_tells_of_the_search(digits_run, tmp_path, exported):
    run = digits_run
    if exported == "a trial":
        run = Run(tmp_path / "runs" / "found" / "tune" / "0001")
        run.path.parent.mkdir(parents=True)
        digits_run.path.rename(run.path)
    folder = run.path.parent if exported == "a trial" else run.path / "tune"
    folder.mkdir(exist_ok=True)
    (folder / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in JOURNAL))
    search = card_of(export_run(run, tmp_path / "digits").path)["Search"]
    assert search.facts["Algorithm"] == "random"
    assert search.facts["Objective"] == "the maximum of val_accuracy"
    assert search.facts["Trials"] == "3: 2 done, 1 diverged"
    spread = np.std([0.90, 0.92], ddof=1)
    assert search.facts["Best score"] == f"0.91 of trial 0 (standard deviation {spread:.2g})"
    assert search.facts["Time"] == "30 s"
    assert search.table("key") == [
        ["train.optimizer.learning_rate", "float 0.0001 to 0.1, log", "0.001", "0.001"],
        ["model.options.hidden", "choice [32], [64]", "[32]", "[32]"],
    ]


def test_a_run_that_was_not_searched_for_has_no_such_section(digits_run, tmp_path):
    assert "Search" not in card_of(export_run(digits_run, tmp_path / "digits").path)
