"""What Prometheus reads: TensorFlow Serving's names and buckets, and numbers counted by hand."""

from __future__ import annotations

import http.client
import json
import logging
import threading
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
import tensorflow as tf
from models_for_tests import example, write_half_plus_two
from ports_for_tests import free_port
from prometheus_client.parser import text_string_to_metric_families
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from tfapp.serving.configs import configs_of
from tfapp.serving.flags import Flags, StartError
from tfapp.serving.metrics import Metrics
from tfapp.serving.models import State, VersionStatus
from tfapp.serving.monitoring import DEFAULT_PATH, metrics_path
from tfapp.serving.observing import BatchRecord, LoadRecord, RequestRecord, WarmupRecord
from tfapp.serving.prometheus import CONTENT_TYPE
from tfapp.serving.server import ModelServer
from tfapp.serving.status import Code, ServingError

# From the sources of TensorFlow Serving.
LATENCIES = [10 * 1.8**k for k in range(33)]
WAITS = [100 * 1.2**k for k in range(52)]
SIZES = [2**k for k in range(14)]
EXAMPLES = [2**k for k in range(15)]
SERVING = ":tensorflow:serving:"
BATCHING = f"{SERVING}batching_session:"
TYPES = {
    ":tensorflow:cc:saved_model:load_attempt_count": "counter",
    ":tensorflow:cc:saved_model:load_latency": "counter",
    f"{BATCHING}input_batch_size": "histogram",
    f"{BATCHING}padding_size": "histogram",
    f"{BATCHING}processed_batch_size": "histogram",
    f"{BATCHING}queuing_latency": "histogram",
    f"{BATCHING}wrapped_run_count": "counter",
    f"{SERVING}model_warmup_latency": "histogram",
    f"{SERVING}model_warmup_records_read": "counter",
    f"{SERVING}request_count": "counter",
    f"{SERVING}request_example_count_total": "counter",
    f"{SERVING}request_example_counts": "histogram",
    f"{SERVING}request_latency": "histogram",
    f"{SERVING}runtime_latency": "histogram",
    ":tfapp:serving:answer_bytes_total": "counter",
    ":tfapp:serving:batch_rows": "histogram",
    ":tfapp:serving:latest_version": "gauge",
    ":tfapp:serving:queuing_latency": "histogram",
    ":tfapp:serving:request_bytes_total": "counter",
    ":tfapp:serving:rows_total": "counter",
    ":tfapp:serving:versions": "gauge",
}


