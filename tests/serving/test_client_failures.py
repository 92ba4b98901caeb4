"""The client when the server is gone, answers nonsense, is slow, or wants encryption."""

from __future__ import annotations

import json
import re
import socket
import ssl
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
from models_for_tests import BIAS, write_keras
from ports_for_tests import free_port
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

from tfapp.errors import ExitCode
from tfapp.serving.client import NotServed, Unreachable, connect
from tfapp.serving.configs import configs_of
from tfapp.serving.flags import Flags
from tfapp.serving.models import State
from tfapp.serving.server import ModelServer
from tfapp.serving.status import Code, ServingError

CERTIFICATES = Path(__file__).parent / "certificates"
TENSOR = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}], "unknown_rank": False}}
METADATA = {
    "model_spec": {"name": "m", "signature_name": "", "version": "1"},
    "metadata": {
        "signature_def": {
            "signature_def": {
                "serving_default": {
                    "inputs": {"x": TENSOR},
                    "outputs": {"y": TENSOR, "z": TENSOR},
                    "method_name": "tensorflow/serving/predict",
                }
            }
        }
    },
}
DROP = b""  # close the connection without a byte


def http(content, status="200 OK", length=None):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Length: {length or len(body)}\r\n\r\n"
    return head.encode() + body


@contextmanager
def answering(*answers, seconds=0.0, context=None, reset=False):
    """A server of scripted answers, one a connection; gives its port and the requests it got."""
    listener = socket.create_server(("localhost", 0))
    requests = []

    def serve():
        for answer in answers:
            try:
                connection, _ = listener.accept()
                if context is not None:
                    connection = context.wrap_socket(connection, server_side=True)
            except OSError:
                continue
            with connection:
                requests.append(received(connection))
                time.sleep(seconds)
                connection.sendall(answer)
                if reset:
                    time.sleep(0.5)  # so that what was sent is read before the reset undoes it
                    now = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], requests
    finally:
        listener.close()


def received(connection):
    """Returns a request, whose body may come after its head."""
    content = connection.recv(65536)
    head, _, body = content.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head.lower())
    while length and len(body) < int(length[1]):
        body += (piece := connection.recv(65536))
        content += piece
        assert piece, content
    return content


def model_at(port, scheme="http", **options):
    path = "/m" if scheme.startswith("grpc") else "/v1/models/m"
    return connect(f"{scheme}://localhost:{port}{path}", **options)


def test_a_connection_lost_before_a_byte_is_tried_again():
    with answering(DROP, DROP, http(METADATA)) as (port, requests):
        assert model_at(port).metadata().version == 1
        assert len(requests) == 3
        assert len(set(requests)) == 1


def test_it_is_not_tried_for_ever():
    with answering(*[DROP] * 9) as (port, requests):
        with pytest.raises(Unreachable, match=r"closes the connection.*grpc://localhost:\d+/NAME"):
            model_at(port).metadata()
        assert len(requests) == 3


SETTINGS = b"\0\0\0\4\0" + b"\0" * 4  # all that a server of HTTP/2 must say


@contextmanager
def dropping_grpc():
    """A server that closes each connection when a request is there; gives its port and these."""
    listener = socket.create_server(("localhost", 0))
    requests = []

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as frames:
                connection.sendall(SETTINGS)
                frames.read(len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
                while head := frames.read(9):
                    content = frames.read(int.from_bytes(head[:3], "big"))
                    if head[3] == 0:  # DATA
                        requests.append(content)
                        break

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1], requests
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_a_grpc_connection_lost_before_an_answer_is_tried_again():
    with dropping_grpc() as (port, requests), model_at(port, "grpc") as model:
        with pytest.raises(Unreachable, match="closes the connection, or does not speak gRPC"):
            model.status()
        assert len(requests) == 3
        assert len(set(requests)) == 1


