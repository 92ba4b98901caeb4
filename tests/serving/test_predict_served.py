"""`tfapp predict URL`: models of ours and of others behind the embedded server."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import tensorflow as tf
from ports_for_tests import free_port

from tfapp.config import load_config
from tfapp.data.columns import input_names
from tfapp.errors import DataError, ExitCode, UsageError
from tfapp.export.saved_model import export_run
from tfapp.prediction import load_model, predict, predict_rows
from tfapp.serving.client import NotServed, connect
from tfapp.serving.configs import configs_of
from tfapp.serving.flags import Flags
from tfapp.serving.server import ModelServer
from tfapp.training.train import train_model

pytestmark = pytest.mark.usefixtures("read_back_here")


@contextmanager
def serving(folder):
    """Serves the versions in a folder as `m`; gives the URLs of both protocols."""
    ports = [free_port(), free_port()]
    flags = Flags(
        port=ports[0], rest_api_port=ports[1], model_name="m", model_base_path=str(folder)
    )
    server = ModelServer(flags, configs_of(flags), drain_seconds=1)
    try:
        assert server.start(lambda: False)
        yield f"http://localhost:{ports[1]}/v1/models/m", f"grpc://localhost:{ports[0]}/m"
    finally:
        server.close()


@pytest.fixture
def exported(digits_run, tmp_path):
    return export_run(digits_run, tmp_path / "models" / "digits")


def test_a_served_model_answers_as_its_run(digits_run, exported):
    samples = digits_run.path / "samples.npz"
    expected = predict(digits_run.path, [samples])
    with serving(exported.path.parent) as urls:
        for url in urls:
            found = predict(url, [samples])
            assert found.model == url
            assert found.classes == expected.classes
            np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)
            names = [(p.input, p.label, p.true) for p in found.predictions]
            assert names == [(p.input, p.label, p.true) for p in expected.predictions]
            np.testing.assert_array_equal(found.features, expected.features)


def test_the_command_shows_it_in_every_form(cli, digits_run, exported, tmp_path):
    samples = digits_run.path / "samples.npz"
    image = tmp_path / "one.png"
    image.write_bytes(tf.io.encode_png(np.load(samples)["x"][0]).numpy())
    with serving(exported.path.parent) as urls:
        for url in urls:
            for more in ((), ("--format", "csv"), ("--limit", "2")):
                local = cli("predict", digits_run.path, samples, image, *more)
                remote = cli("predict", url, samples, image, *more)
                assert (remote.code, local.code) == (0, 0), remote.err
                assert shown(remote.out) == shown(local.out)
                assert remote.err == local.err
            answer = json.loads(cli("predict", url, samples, "--json").out)
            assert (answer["model"], len(answer["predictions"])) == (
                url,
                len(np.load(samples)["x"]),
            )
        drawn = cli("predict", urls[0], samples, "--plot", "digits.svg")
        assert drawn.code == 0 and (tmp_path / "digits.svg").exists()


def shown(text):
    """Words of a table, its numbers cut to what another batch size leaves the same."""
    return [f"{float(w):.4f}" if "." in w and w[0].isdigit() else w for w in text.split()]


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_connections_are_given_back(digits_run, exported, monkeypatch, scheme):
    opened = []

    def connected(url):
        opened.append(connect(url))
        monkeypatch.setattr(opened[-1], "close", lambda: closed.append(url))
        return opened[-1]

    closed = []
    monkeypatch.setattr("tfapp.prediction.served.connect", connected)
    rows = np.load(digits_run.path / "samples.npz")["x"][:2].tolist()
    with serving(exported.path.parent) as urls:
        (url,) = (url for url in urls if url.startswith(scheme))
        predict(url, [digits_run.path / "samples.npz"])
        predict_rows(url, rows)
        assert closed == [url] * 2
        with load_model(url) as model:
            for _ in range(2):
                predict_rows(model, rows)
            assert len(closed) == 2, "as long as it is asked, it stays"
        assert len(closed) == 3
        with pytest.raises(NotServed):
            load_model(url + "x")
        assert len(opened) == len(closed) == 4
    for model in opened:
        type(model).close(model)


def test_rest_is_asked_without_tensorflow(exported, digits_run):
    with serving(exported.path.parent) as (url, _):
        words = ("predict", url, str(digits_run.path / "samples.npz"))
        script = f"import sys; from tfapp.cli import main; main({words!r}); print(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "samples.npz:1" in done.stdout, done.stderr
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {"tensorflow", "keras", "grpc"}


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


def test_a_number_is_predicted_with_the_true_one_beside(tmp_path):
    table = tmp_path / "line.csv"
    table.write_text("x,label\n" + "\n".join(f"{x},{2 * x + 1.5}" for x in range(60)))
    config = load_config(overrides={"data.source": str(table), "train.epochs": 2})
    run = train_model(config, runs=tmp_path / "runs").path
    exported = export_run(run, tmp_path / "line")
    expected = [p.value for p in predict(run, [table]).predictions]
    with serving(exported.path.parent) as urls:
        for url in urls:
            found = predict(url, [table]).predictions
            np.testing.assert_allclose([p.value for p in found], expected, rtol=1e-4, atol=1e-3)
            assert [p.true for p in found] == [2 * x + 1.5 for x in range(60)]


class Counting(tf.Module):
    """`x` [?] -> `y` = 2 x, and how many rows came at a time."""

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.int32, "x")])
    def rows(self, x):
        return {"y": tf.fill([tf.shape(x)[0]], tf.cast(tf.shape(x)[0], tf.float32))}

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.int32, "x")])
    def few_rows(self, x):
        said = "Task size 256 is larger than maximum input batch size 100"
        with tf.control_dependencies([tf.debugging.assert_less_equal(tf.shape(x)[0], 100, said)]):
            return self.rows(x)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def double(self, x):
        return {"y": 2 * x}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def logits(self, x):
        return {"y": tf.concat([x - 1, x], axis=1)}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def softmax(self, x):
        return {"y": tf.nn.softmax(x)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def best_first(self, inputs):
        x = tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([2], tf.float32)})["x"]
        scores, order = tf.math.top_k(tf.nn.softmax(x + tf.constant([0.0, 1.0])), 2)
        return {"classes": tf.gather(["low", "high"], order), "scores": scores}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def of_others(self, inputs):
        scores = tf.io.parse_example(inputs, {"z": tf.io.FixedLenFeature([2], tf.float32)})["z"]
        return {"scores": scores}

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, "x")])
    def unknown(self, x):
        return {"y": x}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def two(self, x):
        return {"y": x, "z": x}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def cube(self, x):
        return {"y": tf.zeros([tf.shape(x)[0], 2, 2])}


@pytest.fixture
def foreign(tmp_path):
    """Serves one function of `Counting` as `serving_default`."""

    @contextmanager
    def served(name, **others):
        module = Counting()
        signatures = {"serving_default": getattr(module, name)}
        signatures |= {key: getattr(module, other) for key, other in others.items()}
        tf.saved_model.save(module, str(tmp_path / name / "1"), signatures=signatures)
        with serving(tmp_path / name) as urls:
            yield urls

    return served


def test_many_rows_are_asked_for_in_parts(foreign):
    with foreign("rows") as urls:
        for url in urls:
            found = predict_rows(url, [[1, 2, 3]] * 300).predictions
            assert [p.value for p in found] == [256.0] * 256 + [44.0] * 44
        with pytest.raises(UsageError, match=r"input 'x' is int32 .*cannot hold 0\.5"):
            predict_rows(urls[0], [[0.5, 1, 2]])


def test_a_server_that_takes_fewer_rows_gets_fewer(foreign):
    with foreign("few_rows") as urls:
        for url in urls:
            found = predict_rows(url, [[1, 2, 3]] * 300).predictions
            assert [p.value for p in found] == [100.0] * 200 + [56.0] * 56 + [44.0] * 44


def test_models_of_others_are_shown_if_they_give_classes_or_numbers(foreign, cli):
    with foreign("double") as (url, _):
        values = [p.value for p in predict_rows(url, [1.5, {"x": 2.0}]).predictions]
        assert values == [3.0, 4.0]
    with foreign("softmax") as (url, _):
        found = predict_rows(url, [[0.0, np.log(3.0)]])
        assert (found.classes, found.predictions[0].label) == (("0", "1"), "1")
        np.testing.assert_allclose(found.probabilities, [[0.25, 0.75]], rtol=1e-6)


def test_names_are_believed_only_if_they_come_with_the_same_scores(foreign):
    with foreign("softmax", classify="best_first") as urls:
        for url in urls:
            assert predict_rows(url, [[0.0, 1.0]]).classes == ("0", "1")
            expected = [[0.5, 0.5], [1 / (1 + np.e), np.e / (1 + np.e)]]
            found = predict_rows(url, [[3.0, 3.0], [0.0, 1.0]]).probabilities
            np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_names_of_other_examples_are_not_believed(foreign):
    with foreign("softmax", classify="of_others") as urls:
        for url in urls:
            assert predict_rows(url, [[0.0, 1.0]]).classes == ("0", "1")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("logits", r"'y' of http.* is not probabilities: .* do not add up to 1\. Ask it from Py"),
        ("unknown", r"takes x float32 \[\?, \?\]; tfapp predict reads one array of a known shape"),
        ("two", r"gives y, z; tfapp predict shows probabilities, value, or the only output"),
        ("cube", r"answers \[1, 2, 2\] values to one example in 'y'"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_a_way_out(foreign, name, said):
    with foreign(name) as (url, _), pytest.raises(DataError, match=said) as caught:
        predict_rows(url, [[1.0, 2.0]])
    assert f"tfapp.serving.client.connect('{url}').predict(...)" in str(caught.value)


def test_mistakes_of_the_command(cli, exported, tmp_path):
    (tmp_path / "rows.json").write_text("[[1, 2]]")
    with serving(exported.path.parent) as (url, by_grpc):
        port = url.split(":")[2].split("/")[0]
        cases = [
            ((url + "x",), ExitCode.MISSING, "Servable not found for request: Latest(mx). Did you"),
            (
                (url + "/versions/9",),
                ExitCode.MISSING,
                "Specific(m, 9). Versions of m that answer: 1.\n",
            ),
            ((by_grpc + "x",), ExitCode.MISSING, "Servable not found for request: Latest(mx)"),
            ((url, "--step", "3"), ExitCode.USAGE, f"step 3 is of a run; {url} serves what was"),
            ((f"http://localhost:{port}/m",), ExitCode.USAGE, "the path /m names no model; type"),
            (("grpc://localhost",), ExitCode.USAGE, "names no model; type grpc://localhost:8500"),
            ((f"https://localhost:{port}/v1/models/m",), ExitCode.MISSING, "type http:// instead"),
            ((url,), ExitCode.USAGE, "rows.json, row 1: expected numbers of shape [8, 8, 1]"),
            ((url + "/labels/new",), ExitCode.FAILED, "Unrecognized servable version label: new"),
        ]
        for (model, *more), code, said in cases:
            result = cli("predict", model, "rows.json", *more)
            assert (result.code, said in result.err, result.out) == (code, True, ""), result.err
            assert result.err.count("\n") == 1
        assert cli("predict", url, "nothing.json").code == ExitCode.MISSING
    gone = cli("predict", url, "rows.json")
    assert (gone.code, gone.err) == (
        ExitCode.MISSING,
        f"error: nothing listens on localhost:{port}. Start the server, or correct the port; REST"
        " is usually on 8501.\n",
    )
