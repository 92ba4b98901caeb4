"""`tfapp predict URL`: models of ours and of others behind the embedded server."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import tensorflow as tf
from served_for_tests import serving

from tfapp.config import load_config
from tfapp.errors import DataError, ExitCode, UsageError
from tfapp.export.saved_model import export_run
from tfapp.prediction import load_model, predict, predict_rows
from tfapp.serving.client import NotServed, connect
from tfapp.training.train import train_model

pytestmark = pytest.mark.usefixtures("read_back_here")


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
