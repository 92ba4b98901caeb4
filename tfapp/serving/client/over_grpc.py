"""A served model by gRPC. The messages are those of `tensorflow-serving-api`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    input_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from tfapp.serving.client.address import Address
from tfapp.serving.client.failures import Unreachable, failure, wants_hint
from tfapp.serving.client.served import PAUSES_S, Example, ServedModel
from tfapp.serving.client.signatures import Metadata, SignatureInfo, read_metadata
from tfapp.serving.client.values import Array, feature_values
from tfapp.serving.models import DEFAULT_SIGNATURE, State, VersionStatus
from tfapp.serving.status import Code, ServingError

_OPTIONS = [
    # Answers of any size: gRPC refuses those above 4 MB otherwise.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Else a refused connection is not tried again within the pauses between our turns.
    ("grpc.initial_reconnect_backoff_ms", int(PAUSES_S[0] * 1000)),
]
# What gRPC says by itself, of connections it has not got and of some it had. A server that answers
# UNAVAILABLE says something else, and is not asked again.
_NO_CONNECTION = ("failed to connect to all addresses", "connections to all backends failing")
_REFUSED = "Connection refused"
_NO_HOST = ("errors resolving", "resolution failed")
_NOT_TRUSTED = "CERTIFICATE_VERIFY_FAILED"
_OTHER_PROTOCOL = ("http1", "HTTP2", "HTTP/2", "Tls handshake failed", "SSL_ERROR")
_LOST = (
    "Socket closed", "Stream removed", "Connection reset", "Broken pipe", "GOAWAY",
    "transport is closing", "Transport closed", "Endpoint closing",
)  # fmt: skip


@dataclass(frozen=True)
class _Services:
    """A channel, and what is asked over it."""

    channel: Any
    predictions: Any
    models: Any


def _open(server: str, credentials: Any) -> _Services:
    if credentials is None:
        channel = grpc.insecure_channel(server, _OPTIONS)
    else:
        channel = grpc.secure_channel(server, credentials, _OPTIONS)
    return _Services(
        channel,
        prediction_service_pb2_grpc.PredictionServiceStub(channel),
        model_service_pb2_grpc.ModelServiceStub(channel),
    )


class GrpcModel(ServedModel):
    """A model that is asked by gRPC.

    Args:
        address: Of the model.
        timeout_s: How long a request may take.
        headers: Sent as metadata with each request.
        credentials: How the server of a `grpcs` address is checked; None for no encryption.
    """

    def __init__(
        self,
        address: Address,
        timeout_s: float,
        headers: Mapping[str, str],
        credentials: Any = None,
    ) -> None:
        super().__init__(address)
        self._timeout_s = timeout_s
        self._headers = [(name.lower(), value) for name, value in headers.items()]
        self._credentials = credentials
        self._lock = threading.Lock()
        self._opened: _Services | None = None

    def classify(
        self,
        examples: Sequence[Example],
        *,
        signature_name: str = DEFAULT_SIGNATURE,
        context: Example | None = None,
    ) -> list[list[tuple[str, float]]]:
        """See `ServedModel.classify`."""
        request = classification_pb2.ClassificationRequest(
            model_spec=self._spec(signature_name), input=_input(examples, context)
        )
        found = self._call(self._services.predictions.Classify, request).result.classifications
        return [[(each.label, each.score) for each in row.classes] for row in found]

    def regress(
        self,
        examples: Sequence[Example],
        *,
        signature_name: str = DEFAULT_SIGNATURE,
        context: Example | None = None,
    ) -> Array:
        """See `ServedModel.regress`."""
        request = regression_pb2.RegressionRequest(
            model_spec=self._spec(signature_name), input=_input(examples, context)
        )
        found = self._call(self._services.predictions.Regress, request).result.regressions
        return np.array([each.value for each in found], np.float32)

    def status(self) -> tuple[VersionStatus, ...]:
        """See `ServedModel.status`."""
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=self._spec())
        found = self._call(self._services.models.GetModelStatus, request).model_version_status
        statuses = [
            VersionStatus(
                each.version,
                State(each.state),
                Code(each.status.error_code),
                each.status.error_message,
            )
            for each in found
        ]
        return tuple(sorted(statuses, key=lambda status: -status.version))

    def close(self) -> None:
        """See `ServedModel.close`."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.channel.close()

    def _predict(
        self,
        inputs: Mapping[str, Array],
        signature_name: str,
        signature: SignatureInfo,
        outputs: Sequence[str],
    ) -> dict[str, Array]:
        request = predict_pb2.PredictRequest(model_spec=self._spec(signature_name))
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
        request.output_filter.extend(outputs)
        answer = self._call(self._services.predictions.Predict, request)
        return {name: tf.make_ndarray(answer.outputs[name]) for name in outputs}

    def _ask_metadata(self) -> Metadata:
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=self._spec(), metadata_field=["signature_def"]
        )
        answer = self._call(self._services.predictions.GetModelMetadata, request)
        definitions = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(definitions)
        content = json_format.MessageToDict(definitions, preserving_proto_field_name=True)
        spec = {"name": answer.model_spec.name, "version": answer.model_spec.version.value}
        return read_metadata(
            {
                "model_spec": spec,
                "metadata": {"signature_def": {"signature_def": {}, **content}},
            }
        )

    @property
    def _services(self) -> _Services:
        with self._lock:
            if self._opened is None:
                self._opened = _open(self.address.server, self._credentials)
            return self._opened

    def _spec(self, signature_name: str = "") -> Any:
        spec = model_pb2.ModelSpec(name=self.address.name, signature_name=signature_name)
        if self.address.version is not None:
            spec.version.value = self.address.version
        elif self.address.label is not None:
            spec.version_label = self.address.label
        return spec

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        for pause in (*PAUSES_S, None):
            try:
                return method(request, timeout=self._timeout_s, metadata=self._headers)
            except grpc.RpcError as error:
                if pause is None or not _may_be_asked_again(error):
                    raise self._failure(error) from error
                time.sleep(pause)
        raise AssertionError("the last turn returns or raises")

    def _failure(self, error: grpc.RpcError) -> ServingError:
        code, text = Code(error.code().value[0]), error.details() or error.code().name
        if code is Code.UNAVAILABLE and (trouble := self._connection_trouble(text)):
            return Unreachable(trouble)
        server = self.address.server
        if code is Code.DEADLINE_EXCEEDED:
            return failure(code, text, f"{server} did not answer within {self._timeout_s:g} s.")
        if code is Code.UNIMPLEMENTED and text == "Method not found!":
            return Unreachable(f"{server} speaks gRPC, but is no model server: {text}")
        return failure(code, text, self._hint() if wants_hint(code, text) else "")

    def _connection_trouble(self, text: str) -> str:
        """Returns what is wrong with the connection; empty if the server answered by it."""
        server, scheme = self.address.server, self.address.scheme
        if _REFUSED in text:
            usual = "" if self.address.port == 8500 else "; gRPC is usually on 8500"
            return (
                f"nothing listens on {server}. Start the server, or correct the port{usual}."
                f" gRPC says: {text}"
            )
        if _says(text, *_NO_HOST):
            return f"no machine named {self.address.host!r} is known: {text}"
        if _NOT_TRUSTED in text:
            return (
                f"the certificate of {server} is not trusted. Give the certificate of who signed"
                " it: connect(url, ca=FILE), or GRPC_DEFAULT_SSL_ROOTS_FILE_PATH=FILE."
                f" gRPC says: {text}"
            )
        other = _says(text, *_OTHER_PROTOCOL)
        if other or _says(text, *_LOST):
            closes = "" if other else "closes the connection, or "
            return (
                f"{server} {closes}does not speak gRPC, or not {scheme}://: {text}. REST is"
                f" http://{server}/v1/models/{self.address.name}; gRPC may want"
                f" {'grpc' if self.address.secure else 'grpcs'}://."
            )
        return f"cannot reach {server}: {text}" if _says(text, *_NO_CONNECTION) else ""

    def _hint(self) -> str:
        if self.address.version is None:
            return ""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = self.address.name
        try:
            answer = self._services.models.GetModelStatus(
                request, timeout=self._timeout_s, metadata=self._headers
            )
        except grpc.RpcError:
            return ""
        versions = sorted((each.version, each.state) for each in answer.model_version_status)
        return f"Versions: {', '.join(f'{v} {State(s).name}' for v, s in reversed(versions))}."


def _may_be_asked_again(error: grpc.RpcError) -> bool:
    """Tells whether there was no connection, or it was lost, and that may change."""
    text = error.details() or ""
    return (
        error.code() is grpc.StatusCode.UNAVAILABLE
        and _says(text, _REFUSED, *_NO_CONNECTION, *_LOST)
        and not _says(text, _NOT_TRUSTED, *_OTHER_PROTOCOL)
    )


def _says(text: str, *parts: str) -> bool:
    return any(part in text for part in parts)


def _input(examples: Sequence[Example], context: Example | None) -> Any:
    made = [_example(features) for features in examples]
    if context is None:
        return input_pb2.Input(example_list=input_pb2.ExampleList(examples=made))
    return input_pb2.Input(
        example_list_with_context=input_pb2.ExampleListWithContext(
            examples=made, context=_example(context)
        )
    )


def _example(features: Example) -> tf.train.Example:
    made = tf.train.Example()
    for name, value in features.items():
        values = feature_values(value, name)
        feature = made.features.feature[name]
        if values and isinstance(values[0], bytes):
            feature.bytes_list.value.extend(values)
        elif values and isinstance(values[0], int):
            feature.int64_list.value.extend(values)
        else:
            feature.float_list.value.extend(values)
    return made
