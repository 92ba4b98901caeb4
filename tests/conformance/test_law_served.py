"""Law 10: exported and asked through a server by REST and gRPC, a model computes the same."""

from __future__ import annotations

import http.client
import json
import random
import socket
from contextlib import suppress
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from descriptors import Descriptor, stir
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tfapp.data.preprocess import Preprocess
from tfapp.data.splits import DataInfo
from tfapp.export.signatures import ServingModule
from tfapp.models.predictor import Predictor
from tfapp.outputs import recognize_outputs
from tfapp.serving.configs import configs_of
from tfapp.serving.flags import Flags
from tfapp.serving.server import ModelServer

TOLERANCE = 1e-5


def predictor_of(case: Descriptor) -> Predictor:
    """Returns a model behind scaling, as a run of `tfapp train` would have it."""
    model, size = stir(case.build()), case.feature_shape
    numbers = case.name == "quadratic"
    classes = () if numbers else tuple(map(str, range(max(2, case.outputs))))
    task = "regression" if numbers else "classification"
    info = DataInfo("made", task, size, "float32", classes, None, "none")
    scaling = Preprocess(size, np.full(size, 0.5, np.float32), np.full(size, 2.0, np.float32))
    return Predictor(scaling, model, info, recognize_outputs(model, case.features(), info, "auto"))


def free_port() -> int:
    """Returns a port that the system gives to no client meanwhile."""
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with suppress(OSError), socket.create_server(("", port)):
            return port


def by_rest(port: int, name: str, features) -> list:
    connection = http.client.HTTPConnection("localhost", port, timeout=30)
    body = json.dumps({"instances": features.numpy().tolist()})
    connection.request("POST", "/v1/models/default:predict", body)
    answer = json.loads(connection.getresponse().read())
    return [row[name] if isinstance(row, dict) else row for row in answer["predictions"]]


def by_rpc(port: int, name: str, alias: str, features):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "default"
    request.inputs[alias].CopyFrom(tf.make_tensor_proto(features))
    with grpc.insecure_channel(f"localhost:{port}") as channel:
        answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, 30)
    return tf.make_ndarray(answer.outputs[name])


def test_served_by_name_it_computes_the_same(case: Descriptor, tmp_path: Path):
    module = ServingModule(predictor_of(case))
    tf.saved_model.save(module, str(tmp_path / "1"), module.signatures())
    rest, rpc = free_port(), free_port()
    flags = Flags(port=rpc, rest_api_port=rest, model_base_path=str(tmp_path))
    server = ModelServer(flags, configs_of(flags), drain_seconds=1)
    alias = "image" if len(case.feature_shape) == 3 else "features"
    try:
        assert server.start(lambda: False)
        for features in (case.features(), case.features(1)[:3]):
            live = module.predictor(features)
            name = "value" if "value" in live else "probabilities"
            for found in (by_rest(rest, name, features), by_rpc(rpc, name, alias, features)):
                np.testing.assert_allclose(found, live[name], rtol=TOLERANCE, atol=TOLERANCE)
    finally:
        server.close()
