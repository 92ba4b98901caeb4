"""The flags of TensorFlow Serving as they are typed, their defaults, and what is refused."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from tfapp.cores import usable_cores
from tfapp.errors import ExitCode, UsageError
from tfapp.serving.flags import (
    Flags,
    StartError,
    Support,
    channel_arguments,
    check_flags,
    flag_groups,
    flags_by_support,
    parse_flags,
    typed_flags,
)

CPUS = usable_cores()
# TensorFlow Serving's own, from its `model_servers/main.cc`.
DEFAULTS = {
    "port": 8500,
    "grpc_socket_path": "",
    "rest_api_port": 0,
    "rest_api_num_threads": 4 * CPUS,
    "rest_api_timeout_in_ms": 30000,
    "rest_api_enable_cors_support": False,
    "enable_batching": False,
    "batching_parameters_file": "",
    "enable_per_model_batching_parameters": False,
    "allow_version_labels_for_unavailable_models": False,
    "model_config_file": "",
    "model_config_file_poll_wait_seconds": 0,
    "model_name": "default",
    "model_base_path": "",
    "num_load_threads": 0,
    "num_unload_threads": 0,
    "max_num_load_retries": 5,
    "load_retry_interval_micros": 60000000,
    "file_system_poll_wait_seconds": 1,
    "flush_filesystem_caches": True,
    "tensorflow_session_parallelism": 0,
    "tensorflow_intra_op_parallelism": 0,
    "tensorflow_inter_op_parallelism": 0,
    "tensorflow_session_config_file": "",
    "ssl_config_file": "",
    "use_alts_credentials": False,
    "platform_config_file": "",
    "per_process_gpu_memory_fraction": 0.0,
    "saved_model_tags": "serve",
    "grpc_channel_arguments": "",
    "grpc_max_threads": 4 * CPUS,
    "enable_model_warmup": True,
    "num_request_iterations_for_warmup": 0,
    "version": False,
    "monitoring_config_file": "",
    "remove_unused_fields_from_bundle_metagraph": True,
    "prefer_tflite_model": False,
    "num_tflite_pools": 1,
    "num_tflite_interpreters_per_pool": 1,
    "enable_signature_method_name_check": False,
    "xla_cpu_compilation_enabled": False,
    "xla_gpu_compilation_enabled": False,
    "enable_profiler": True,
    "thread_pool_factory_config_file": "",
    "mixed_precision": "",
    "skip_initialize_tpu": False,
    "enable_grpc_healthcheck_service": False,
    "enable_serialization_as_tensor_content": False,
}
SERVED = {"model_base_path": "/models/m"}


def test_every_flag_has_tensorflow_servings_default():
    assert vars(Flags()) == DEFAULTS


@pytest.mark.parametrize("name", DEFAULTS)
def test_every_flag_is_read_in_each_way_it_can_be_typed(name):
    default = DEFAULTS[name]
    if isinstance(default, bool):
        ways = {
            (f"--{name}",): True,
            (f"--{name}=true",): True,
            (f"--{name}=false",): False,
            (f"--{name}", "false"): False,
            (f"--{name}", "True"): True,
            (f"--{name}", "FALSE"): False,
        }
    else:
        value = "7" if isinstance(default, (int, float)) else "some/text=1"
        expected = type(default)(value)
        ways = {(f"--{name}={value}",): expected, (f"--{name}", value): expected}
    for words, expected in ways.items():
        flags, others = parse_flags(words)
        assert getattr(flags, name) == expected, words
        assert others == ()
        assert flags.given() == ({} if expected == default else {name: expected})


def test_a_flag_that_was_typed_with_its_default_was_typed():
    words = ["a", "--model-name=default", "--port", "8500", "--enable_batching", "false"]
    assert parse_flags(words) == (Flags(), ("a",))
    assert typed_flags(words) == {"model_name", "port", "enable_batching"}


def test_other_words_are_left_in_their_order():
    flags, others = parse_flags(["a", "--port", "1", "b", "--version", "c", "--rest-api-port=2"])
    assert others == ("a", "b", "c")
    assert flags.given() == {"port": 1, "version": True, "rest_api_port": 2}


def test_the_docker_entrypoints_flags_are_read():
    words = [
        *("--port=8500", "--rest_api_port=8501", "--model_name=half_plus_two"),
        *("--model_base_path=/models/half_plus_two", "--tensorflow_intra_op_parallelism=2"),
    ]
    flags, _ = parse_flags(words)
    check_flags(flags)
    assert flags.words() == [
        "--rest_api_port=8501",
        "--model_name=half_plus_two",
        "--model_base_path=/models/half_plus_two",
        "--tensorflow_intra_op_parallelism=2",
    ]


def test_flags_are_spelled_as_the_real_server_reads_them():
    flags, _ = parse_flags(["--enable_batching", "--enable_model_warmup", "false", "--port", "1"])
    words = ["--port=1", "--enable_model_warmup=false", "--enable_batching=true"]
    assert flags.words() == words
    assert parse_flags(words)[0] == flags


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--prot=1"], "no flag --prot. Did you mean '--port'?"),
        (["--model_basepath", "/x"], "Did you mean '--model_base_path'?"),
        (["--rest-api-prot", "1"], "Did you mean '--rest_api_port'?"),
        (["--port=x"], "--port is a whole number, found 'x'"),
        (["--port=70000"], "--port is a port from 1 to 65535, or 0 for none; found 70000"),
        (["--rest_api_port=-1"], "--rest_api_port is a port from 1 to 65535"),
        (["--port"], "--port needs a value: --port=8500"),
        (["--model_base_path"], "--model_base_path needs a value: --model_base_path=MODEL_BASE"),
        (["--enable_batching=yes"], "--enable_batching is true or false, found 'yes'"),
        (["--per_process_gpu_memory_fraction=much"], "is a number, found 'much'"),
        (["--grpc_max_threads=0"], "--grpc_max_threads is 1 or more, found 0"),
        (["--max_num_load_retries=-1"], "--max_num_load_retries is 0 or more, found -1"),
        (["--tensorflow_inter_op_parallelism=-2"], "is -1 or more, found -2"),
        (["--tensorflow_session_parallelism=2147483648"], "is 2147483647 or less, found 2147"),
        (["--grpc_max_threads=99999999999"], "--grpc_max_threads is 2147483647 or less, found 9"),
        (["--load_retry_interval_micros=9223372036854775808"], "is 9223372036854775807 or less"),
        (["--per_process_gpu_memory_fraction=nan"], "is 2147483647 or less, found nan"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_meant_is_answered(words, said):
    with pytest.raises(UsageError) as caught:
        parse_flags(words)
    assert said in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE


def test_the_largest_numbers_that_can_be_meant_are_taken():
    words = ["--tensorflow_inter_op_parallelism=-1", "--load_retry_interval_micros=3000000000"]
    assert parse_flags(words)[0].given() == {
        "tensorflow_inter_op_parallelism": -1,
        "load_retry_interval_micros": 3_000_000_000,
    }


@pytest.mark.parametrize(
    "name", ["file_system_poll_wait_seconds", "model_config_file_poll_wait_seconds"]
)
def test_polling_may_be_turned_off(name):
    flags, _ = parse_flags([f"--{name}=-1"])
    assert flags.given() == {name: -1}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "Both server_options.model_base_path and server_options.model_config_file are empty!"),
        (
            SERVED | {"port": 0},
            "At least one of server_options.grpc_port or server_options.grpc_socket_path",
        ),
        (SERVED | {"batching_parameters_file": "b"}, "without setting"),
        (SERVED | {"enable_per_model_batching_parameters": True}, "without setting"),
        (SERVED | {"use_alts_credentials": True, "ssl_config_file": "s"}, "cannot go together"),
    ],
)
def test_contradictions_are_start_errors(given, said):
    with pytest.raises(StartError) as caught:
        check_flags(Flags(**given))
    assert str(caught.value).startswith("Failed to start server. Error: INVALID_ARGUMENT: ")
    assert said in str(caught.value)


def test_a_socket_may_stand_for_the_port():
    check_flags(Flags(**SERVED, port=0, grpc_socket_path="/tmp/s"))


@pytest.mark.parametrize("name", flags_by_support(Support.REFUSED))
def test_what_is_not_there_yet_is_refused_unless_it_is_the_default(name):
    check_flags(Flags(**SERVED, **{name: DEFAULTS[name]}))
    value = True if isinstance(DEFAULTS[name], bool) else "x"
    with pytest.raises((UsageError, StartError)) as caught:
        check_flags(Flags(**SERVED, **{name: value}))
    if isinstance(caught.value, UsageError):
        said = f"--{name} is not supported by the embedded server yet"
        assert str(caught.value).startswith(said)


@pytest.mark.parametrize("name", flags_by_support(Support.ACCEPTED))
def test_what_cannot_matter_is_accepted(name):
    value = {bool: not DEFAULTS[name], str: "x"}.get(type(DEFAULTS[name]), 3)
    check_flags(Flags(**SERVED, **{name: value}))


def test_each_flag_is_of_one_kind_and_those_that_work_are_shown():
    kinds = [name for support in Support for name in flags_by_support(support)]
    assert sorted(kinds) == sorted(DEFAULTS)
    shown = [re.split("[ =]", typed)[0] for rows in flag_groups().values() for typed, _ in rows]
    assert sorted(shown) == sorted(f"--{name}" for name in flags_by_support(Support.WORKS))


def test_channel_arguments_are_numbers_or_texts():
    text = "grpc.max_connection_age_ms=5000,grpc.primary_user_agent=x=y,a=-1"
    assert channel_arguments(text) == [
        ("grpc.max_connection_age_ms", 5000),
        ("grpc.primary_user_agent", "x=y"),
        ("a", -1),
    ]
    largest = 2**31 - 1
    for value in (largest, -largest - 1):
        assert channel_arguments(f"a={value}") == [("a", value)]
    for value in (largest + 1, -largest - 2, "9" * 5000, "٤", "-"):
        assert channel_arguments(f"a={value}") == [("a", str(value))]
    beyond = channel_arguments("grpc.max_concurrent_streams=99999999999")
    grpc.server(ThreadPoolExecutor(1), options=beyond)  # which takes it, and passes over it
    with pytest.raises(UsageError, match=r"found 'grpc\.max'"):
        channel_arguments("grpc.max")
