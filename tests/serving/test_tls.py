"""Encryption by TensorFlow Serving's `--ssl_config_file`, asked by real clients over real ports.

The certificates beside this file were made with OpenSSL and are good until 2120: `server` and
`client` are signed by `authority`, `stranger` by itself; `locked.key` has a password.
"""

from __future__ import annotations

import http.client
import json
import ssl
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
import tensorflow as tf
from models_for_tests import write_half_plus_two
from ports_for_tests import free_port
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tfapp.errors import ExitCode
from tfapp.serving.configs import configs_of
from tfapp.serving.flags import Flags
from tfapp.serving.options import ServerOptions
from tfapp.serving.server import ModelServer
from tfapp.serving.status import Code, ServingError
from tfapp.serving.tls import encryption

CERTIFICATES = Path(__file__).parent / "certificates"
GOOD = {"server_key": "server.key", "server_cert": "server.pem"}
BODY = json.dumps({"instances": [1.0, 2.0]})


def pem(name):
    return (CERTIFICATES / name).read_text()


def write_config(file, verify=False, **names):
    """Writes an SSLConfig with the content of files, or with words that are no file."""
    lines = [
        f'{field}: "{pem(name) if (CERTIFICATES / name).is_file() else name}"'
        for field, name in names.items()
    ]
    file.write_text("\n".join([*lines, f"client_verify: {str(verify).lower()}"]))
    return str(file)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_half_plus_two(tmp_path_factory.mktemp("tls") / "half" / "1").parent


@contextmanager
def running(base, config, *, rest_tls=False, **given):
    flags = Flags(
        rest_api_port=free_port(),
        model_name="half",
        model_base_path=str(base),
        ssl_config_file=config,
        **({"port": free_port()} | given),
    )
    options = ServerOptions(rest_tls=rest_tls)
    server = ModelServer(flags, configs_of(flags), options=options, drain_seconds=5)
    try:
        assert server.start(lambda: False)
        yield flags
    finally:
        server.close()


def predict(address, credentials):
    """Asks by gRPC; gives the answer, or the code it failed with."""
    if credentials is None:
        channel = grpc.insecure_channel(address)
    else:
        # For a socket, which has no name that a certificate could be for.
        options = [("grpc.ssl_target_name_override", "localhost")]
        channel = grpc.secure_channel(address, credentials, options)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "half"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([[1.0], [2.0]], tf.float32))
    with channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        try:
            return list(stub.Predict(request, timeout=30).outputs["y"].float_val)
        except grpc.RpcError as error:
            return error.code()


def grpc_trust(authority="authority.pem", client=None):
    pair = [pem(f"{client}.{end}").encode() for end in ("key", "pem")] if client else [None] * 2
    return grpc.ssl_channel_credentials(pem(authority).encode(), *pair)


def ask(port, context=None):
    """Asks by REST; gives the answer, or the error."""
    if context is None:
        connection = http.client.HTTPConnection("localhost", port, timeout=30)
    else:
        connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=context)
    try:
        connection.request("POST", "/v1/models/half:predict", BODY)
        return json.loads(connection.getresponse().read())["predictions"]
    except (OSError, http.client.HTTPException) as error:
        return type(error)
    finally:
        connection.close()


def rest_trust(authority="authority.pem", client=None):
    context = ssl.create_default_context(cafile=CERTIFICATES / authority)
    if client:
        context.load_cert_chain(CERTIFICATES / f"{client}.pem", CERTIFICATES / f"{client}.key")
    return context


def test_grpc_is_encrypted_and_rest_is_not(base, tmp_path):
    socket = f"unix:{tmp_path / 's'}"
    config = write_config(tmp_path / "ssl.config", **GOOD)
    with running(base, config, grpc_socket_path=str(tmp_path / "s")) as flags:
        address = f"localhost:{flags.port}"
        assert predict(address, grpc_trust()) == [2.5, 3.0]
        assert predict(socket, grpc_trust()) == [2.5, 3.0]
        assert predict(address, None) is grpc.StatusCode.UNAVAILABLE
        assert predict(socket, None) is grpc.StatusCode.UNAVAILABLE
        assert predict(address, grpc_trust("stranger.pem")) is grpc.StatusCode.UNAVAILABLE
        assert ask(flags.rest_api_port) == [2.5, 3.0]


