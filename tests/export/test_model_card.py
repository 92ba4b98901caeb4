from __future__ import annotations

import csv
import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from markdown_it import MarkdownIt
from markdown_it.token import Token
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from tfapp.config import load_config
from tfapp.data import load_splits
from tfapp.errors import ExitCode, ExportError, UsageError
from tfapp.evaluation import evaluate_run
from tfapp.export.model_card.model import layer_rows
from tfapp.export.saved_model import export_run
from tfapp.exported import read_card
from tfapp.models import build_model
from tfapp.prediction import predict
from tfapp.runs import Run
from tfapp.settings import read_settings
from tfapp.training.restore import load_trained
from tfapp.training.train import train_model

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


@dataclass
class Section:
    """What stands under a heading, as a reader of the rendered page sees it."""

    text: list[str] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    tables: list[list[list[str]]] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)

    def table(self, first: str) -> list[list[str]]:
        """The table whose first heading this is, without its header."""
        (found,) = (table for table in self.tables if table[0][0] == first)
        return found[1:]


def plain(token: Token) -> str:
    return "".join(child.content for child in token.children or ())


def parse(text: str) -> dict[str, Section]:
    """Reads a card with a Markdown parser that knows nothing of how it was written."""
    sections = {"": Section()}
    section = sections[""]
    inside: list[str] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        assert not any(child.type == "html_inline" for child in token.children or ())
        assert token.type != "html_block"
        if token.nesting == 1:
            inside.append(token.tag)
            if token.type == "table_open":
                section.tables.append([])
            elif token.type == "tr_open":
                section.tables[-1].append([])
        elif token.nesting == -1:
            inside.pop()
        elif token.type == "fence":
            section.blocks.append(token.content.strip())
        elif token.type == "inline" and inside[-1] in ("h1", "h2", "h3"):
            section = sections.setdefault(plain(token), Section())
        elif token.type == "inline" and inside[-1] in ("th", "td"):
            section.tables[-1][-1].append(plain(token))
        elif token.type == "inline":
            name, colon, value = plain(token).partition(": ")
            bold = "strong_open" in {child.type for child in token.children or ()}
            if "li" in inside and colon and bold:
                section.facts[name] = value
            else:
                section.text.append(plain(token))
    return sections


def card_of(version: Path) -> dict[str, Section]:
    return parse((version / "model_card.md").read_text(encoding="utf-8"))


def train(tmp_path: Path, **settings) -> Run:
    dotted = {key.replace("__", "."): value for key, value in settings.items()}
    small = {"train.epochs": 2, "model.options": {"hidden": [8]}}
    return Run(train_model(load_config(overrides=small | dotted), runs=tmp_path / "runs").path)


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


def test_figures_are_those_of_the_test_split(digits_run, tmp_path):
    evaluate_run(digits_run)
    card = card_of(export_run(digits_run, tmp_path / "digits").path)
    measured = card["Evaluation"]
    trained = load_trained(digits_run)
    test = load_splits(trained.config.data, data_dir=read_settings().data).test
    guesses = trained.predictor(test.features)["class_id"].numpy()
    assert measured.text[0].startswith(
        f"Measured by tfapp evaluate on {test.size} examples: the test split of digits. They were"
        " neither trained on"
    )
    told = {name: float(value) for name, value in measured.table("metric")}
    assert told["accuracy"] == pytest.approx(np.mean(guesses == test.labels), abs=1e-4)
    precision, recall, _, examples = precision_recall_fscore_support(test.labels, guesses)
    for index, row in enumerate(measured.table("class")):
        assert row[:2] == [str(index), str(examples[index])]
        shares = [float(cell) for cell in row[2:]]
        assert shares == pytest.approx([precision[index], recall[index]], abs=1e-4)
    counts = [[int(cell) for cell in row[1:]] for row in measured.table("true \\ predicted")]
    np.testing.assert_array_equal(counts, confusion_matrix(test.labels, guesses))
    assert not any("test split" in line for line in card["What was not measured"].text)


def body_of(lines: list[str], address: str) -> str:
    """Returns what the commands of a card would send."""
    *make, send = map(shlex.split, lines)
    assert (send[:2], send[3:]) == (["curl", "-d"], [address])
    if not make:
        return send[2]
    ((python, option, program, arrow, file),) = make
    assert (python, option, arrow, f"@{file}") == ("python3", "-c", ">", send[2])
    printed: list[str] = []
    exec(program, {"print": printed.append})
    return printed[0]


