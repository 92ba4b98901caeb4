"""The flags of `tensorflow_model_server`: their names, defaults, and what becomes of each here.

Source: TensorFlow Serving, `model_servers/main.cc`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from tfapp.cores import usable_cores
from tfapp.errors import ExitCode, TfappError, UsageError, did_you_mean
from tfapp.serving.status import Code

_THREADS = 4 * usable_cores()
# Of other numbers 0 is. In a ConfigProto -1 lets operations run in the thread that calls.
_SMALLEST = {
    "grpc_max_threads": 1,
    "rest_api_num_threads": 1,
    "rest_api_timeout_in_ms": 1,
    "tensorflow_inter_op_parallelism": -1,
}
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class StartError(TfappError):
    """The server could not be started; the text begins as TensorFlow Serving's does.

    Args:
        code: What kind of mistake it is.
        message: What was found, and what to type instead.
    """

    exit_code = ExitCode.NOT_STARTED

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(f"Failed to start server. Error: {code.name}: {message}")


class Support(Enum):
    """What becomes of a flag."""

    WORKS = "works"
    ACCEPTED = "accepted"  # it tunes a part that this server does not have
    REFUSED = "refused"  # it would change answers, or who may ask


def _works(group: str, default: Any, help: str) -> Any:
    metadata = {"support": Support.WORKS, "group": group, "help": help}
    return field(default=default, metadata=metadata)


def _accepted(default: Any) -> Any:
    return field(default=default, metadata={"support": Support.ACCEPTED})


def _refused(default: Any) -> Any:
    return field(default=default, metadata={"support": Support.REFUSED})


_LISTEN, _WHICH, _LOAD, _COMPUTE, _BATCH = "Listening", "Models", "Loading", "Computing", "Batching"


@dataclass(frozen=True)
class Flags:
    """The value of every flag; those that are not given have TensorFlow Serving's default."""

    port: int = _works(_LISTEN, 8500, "TCP port of gRPC; 0 for none.")
    grpc_socket_path: str = _works(_LISTEN, "", "UNIX socket of gRPC, beside or instead of it.")
    rest_api_port: int = _works(_LISTEN, 0, "TCP port of REST; 0 for none.")
    rest_api_num_threads: int = _works(
        _LISTEN, _THREADS, "Requests by REST that compute at a time."
    )
    rest_api_timeout_in_ms: int = _works(_LISTEN, 30000, "How long a request by REST may compute.")
    rest_api_enable_cors_support: bool = _works(_LISTEN, False, "Let pages of any site ask.")
    grpc_max_threads: int = _works(
        _LISTEN, _THREADS, "Requests by gRPC that compute at a time; two while they are quick."
    )
    grpc_channel_arguments: str = _works(_LISTEN, "", "Options of gRPC: key=value,key=value.")
    enable_grpc_healthcheck_service: bool = _works(_LISTEN, False, "Answer grpc.health.v1.")
    enable_serialization_as_tensor_content: bool = _works(
        _LISTEN, False, "Answer gRPC with tensor_content."
    )
    ssl_config_file: str = _works(_LISTEN, "", "Text file with an SSLConfig: TLS for gRPC.")
    monitoring_config_file: str = _works(
        _LISTEN, "", "Text file with a MonitoringConfig: metrics by REST."
    )
    version: bool = _works(_LISTEN, False, "Show the versions and exit.")

    model_name: str = _works(_WHICH, "default", "Name of the model in model_base_path.")
    model_base_path: str = _works(_WHICH, "", "Folder of its versions: 1, 2, ...")
    model_config_file: str = _works(_WHICH, "", "Text file with a ModelServerConfig.")
    model_config_file_poll_wait_seconds: int = _works(
        _WHICH, 0, "Time between looks into that file; 0 or less for never."
    )
    file_system_poll_wait_seconds: int = _works(
        _WHICH, 1, "Time between looks for new versions; 0 to look once."
    )
    allow_version_labels_for_unavailable_models: bool = _works(
        _WHICH, False, "Let new labels name versions that are not loaded yet."
    )
    saved_model_tags: str = _works(_WHICH, "serve", "Tags of the graph to load: a,b")
    enable_signature_method_name_check: bool = _works(
        _WHICH, False, "Let only signatures made for it classify and regress."
    )

    max_num_load_retries: int = _works(_LOAD, 5, "How often to try again to load a version.")
    load_retry_interval_micros: int = _works(_LOAD, 60_000_000, "Time between these tries.")
    enable_model_warmup: bool = _works(
        _LOAD, True, "Run the requests in assets.extra/tf_serving_warmup_requests first."
    )
    num_request_iterations_for_warmup: int = _works(_LOAD, 0, "How often each; 0 is 1.")
    num_load_threads: int = _works(_LOAD, 0, "Versions loaded at a time; 0 is 1.")
    num_unload_threads: int = _works(_LOAD, 0, "Versions unloaded at a time; 0 is 1.")

    tensorflow_session_parallelism: int = _works(
        _COMPUTE, 0, "Both of the next two, where they are not given."
    )
    tensorflow_intra_op_parallelism: int = _works(
        _COMPUTE, 0, "Threads that share one operation; 0 for one a core."
    )
    tensorflow_inter_op_parallelism: int = _works(
        _COMPUTE, 0, "Threads that share the operations of a graph; 0 for the request's own."
    )
    tensorflow_session_config_file: str = _works(
        _COMPUTE, "", "Text file with TensorFlow's ConfigProto."
    )
    per_process_gpu_memory_fraction: float = _works(
        _COMPUTE, 0.0, "Share of a GPU's memory to take; 0 for nearly all."
    )

    enable_batching: bool = _works(
        _BATCH, False, "Let requests wait for others, to run them together."
    )
    batching_parameters_file: str = _works(_BATCH, "", "Text file with BatchingParameters.")
    enable_per_model_batching_parameters: bool = _works(
        _BATCH, False, "Let batching_params.pbtxt in the folder of a version override them."
    )
    use_alts_credentials: bool = _refused(False)
    platform_config_file: str = _refused("")
    prefer_tflite_model: bool = _refused(False)
    mixed_precision: str = _refused("")

    flush_filesystem_caches: bool = _accepted(True)
    remove_unused_fields_from_bundle_metagraph: bool = _accepted(True)
    num_tflite_pools: int = _accepted(1)
    num_tflite_interpreters_per_pool: int = _accepted(1)
    xla_cpu_compilation_enabled: bool = _accepted(False)
    xla_gpu_compilation_enabled: bool = _accepted(False)
    enable_profiler: bool = _accepted(True)
    thread_pool_factory_config_file: str = _accepted("")
    skip_initialize_tpu: bool = _accepted(False)

    def given(self) -> dict[str, Any]:
        """Returns the flags that differ from their defaults."""
        return {
            flag.name: getattr(self, flag.name)
            for flag in dataclasses.fields(self)
            if getattr(self, flag.name) != flag.default
        }

    def words(self) -> list[str]:
        """Returns them as `tensorflow_model_server` reads them: `--name=value`."""
        return [f"--{name}={_spell(value)}" for name, value in self.given().items()]


