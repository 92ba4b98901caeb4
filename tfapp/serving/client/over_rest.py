"""A served model by REST. Nothing here imports TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfapp.errors import UsageError, did_you_mean
from tfapp.serving.client.address import Address
from tfapp.serving.client.failures import NotServed, Unreachable, failure, wants_hint
from tfapp.serving.client.http_calls import Answer, HttpCalls
from tfapp.serving.client.served import Example, ServedModel
from tfapp.serving.client.signatures import Metadata, SignatureInfo, read_metadata
from tfapp.serving.client.values import (
    Array,
    feature_to_json,
    feature_values,
    from_json,
    to_json,
)
from tfapp.serving.models import DEFAULT_SIGNATURE, State, VersionStatus
from tfapp.serving.status import Code, ServingError

# Several codes share one status of HTTP; these are the most usual.
_CODES = {
    400: Code.INVALID_ARGUMENT, 401: Code.UNAUTHENTICATED, 403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND, 409: Code.ABORTED, 413: Code.RESOURCE_EXHAUSTED,
    429: Code.RESOURCE_EXHAUSTED, 499: Code.CANCELLED, 500: Code.INTERNAL, 501: Code.UNIMPLEMENTED,
    502: Code.UNAVAILABLE, 503: Code.UNAVAILABLE, 504: Code.DEADLINE_EXCEEDED,
}  # fmt: skip


class RestModel(ServedModel):
    """A model that is asked by HTTP and JSON.

    Args:
        address: Of the model.
        calls: How its server is asked.
    """

    def __init__(self, address: Address, calls: HttpCalls) -> None:
        super().__init__(address)
        self._calls = calls

    def classify(
        self,
        examples: Sequence[Example],
        *,
        signature_name: str = DEFAULT_SIGNATURE,
        context: Example | None = None,
    ) -> list[list[tuple[str, float]]]:
        """See `ServedModel.classify`."""
        results = self._ask_examples("classify", examples, signature_name, context)
        return [[(str(label), float(score)) for label, score in row] for row in results]

    def regress(
        self,
        examples: Sequence[Example],
        *,
        signature_name: str = DEFAULT_SIGNATURE,
        context: Example | None = None,
    ) -> Array:
        """See `ServedModel.regress`."""
        results = self._ask_examples("regress", examples, signature_name, context)
        return np.array(results, np.float32)

    def status(self) -> tuple[VersionStatus, ...]:
        """See `ServedModel.status`."""
        return _read_statuses(self._ask("GET", "")["model_version_status"])

    def close(self) -> None:
        """See `ServedModel.close`."""
        self._calls.close()

    def _predict(
        self,
        inputs: Mapping[str, Array],
        signature_name: str,
        signature: SignatureInfo,
        outputs: Sequence[str],
    ) -> dict[str, Array]:
        columns = {name: to_json(array) for name, array in inputs.items()}
        body: dict[str, Any] = {"signature_name": signature_name, "inputs": columns}
        if set(outputs) != set(signature.outputs):
            body["output_filter"] = list(outputs)  # TensorFlow Serving does not look at it
        found = self._ask("POST", ":predict", body)["outputs"]
        if not isinstance(found, dict) or found.keys() == {"b64"}:
            found = {(outputs if len(outputs) == 1 else list(signature.outputs))[0]: found}
        return {name: from_json(found[name], signature.outputs[name]) for name in outputs}

    def _ask_metadata(self) -> Metadata:
        content = self._ask("GET", "/metadata")
        try:
            return read_metadata(content)
        except (KeyError, TypeError, ValueError) as error:
            raise Unreachable(f"{self.url}/metadata is not what a model server says.") from error

    def _ask_examples(
        self,
        verb: str,
        examples: Sequence[Example],
        signature_name: str,
        context: Example | None,
    ) -> Any:
        features = [_features(example) for example in examples]
        body: dict[str, Any] = {"signature_name": signature_name, "examples": features}
        if context is not None:
            body["context"] = _features(context)
        return self._ask("POST", f":{verb}", body)["results"]

    def _ask(self, method: str, end: str, body: Any = None) -> Any:
        try:
            sent = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        except TypeError as error:
            raise UsageError(f"{error}; ask by grpc:// for such values.") from error
        answer = self._calls.ask(method, self.address.path + end, sent)
        content = _content(answer, self.address)
        if answer.status == 200:
            return content
        code = _CODES.get(answer.status, Code.UNKNOWN)
        text = str(content["error"])
        raise failure(code, text, self._hint() if wants_hint(code, text) else "")

    def _hint(self) -> str:
        """Tells what there is instead, where the server tells that."""
        try:
            names = list_names(self.address, self._calls)
            if self.address.name not in names:
                near = did_you_mean(self.address.name, names).lstrip()
                return " ".join(filter(None, (near, f"Served: {', '.join(names) or 'nothing'}.")))
        except ServingError:
            pass  # TensorFlow Serving has no list of models
        path = Address("http", "", 0, self.address.prefix, self.address.name).path
        answer = self._calls.ask("GET", path)
        if answer.status != 200 or self.address.version is None:
            return ""
        found = _read_statuses(_content(answer, self.address)["model_version_status"])
        return f"Versions: {', '.join(f'{v.version} {v.state.name}' for v in found)}."


def list_names(address: Address, calls: HttpCalls) -> list[str]:
    """Returns the names of the models that a server lists.

    Raises:
        NotServed: It has no list, as TensorFlow Serving.
        ServingError: It does not answer.
    """
    answer = calls.ask("GET", f"{address.prefix}/models")
    try:
        return [model["name"] for model in json.loads(answer.body)["models"]]
    except (ValueError, KeyError, TypeError) as error:
        raise NotServed(
            f"{address.server} has no list of models, as TensorFlow Serving has none; name the"
            f" model: {address.scheme}://{address.server}/v1/models/NAME."
        ) from error


def _content(answer: Answer, address: Address) -> dict[str, Any]:
    try:
        content = json.loads(answer.body.decode("utf-8", "surrogateescape"))
        if answer.status == 200 or isinstance(content["error"], str):
            return dict(content)
    except (ValueError, KeyError, TypeError):
        pass
    said = f"HTTP {answer.status} {answer.reason}".rstrip()
    if answer.status in (401, 403, 502, 503, 504, 413, 429):  # of what stands in front of a server
        raise ServingError(_CODES[answer.status], f"{address.server} answers {said}.")
    raise Unreachable(
        f"{address} is not answered by a model server: {said}, without the JSON of one."
    )


def _read_statuses(content: Any) -> tuple[VersionStatus, ...]:
    statuses = [
        VersionStatus(
            int(each["version"]),
            State[each["state"]],
            Code[each["status"].get("error_code", "OK")],
            each["status"].get("error_message", ""),
        )
        for each in content
    ]
    return tuple(sorted(statuses, key=lambda status: -status.version))


def _features(example: Example) -> dict[str, Any]:
    return {name: feature_to_json(feature_values(value, name)) for name, value in example.items()}