def samples(page):
    """Gives every number of a page by its name and labels, as Prometheus understands them."""
    found = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            # The parser adds a `_total` to counters that have none.
            written = f"\n{sample.name}{{" in page.decode()
            name = sample.name if written else sample.name.removesuffix("_total")
            key = (name, *sorted(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def number(page, name, **labels):
    return samples(page).get((name, *sorted(labels.items())))


def histogram(page, name, **labels):
    """Gives the limits of its buckets, how many are in each alone, their sum and their number."""
    buckets = [
        (float(dict(key[1:])["le"]), value)
        for key, value in samples(page).items()
        if key[0] == f"{name}_bucket" and dict(key[1:]).items() >= labels.items()
    ]
    limits = [limit for limit, _ in buckets]
    counts = [value for _, value in buckets]
    alone = [after - before for before, after in zip([0, *counts], counts, strict=False)]
    total = number(page, f"{name}_sum", **labels)
    assert number(page, f"{name}_count", **labels) == counts[-1]
    return limits, alone, total


def where(limits, value):
    return next(index for index, limit in enumerate(limits) if value <= limit)


def request(model="digits", api="predict", **given):
    entrypoint = "GRPC" if api[:1].isupper() else "REST"
    given = {"version": 1} | given
    return RequestRecord(entrypoint, api, model, **given)


def test_the_page_has_a_type_for_every_metric_and_no_help_and_no_cell_before_its_first_use():
    page = Metrics().exposition()
    assert page.decode().splitlines() == [f"# TYPE {name} {TYPES[name]}" for name in sorted(TYPES)]
    assert page.endswith(b"\n")


def test_requests_are_counted_as_tensorflow_serving_counts_them():
    metrics = Metrics()
    seconds = [0.0005, 0.000018, 2.5]
    for value in seconds:
        metrics.request(
            request(rows=4, seconds=value, run_seconds=0.0001, request_bytes=100, answer_bytes=7)
        )
    metrics.request(request(api="Predict", rows=1, seconds=0.001, run_seconds=0.0004))
    metrics.request(request(api="Classify", rows=3, seconds=0.002, run_seconds=0.001))
    metrics.request(request(api="regress", rows=2, seconds=0.002))
    metrics.request(request(code=Code.INVALID_ARGUMENT, version=None, request_bytes=5))
    metrics.request(request("other", code=Code.NOT_FOUND, version=None))
    for api in ("status", "metadata", "GetModelStatus", ""):
        metrics.request(request(api=api))
    page = metrics.exposition()

    name = f"{SERVING}request_count"
    assert number(page, name, model_name="digits", status="OK") == 6
    assert number(page, name, model_name="digits", status="INVALID_ARGUMENT") == 1
    assert number(page, name, model_name="other", status="NOT_FOUND") == 1
    labels = {"model_name": "digits", "API": "predict", "entrypoint": "REST"}
    limits, counts, total = histogram(page, f"{SERVING}request_latency", **labels)
    assert limits[:-1] == pytest.approx(LATENCIES, rel=1e-5)
    assert limits[-1] == float("inf")
    expected = [0] * len(limits)
    for value in seconds:
        expected[where([*LATENCIES, float("inf")], round(value * 1e6))] += 1
    assert counts == expected
    assert total == pytest.approx(sum(seconds) * 1e6)
    for api, entrypoint in (("Predict", "GRPC"), ("Classify", "GRPC"), ("regress", "REST")):
        labels = {"model_name": "digits", "API": api, "entrypoint": entrypoint}
        assert number(page, f"{SERVING}request_latency_count", **labels) == 1
    of_other = [key[0] for key in samples(page) if ("model_name", "other") in key[1:]]
    assert sorted(of_other) == [
        f"{SERVING}request_count",
        ":tfapp:serving:answer_bytes_total",
        ":tfapp:serving:request_bytes_total",
    ]

    name = f"{SERVING}runtime_latency"
    labels = {"model_name": "digits", "runtime": "TF1"}
    assert histogram(page, name, API="Predict", **labels)[2] == pytest.approx(3 * 100 + 400)
    assert histogram(page, name, API="Classify", **labels)[2] == pytest.approx(1000)
    # Of tf.Examples only.
    assert number(page, f"{SERVING}request_example_count_total", model="digits") == 5
    limits, counts, total = histogram(page, f"{SERVING}request_example_counts", model="digits")
    assert limits == [*EXAMPLES, float("inf")]
    assert (counts, total) == ([0, 1, 1] + [0] * 13, 5)
    assert number(page, ":tfapp:serving:rows_total", model_name="digits") == 4 * 3 + 1 + 3 + 2
    assert number(page, ":tfapp:serving:request_bytes_total", model_name="digits") == 305
    assert number(page, ":tfapp:serving:answer_bytes_total", model_name="digits") == 21


def test_batches_are_counted():
    metrics = Metrics()
    metrics.batch(BatchRecord("digits", "pool", [1, 1, 3], [0.0001, 0.0002, 0.1], 8))
    metrics.batch(BatchRecord("other", "pool", [16], [0.0], 16))
    page = metrics.exposition()
    assert number(page, f"{BATCHING}wrapped_run_count") == 2
    limits, counts, total = histogram(page, f"{BATCHING}queuing_latency", thread_pool_name="pool")
    assert limits[:-1] == pytest.approx(WAITS, rel=1e-5)
    # 100 us is in the first bucket, as 0 is.
    assert (counts[0], counts[where(WAITS, 200)], counts[where(WAITS, 1e5)]) == (2, 1, 1)
    assert total == pytest.approx(100300)
    limits, counts, total = histogram(page, f"{BATCHING}input_batch_size")
    assert limits == [*SIZES, float("inf")]
    assert (counts[:5], total) == ([2, 0, 1, 0, 1], 21)
    assert histogram(page, f"{BATCHING}processed_batch_size")[2] == 24
    assert histogram(page, f"{BATCHING}padding_size", execution_batch_size="8")[2] == 3
    assert histogram(page, f"{BATCHING}padding_size", execution_batch_size="16")[2] == 0
    assert histogram(page, ":tfapp:serving:batch_rows", model_name="digits")[2] == 5
    waited = histogram(page, ":tfapp:serving:queuing_latency", model_name="digits")
    assert waited[2] == pytest.approx(100300)


def test_loads_and_warm_ups_are_counted():
    metrics = Metrics()
    path = Path("/models/digits/1")
    for code in (Code.DATA_LOSS, Code.OK):
        metrics.load(LoadRecord(path, code, 0.25))
    metrics.warmup(WarmupRecord(path, Code.OK, 0.5, 3))
    page = metrics.exposition()
    name = ":tensorflow:cc:saved_model:load"
    for status in ("success", "fail"):
        assert number(page, f"{name}_attempt_count", model_path=str(path), status=status) == 1
    assert number(page, f"{name}_latency", model_path=str(path)) == 500_000
    labels = {"model_path": str(path), "status": "OK"}
    assert number(page, f"{SERVING}model_warmup_records_read", **labels) == 3
    limits, counts, total = histogram(page, f"{SERVING}model_warmup_latency", **labels)
    assert (counts[where(LATENCIES, 500_000)], total, len(limits)) == (1, 500_000, 34)


def test_versions_are_shown_as_they_are_when_the_page_is_read():
    class Models:
        def names(self):
            return ["digits", "late"]

        def statuses(self, name, version=None):
            if name == "late":
                raise ServingError(Code.NOT_FOUND, "none has been found yet")
            states = {1: State.END, 2: State.END, 7: State.AVAILABLE, 8: State.LOADING}
            return [VersionStatus(number, state) for number, state in states.items()]

    page = Metrics().exposition(Models())
    name = ":tfapp:serving:versions"
    found = {
        (dict(key[1:])["model_name"], dict(key[1:])["state"]): value
        for key, value in samples(page).items()
        if key[0] == name
    }
    states = ("START", "LOADING", "AVAILABLE", "UNLOADING", "END")
    assert found == {("late", state): 0 for state in states} | {
        ("digits", state): value for state, value in zip(states, (0, 1, 1, 0, 2), strict=True)
    }
    assert number(page, ":tfapp:serving:latest_version", model_name="digits") == 7
    assert number(page, ":tfapp:serving:latest_version", model_name="late") is None


def test_names_of_all_kinds_are_escaped():
    metrics = Metrics()
    odd = 'a"b\\c\nd{e}'
    metrics.request(request(odd))
    assert number(metrics.exposition(), f"{SERVING}request_count", model_name=odd, status="OK") == 1


def test_names_that_no_model_has_do_not_fill_the_memory():
    metrics = Metrics()
    for index in range(1000):
        metrics.request(request(f"m{index}", code=Code.NOT_FOUND, version=None))
    metrics.request(request("real"))
    metrics.request(request("real", code=Code.INVALID_ARGUMENT, version=None))
    found = {
        dict(key[1:])["model_name"]: value
        for key, value in samples(metrics.exposition()).items()
        if key[0] == f"{SERVING}request_count" and dict(key[1:])["status"] == "NOT_FOUND"
    }
    assert len(found) == 101
    assert found[""] == 900
    name = f"{SERVING}request_count"
    for status in ("OK", "INVALID_ARGUMENT"):
        assert number(metrics.exposition(), name, model_name="real", status=status) == 1
    assert len(metrics._routes) <= 102


def test_nothing_is_lost_when_many_threads_count():
    metrics = Metrics()

    def count():
        for _ in range(2000):
            metrics.request(request(rows=1, seconds=0.001, run_seconds=0.001))

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        metrics.exposition()
    for thread in threads:
        thread.join()
    page = metrics.exposition()
    assert number(page, f"{SERVING}request_count", model_name="digits", status="OK") == 16000
    labels = {"model_name": "digits", "API": "predict", "entrypoint": "REST"}
    assert sum(histogram(page, f"{SERVING}request_latency", **labels)[1]) == 16000


# The config file, and the page of a server that runs.


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", None),
        ("prometheus_config {}", None),
        ("prometheus_config { path: '/x' }", None),
        ("prometheus_config { enable: true }", DEFAULT_PATH),
        ("prometheus_config { enable: true path: '/x' }", "/x"),
    ],
)
def test_the_config_file_says_whether_and_where(tmp_path, text, path):
    (tmp_path / "monitoring.config").write_text(text)
    assert metrics_path(str(tmp_path / "monitoring.config")) == path
    assert metrics_path("") is None
    assert DEFAULT_PATH == "/monitoring/prometheus/metrics"