def parse_flags(words: Sequence[str], *, also: Sequence[str] = ()) -> tuple[Flags, tuple[str, ...]]:
    """Reads flags as they are typed: `--port=8500`, `--port 8500`, `--version`, `--version=false`.

    Args:
        words: Flags, and words that belong to none.
        also: Options that somebody else reads, as they are typed: an unknown flag may mean one.

    Returns:
        The flags, and the other words in their order.

    Raises:
        UsageError: There is no such flag, or its value is none of its type.
    """
    values, others = _parse(words, also)
    return Flags(**values), tuple(others)


def typed_flags(words: Sequence[str]) -> frozenset[str]:
    """Returns the names of the flags that were typed, be it with their defaults.

    Args:
        words: As `parse_flags` takes them.

    Raises:
        UsageError: As there.
    """
    return frozenset(_parse(words, ())[0])


def _parse(words: Sequence[str], also: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    others: list[str] = []
    kinds = {flag.name: type(flag.default) for flag in dataclasses.fields(Flags)}
    left = list(words)
    while left:
        word = left.pop(0)
        if not word.startswith("-") or word == "-":
            others.append(word)
            continue
        typed, equals, value = word.partition("=")
        name = typed.lstrip("-").replace("-", "_")
        if name not in kinds or not typed.startswith("--"):
            near = did_you_mean(f"--{name}", [*(f"--{known}" for known in kinds), *also])
            raise UsageError(f"no flag {typed}.{near} See them with tfapp serve --help")
        if not equals and kinds[name] is bool:
            value = left.pop(0) if left and left[0].lower() in _BOOLEANS else "true"
        elif not equals:
            if not left:
                raise UsageError(f"--{name} needs a value: --{name}={_example(name)}")
            value = left.pop(0)
        values[name] = _read(name, kinds[name], value)
    return values, others


def check_flags(flags: Flags) -> None:
    """Refuses flags that contradict one another, and those the embedded server cannot follow.

    Raises:
        StartError: They are refused by TensorFlow Serving too.
        UsageError: A flag has a value that would change answers, or who may ask.
    """
    for wrong, message in _contradictions(flags):
        if wrong:
            raise StartError(Code.INVALID_ARGUMENT, message)
    refused = flags_by_support(Support.REFUSED)
    for name in flags.given():
        if name in refused:
            raise UsageError(
                f"--{name} is not supported by the embedded server yet. Leave it out, or give the"
                " path of tensorflow_model_server with --server."
            )


def _contradictions(flags: Flags) -> list[tuple[bool, str]]:
    batching = flags.batching_parameters_file or flags.enable_per_model_batching_parameters
    return [
        (
            not flags.model_base_path and not flags.model_config_file,
            "Both server_options.model_base_path and server_options.model_config_file are empty!"
            " Name a model, or give --model_base_path or --model_config_file.",
        ),
        (
            not flags.port and not flags.grpc_socket_path,
            "At least one of server_options.grpc_port or server_options.grpc_socket_path must be"
            " set. Give --port or --grpc_socket_path.",
        ),
        (
            bool(batching) and not flags.enable_batching,
            "server_options.batching_parameters_file or"
            " server_options.enable_per_model_batching_parameters is set without setting"
            " server_options.enable_batching to true.",
        ),
        (
            flags.use_alts_credentials and bool(flags.ssl_config_file),
            "--use_alts_credentials and --ssl_config_file cannot go together; give one of them.",
        ),
    ]


def flags_by_support(support: Support) -> list[str]:
    """Returns the names of the flags of which this becomes, in their order."""
    return [flag.name for flag in dataclasses.fields(Flags) if flag.metadata["support"] is support]


def flag_groups() -> dict[str, list[tuple[str, str]]]:
    """Returns the flags that work, by group: how each is typed, and what it is for."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for flag in dataclasses.fields(Flags):
        if flag.metadata["support"] is not Support.WORKS:
            continue
        typed = f"--{flag.name}"
        help_text = flag.metadata["help"]
        if flag.default is True:
            typed += "=false"
            help_text += "  [default: true]"
        elif flag.default is not False:
            typed += f" {type(flag.default).__name__.upper().replace('STR', 'TEXT')}"
            # The number of cores is not the same everywhere.
            default = "4 a core" if flag.default is _THREADS else flag.default
            help_text += f"  [default: {default}]" if default != "" else ""
        groups.setdefault(flag.metadata["group"], []).append((typed, help_text))
    return groups


def _read(name: str, kind: type, text: str) -> Any:
    if kind is str:
        return text
    if kind is bool:
        if text.lower() not in _BOOLEANS:
            raise UsageError(f"--{name} is true or false, found {text!r}.")
        return _BOOLEANS[text.lower()]
    try:
        value = kind(text)
    except ValueError as error:
        what = "a whole number" if kind is int else "a number"
        raise UsageError(f"--{name} is {what}, found {text!r}.") from error
    if name.endswith("port") and not 0 <= value <= 65535:
        raise UsageError(f"--{name} is a port from 1 to 65535, or 0 for none; found {text}.")
    smallest = _SMALLEST.get(name, 0)
    if value < smallest and not name.endswith("poll_wait_seconds"):  # there it means never
        raise UsageError(f"--{name} is {smallest} or more, found {text}.")
    largest = 2**63 - 1 if name.endswith("micros") else 2**31 - 1
    if not value <= largest:
        raise UsageError(f"--{name} is {largest} or less, found {text}.")
    return value


def _example(name: str) -> str:
    default = Flags.__dataclass_fields__[name].default
    return _spell(default) or name.upper()


def _spell(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def channel_arguments(text: str) -> list[tuple[str, int | str]]:
    """Reads `--grpc_channel_arguments`: `key=value,key=value`, numbers of 32 bits as such.

    Raises:
        UsageError: A part is not `key=value`.
    """
    found: list[tuple[str, int | str]] = []
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not key or not equals:
            raise UsageError(
                f"--grpc_channel_arguments is key=value,key=value; found {part!r}, e.g."
                " grpc.max_concurrent_streams=100"
            )
        found.append((key, _number_or_text(value)))
    return found


def _number_or_text(value: str) -> int | str:
    """Returns a number of 32 bits as such; gRPC takes no larger ones, and passes over a text."""
    if not re.fullmatch(r"-?[0-9]{1,10}", value):
        return value
    return number if -(2**31) <= (number := int(value)) < 2**31 else value