def test_what_a_grpc_server_says_itself_is_not_asked_for_again():
    class Busy(model_service_pb2_grpc.ModelServiceServicer):
        def GetModelStatus(self, request, context):
            asked.append(request)
            context.abort(grpc.StatusCode.UNAVAILABLE, "busy: a, b")

    asked = []
    with grpc_server(Busy()) as port, model_at(port, "grpc") as model:
        with pytest.raises(ServingError, match=r"^busy: a, b$") as caught:
            model.status()
        assert (caught.value.code, len(asked)) == (Code.UNAVAILABLE, 1)
        assert not isinstance(caught.value, Unreachable)


class Failure(grpc.RpcError):
    """How gRPC tells that there is no connection."""

    def __init__(self, text):
        self._text = text

    def code(self):
        return grpc.StatusCode.UNAVAILABLE

    def details(self):
        return self._text


@pytest.mark.parametrize(
    ("text", "tries", "said"),
    [
        ("ipv4:10.0.0.1:9: connect: No route to host (113)", 3, "^cannot reach localhost:1: fail"),
        ("ipv4:10.0.0.1:9: connection attempt timed out before receiving SETTINGS", 3, "^cannot r"),
        ("ipv4:10.0.0.1:9: Connection refused", 3, "^nothing listens on localhost:1"),
        ("ipv4:10.0.0.1:9: Socket closed", 3, "closes the connection, or does not speak gRPC"),
        ("Trying to connect an http1.x server", 1, "^localhost:1 does not speak gRPC, or not grpc"),
        ("Tls handshake failed: WRONG_VERSION_NUMBER", 1, "^localhost:1 does not speak gRPC, or"),
        ("SSL_ERROR_SSL: CERTIFICATE_VERIFY_FAILED", 1, "is not trusted"),
    ],
)
def test_why_grpc_has_no_connection_is_told(monkeypatch, text, tries, said):
    def failing(request, **options):
        asked.append(request)
        raise Failure(f"failed to connect to all addresses; last error: {text}")

    asked = []
    monkeypatch.setattr("tfapp.serving.client.over_grpc.PAUSES_S", (0, 0))
    stub = SimpleNamespace(GetModelStatus=failing)
    monkeypatch.setattr(model_service_pb2_grpc, "ModelServiceStub", lambda channel: stub)
    with model_at(1, "grpc") as model, pytest.raises(Unreachable, match=said):
        model.status()
    assert len(asked) == tries


def test_an_answer_that_breaks_off_is_not_asked_for_again():
    with answering(http(METADATA, length=9999), http(METADATA)) as (port, requests):
        with pytest.raises(Unreachable, match=r"broke off its answer after \d+ bytes"):
            model_at(port).metadata()
        assert len(requests) == 1


def test_an_answer_that_is_reset_is_not_asked_for_again():
    with answering(http(METADATA, length=9999), http(METADATA), reset=True) as (port, requests):
        with pytest.raises(Unreachable, match="broke off its answer"):
            model_at(port).metadata()
        assert len(requests) == 1


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_nobody_listens(scheme):
    port = free_port()
    with pytest.raises(
        Unreachable, match=rf"nothing listens on localhost:{port}\. Start"
    ) as caught:
        model_at(port, scheme).status()
    usual = {"http": "REST is usually on 8501", "grpc": "gRPC is usually on 8500"}[scheme]
    assert usual in str(caught.value)
    assert (caught.value.code, caught.value.exit_code) == (Code.UNAVAILABLE, ExitCode.MISSING)


