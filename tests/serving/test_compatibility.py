"""SavedModels of TensorFlow 1, Keras 2 and 3 and tf.Module, asked by REST and gRPC at real ports.

Every answer is compared with what NumPy makes of the same numbers.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import ml_dtypes
import numpy as np
import other_models_for_tests as written
import pytest
import tensorflow as tf
from models_for_tests import BIAS, WEIGHTS
from ports_for_tests import free_port
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tfapp.serving.configs import configs_of
from tfapp.serving.flags import Flags
from tfapp.serving.server import ModelServer

ENTRY = 'config {{ name: "{}" base_path: "{}" model_platform: "tensorflow" }}'
ROWS = np.array([[1, 2], [3, 4], [-1, 0.5]], np.float32)
MANY = np.random.default_rng(0).normal(size=(1000, 2)).astype(np.float32)


@dataclass(frozen=True)
class Ask:
    """A request and its answer.

    Attributes:
        model: Function that writes the model.
        inputs: By alias.
        outputs: By alias, as NumPy computes them.
        signature: Its name.
        by_row: Whether the 0th dimension of everything is the batch.
        json: Whether JSON can say it.
    """

    model: Callable[[Path], None]
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    signature: str = "serving_default"
    by_row: bool = True
    json: bool = True


def texts(*values: str) -> Any:
    return np.array([value.encode() for value in values], object)


def affine(x: Any) -> Any:
    return x @ WEIGHTS + BIAS


def normalized(x: Any) -> Any:
    return (affine(x) - written.MEAN) / np.sqrt(written.VARIANCE + written.EPSILON)


_COUNTS = np.array([2**53 + 1, -3, 0])
_SMALL = np.array([1.5, -0.25], ml_dtypes.bfloat16)
_COMPLEX = np.array([1 + 2j, -3j], np.complex64)
_WORDS = texts("bee", "Käfer", "wasp")
_SCORES = np.float32([written.INNER[1], written.INNER[2], [9, 9]])
_TWO = {"sum": affine(ROWS + 1), "product": ROWS}
_CHAIN = affine(ROWS) @ written.INNER

ASKS: Sequence[Ask] = (
    Ask(written.v1_simple_save, {"x": ROWS}, {"y": affine(ROWS)}),
    Ask(written.v1_simple_save, {"x": MANY}, {"y": affine(MANY)}),
    Ask(written.v1_simple_save, {"x": ROWS[:0]}, {"y": affine(ROWS[:0])}, json=False),
    Ask(
        written.v1_tables,
        {"word": _WORDS},
        {"number": np.array([1, 2, -1]), "legs": texts("six!", "sechs", "?")},
    ),
    Ask(
        written.v1_tables, {"word": _WORDS[:0]}, {"number": np.array([], np.int64), "legs": texts()}
    ),
    Ask(written.keras_export, {"x": ROWS}, {"output_0": normalized(ROWS)}),
    Ask(written.keras_export, {"x": MANY}, {"output_0": normalized(MANY)}),
    Ask(written.keras_export, {"x": ROWS[:0]}, {"output_0": normalized(ROWS[:0])}, json=False),
    Ask(written.keras_export_two, {"a": ROWS, "b": np.ones_like(ROWS)}, _TWO),
    Ask(written.keras_export_words, {"word": _WORDS}, {"output_0": _SCORES}),
    Ask(written.keras_archive, {"features": ROWS}, {"score": _CHAIN}),
    Ask(
        written.keras_archive,
        {"pixels": np.array([[0, 255, 255], [255, 255, 255]], np.uint8)},
        {"mean": np.float32([2 / 3, 1])},
        signature="mean",
    ),
    Ask(written.saved_keras, {"inputs": ROWS}, {"output_0": normalized(ROWS)}),
    Ask(written.saved_keras, {"inputs": MANY}, {"output_0": normalized(MANY)}),
    Ask(written.saved_keras_compiled, {"inputs": ROWS}, {"output_0": normalized(ROWS)}),
    Ask(written.saved_keras_two, {"inputs": ROWS, "inputs_1": np.ones_like(ROWS)}, _TWO),
    Ask(written.saved_keras_words, {"inputs": _WORDS}, {"output_0": _SCORES}),
    Ask(written.saved_module_with_keras, {"x": ROWS}, {"y": 2 * _CHAIN}),
    Ask(
        written.module_shapes,
        {"x": np.float64(0.1)},
        {"square": np.float64(0.1) ** 2, "rank": np.int32(0)},
        signature="square",
        by_row=False,
    ),
    *(
        Ask(
            written.module_shapes,
            {"x": value},
            {"double": 2 * value, "sum": value.sum()},
            signature="any_rank",
            by_row=False,
        )
        for value in (np.array(7), np.array([1, 2]), np.arange(6).reshape(1, 2, 3))
    ),
    Ask(
        written.module_shapes,
        {"x": ROWS, "n": np.int32(2)},
        {"repeated": np.repeat(ROWS, 2, axis=1)},
        signature="repeat",
        by_row=False,
    ),
    Ask(
        written.module_shapes,
        {},
        {"answer": np.int32([42])},
        signature="nothing",
        by_row=False,
        json=False,  # TensorFlow Serving's REST refuses it, too: see below
    ),
    Ask(
        written.module_shapes,
        {"start": np.int32([1, 6, 1000])},
        {"count": np.int32([0, 2, 9])},
        signature="halvings",
    ),
    Ask(
        written.module_types,
        {"bytes": np.uint8([0, 1, 255]), "flags": np.array([True, False, True]), "counts": _COUNTS},
        {
            "inverted": np.uint8([255, 254, 0]),
            "not": np.array([False, True, False]),
            "next": _COUNTS + 1,
            "halves": _COUNTS / 2,
        },
    ),
    Ask(
        written.module_types,
        {"small": _SMALL, "z": _COMPLEX},
        {"double": _SMALL * 2, "conjugate": _COMPLEX.conj(), "phase": np.angle(_COMPLEX)},
        signature="rare",
        json=False,
    ),
    Ask(
        written.module_without_signatures,
        {"x": ROWS},
        {
            "output_0": ROWS.sum(axis=1),
            "output_1": np.array([[b"1", b"2"], [b"3", b"4"], [b"-1", b"0"]], object),
        },
    ),
    Ask(
        written.module_large,
        {"n": np.int32([300_000])},
        {"numbers": np.arange(300_000, dtype=np.int32)[np.newaxis]},
    ),
    Ask(
        written.module_large,
        {"n": np.int32([10_000_000])},
        {"numbers": np.arange(10_000_000, dtype=np.int32)[np.newaxis]},
        json=False,
    ),
    Ask(written.keras_2_save, {"x": ROWS}, {"head": affine(ROWS)}),
    Ask(written.keras_2_saved, {"x": ROWS}, {"head": affine(ROWS)}),
    Ask(written.keras_2_export, {"x": ROWS}, {"output_0": affine(ROWS)}),
)


def _first(ask: Ask) -> Any:
    return next(iter(ask.inputs.values()))


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Serves all of the models; returns the port of REST and a stub of gRPC."""
    folder = tmp_path_factory.mktemp("written")
    models = dict.fromkeys([*(ask.model for ask in ASKS), written.v1_sparse])
    for model in models:
        (folder / model.__name__).mkdir()
        model(folder / model.__name__ / "1")
    entries = (ENTRY.format(model.__name__, folder / model.__name__) for model in models)
    file = folder / "models.config"
    file.write_text(f"model_config_list {{ {' '.join(entries)} }}")
    rest, rpc = free_port(), free_port()
    flags = Flags(port=rpc, rest_api_port=rest, model_config_file=str(file), max_num_load_retries=0)
    server = ModelServer(flags, configs_of(flags), drain_seconds=5)
    unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    try:
        assert server.start(lambda: False)
        with grpc.insecure_channel(f"localhost:{rpc}", unlimited) as channel:
            yield rest, prediction_service_pb2_grpc.PredictionServiceStub(channel)
    finally:
        server.close()


