from __future__ import annotations

import collections
import threading
import time

import grpc
import models_for_tests as written
import numpy as np
import pytest
import tensorflow as tf
from ports_for_tests import free_port
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tfapp.serving.configs import configs_of
from tfapp.serving.flags import Flags
from tfapp.serving.server import ModelServer

CLIENTS, ROUNDS = 12, 6


@pytest.fixture
def base(tmp_path):
    written.write_half_plus_two(tmp_path / "half" / "1")
    return tmp_path / "half"


def request():
    asked = predict_pb2.PredictRequest()
    asked.model_spec.name = "default"
    asked.inputs["x"].CopyFrom(tf.make_tensor_proto(np.array([[1.0]], np.float32)))
    return asked


def test_requests_that_meet_the_end_are_answered_or_find_nobody(base):
    """Not CANCELLED, which clients do not try again; each client asks until it is refused."""
    ended = collections.Counter()
    wrong = []

    def client(port):
        with grpc.insecure_channel(f"localhost:{port}") as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while True:
                try:
                    found = tf.make_ndarray(stub.Predict(request(), timeout=20).outputs["y"])
                    if found.tolist() != [[2.5]]:
                        wrong.append(found)
                except grpc.RpcError as error:
                    ended[error.code()] += 1
                    return

    for _ in range(ROUNDS):
        flags = Flags(port=free_port(), model_base_path=str(base))
        server = ModelServer(flags, configs_of(flags), drain_seconds=10)
        assert server.start(lambda: False)
        threads = [threading.Thread(target=client, args=[flags.port]) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        server.close()
        for thread in threads:
            thread.join(30)
    assert wrong == []
    assert ended.keys() <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert ended.total() == CLIENTS * ROUNDS
    # On a busy machine a client may sleep longer than it is waited for. Else about ten of them are.
    assert ended[grpc.StatusCode.CANCELLED] <= 1


def test_a_server_without_requests_ends_at_once(base):
    flags = Flags(port=free_port(), model_base_path=str(base))
    server = ModelServer(flags, configs_of(flags), drain_seconds=10)
    assert server.start(lambda: False)
    began = time.monotonic()
    server.close()
    assert time.monotonic() - began < 5