def test_a_machine_that_there_is_not():
    with pytest.raises(Unreachable, match=r"no machine named 'nowhere\.invalid' is known"):
        connect("http://nowhere.invalid/v1/models/m").status()
    with pytest.raises(Unreachable, match=r"nowhere\.invalid"):
        connect("grpc://nowhere.invalid/m").status()
    with pytest.raises(Unreachable, match=r"cannot reach no\.\.where:80"):
        connect("http://no..where/v1/models/m").status()


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_waiting_ends_with_the_timeout(scheme):
    with answering(http(METADATA), seconds=30.0) as (port, _):
        began = time.monotonic()
        with pytest.raises(ServingError, match=r"did not answer within 0\.3 s") as caught:
            model_at(port, scheme, timeout_s=0.3).metadata()
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (http(b"<html>", "404 Not Found"), Code.UNAVAILABLE, "is not answered by a model server"),
        (
            http({"detail": "Not Found"}, "404 Not Found"),
            Code.UNAVAILABLE,
            "HTTP 404 Not Found, wi",
        ),
        (http(b"<html>welcome"), Code.UNAVAILABLE, "HTTP 200 OK, without the JSON of one"),
        (http({"hello": 1}), Code.UNAVAILABLE, "/metadata is not what a model server says"),
        (http(b"", "301 Moved Permanently"), Code.UNAVAILABLE, "HTTP 301 Moved Permanently"),
        (http(b"<html>", "503 Unavailable"), Code.UNAVAILABLE, "answers HTTP 503 Unavailable"),
        (http(b"", "401 Unauthorized"), Code.UNAUTHENTICATED, "answers HTTP 401 Unauthorized"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Code.UNAVAILABLE, "does not speak HTTP"),
        (http({"error": "busy: a, b"}, "503 x"), Code.UNAVAILABLE, "^busy: a, b$"),
        (http({"error": "late"}, "504 x"), Code.DEADLINE_EXCEEDED, "^late$"),
        (http({"error": "odd"}, "418 x"), Code.UNKNOWN, "^odd$"),
    ],
    ids=["html", "json", "page", "key", "moved", "gateway", "login", "ssh", "busy", "late", "odd"],
)
def test_what_is_answered_is_told(answer, code, said):
    with answering(answer) as (port, _), pytest.raises(ServingError, match=said) as caught:
        model_at(port).metadata()
    assert caught.value.code is code


def test_tensorflow_serving_has_no_list_so_the_text_is_all_there_is():
    missing = http({"error": "Servable not found for request: Latest(m)"}, "404 Not Found")
    with (
        answering(missing, http(b"Not Found", "404 Not Found"), missing) as (port, _),
        pytest.raises(NotServed, match=r"^Servable not found for request: Latest\(m\)$"),
    ):
        model_at(port).metadata()
    with (
        answering(http(b"Not Found", "404 Not Found")) as (port, _),
        pytest.raises(NotServed, match=rf"name the model: http://localhost:{port}/v1/models/NAME"),
    ):
        connect(f"http://localhost:{port}")


def test_outputs_are_chosen_here_where_the_server_does_not_know_the_filter():
    answer = http({"outputs": {"y": [1.0], "z": [2.0]}})
    with answering(http(METADATA), answer) as (port, requests):
        outputs = model_at(port).predict([0.0], outputs=["z"])
    assert {name: value.tolist() for name, value in outputs.items()} == {"z": [2.0]}
    assert json.loads(requests[1].split(b"\r\n\r\n")[1])["output_filter"] == ["z"]


def test_ctrl_c_does_not_leave_the_answer_to_the_next_request(monkeypatch):
    """The connection is given up: what it still brings answers nobody."""
    with answering(http(METADATA), http(METADATA)) as (port, requests):
        model = model_at(port)
        with monkeypatch.context() as context:
            context.setattr("http.client.HTTPResponse.begin", interrupted)
            with pytest.raises(KeyboardInterrupt):
                model.metadata()
        assert model.metadata().version == 1
        assert len(requests) == 2


def interrupted(response):
    raise KeyboardInterrupt


def test_what_is_said_before_the_body_was_read_is_told():
    refusal = http({"error": "too large"}, "413 Content Too Large")
    with answering(http(METADATA), refusal, refusal) as (port, requests):
        model = model_at(port)
        model.metadata()
        with pytest.raises(ServingError, match=r"^too large$") as caught:
            model.predict(np.zeros(10_000_000, np.float32))
        assert caught.value.code is Code.RESOURCE_EXHAUSTED
        assert len(requests) == 2


class OtherModels(model_service_pb2_grpc.ModelServiceServicer):
    """Tells of a version whose number is how many requests brought the header."""

    def __init__(self):
        self.count = 0

    def GetModelStatus(self, request, context):
        self.count += ("authorization", "Bearer x") in context.invocation_metadata()
        answer = get_model_status_pb2.GetModelStatusResponse()
        answer.model_version_status.add(version=self.count, state=State.AVAILABLE)
        return answer