def by_rpc(stub, model: str, inputs, signature: str = "serving_default") -> dict[str, Any]:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for alias, value in inputs.items():
        request.inputs[alias].CopyFrom(tf.make_tensor_proto(value))
    answer = stub.Predict(request, timeout=60)
    return {alias: tf.make_ndarray(proto) for alias, proto in answer.outputs.items()}


def by_rest(port: int, model: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("localhost", port, timeout=60)
    connection.request("POST", f"/v1/models/{model}:predict", json.dumps(body))
    answer = connection.getresponse()
    content = json.loads(answer.read())
    connection.close()
    return answer.status, content


def as_json(value: Any) -> Any:
    if isinstance(value, list):
        return [as_json(each) for each in value]
    return value.decode() if isinstance(value, bytes) else value


def check(found: Any, expected: Any) -> None:
    expected = np.asarray(expected)
    if expected.dtype.kind == "O":
        assert np.asarray(found).tolist() == expected.tolist()
        return
    np.testing.assert_allclose(
        np.asarray(found, expected.dtype), expected, rtol=1e-5, atol=1e-6, strict=True
    )


def name_of(ask: Ask) -> str:
    sizes = "-".join("x".join(map(str, np.shape(value))) or "0d" for value in ask.inputs.values())
    return f"{ask.model.__name__}-{ask.signature}-{sizes}"


@pytest.mark.parametrize("ask", ASKS, ids=name_of)
def test_grpc_answers_what_numpy_computes(served, ask):
    _, stub = served
    answer = by_rpc(stub, ask.model.__name__, ask.inputs, ask.signature)
    assert answer.keys() == ask.outputs.keys()
    for alias, expected in ask.outputs.items():
        assert answer[alias].dtype == np.asarray(expected).dtype or answer[alias].dtype == (
            np.float32
        ), alias
        check(answer[alias], expected)


@pytest.mark.parametrize("ask", [ask for ask in ASKS if ask.json], ids=name_of)
def test_rest_answers_columns_with_what_numpy_computes(served, ask):
    rest, _ = served
    inputs = {alias: as_json(np.asarray(value).tolist()) for alias, value in ask.inputs.items()}
    body = {"signature_name": ask.signature, "inputs": inputs}
    status, answer = by_rest(rest, ask.model.__name__, body)
    assert status == 200, answer
    outputs = answer["outputs"]
    named = outputs if len(ask.outputs) > 1 else dict.fromkeys(ask.outputs, outputs)
    assert named.keys() == ask.outputs.keys()
    for alias, expected in ask.outputs.items():
        check_json(named[alias], expected)


def check_json(found: Any, expected: Any) -> None:
    expected = np.asarray(expected)
    if expected.dtype.kind in "Oiub":
        assert found == as_json(expected.tolist())
    else:
        check(np.asarray(found, expected.dtype), expected)


@pytest.mark.parametrize(
    "ask", [ask for ask in ASKS if ask.json and ask.by_row and len(_first(ask))], ids=name_of
)
def test_rest_answers_rows_with_what_numpy_computes(served, ask):
    rest, _ = served
    columns = {alias: as_json(value.tolist()) for alias, value in ask.inputs.items()}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    body = {"signature_name": ask.signature, "instances": rows}
    status, answer = by_rest(rest, ask.model.__name__, body)
    assert status == 200, answer
    for alias, expected in ask.outputs.items():
        found = [row if len(ask.outputs) == 1 else row[alias] for row in answer["predictions"]]
        check_json(found, expected)


NO_TENSOR = (
    "Tensor :0, specified in either feed_devices or fetch_devices was not found in the Graph"
)


@pytest.mark.parametrize(
    ("signature", "value"), [("serving_default", np.ones([2, 3])), ("to_sparse", np.ones(2))]
)
def test_a_tensor_of_several_parts_is_refused_with_what_to_do(served, signature, value):
    rest, stub = served
    value = value.astype(np.float32)
    with pytest.raises(grpc.RpcError) as caught:
        by_rpc(stub, "v1_sparse", {"x": value}, signature)
    body = {"signature_name": signature, "inputs": value.tolist()}
    status, answer = by_rest(rest, "v1_sparse", body)
    assert (caught.value.code(), status) == (grpc.StatusCode.INVALID_ARGUMENT, 400)
    assert answer == {"error": caught.value.details()}
    assert answer["error"].startswith(NO_TENSOR)
    assert "sparse or ragged tensor" in answer["error"]


def test_a_signature_without_inputs_is_for_grpc_only(served):
    rest, _ = served
    body = {"signature_name": "nothing", "inputs": {}}
    status, answer = by_rest(rest, "module_shapes", body)
    assert status == 400
    assert answer["error"].startswith("Failed to get input map for signature: nothing")