def ask(version: Path, section: Section) -> dict[str, np.ndarray]:
    """Sends the request of a card to the signature that it is for, as Serving would."""
    address = f"http://localhost:8501/v1/models/{version.parent.name}:predict"
    body = body_of(section.blocks[0].splitlines(), address)
    (instance,) = json.loads(body)["instances"]
    loaded = tf.saved_model.load(str(version))
    signature = loaded.signatures["serving_default"]
    specs = signature.structured_input_signature[1]
    named = instance if isinstance(instance, dict) else {next(iter(specs)): instance}
    inputs = {name: tf.constant([value], specs[name].dtype) for name, value in named.items()}
    return {name: values.numpy()[0] for name, values in signature(**inputs).items()}


def test_the_request_can_be_sent_and_is_answered_as_told(digits_run, tmp_path):
    exported = export_run(digits_run, tmp_path / "digits")
    section = card_of(exported.path)["How to ask it"]
    assert section.table("") == [
        ["input", "image", "[?, 8, 8, 1] uint8"],
        ["output", "probabilities", "[?, 10] float32"],
        ["output", "class_id", "[?] int64"],
    ]
    found = ask(exported.path, section)
    (told,) = json.loads(section.blocks[1])["predictions"]
    assert told["class_id"] == found["class_id"]
    np.testing.assert_allclose(told["probabilities"], found["probabilities"], rtol=1e-3)
    assert f"on {exported.examples} real examples" in section.text[-1]
    assert f"at most {exported.max_difference:.4g} of the largest" in section.text[-1]


def test_no_example_of_the_data_gets_onto_the_card(tmp_path):
    table = tmp_path / "people.csv"
    rows = [f"{1000 + 7 * i}.25,{i % 2}" for i in range(60)]
    table.write_text("\n".join(["income,label", *rows]))
    text = (export_run(train(tmp_path, data__source=str(table)), tmp_path / "people").path) / (
        "model_card.md"
    )
    assert not [row for row in rows if row.split(",")[0] in text.read_text()]


def test_numbers_to_predict(tmp_path):
    table = tmp_path / "prices.csv"
    table.write_text("size,rooms,price\n" + "\n".join(f"{i},{i % 3},{9 * i}" for i in range(80)))
    run = train(tmp_path, data__source=str(table), data__label="price", data__task="regression")
    found = evaluate_run(run)
    exported = export_run(run, tmp_path / "prices")
    card = card_of(exported.path)
    assert card["Model details"].facts["Gives"] == "a number"
    assert "Classes" not in card["Training data"].facts
    assert card["Training data"].facts["Label"] == "price"
    assert card["Training data"].table("train") == [["61", "7", "12"]]
    told = {name: float(value) for name, value in card["Evaluation"].table("metric")}
    assert told == {name: pytest.approx(v, rel=1e-3) for name, v in found.metrics.items()}
    assert len(card["Evaluation"].tables) == 1
    assert not any("calibration" in line for line in card["What was not measured"].text)
    answered = ask(exported.path, card["How to ask it"])
    assert json.loads(card["How to ask it"].blocks[1])["predictions"] == [
        pytest.approx(answered["value"], rel=1e-3)
    ]


def test_without_an_evaluation_the_card_says_what_to_type(cli, digits_run, tmp_path):
    card = card_of(export_run(digits_run, tmp_path / "saved_models" / "digits-mlp").path)
    assert card["Evaluation"].text[0].startswith("This checkpoint was not evaluated.")
    assert card["Evaluation"].tables == []
    assert "How good it is on examples" in card["What was not measured"].text[0]
    for line in card["Evaluation"].blocks[0].splitlines():
        tfapp, *words = shlex.split(line)
        assert tfapp == "tfapp"
        assert cli(*words).code == ExitCode.DONE
    again = card_of(tmp_path / "saved_models" / "digits-mlp" / "2")
    assert again["Evaluation"].table("metric")


def test_an_evaluation_of_another_checkpoint_is_not_told_as_this_ones(digits_run, tmp_path):
    first, *_, last = sorted(int(p.name[5:]) for p in digits_run.checkpoints.glob("step-*"))
    evaluate_run(digits_run, step=first)
    evaluation = card_of(export_run(digits_run, tmp_path / "d", step=last).path)["Evaluation"]
    assert f"the last evaluation of the run is of step {first}." in evaluation.text[0]
    assert evaluation.tables == []


