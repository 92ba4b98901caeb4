"""Tables and images of users as the inputs of a model behind a server."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf
from served_for_tests import serving

from tfapp.config import load_config
from tfapp.data.columns import input_names
from tfapp.errors import DataError, ExitCode
from tfapp.export.saved_model import export_run
from tfapp.prediction import load_model, predict, predict_rows
from tfapp.training.train import train_model

pytestmark = pytest.mark.usefixtures("read_back_here")


@pytest.fixture(scope="module")
def flowers(tmp_path_factory):
    """A model of a table with a column of texts, and the table."""
    folder = tmp_path_factory.mktemp("flowers")
    table = folder / "flowers.csv"
    lines = [
        f"{length},{colour},{kind}"
        for length, colour, kind in [(5.0, "red", "rose"), (2.0, "blue", "iris")] * 40
    ]
    table.write_text("length (cm),colour,label\n" + "\n".join(lines))
    config = load_config(overrides={"data.source": str(table), "train.epochs": 3})
    run = train_model(config, runs=folder / "runs").path
    return run, table


def test_columns_are_found_by_name_and_texts_are_sent_as_they_are(flowers, tmp_path):
    run, table = flowers
    exported = export_run(run, tmp_path / "flowers")
    rows = tmp_path / "rows.json"
    unseen = {"length (cm)": 4, "colour": "green"}
    rows.write_text(json.dumps([{"colour": "red", "length_cm": 5.0}, unseen]))
    expected = predict(run, [table])
    with serving(exported.path.parent) as urls:
        for url in urls:
            found = predict(url, [table])
            assert found.classes == ("iris", "rose")
            np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)
            assert [p.true for p in found.predictions] == [p.true for p in expected.predictions]
            of_rows = predict(url, [rows]).probabilities
            np.testing.assert_allclose(of_rows[0], expected.probabilities[0], atol=1e-5)
            locally = predict_rows(run, [unseen]).probabilities
            np.testing.assert_allclose(of_rows[1:], locally, atol=1e-5)
        model = load_model(urls[0])
        with pytest.raises(DataError, match=r"row 1: the server does not tell the order of its in"):
            predict_rows(model, [[5.0, "red"]])
        with pytest.raises(DataError, match=r"no column 'length_cm'.*Found: length, colour"):
            predict_rows(model, [{"length": 1, "colour": "red"}])
        with pytest.raises(DataError, match="column 'length_cm': expected a number, found 'long'"):
            predict_rows(model, [{"length_cm": "long", "colour": "red"}])


@pytest.fixture(scope="module")
def priced(tmp_path_factory):
    """A model of a table whose columns share a name once it is that of an input."""
    folder = tmp_path_factory.mktemp("priced")
    table = folder / "priced.csv"
    lines = [f"{3 * n},{n},{'red' if n % 2 else 'blue'}" for n in range(60)]
    table.write_text("price ($),price,colour\n" + "\n".join(lines))
    overrides = {"data.source": str(table), "data.label": "price ($)", "train.epochs": 1}
    run = train_model(load_config(overrides=overrides), runs=folder / "runs").path
    return run, export_run(run, folder / "priced").path


def test_a_column_that_the_model_does_not_have_is_never_taken_for_one_that_it_has(
    priced, cli, tmp_path
):
    run, exported = priced
    rows = [{"price": 7, "colour": "red"}, {"price": 8.5, "colour": "blue"}]
    expected = [p.value for p in predict_rows(run, rows).predictions]
    beside = [{"Price": 1, "weight (kg)": 2, **row, "price_2": 3} for row in rows]
    (tmp_path / "two.csv").write_text("price ($),price,colour\n21,7,red\n")
    (tmp_path / "back.csv").write_text("price,colour,price ($)\n7,red,21\n")
    (tmp_path / "other.csv").write_text("price $,price ($),colour\n21,7,red\n")
    (tmp_path / "one.csv").write_text("colour,price ($)\nred,7\nblue,8.5\n")
    with serving(exported.parent) as urls:
        for url in urls:
            for given in (rows, beside):
                found = [p.value for p in predict_rows(url, given).predictions]
                np.testing.assert_allclose(found, expected, rtol=1e-5)
            found = [p.value for p in predict(url, [tmp_path / "one.csv"]).predictions]
            np.testing.assert_allclose(found, expected, rtol=1e-5)
        for name, first, second in (
            ("two.csv", "price ($)", "price"),
            ("back.csv", "price", "price ($)"),
            ("other.csv", "price $", "price ($)"),
        ):
            refused = cli("predict", urls[0], name)
            assert (refused.code, refused.out) == (ExitCode.USAGE, "")
            assert refused.err == (
                f"error: {name}, row 1: the columns {first!r} and {second!r} may both be the input"
                " 'price'; leave out what is none of the inputs colour, price, or rename columns"
                " to these.\n"
            )


def test_a_column_with_the_very_name_of_an_input_is_that_input(tmp_path):
    table = tmp_path / "sides.csv"
    lines = [f"{n},{n % 7},{'red' if n % 2 else 'blue'},{n + n % 7}" for n in range(60)]
    table.write_text("side a,side-a,colour,label\n" + "\n".join(lines))
    run = train_model(
        load_config(overrides={"data.source": str(table), "train.epochs": 1}),
        runs=tmp_path / "runs",
    ).path
    exported = export_run(run, tmp_path / "sides")
    ours = {"side a": 5, "side-a": 2, "colour": "red"}
    names = input_names(load_model(run).info.columns)  # side_a and another
    theirs = dict(reversed(list(zip(names, ours.values(), strict=True))))
    expected = predict_rows(run, [ours]).predictions[0].value
    with serving(exported.path.parent) as urls:
        for url in urls:
            found = predict_rows(url, [theirs]).predictions[0].value
            np.testing.assert_allclose(found, expected, rtol=1e-5)
            with pytest.raises(DataError, match="'side a' and 'side-a' may both be the input"):
                predict_rows(url, [ours])


def test_an_input_called_label_is_not_shown_as_the_true_answer(tmp_path):
    table = tmp_path / "wines.csv"
    lines = [f"{n % 5},{'red' if n % 2 else 'white'},{3 * n}" for n in range(60)]
    table.write_text("label,colour,price\n" + "\n".join(lines))
    overrides = {"data.source": str(table), "data.label": "price", "train.epochs": 1}
    run = train_model(load_config(overrides=overrides), runs=tmp_path / "runs").path
    exported = export_run(run, tmp_path / "wines")
    expected = predict(run, [table]).predictions
    assert [p.true for p in expected] == [3.0 * n for n in range(60)]
    with serving(exported.path.parent) as urls:
        for url in urls:
            found = predict(url, [table]).predictions
            np.testing.assert_allclose([p.value for p in found], [p.value for p in expected], 1e-4)
            assert [p.true for p in found] == [None] * 60


def test_a_table_of_numbers_is_not_taken_by_the_places_of_its_columns(cli, tmp_path):
    config = load_config(overrides={"data.source": "iris", "train.epochs": 1})
    run = train_model(config, runs=tmp_path / "runs").path
    exported = export_run(run, tmp_path / "iris")
    info = load_model(run).info
    features = np.array([[5.1, 3.5, 1.4, 0.2], [6.3, 2.7, 4.9, 1.8]], np.float32)
    ordered = [column.name for column in info.columns]
    lines = [",".join(map(str, row[::-1])) for row in features.tolist()]
    (tmp_path / "reversed.csv").write_text("\n".join([",".join(ordered[::-1]), *lines]))
    (tmp_path / "rows.json").write_text(json.dumps(features.tolist()))
    np.savez(tmp_path / "rows.npz", x=features)
    expected = predict_rows(run, features.tolist()).probabilities
    for model in (run, exported.path):
        found = predict(model, [tmp_path / "reversed.csv"]).probabilities
        np.testing.assert_allclose(found, expected, atol=1e-6)
    with serving(exported.path.parent) as urls:
        for url in urls:
            refused = cli("predict", url, "reversed.csv")
            assert (refused.code, refused.out) == (ExitCode.USAGE, "")
            assert refused.err == (
                "error: reversed.csv: the model takes 4 numbers, and the server does not tell which"
                " column comes first; give an .npz or a .json with rows as lists in the order of"
                " the model, or name its run or SavedModel instead of the URL.\n"
            )
            for name in ("rows.json", "rows.npz"):
                found = predict(url, [tmp_path / name]).probabilities
                np.testing.assert_allclose(found, expected, atol=1e-6)


def test_images_of_any_size_are_resized_as_a_run_resizes_them(tmp_path):
    generator = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 100)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for n in range(12):
            pixels = generator.integers(low, low + 156, (9 + n, 20 - n, 3), dtype=np.uint8)
            file = tmp_path / "photos" / name / f"{n}.png"
            file.write_bytes(tf.io.encode_png(pixels).numpy())
    overrides = {
        "data.source": str(tmp_path / "photos"),
        "data.image_size": [6, 8],
        "train.epochs": 1,
    }
    run = train_model(load_config(overrides=overrides), runs=tmp_path / "runs").path
    exported = export_run(run, tmp_path / "photos-mlp")
    small, grey = tmp_path / "small.png", tmp_path / "grey.jpg"
    small.write_bytes(tf.io.encode_png(pixels[:6, :8]).numpy())
    grey.write_bytes(tf.io.encode_jpeg(pixels[:3, :5, :1]).numpy())
    images = [*sorted((tmp_path / "photos").rglob("*.png")), small, grey]
    expected = predict(run, images)
    np.testing.assert_array_equal(expected.features[-2], pixels[:6, :8])
    with serving(exported.path.parent) as urls:
        for url in urls:
            found = predict(url, images)
            np.testing.assert_array_equal(found.features, expected.features)
            np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)