def test_rest_is_encrypted_where_it_is_asked_for(base, tmp_path):
    config = write_config(tmp_path / "ssl.config", **GOOD)
    with running(base, config, rest_tls=True) as flags:
        assert ask(flags.rest_api_port, rest_trust()) == [2.5, 3.0]
        assert ask(flags.rest_api_port, rest_trust("stranger.pem")) is ssl.SSLCertVerificationError
        assert isinstance(ask(flags.rest_api_port), type), "without encryption there is no answer"


def test_only_clients_with_a_certificate_are_let_in(base, tmp_path):
    config = write_config(tmp_path / "ssl.config", True, **GOOD, custom_ca="authority.pem")
    with running(base, config, rest_tls=True) as flags:
        address = f"localhost:{flags.port}"
        assert predict(address, grpc_trust(client="client")) == [2.5, 3.0]
        assert ask(flags.rest_api_port, rest_trust(client="client")) == [2.5, 3.0]
        for other in (None, "stranger"):
            assert predict(address, grpc_trust(client=other)) is grpc.StatusCode.UNAVAILABLE
            assert isinstance(ask(flags.rest_api_port, rest_trust(client=other)), type)


def test_certificates_of_clients_are_not_asked_for_unless_they_are_verified(base, tmp_path):
    config = write_config(tmp_path / "ssl.config", **GOOD, custom_ca="authority.pem")
    with running(base, config, rest_tls=True) as flags:
        for client in (None, "client", "stranger"):
            assert predict(f"localhost:{flags.port}", grpc_trust(client=client)) == [2.5, 3.0]
        assert ask(flags.rest_api_port, rest_trust()) == [2.5, 3.0]


WRONG = {
    "of another pair": (GOOD | {"server_key": "stranger.key"}, "server_cert does not belong to"),
    "no key": ({"server_cert": "server.pem"}, "server_key is empty. Give it as PEM"),
    "no certificate": ({"server_key": "server.key"}, "server_cert is empty. Give it as PEM"),
    "key is no PEM": (
        GOOD | {"server_key": "nonsense"},
        "server_key is no private key in PEM form",
    ),
    "key is a certificate": (GOOD | {"server_key": "server.pem"}, "server_key is no private key"),
    "key has a password": (GOOD | {"server_key": "locked.key"}, "without a password"),
    "certificate is no PEM": (GOOD | {"server_cert": "nonsense"}, "server_cert is no certificate"),
    "certificate is a key": (GOOD | {"server_cert": "server.key"}, "server_cert is no certificate"),
    "authority is no PEM": (GOOD | {"custom_ca": "nonsense"}, "custom_ca is no certificate"),
    "authority is no ASCII": (GOOD | {"custom_ca": "Ärger"}, "custom_ca is no certificate"),
    "nobody to verify by": (GOOD | {"verify": True}, "client_verify needs custom_ca"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_encrypt_is_refused(tmp_path, case):
    given, said = WRONG[case]
    config = write_config(tmp_path / "ssl.config", **given)
    with pytest.raises(ServingError) as caught:
        encryption(config)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert str(caught.value).startswith(f"{config}: ")
    assert said in str(caught.value)
    assert "BEGIN" not in str(caught.value)
    assert encryption("") is None


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (None, "cannot read the SSL config file ssl.config: No such file"),
        ("ssl_key: 'x'", "ssl.config:1:1: "),
        ("stranger.key", "server_cert does not belong to server_key"),
    ],
)
def test_a_server_does_not_start_with_a_mistake(cli, base, tmp_path, config, said):
    file = tmp_path / "ssl.config"
    if config == "stranger.key":
        write_config(file, **GOOD | {"server_key": config})
    elif config:
        file.write_text(config)
    result = cli("serve", base, "--ssl_config_file", "ssl.config", f"--port={free_port()}")
    assert result.code == ExitCode.NOT_STARTED
    assert result.err.startswith("error: Failed to start server. Error: INVALID_ARGUMENT: ")
    assert said in result.err
    assert "Traceback" not in result.err
    assert result.out == ""


@pytest.mark.parametrize("words", [(), ("--ssl_config_file=x", "--rest_api_port=0")])
def test_rest_cannot_be_encrypted_without_a_certificate_or_a_port(cli, base, words):
    result = cli("serve", base, "--rest-tls", *words)
    assert result.code == ExitCode.USAGE
    assert result.err.startswith("error: --rest_tls needs --ssl_config_file")