@pytest.mark.parametrize(
    ("split", "said"),
    [("train", "It was trained on them."), ("validation", "They decided which checkpoint")],
)
def test_figures_of_another_split_are_told_as_such(digits_run, tmp_path, split, said):
    evaluate_run(digits_run, split=split)
    card = card_of(export_run(digits_run, tmp_path / "digits").path)
    assert f"the {split} split of digits. {said}" in card["Evaluation"].text[0]
    assert "test split" in card["What was not measured"].text[0]


def test_figures_on_other_data_are_told_as_such(digits_run, tmp_path):
    digits = load_digits()
    some = digits.target < 9
    np.savez(tmp_path / "some.npz", x=digits.images[some].astype(np.uint8), y=digits.target[some])
    evaluate_run(digits_run, data=str(tmp_path / "some.npz"))
    card = card_of(export_run(digits_run, tmp_path / "digits").path)
    assert f"on {some.sum():,} examples: all of" in card["Evaluation"].text[0]
    assert card["Evaluation"].text[0].endswith("some.npz. Training did not use this source.")
    assert card["Evaluation"].table("class")[9][1:] == ["0", "0", "no examples"]
    limits = card["What was not measured"].text
    assert "How good it is on the test split, which was held out." in limits
    assert not any("from elsewhere" in line for line in limits)


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


def test_texts_are_asked_for_by_the_names_of_their_inputs(tmp_path):
    table = tmp_path / "shop.csv"
    rows = [f"{i % 5},{['re d', 'its blue'][i % 2]},{i % 2}" for i in range(80)]
    table.write_text("\n".join(["size (cm),class,label", *rows]))
    exported = export_run(train(tmp_path, data__source=str(table)), tmp_path / "shop")
    card = card_of(exported.path)
    assert [row[:3] for row in card["Training data"].table("column")] == [
        ["size (cm)", "size_cm", "a number"],
        ["class", "class_", "one of 2 texts"],
    ]
    found = ask(exported.path, card["How to ask it"])
    (told,) = json.loads(card["How to ask it"].blocks[1])["predictions"]
    np.testing.assert_allclose(told["probabilities"], found["probabilities"], rtol=1e-3)


def test_of_many_classes_the_worst_are_told(tmp_path):
    run = train(
        tmp_path, data__source="synthetic/blobs", data__options={"classes": 60, "examples": 1200}
    )
    evaluate_run(run)
    trained = load_trained(run)
    test = load_splits(trained.config.data, data_dir=tmp_path).test
    matrix = confusion_matrix(
        test.labels, trained.predictor(test.features)["class_id"], labels=range(60)
    )
    card = card_of(export_run(run, tmp_path / "blobs").path)
    table = card["Evaluation"].table("class")
    recalls = np.sort(np.diag(matrix) / matrix.sum(axis=1))[:10]
    assert [float(row[3]) for row in table] == pytest.approx(recalls, abs=1e-3)
    names = trained.predictor.info.classes
    for name, _, precision, _ in table:
        place = names.index(name)
        right, guesses = matrix[place, place], matrix[:, place]
        wanted = f"{right / guesses.sum():.4g}" if guesses.any() else "never predicted"
        assert precision == wanted
    assert "never predicted" in [row[2] for row in table]
    mistakes = np.sort(matrix[~np.eye(60, dtype=bool)])[::-1][:10]
    assert [int(row[2]) for row in card["Evaluation"].table("true")] == mistakes.tolist()
    for true, guess, times in card["Evaluation"].table("true"):
        assert matrix[names.index(true), names.index(guess)] == int(times)
    counts = np.bincount(load_splits(trained.config.data, data_dir=tmp_path).train.labels)
    assert f"from {counts.min()} to {counts.max()} training" in card["Training data"].text[-1]


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


def test_a_damaged_evaluation_is_named(digits_run, tmp_path):
    evaluate_run(digits_run)
    digits_run.write_json("evaluation.json", {"step": load_trained(digits_run).step})
    with pytest.raises(UsageError, match=r"evaluation\.json is damaged.*tfapp evaluate"):
        export_run(digits_run, tmp_path / "digits")
    assert list((tmp_path / "digits").iterdir()) == []


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
