"""The client against the embedded server, by REST and by gRPC: the same answers."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import pytest
from models_for_tests import (
    BIAS,
    WEIGHTS,
    write_example_classifier,
    write_half_plus_two,
    write_keras,
    write_saved_module,
    write_strings,
    write_types,
    write_unknown_rank,
)
from ports_for_tests import free_port

from tfapp.errors import ExitCode, UnknownName, UsageError
from tfapp.serving.client import NotServed, TensorInfo, connect
from tfapp.serving.configs import configs_of
from tfapp.serving.flags import Flags
from tfapp.serving.models import State
from tfapp.serving.repository import Repository
from tfapp.serving.server import ModelServer
from tfapp.serving.status import Code, ServingError

ENTRY = """config {{ name: "{}" base_path: "{}" model_platform: "tensorflow"
  model_version_policy {{ all {{}} }} {} }}"""
WRITERS = {
    "half": write_half_plus_two,
    "keras": write_keras,
    "module": write_saved_module,
    "examples": write_example_classifier,
    "strings": write_strings,
    "types": write_types,
    "any rank/ü": write_unknown_rank,
}


@dataclass(frozen=True)
class Served:
    """Where the server of these tests is."""

    rest_port: int
    grpc_port: int

    def url(self, scheme, name, end=""):
        if scheme == "http":
            return f"http://localhost:{self.rest_port}/v1/models/{name}{end}"
        return f"grpc://localhost:{self.grpc_port}/{name}{end}"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    base = tmp_path_factory.mktemp("models")
    entries = []
    for n, (name, write) in enumerate(WRITERS.items()):
        write(base / str(n) / "1")
        label = 'version_labels { key: "stable" value: 1 }' if name == "half" else ""
        entries.append(ENTRY.format(name, base / str(n), label))
    write_half_plus_two(base / "0" / "3")
    config = base / "models.config"
    config.write_text(f"model_config_list {{ {' '.join(entries)} }}")
    flags = Flags(
        port=free_port(),
        rest_api_port=free_port(),
        model_config_file=str(config),
        allow_version_labels_for_unavailable_models=True,
    )
    server = ModelServer(flags, configs_of(flags), drain_seconds=1)
    try:
        assert server.start(lambda: False)
        yield Served(flags.rest_api_port, flags.port)
    finally:
        server.close()


@pytest.fixture(params=["http", "grpc"])
def ask(request, served):
    """Connects to a model by its name, by either protocol."""
    opened = []

    def connected(name, end="", **options):
        opened.append(connect(served.url(request.param, name, end), **options))
        return opened[-1]

    yield connected
    for model in opened:
        model.close()


def test_an_array_or_a_dictionary_is_predicted_for(ask):
    model = ask("keras")
    rows = np.array([[1.0, 2.0], [0.1, -1.0], [1e-7, 3e8]])
    expected = rows.astype(np.float32) @ WEIGHTS + BIAS
    for inputs in (rows, rows.tolist(), {"features": rows.astype(np.float32)}):
        outputs = model.predict(inputs)
        assert list(outputs) == ["output_0"]
        assert outputs["output_0"].dtype == np.float32
        np.testing.assert_allclose(outputs["output_0"], expected, rtol=1e-6)


def test_outputs_are_chosen_by_name(ask):
    model = ask("module")
    both = model.predict([[1.0, 2.0]])
    assert both.keys() == {"best", "scores"}
    assert both["best"].dtype == np.int64
    only = model.predict([[1.0, 2.0]], outputs=["best"])
    assert only.keys() == {"best"}
    np.testing.assert_array_equal(only["best"], [np.argmax(np.array([1.0, 2.0]) @ WEIGHTS + BIAS)])


def test_strings_are_bytes_of_any_content(ask):
    given = np.array([[b"ab\0", "zürich".encode()], [b"\xff", b""]], object)
    outputs = ask("strings").predict(given)
    assert outputs["upper_bytes"].tolist() == [[b"AB\0", "ZüRICH".encode()], [b"\xff", b""]]
    assert outputs["length"].tolist() == [[3, 7], [1, 0]]
    assert ask("strings").predict(["a", "bc"])["upper_bytes"].tolist() == [b"A", b"BC"]
    assert ask("strings").predict("abc")["length"].tolist() == 3, "a scalar stays one"


@pytest.mark.parametrize("dtype", ["float64", "int8", "int64", "uint8", "uint32", "bool"])
def test_values_come_back_as_they_were(ask, dtype):
    info = None if dtype == "bool" else np.iinfo(dtype) if dtype != "float64" else np.finfo(dtype)
    values = [True, False] if info is None else [info.min, info.max, 1]
    given = np.array(values, dtype)
    found = ask("types").predict(given, signature_name=f"echo_{dtype}")["y"]
    assert found.dtype == given.dtype
    np.testing.assert_array_equal(found, given)


def test_what_is_not_finite_comes_back(ask):
    found = ask("types").predict([np.nan, np.inf, -np.inf, -0.0], signature_name="echo_float32")
    np.testing.assert_array_equal(found["y"], np.array([np.nan, np.inf, -np.inf, -0.0], "f4"))


def test_a_batch_of_nothing_goes_by_grpc_for_json_has_no_shape_of_it(served):
    with connect(served.url("grpc", "keras")) as model:
        assert model.predict(np.zeros([0, 2]))["output_0"].shape == (0, 3)


def test_half_goes_by_grpc_and_is_refused_by_rest_in_the_words_of_the_server(ask):
    model = ask("types")
    if model.address.by_grpc:
        found = model.predict([0.5], signature_name="echo_float16")["y"]
        assert (found.dtype, found.tolist()) == (np.float16, [0.5])
        return
    with pytest.raises(ServingError, match="to type: half") as caught:
        model.predict([0.5], signature_name="echo_float16")
    assert caught.value.code is Code.UNIMPLEMENTED


def test_bfloat16_goes_by_grpc_from_lists_too(served):
    with connect(served.url("grpc", "types")) as model:
        for given in ([1.5, -0.1], np.array([1.5, -0.1], ml_dtypes.bfloat16)):
            found = model.predict(given, signature_name="echo_bfloat16")["y"]
            assert found.dtype == ml_dtypes.bfloat16
            assert found.astype(float).tolist() == [1.5, -0.10009765625]
        with pytest.raises(UsageError, match=r"cannot hold 1e\+39"):
            model.predict([1e39], signature_name="echo_bfloat16")


def test_floats_are_rounded_and_nothing_else_is_changed(ask):
    model = ask("types")

    def echo(values, dtype):
        return model.predict(values, signature_name=f"echo_{dtype}")["y"].tolist()

    assert echo([16777217, np.inf, np.nan, True], "float32")[:2] == [16777216.0, np.inf]
    for values, dtype, told in [
        ([1e300], "float32", r"1e\+300"),
        ([1.0, -1e39], "float32", r"-1e\+39"),
        ([70000], "float16", "70000"),
        ([1, 1 + 5j], "float32", r"\(1\+5j\)"),
        ([1 + 5j], "int32", r"\(1\+5j\)"),
        ([np.nan], "int32", "nan"),
        ([2], "bool", "2"),
        ([-1], "uint64", "-1"),
        ([2**63], "int64", str(2**63)),
    ]:
        with pytest.raises(UsageError, match=rf"input 'x' is {dtype} .*cannot hold {told}\.$"):
            echo(values, dtype)
    assert echo([1 + 0j, 2], "float32") == [1.0, 2.0]
    assert echo([1 + 0j, 2], "int32") == [1, 2]
    with pytest.raises(UsageError, match=r"input 'x' is float32 .*the values are \[\('a'"):
        echo(np.zeros(1, [("a", int)]), "float32")


def test_examples_are_classified_and_regressed(ask):
    results = ask("examples").classify([{"x": [1.5, -2.0], "name": "a"}, {"x": np.float32([0, 1])}])
    assert results == [[("a:first", 1.5), ("a:second", -2.0)], [(":first", 0.0), (":second", 1.0)]]
    half = ask("half")
    found = half.regress([{"x": 3.0}, {"x": [5.0]}], signature_name="regress_x_to_y")
    assert (found.dtype, found.tolist()) == (np.float32, [3.5, 4.5])
    with_context = {"signature_name": "regress_x2_to_y3", "context": {"x2": 8.0}}
    assert half.regress([{"x": 0.0}, {"x": 0.0, "x2": 2.0}], **with_context).tolist() == [7.0, 4.0]
    assert half.classify([{"x": 2.0}], signature_name="classify_x_to_y") == [[("", 3.0)]]
    with pytest.raises(ServingError) as caught:
        half.regress([{"x": 3}], signature_name="regress_x_to_y")
    assert caught.value.code is Code.INVALID_ARGUMENT, "3 is an integer feature"


def test_metadata_tells_signatures(ask):
    model = ask("half")
    metadata = model.metadata()
    assert (metadata.name, metadata.version) == ("half", 3)
    assert set(metadata.signatures) >= {"serving_default", "regress_x_to_y", "classify_both"}
    signature = metadata.signatures["classify_both"]
    assert signature.method_name == "tensorflow/serving/classify"
    assert signature.inputs == {"inputs": TensorInfo("string", (None,))}
    assert signature.outputs["scores"] == TensorInfo("float32", (None, 2))
    assert str(ask("keras").signature()) == "features float32 [?, 2] -> output_0 float32 [?, 3]"
    assert ask("any%20rank%2F%C3%BC").signature().inputs["x"] == TensorInfo("float32", None)
    assert "__saved_model_init_op" not in ask("module").metadata().signatures


def test_a_version_or_a_label_is_asked_for(ask):
    for end, version in (("", 3), ("/versions/1", 1), ("/labels/stable", 1), ("?label=stable", 1)):
        model = ask("half", end)
        assert model.metadata().version == version
        assert model.predict({"x": [[1.0]]})["y"].tolist() == [[2.5]]
    statuses = ask("half").status()
    assert [(s.version, s.state, s.code) for s in statuses] == [
        (3, State.AVAILABLE, Code.OK),
        (1, State.AVAILABLE, Code.OK),
    ]


def test_what_is_not_served_is_told_with_what_is(ask):
    with pytest.raises(NotServed, match=r"^Servable not found for request: Latest\(kears\)") as one:
        ask("kears").predict([[1.0, 2.0]])
    assert (one.value.code, one.value.exit_code) == (Code.NOT_FOUND, ExitCode.MISSING)
    if "http" in ask("half").url:
        assert "Did you mean 'keras'?" in str(one.value)
    with pytest.raises(NotServed, match=r"Specific\(half, 2\)\. Versions of half .*: 1, 3\.$"):
        ask("half", "/versions/2").predict([[1.0]])
    with pytest.raises(ServingError, match="Unrecognized servable version label: old") as caught:
        ask("half", "/labels/old").predict([[1.0]])
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_what_the_server_does_not_tell_is_asked_for(ask, monkeypatch):
    """TensorFlow Serving says no more than that something is not there."""
    monkeypatch.setattr(Repository, "acquire", bare_refusal)
    with pytest.raises(NotServed, match=r"Specific\(half, 2\)\. Versions: 3 AVAILABLE, 1 AVAIL"):
        ask("half", "/versions/2").predict([[1.0]])
    if "http" in ask("half").url:
        with pytest.raises(NotServed, match=r"Did you mean 'keras'\? Served: half, keras, module,"):
            ask("kears", "/versions/2").predict([[1.0, 2.0]])


def bare_refusal(repository, spec):
    asked = f"Specific({spec.name}, {spec.version})"
    raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {asked}")


def test_a_mistake_in_a_request_is_told_before_or_by_the_server(ask):
    model = ask("module")
    with pytest.raises(UnknownName, match=r"no signature named 'serving_defualt'\. Did you mean"):
        model.predict([[1.0, 2.0]], signature_name="serving_defualt")
    with pytest.raises(UnknownName, match=r"no output named 'score'\. Did you mean 'scores'"):
        model.predict([[1.0, 2.0]], outputs=["score"])
    with pytest.raises(UnknownName, match=r"no input named 'X'\. Did you mean 'x'"):
        model.predict({"X": [[1.0, 2.0]]})
    with pytest.raises(UsageError, match=r"input 'x' is float32 .*the values are <U1"):
        model.predict([["a", "b"]])
    with pytest.raises(UsageError, match="the values have no shape"):
        model.predict([[1.0], [2.0, 3.0]])
    with pytest.raises(
        ServingError, match=r"Matrix size-incompatible|must be compatible"
    ) as caught:
        model.predict([[1.0, 2.0, 3.0]])
    assert caught.value.code is Code.INVALID_ARGUMENT
    types = ask("types")
    with pytest.raises(UsageError, match="input 'x' is uint8 of any shape, which cannot hold 300"):
        types.predict([1, 300], signature_name="echo_uint8")
    with pytest.raises(UsageError, match=r"cannot hold 0\.5"):
        types.predict([1.0, 0.5], signature_name="echo_int64")
    assert types.predict([1.0], signature_name="echo_int64")["y"].tolist() == [1]
    for texts in ([None], ["a", 1], [["a", b"b"], [1.5, "c"]], np.array(["a", 2], object)):
        with pytest.raises(UsageError, match=r"input 'text' is string .*found (None|1|1\.5|2)\.$"):
            ask("strings").predict(texts)
    with pytest.raises(UsageError, match=r"input 'text' is string .*the values are int64"):
        ask("strings").predict([1, 2])
    with pytest.raises(UsageError, match="feature 'x' holds None"):
        ask("examples").classify([{"x": None}])


def test_what_was_closed_is_opened_again_by_the_next_request(ask):
    model = ask("keras")
    for _ in range(2):
        np.testing.assert_allclose(model.predict([[0.0, 0.0]])["output_0"], [BIAS])
        model.close()
    model.close()


def test_a_url_without_a_model_is_that_of_a_server_with_one(served, tmp_path):
    url = f"http://localhost:{served.rest_port}"
    with pytest.raises(
        UsageError, match=rf"serves half, keras, .*; name one: {url}/v1/models/half"
    ):
        connect(url)
    write_keras(tmp_path / "1")
    flags = Flags(
        port=free_port(),
        rest_api_port=free_port(),
        model_name="only",
        model_base_path=str(tmp_path),
    )
    server = ModelServer(flags, configs_of(flags), drain_seconds=1)
    try:
        assert server.start(lambda: False)
        with connect(f"http://localhost:{flags.rest_api_port}") as model:
            assert model.url == f"http://localhost:{flags.rest_api_port}/v1/models/only"
            np.testing.assert_allclose(model.predict([[0.0, 0.0]])["output_0"], [BIAS])
    finally:
        server.close()


def test_rest_asks_without_tensorflow(served):
    script = (
        "import sys; from tfapp.serving.client import connect\n"
        f"with connect({served.url('http', 'keras')!r}) as model:\n"
        "    print(model.predict([[0.0, 0.0]])['output_0'].tolist(), model.status()[0].version)\n"
        "    print(model.metadata().version)\n"
        "print(sorted({'tensorflow', 'grpc', 'keras'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"{[BIAS.tolist()]} 1", "1", "[]"], done.stderr
