"""Config files in the text form of protocol buffers, and where a mistake in one is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)

from tfapp.errors import did_you_mean
from tfapp.serving.status import Code, ServingError

_Field = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "tensorflow.serving"
# Messages that TensorFlow Serving reads but the package `tensorflow-serving-api` does not have: the
# type of each field, in the order of their numbers.
# Source: `config/monitoring_config.proto`, `config/ssl_config.proto` and, without what is for
# requests of low priority, `servables/tensorflow/session_bundle_config.proto`.
_MESSAGES: Mapping[str, Mapping[str, str]] = {
    "PrometheusConfig": {"enable": "bool", "path": "string"},
    "MonitoringConfig": {"prometheus_config": "PrometheusConfig"},
    "SSLConfig": {
        "server_key": "string",
        "server_cert": "string",
        "custom_ca": "string",
        "client_verify": "bool",
    },
    "BatchingParameters": {
        "max_batch_size": "Int64Value",
        "batch_timeout_micros": "Int64Value",
        "max_enqueued_batches": "Int64Value",
        "num_batch_threads": "Int64Value",
        "thread_pool_name": "StringValue",
        "allowed_batch_sizes": "repeated int64",
        "pad_variable_length_inputs": "bool",
        "enable_large_batch_splitting": "BoolValue",
        "max_execution_batch_size": "Int64Value",
    },
}
_WRAPPERS = ("Int64Value", "StringValue", "BoolValue")
_STRING = re.compile(r"""#[^\n]*|(["'])(?:[^\\]|\\.)*?\1""", re.DOTALL)  # or a comment
_TYPES = {"bool": _Field.TYPE_BOOL, "string": _Field.TYPE_STRING, "int64": _Field.TYPE_INT64}


def read_text_proto(file: Path, message: Any, *, what: str, flag: str, holds: str) -> Any:
    """Reads a file into a message.

    Args:
        file: The file.
        message: An empty message of the type that the file holds.
        what: What the file is called in the error message, e.g. `model config file`.
        flag: Which flag names it, e.g. `--model_config_file`.
        holds: What is in such a file, e.g. `a model_config_list`.

    Returns:
        The message.

    Raises:
        ServingError: `INVALID_ARGUMENT`: it cannot be read, or does not hold such a message; with
            line and column.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"cannot read the {what} {file}: {reason}. {flag} names a text file with {holds}.",
        ) from error
    try:
        return text_format.Parse(_STRING.sub(_in_lines, text), message)
    except text_format.ParseError as error:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"Error parsing text-format {message.DESCRIPTOR.full_name}: "
            f"{file}:{_explain(error, message.DESCRIPTOR)}",
        ) from error


def new_message(name: str) -> Any:
    """Returns an empty `MonitoringConfig`, `SSLConfig` or `BatchingParameters`."""
    return _classes()[f"{_PACKAGE}.{name}"]()


def _in_lines(match: re.Match[str]) -> str:
    """Returns a string of several lines, which C++ takes and Python does not, as one a line."""
    quote = match[1]
    return match[0].replace("\n", f"\\n{quote}\n{quote}") if quote else match[0]


def _explain(error: text_format.ParseError, descriptor: Any) -> str:
    """Returns where the mistake is and what it is, with the nearest right name."""
    reason = re.sub(r"^\d+:\d+ : ", "", str(error))
    where = f"{error.GetLine()}:{error.GetColumn()}: " if error.GetLine() else " "
    unknown = re.search(r'"([\w.]+)" has no field named "(\w+)"', reason)
    if unknown is None:
        return where + reason
    message: Any = descriptor.file.pool.FindMessageTypeByName(unknown[1])
    known = [fields.name for fields in message.fields]
    return f"{where}{reason}{did_you_mean(unknown[2], known)} Known: {', '.join(known)}."


@cache
def _classes() -> Mapping[str, Any]:
    # In a pool of its own, so that another package may bring the same messages.
    pool = descriptor_pool.DescriptorPool()
    wrappers = descriptor_pb2.FileDescriptorProto()
    wrappers_pb2.DESCRIPTOR.CopyToProto(wrappers)
    pool.Add(wrappers)
    file = descriptor_pb2.FileDescriptorProto(
        name="tfapp/serving/text_protos.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[wrappers.name],
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), start=1):
            _add_field(message, number, field, kind)
    pool.Add(file)
    names = [f"{_PACKAGE}.{name}" for name in _MESSAGES]
    find = pool.FindMessageTypeByName
    return {name: message_factory.GetMessageClass(find(name)) for name in names}


def _add_field(message: Any, number: int, name: str, kind: str) -> None:
    repeated, kind = kind.startswith("repeated "), kind.removeprefix("repeated ")
    label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
    added = message.field.add(name=name, number=number, label=label)
    added.type = _TYPES.get(kind, _Field.TYPE_MESSAGE)
    if kind not in _TYPES:
        package = "google.protobuf" if kind in _WRAPPERS else _PACKAGE
        added.type_name = f".{package}.{kind}"
