"""The gRPC services of TensorFlow Serving: prediction, model status, and health if asked for.

The server is synchronous. In Python it is as fast as the asynchronous one, and a model runs in the
thread that read the request. Messages are read and written here, not by gRPC: their sizes are known
then, which protobuf would have to serialize them once more for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    regression_pb2,
)

from tfapp.serving import inference
from tfapp.serving.example_signatures import CLASSIFY
from tfapp.serving.frugal_executor import FrugalExecutor
from tfapp.serving.grpc_closing import Gate
from tfapp.serving.models import DEFAULT_SIGNATURE, Models, ModelSpec
from tfapp.serving.observing import Observer, RequestRecord
from tfapp.serving.rpc_errors import abort, code_and_text, errors_told
from tfapp.serving.rpc_management import Health, Management, Reload
from tfapp.serving.servable import Servable
from tfapp.serving.status import Code, ServingError
from tfapp.serving.tensors import write_proto

_LARGEST_MESSAGE = 2**31 - 1
_PREDICTION_SERVICE = "tensorflow.serving.PredictionService"


@dataclass(frozen=True)
class RpcOptions:
    """What can be chosen of the services.

    Attributes:
        tensor_content: Write outputs into `tensor_content` instead of `float_val` and its like.
        check_method_name: Refuse signatures whose `method_name` is of another method.
        health: Offer `grpc.health.v1.Health`.
    """

    tensor_content: bool = False
    check_method_name: bool = False
    health: bool = False


def make_server(
    threads: int,
    channel_arguments: Sequence[tuple[str, str | int]] = (),
    *,
    frugal: bool = True,
) -> grpc.Server:
    """Returns a server without services and ports that takes messages of any size.

    Args:
        threads: How many requests are worked on at once.
        channel_arguments: Further options of gRPC, which go before ours.
        frugal: Whether few of the threads do it while requests are quick; not where requests are to
            wait for one another.
    """
    options: dict[str, str | int] = {
        "grpc.max_send_message_length": _LARGEST_MESSAGE,
        "grpc.max_receive_message_length": _LARGEST_MESSAGE,
        "grpc.so_reuseport": 0,  # else two servers on one port would share the requests
    }
    executor = FrugalExecutor if frugal else ThreadPoolExecutor
    pool = executor(threads, thread_name_prefix="grpc")
    return grpc.server(pool, options=list((options | dict(channel_arguments)).items()))


def add_services(
    server: grpc.Server,
    models: Models,
    reload: Reload,
    *,
    options: RpcOptions = RpcOptions(),
    observer: Observer | None = None,
    gate: Gate | None = None,
) -> Health:
    """Adds `PredictionService`, `ModelService` and, if asked for, `Health` to a server.

    Args:
        server: Not yet started.
        models: Finds the servables.
        reload: Takes a `ModelServerConfig` with a list of models, and what tells whether to give up
            waiting; returns when they are available, raises `ServingError` if they do not become
            so.
        options: What to add.
        observer: Is told of requests for predictions.
        gate: What will close the server.

    Returns:
        What says whether the server is healthy, to be stopped before the server is.
    """
    gate = gate or Gate()
    prediction = _Prediction(models, options, observer or Observer())
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(gate.guarded(method))
        for name, method in prediction.methods().items()
    }
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(_PREDICTION_SERVICE, handlers),)
    )
    management = Management(models, reload)
    management.GetModelStatus = gate.guarded(management.GetModelStatus)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(management, server)
    health = Health()
    if options.health:
        server.add_generic_rpc_handlers((health.handler(),))
    return health


class _Prediction:
    """`PredictionService`, from bytes to bytes."""

    def __init__(self, models: Models, options: RpcOptions, observer: Observer) -> None:
        self._models = models
        self._options = options
        self._observer = observer

    def methods(self) -> Mapping[str, Callable[[bytes, Any], bytes]]:
        """Returns what answers each method, given a request and the context of gRPC."""
        observed = {
            "Predict": (predict_pb2.PredictRequest, self._predict),
            "Classify": (classification_pb2.ClassificationRequest, self._classify),
            "Regress": (regression_pb2.RegressionRequest, self._regress),
            "MultiInference": (inference_pb2.MultiInferenceRequest, self._multi_inference),
        }
        return {
            "GetModelMetadata": self._metadata,
            **{name: self._observed(name, *method) for name, method in observed.items()},
        }

    def _observed(
        self, api: str, kind: Any, work: Callable[[Any, RequestRecord], Any]
    ) -> Callable[[bytes, Any], bytes]:
        """Returns what answers a method and tells of each request, whatever it ends with."""

        def answer(data: bytes, context: Any) -> bytes:
            began = time.perf_counter()
            record = RequestRecord("GRPC", api, request_bytes=len(data))
            if (seconds := context.time_remaining()) is not None:
                record.deadline = time.monotonic() + seconds
            try:
                response: bytes = work(_parsed(kind, data), record).SerializeToString()
                record.answer_bytes = len(response)
                return response
            except Exception as error:
                record.code, record.message = code_and_text(error)
                abort(context, record.code, record.message)
            finally:
                record.seconds = time.perf_counter() - began
                self._observer.request(record)

        return answer

    def _metadata(self, data: bytes, context: Any) -> bytes:
        with errors_told(context):
            request = _parsed(get_model_metadata_pb2.GetModelMetadataRequest, data)
            spec = _spec(request)
            _check_metadata_fields(request.metadata_field)
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            with self._models.use(spec) as servable:
                response.model_spec.name = servable.name
                response.model_spec.version.value = servable.version
                response.metadata["signature_def"].Pack(inference.definitions(servable))
            serialized: bytes = response.SerializeToString()
            return serialized

    def _predict(self, request: Any, record: RequestRecord) -> Any:
        with self._models.use(_noted(_spec(request), record)) as servable:
            response = _start(predict_pb2.PredictResponse(), request, servable, record)
            computation = inference.predict(
                servable,
                request.model_spec.signature_name,
                {alias: request.inputs[alias] for alias in request.inputs},
                request.output_filter,
                check_method=self._options.check_method_name,
            )
            as_content = self._options.tensor_content
            for alias, value in computation.result(record).items():
                write_proto(value, response.outputs[alias], as_content=as_content)
            return response

    def _classify(self, request: Any, record: RequestRecord) -> Any:
        response = classification_pb2.ClassificationResponse()
        return self._of_examples(request, record, response, inference.classify, _write_classes)

    def _regress(self, request: Any, record: RequestRecord) -> Any:
        response = regression_pb2.RegressionResponse()
        return self._of_examples(request, record, response, inference.regress, _write_values)

    def _of_examples(
        self,
        request: Any,
        record: RequestRecord,
        response: Any,
        plan: Callable[..., inference.Computation[Any]],
        write: Callable[[Any, Any], None],
    ) -> Any:
        with self._models.use(_noted(_spec(request), record)) as servable:
            _start(response, request, servable, record)
            computation = plan(
                servable,
                request.model_spec.signature_name,
                inference.examples_of(request.input),
                check_method=self._options.check_method_name,
            )
            write(response.result, computation.result(record))
            return response

    def _multi_inference(self, request: Any, record: RequestRecord) -> Any:
        with self._models.use(_noted(_spec_of_tasks(request), record)) as servable:
            record.version = servable.version
            _check_names(request.tasks)
            tasks = [
                inference.Task(task.model_spec.signature_name, task.method_name)
                for task in request.tasks
            ]
            computation = inference.multi_inference(
                servable,
                tasks,
                inference.examples_of(request.input),
                check_method=self._options.check_method_name,
            )
            results = computation.result(record)
            response = inference_pb2.MultiInferenceResponse()
            for task, result in zip(request.tasks, results, strict=True):
                added = response.results.add()
                _write_spec(added, task, servable)
                if task.method_name == CLASSIFY:
                    _write_classes(added.classification_result, result)
                else:
                    _write_values(added.regression_result, result)
            return response


def _parsed(kind: Any, data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        # As gRPC itself says it.
        raise ServingError(Code.INTERNAL, "Exception deserializing request!") from error


def _spec(request: Any) -> ModelSpec:
    if not request.HasField("model_spec"):
        raise ServingError(Code.INVALID_ARGUMENT, "Missing ModelSpec")
    spec = request.model_spec
    if not spec.name:
        raise ServingError(Code.INVALID_ARGUMENT, "ModelSpec has no name specified.")
    version = spec.version.value if spec.HasField("version") else None
    label = spec.version_label if spec.HasField("version_label") else None
    return ModelSpec(spec.name, version, label)


def _spec_of_tasks(request: Any) -> ModelSpec:
    if not request.tasks or not request.tasks[0].HasField("model_spec"):
        raise ServingError(Code.INVALID_ARGUMENT, "ModelSpec has no name specified.")
    return _spec(request.tasks[0])


def _check_names(tasks: Sequence[Any]) -> None:
    for task in tasks:
        if not task.model_spec.name:
            raise ServingError(Code.INVALID_ARGUMENT, "Found ModelSpec with an empty model name.")
        if task.model_spec.name != tasks[0].model_spec.name:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
            )


def _check_metadata_fields(fields: Sequence[str]) -> None:
    if not fields:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            "GetModelMetadataRequest must specify at least one metadata_field",
        )
    for field in fields:
        if field != "signature_def":
            raise ServingError(Code.INVALID_ARGUMENT, f"Metadata field {field} is not supported")


def _noted(spec: ModelSpec, record: RequestRecord) -> ModelSpec:
    record.model = spec.name
    return spec


def _start(response: Any, request: Any, servable: Servable, record: RequestRecord) -> Any:
    """Writes into a response and a record who answers."""
    record.version = servable.version
    record.signature = request.model_spec.signature_name or DEFAULT_SIGNATURE
    _write_spec(response, request, servable)
    return response


def _write_spec(response: Any, request: Any, servable: Servable) -> None:
    spec = response.model_spec
    spec.name = servable.name
    spec.signature_name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    spec.version.value = servable.version


def _write_classes(result: Any, rows: Any) -> None:
    result.SetInParent()
    for row in rows:
        classes = result.classifications.add().classes
        for label, score in row:
            text = label.decode(errors="replace") if isinstance(label, bytes) else label
            classes.add(label=text, score=score)


def _write_values(result: Any, values: Any) -> None:
    result.SetInParent()
    for value in values:
        result.regressions.add(value=value)