@contextmanager
def grpc_server(models=None, *, secure=False, client=False):
    """A model server that has no predictions; gives its port."""
    server = grpc.server(ThreadPoolExecutor(2))
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(models or OtherModels(), server)
    key, chain, roots = (
        (CERTIFICATES / name).read_bytes() for name in ("server.key", "server.pem", "authority.pem")
    )
    if secure:
        credentials = grpc.ssl_server_credentials([(key, chain)], roots, client)
        port = server.add_secure_port("localhost:0", credentials)
    else:
        port = server.add_insecure_port("localhost:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None)


def test_grpc_checks_a_certificate_shows_its_own_and_sends_headers():
    ca, own = CERTIFICATES / "authority.pem", ("server.pem", "server.key")
    certificate = tuple(CERTIFICATES / name for name in own)
    options = {"ca": ca, "certificate": certificate, "headers": {"Authorization": "Bearer x"}}
    with grpc_server(secure=True, client=True) as port:
        with model_at(port, "grpcs", **options) as model:
            assert [model.status()[0].version for _ in range(2)] == [1, 2]
        with (
            model_at(port, "grpcs") as model,
            pytest.raises(Unreachable, match=r"is not trusted\. Give .*connect\(url, ca=FILE\)"),
        ):
            model.status()
        with model_at(port, "grpcs", ca=ca) as model, pytest.raises(Unreachable):
            model.status()


def test_grpc_that_is_no_model_server_is_told():
    with (
        grpc_server() as port,
        model_at(port, "grpc") as model,
        pytest.raises(Unreachable, match=r"speaks gRPC, but is no model server"),
    ):
        model.metadata()


def test_headers_are_sent():
    with answering(http(METADATA)) as (port, requests):
        model_at(port, headers={"Authorization": "Bearer x"}).metadata()
    assert b"Authorization: Bearer x\r\n" in requests[0]


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_server_that_was_restarted_is_found_again(tmp_path, scheme):
    write_keras(tmp_path / "1")
    ports = {"http": free_port(), "grpc": free_port()}
    flags = Flags(
        port=ports["grpc"],
        rest_api_port=ports["http"],
        model_name="m",
        model_base_path=str(tmp_path),
    )
    with model_at(ports[scheme], scheme) as model:
        for _ in range(2):
            server = ModelServer(flags, configs_of(flags), drain_seconds=1)
            try:
                assert server.start(lambda: False)
                np.testing.assert_allclose(model.predict([[0.0, 0.0]])["output_0"], [BIAS])
            finally:
                server.close()
        with pytest.raises(Unreachable):
            model.status()


@pytest.mark.parametrize(("scheme", "other"), [("http", "grpc"), ("grpc", "http")])
def test_the_port_of_the_other_protocol(tmp_path, scheme, other):
    write_keras(tmp_path / "1")
    ports = {"http": free_port(), "grpc": free_port()}
    flags = Flags(port=ports["grpc"], rest_api_port=ports["http"], model_base_path=str(tmp_path))
    server = ModelServer(flags, configs_of(flags), drain_seconds=1)
    try:
        assert server.start(lambda: False)
        with pytest.raises(
            Unreachable, match=rf"does not speak.*{other}://localhost:{ports[other]}"
        ):
            model_at(ports[other], scheme).status()
        for secure in ("https", "grpcs"):
            plain = secure.removesuffix("s")
            with pytest.raises(Unreachable, match=rf"{plain}://"):
                model_at(ports[plain], secure).status()
    finally:
        server.close()


def test_a_certificate_is_checked():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server.key")
    with answering(*[http(METADATA)] * 9, context=context) as (port, _):
        model = model_at(port, "https", ca=CERTIFICATES / "authority.pem")
        assert model.metadata().version == 1
        with pytest.raises(Unreachable, match=r"is not trusted: .*connect\(url, ca=FILE\)"):
            model_at(port, "https").metadata()
        with pytest.raises(Unreachable, match="https://"):
            model_at(port).metadata()
