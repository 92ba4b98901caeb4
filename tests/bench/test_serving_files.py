"""The models, requests and answers of `tfapp bench serving`, and calls without a server."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from tfapp.bench.serving.calls import NumpyCall
from tfapp.bench.serving.clients import WrongAnswer
from tfapp.bench.serving.files import Files, forward, is_right, write_files
from tfapp.bench.serving.points import POINT
from tfapp.bench.serving.roster import ROSTER
from tfapp.names import import_object
from tfapp.serving.servable import load_servable


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving-files")
    names = ["row.json", "rows.pb", "png.json", "images.pb", "call-1", "call-32"]
    sizes = write_files(folder, names)
    assert list(sizes) == names
    assert sizes["row.json"] == (folder / "requests" / "row.json").stat().st_size
    return Files(folder)


@pytest.mark.parametrize("name", ["servable", "signature", "session", "numpy"])
def test_calls_without_a_server(files, name):
    called = import_object("contender", ROSTER[name].path)(files)
    assert called.open("calls", POINT["call-1"]) is None
    for point in ("call-1", "call-32"):
        told = called.ask(POINT[point], 0.05)
        assert told.requests >= 1  # NumPy's threads may wait for others long
        assert 0.05 <= told.seconds < 20
        assert 0 < told.p50_ms <= told.p99_ms
        assert told.server_us is None
    called.close()


def test_a_call_that_computes_something_else_is_not_timed(files):
    class Half(NumpyCall):
        def load(self, path):
            whole = super().load(path)
            return lambda rows: whole(rows) / 2

    called = Half(files)
    called.open("calls", POINT["call-1"])
    with pytest.raises(WrongAnswer, match="an answer of shape"):
        called.ask(POINT["call-1"], 0.01)


def test_requests_hold_what_their_answers_are_for(files):
    row = np.array(json.loads(files.request("row.json").read_bytes())["instances"])
    weights = [weight.astype(np.float64) for weight in files.weights()]
    assert np.allclose(forward(weights, row), files.answer("row.json"))
    for name, model in (("rows.pb", "mlp"), ("images.pb", "images")):
        request = predict_pb2.PredictRequest.FromString(files.request(name).read_bytes())
        assert request.model_spec.name == model
        ((alias, tensor),) = request.inputs.items()
        servable = load_servable(model, 1, files.model(model) / "1")
        found = servable.run(
            servable.signatures["serving_default"], {alias: tf.make_ndarray(tensor)}
        )
        assert is_right(next(iter(found.values())), files.answer(name))
        servable.close()


def test_images_as_files_are_decoded_by_the_model(files):
    content = json.loads(files.request("png.json").read_bytes())
    servable = load_servable("images", 1, files.model("images") / "1")
    signature = servable.signatures[content["signature_name"]]
    (alias,) = signature.inputs
    images = [base64.b64decode(instance["b64"]) for instance in content["instances"]]
    assert len(images) == 32
    found = servable.run(signature, {alias: np.array(images, dtype=object)})
    assert is_right(next(iter(found.values())), files.answer("png.json"))
    servable.close()
