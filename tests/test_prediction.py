from __future__ import annotations

import json
import shutil

import matplotlib.image
import numpy as np
import pytest
import tensorflow as tf

from tfapp.config import load_config
from tfapp.errors import DataError, ExportError, MissingError
from tfapp.export.saved_model import export_run
from tfapp.exported import find_version, versions
from tfapp.prediction import load_model, parse_rows, predict, predict_rows
from tfapp.training.restore import load_trained
from tfapp.training.samples import read_samples
from tfapp.training.train import train_model

pytestmark = pytest.mark.usefixtures("read_back_here")


@pytest.fixture
def exported(digits_run, tmp_path):
    return export_run(digits_run, tmp_path / "models" / "digits")


def test_run_version_and_folder_of_versions_answer_alike(digits_run, exported):
    samples = digits_run.path / "samples.npz"
    answers = [
        predict(source, [samples])
        for source in (digits_run.path, exported.path, exported.path.parent)
    ]
    live = load_trained(digits_run).predictor(read_samples(digits_run).features)
    for answer in answers:
        np.testing.assert_allclose(answer.probabilities, live["probabilities"], atol=1e-6)
    labels = [p.label for p in answers[0].predictions]
    assert labels == [str(i) for i in np.argmax(live["probabilities"], axis=1)]


def test_the_newest_version_is_asked(digits_run, exported):
    newer = export_run(digits_run, exported.path.parent, version=12)
    assert load_model(exported.path.parent).path == newer.path


def test_true_labels_in_a_file_stand_beside(digits_run):
    found = predict(digits_run.path, [digits_run.path / "samples.npz"])
    assert [p.true for p in found.predictions] == [str(y) for y in read_samples(digits_run).labels]
    assert found.predictions[0].input.endswith("samples.npz:1")


def test_images_are_read_as_in_training(digits_run, tmp_path):
    images = read_samples(digits_run).features[:3]
    files = []
    for index, image in enumerate(images):
        files.append(tmp_path / f"{index}.png")
        files[-1].write_bytes(tf.io.encode_png(image).numpy())
    found = predict(digits_run.path, files)
    rows = predict_rows(digits_run.path, images.tolist())
    np.testing.assert_allclose(found.probabilities, rows.probabilities, atol=1e-6)
    assert [p.input for p in found.predictions] == [str(f) for f in files]
    large = tmp_path / "large.png"
    matplotlib.image.imsave(large, np.zeros([20, 30, 3]))
    with pytest.raises(DataError, match=r"large.png is 20x30 .* trained on 8x8"):
        predict(digits_run.path, [large])


def test_rows_of_a_table_come_by_column_or_in_order(tmp_path):
    config = load_config(overrides={"data.source": "iris", "train.epochs": 2})
    run = train_model(config, runs=tmp_path).path
    values = [5.1, 3.5, 1.4, 0.2]
    names = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
    named = dict(reversed(list(zip(names, values, strict=True))))
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps({"instances": [named]}))
    table = tmp_path / "rows.csv"
    table.write_text(",".join(names) + "\n" + ",".join(map(str, values)))
    answers = [predict_rows(run, [values]), predict(run, [rows]), predict(run, [table])]
    for answer in answers[1:]:
        assert answer.probabilities == answers[0].probabilities
    assert sum(answers[0].probabilities[0]) == pytest.approx(1, abs=1e-5)


def test_a_number_is_predicted_with_the_true_one_beside(tmp_path):
    table = tmp_path / "line.csv"
    table.write_text("x,y\n" + "\n".join(f"{x},{2 * x + 1.5}" for x in range(60)))
    config = load_config(
        overrides={
            "data.source": str(table),
            "model.options": {"hidden": [16]},
            "train.epochs": 60,
            "train.optimizer.learning_rate": 0.05,
        }
    )
    run = train_model(config, runs=tmp_path).path
    found = predict(run, [table])
    assert [p.true for p in found.predictions] == [2 * x + 1.5 for x in range(60)]
    errors = [abs(p.value - p.true) for p in found.predictions]
    assert np.mean(errors) < 10, "the targets reach from 1.5 to 119.5"
    assert found.predictions[0].label is None


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "is not JSON"), ("3", "expected a list of rows"), ('{"rows": []}', "expected a list")],
)
def test_rows_that_are_no_rows_are_refused(text, said):
    with pytest.raises(DataError, match=said):
        parse_rows(text, "stdin")


def test_rows_of_another_shape_are_refused(digits_run):
    with pytest.raises(DataError, match=r"row 2: expected numbers of shape \[8, 8, 1\]"):
        predict_rows(digits_run.path, [np.zeros([8, 8, 1]).tolist(), [1, 2, 3]])


def test_a_file_without_rows_is_refused(digits_run, tmp_path):
    np.savez(tmp_path / "none.npz", x=np.zeros([0, 8, 8, 1], np.uint8))
    with pytest.raises(DataError, match=r"none\.npz holds no examples; give at least one"):
        predict(digits_run.path, [digits_run.path / "samples.npz", tmp_path / "none.npz"])


def test_a_missing_input_or_model_is_said(digits_run, tmp_path):
    with pytest.raises(MissingError, match=r"nothing\.png"):
        predict(digits_run.path, [tmp_path / "nothing.png"])
    with pytest.raises(MissingError, match=r"no file .*nothing.json"):
        predict(digits_run.path, [tmp_path / "nothing.json"])
    with pytest.raises(MissingError, match="no run 'nothing'"):
        load_model("nothing")


@pytest.mark.parametrize("file", ["saved_model.pb", "variables/variables.data-00000-of-00001"])
def test_a_damaged_saved_model_is_named_before_it_answers(exported, file):
    path = exported.path / file
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ExportError, match=rf"is damaged: {file} is not what was written"):
        load_model(exported.path)


def test_a_saved_model_of_another_program_is_refused(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "other"))
    with pytest.raises(ExportError, match=r"has no tfapp.json: it was not exported by tfapp"):
        load_model(tmp_path / "other")


def test_a_copy_is_asked_whatever_it_is_called(exported, tmp_path, monkeypatch):
    rows = np.zeros([2, 8, 8, 1]).tolist()
    expected = predict_rows(exported.path, rows).probabilities
    copy = shutil.copytree(exported.path, tmp_path / "copied")
    assert predict_rows(copy, rows).probabilities == expected
    monkeypatch.chdir(copy)
    assert predict_rows(".", rows).probabilities == expected


def test_the_versions_of_a_folder_are_those_that_a_server_finds(exported):
    folder = exported.path.parent
    padded = exported.path.rename(folder / "00000003")
    for other in ("\u00b2", "\u0664", "9" * 30, "-7", "5x"):  # no numbers of versions
        (folder / other).mkdir()
    (folder / "7").touch()
    assert versions(folder) == {3: padded}
    assert find_version(folder) == load_model(folder).path == padded
    assert versions(folder / "nothing") == {}
    assert find_version(padded / "variables") is None
