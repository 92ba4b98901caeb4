"""Requests that come with a model are run before it is served; one that fails keeps it out."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from models_for_tests import example, write_half_plus_two
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from tfapp.serving.combining import Combiner
from tfapp.serving.configs import configs_of
from tfapp.serving.flags import Flags
from tfapp.serving.models import ModelSpec
from tfapp.serving.servable import load_servable
from tfapp.serving.server import ModelServer
from tfapp.serving.status import Code, ServingError
from tfapp.serving.warmup import MOST_RECORDS, WARMUP_FILE, samples, warm_up


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_half_plus_two(tmp_path_factory.mktemp("warm") / "half" / "1")


@pytest.fixture
def servable(written):
    loaded = load_servable("half", 1, written)
    yield loaded
    loaded.close()
    (written / WARMUP_FILE).unlink(missing_ok=True)


def write(folder, *records):
    file = folder / WARMUP_FILE
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            writer.write(record.SerializeToString())


def predict_log(alias="x"):
    record = PredictionLog()
    request = record.predict_log.request
    request.model_spec.name = "any other name"
    request.inputs[alias].CopyFrom(tf.make_tensor_proto(np.ones([2, 1], np.float32)))
    return record


def example_log(field, signature):
    record = PredictionLog()
    request = getattr(record, field).request
    request.model_spec.signature_name = signature
    request.input.example_list.examples.append(example(x=1.0))
    return record


def several_log():
    record = PredictionLog()
    request = record.multi_inference_log.request
    for signature, method in (("regress_x_to_y", "regress"), ("classify_x_to_y", "classify")):
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = "half", signature
    with_context = request.input.example_list_with_context
    with_context.context.CopyFrom(example(x=1.0))
    with_context.examples.append(example(x2=2.0))
    return record


def runs_of(servable, monkeypatch):
    """Counts how often the graph is run."""
    seen = []
    compute = servable.compute

    def counted(*arguments):
        seen.append(1)
        return compute(*arguments)

    monkeypatch.setattr(servable, "compute", counted)
    return seen


def test_every_kind_of_request_is_run_as_often_as_asked(servable, written, monkeypatch):
    write(
        written,
        predict_log(),
        example_log("classify_log", "classify_x_to_y"),
        example_log("regress_log", "regress_x_to_y"),
        several_log(),
    )
    runs = runs_of(servable, monkeypatch)
    assert warm_up(servable) == 4
    assert len(runs) == 4
    assert warm_up(servable, iterations=3) == 4
    assert len(runs) == 4 + 12


def test_a_model_without_requests_is_not_run(servable, monkeypatch):
    runs = runs_of(servable, monkeypatch)
    assert warm_up(servable) == 0
    assert not runs


def test_what_cannot_be_run_is_told(servable, written):
    def refused(code, said):
        with pytest.raises(ServingError) as caught:
            warm_up(servable)
        assert caught.value.code is code
        assert said in str(caught.value)

    write(written, predict_log("z"))
    refused(Code.INVALID_ARGUMENT, "input tensor alias not found in signature: z")
    other = PredictionLog()
    other.session_run_log.request.model_spec.name = "half"
    write(written, other)
    refused(Code.UNIMPLEMENTED, "session_run_log")
    (written / WARMUP_FILE).write_bytes(b"this is no TFRecord at all")
    refused(Code.DATA_LOSS, "Please verify your warmup data is in TFRecord format.")
    write(written, *[predict_log()] * (MOST_RECORDS + 1))
    refused(Code.INVALID_ARGUMENT, "exceeds the maximum (1000)")


def test_a_failing_request_keeps_a_version_out_unless_it_is_turned_off(servable, written):
    write(written, predict_log("z"))
    given = {
        "model_name": "half",
        "model_base_path": str(written.parent),
        "max_num_load_retries": 0,
    }
    for enabled, state in ((True, "END"), (False, "AVAILABLE")):
        flags = Flags(**given, enable_model_warmup=enabled)
        server = ModelServer(flags, configs_of(flags))
        try:
            if enabled:
                with pytest.raises(ServingError, match="did not become available"):
                    server.models.serve(configs_of(flags))
            else:
                server.models.serve(configs_of(flags))
            assert [status.state.name for status in server.models.statuses("half")] == [state]
        finally:
            server.close()


def test_samples_are_read_as_far_as_they_are_needed(servable, written, monkeypatch):
    write(written, *[predict_log()] * 3, example_log("classify_log", "classify_x_to_y"))

    found = samples(servable, 3)

    assert [len(inputs["x"]) for inputs in found["serving_default"]] == [2, 1]
    assert all(inputs["x"].base is None for inputs in found["serving_default"]), "a part of more"
    assert [len(inputs["inputs"]) for inputs in found["classify_x_to_y"]] == [1]


def test_no_more_records_are_read_when_all_signatures_have_samples(servable, written, monkeypatch):
    write(written, predict_log(), predict_log())
    monkeypatch.setattr(servable, "signatures", {"serving_default": None})
    with (written / WARMUP_FILE).open("ab") as file:
        file.write(b"this is no TFRecord at all")

    assert len(samples(servable, 2)["serving_default"]) == 1


def test_requests_run_together_without_a_warm_up(written):
    given = {"model_name": "half", "model_base_path": str(written.parent)}
    for enabled in (True, False):
        flags = Flags(**given, enable_model_warmup=enabled)
        server = ModelServer(flags, configs_of(flags))
        try:
            server.models.serve(configs_of(flags))
            with server.models.use(ModelSpec("half")) as loaded:
                call = loaded.signature_call(loaded.signatures["serving_default"])
                assert call.mixable
                assert isinstance(loaded.runner, Combiner)
        finally:
            server.close()