@pytest.mark.parametrize(
    "path", ["metrics", "/v1/metrics", "/models", "/healthz", "/docs", "/openapi.json"]
)
def test_a_path_that_is_taken_is_refused(tmp_path, path):
    (tmp_path / "m").write_text(f"prometheus_config {{ enable: true path: '{path}' }}")
    with pytest.raises(ServingError, match="the path of prometheus_config") as caught:
        metrics_path(str(tmp_path / "m"))
    assert caught.value.code is Code.INVALID_ARGUMENT


@contextmanager
def running(base, config, **given):
    flags = Flags(
        port=free_port(),
        model_name="half",
        model_base_path=str(base),
        monitoring_config_file=str(config),
        **given,
    )
    server = ModelServer(flags, configs_of(flags), drain_seconds=5)
    try:
        assert server.start(lambda: False)
        yield server, flags.rest_api_port
    finally:
        server.close()


def get(port, path):
    connection = http.client.HTTPConnection("localhost", port, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers["content-type"]


@pytest.fixture
def base(tmp_path):
    """A model that is warmed up by two requests."""
    path = write_half_plus_two(tmp_path / "half" / "1")
    record = PredictionLog()
    record.regress_log.request.model_spec.signature_name = "regress_x_to_y"
    record.regress_log.request.input.example_list.examples.append(example(x=1.0))
    (path / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(path / "assets.extra" / "tf_serving_warmup_requests")) as writer:
        for _ in range(2):
            writer.write(record.SerializeToString())
    return path.parent


def test_a_server_shows_its_metrics_where_the_config_says(base, tmp_path):
    (tmp_path / "on").write_text("prometheus_config { enable: true path: '/metrics' }")
    with running(base, tmp_path / "on", rest_api_port=free_port()) as (server, port):
        server.observer.request(request("half", rows=1, seconds=0.001))
        status, page, kind = get(port, "/metrics")
        assert (status, kind) == (200, CONTENT_TYPE.decode())
        labels = {"model_path": str(base / "1")}
        name = ":tensorflow:cc:saved_model:load"
        assert number(page, f"{name}_attempt_count", status="success", **labels) == 1
        assert number(page, f"{name}_latency", **labels) > 0
        name = f"{SERVING}model_warmup"
        assert number(page, f"{name}_records_read", status="OK", **labels) == 2
        assert number(page, f"{name}_latency_count", status="OK", **labels) == 1
        assert number(page, ":tfapp:serving:latest_version", model_name="half") == 1
        assert number(page, f"{SERVING}request_count", model_name="half", status="OK") == 1
        assert get(port, DEFAULT_PATH)[0] == 404
        assert get(port, "/v1/models/half")[0] == 200
        assert json.loads(get(port, "/healthz")[1]) == {"status": "ok"}


def post(port, path, body):
    connection = http.client.HTTPConnection("localhost", port, timeout=30)
    connection.request("POST", path, body)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_requests_by_rest_and_by_grpc_are_counted_as_they_were_asked(base, tmp_path):
    (tmp_path / "on").write_text("prometheus_config { enable: true }")
    rows = b'{"instances": [1.0, 2.0, 3.0]}'
    examples = b'{"signature_name": "regress_x_to_y", "examples": [{"x": 1.0}, {"x": 2.0}]}'
    with running(base, tmp_path / "on", rest_api_port=free_port()) as (server, port):
        sent = received = 0
        for path, body, status in (
            *[("/v1/models/half:predict", rows, 200)] * 4,
            ("/v1/models/half/versions/1:regress", examples, 200),
            ("/v1/models/half:predict", b"{", 400),
            ("/v1/models/half:predict", b'{"instances": ["text"]}', 400),
        ):
            found, answer = post(port, path, body)
            assert found == status, answer
            sent, received = sent + len(body), received + len(answer)
        assert post(port, "/v1/models/none:predict", rows)[0] == 404
        assert post(port, "/v1/models", rows)[0] == 400
        assert get(port, "/v1/models/half/metadata")[0] == 200
        channel = grpc.insecure_channel(f"localhost:{server._flags.port}")
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        asked = predict_pb2.PredictRequest()
        asked.model_spec.name = "half"
        asked.inputs["x"].CopyFrom(tf.make_tensor_proto([[1.0], [2.0]], tf.float32))
        for _ in range(2):
            answered = stub.Predict(asked, timeout=30)
            sent, received = sent + asked.ByteSize(), received + answered.ByteSize()
        asked.output_filter.append("none")
        with pytest.raises(grpc.RpcError):
            stub.Predict(asked, timeout=30)
        sent += asked.ByteSize()
        channel.close()
        page = get(port, DEFAULT_PATH)[1]

    counts = {
        tuple(dict(key[1:]).values()): value
        for key, value in samples(page).items()
        if key[0] == f"{SERVING}request_count"
    }
    assert counts == {
        ("half", "OK"): 4 + 1 + 2,
        ("half", "INVALID_ARGUMENT"): 2 + 1,
        ("none", "NOT_FOUND"): 1,
    }
    for api, entrypoint, number_of in (
        ("predict", "REST", 4),
        ("regress", "REST", 1),
        ("Predict", "GRPC", 2),
    ):
        labels = {"model_name": "half", "API": api, "entrypoint": entrypoint}
        _, alone, total = histogram(page, f"{SERVING}request_latency", **labels)
        assert sum(alone) == number_of
        assert 10 * number_of < total < 30e6
    labels = {"model_name": "half", "runtime": "TF1"}
    assert number(page, f"{SERVING}runtime_latency_count", API="Predict", **labels) == 6
    assert number(page, f"{SERVING}runtime_latency_count", API="Regress", **labels) == 1
    assert number(page, f"{SERVING}request_example_count_total", model="half") == 2
    assert number(page, ":tfapp:serving:rows_total", model_name="half") == 4 * 3 + 2 + 2 * 2
    assert number(page, ":tfapp:serving:request_bytes_total", model_name="half") == sent
    assert number(page, ":tfapp:serving:answer_bytes_total", model_name="half") == received


@pytest.mark.parametrize("given", ["", "prometheus_config { path: '/metrics' }"])
def test_nothing_is_shown_unless_it_is_enabled(base, tmp_path, given):
    file = tmp_path / "off" if given else ""
    if given:
        file.write_text(given)
    with running(base, file, rest_api_port=free_port()) as (_, port):
        assert get(port, "/metrics")[0] == 404
        assert get(port, DEFAULT_PATH)[0] == 404


def test_a_failed_load_and_a_failed_warm_up_are_counted(base, tmp_path):
    (tmp_path / "on").write_text("prometheus_config { enable: true }")
    (base / "1" / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"no TFRecord at all")
    with (
        pytest.raises(StartError),
        running(base, tmp_path / "on", max_num_load_retries=1, load_retry_interval_micros=1),
    ):
        pass
    flags = Flags(
        model_base_path=str(base),
        monitoring_config_file=str(tmp_path / "on"),
        max_num_load_retries=0,
    )
    server = ModelServer(flags, configs_of(flags))
    seen = []
    server.observer.load = lambda record: seen.append(record)
    server.observer.warmup = lambda record: seen.append(record)
    for damage in (None, base / "1" / "saved_model.pb"):
        if damage:
            damage.write_bytes(b"nonsense")
        with pytest.raises(ServingError):
            server.models._loading._load("half", 1, base / "1")
    server.close()
    assert [(type(record).__name__, record.code) for record in seen] == [
        ("LoadRecord", Code.OK),
        ("WarmupRecord", Code.DATA_LOSS),
        ("LoadRecord", Code.DATA_LOSS),
    ]
    assert all(record.path == base / "1" and record.seconds > 0 for record in seen)


def test_metrics_that_nobody_can_read_are_told_of(base, tmp_path, caplog):
    (tmp_path / "on").write_text("prometheus_config { enable: true }")
    with caplog.at_level(logging.WARNING, "tfapp.serving"), running(base, tmp_path / "on"):
        pass
    assert "give --rest_api_port" in caplog.text
