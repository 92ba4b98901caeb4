"""Requests no honest client sends, mostly without sockets: see benchmarks/serving_hostile.py."""

from __future__ import annotations

import asyncio
import json

import grpc
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from programs_for_tests import program

from tfapp.serving.configs import ModelConfig
from tfapp.serving.http1 import HttpRequest
from tfapp.serving.repository import Repository, RepositoryOptions
from tfapp.serving.rest import RestApp
from tfapp.serving.rpc import add_services, make_server
from tfapp.serving.servable import load_servable

hostile = program("hostile_requests")
serving_hostile = program("serving_hostile")

SERVER_ERRORS = (501, 503, 504)  # those of the contract
MISTAKES = (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE)
NO_MESSAGE = "Exception deserializing request!"
RIGHT = b'{"signature_name": "floats", "instances": [[1.5, 2.0]]}'
# Those that take seconds are left to the program; test_json_parsing.py has some of them.
SLOW = {
    *("nested lists", "nested instances", "nested objects", "unclosed lists"),
    *("a million empty lists", "gzip of 3 MB of lists"),
}
BODIES = {name: body for name, body in hostile.large_bodies().items() if name not in SLOW}
GZIP_BODIES = {name: body for name, body in hostile.gzip_bodies().items() if name not in SLOW}
MESSAGES = hostile.large_messages()
# The same in every process, and without a time limit on a machine that has other work.
many = settings(
    max_examples=300,
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    base = tmp_path_factory.mktemp("hostile") / hostile.MODEL
    base.mkdir()
    serving_hostile.write_echo(base)
    models = Repository(load_servable, RepositoryOptions(poll_seconds=0))
    models.serve([ModelConfig(hostile.MODEL, base)])
    yield models
    models.close()


@pytest.fixture(scope="module")
def post(models):
    app = RestApp(models)
    loop = asyncio.new_event_loop()

    async def answered(request):
        reply = loop.create_future()
        app.answer(request, reply.set_result)
        return await reply

    def post(body, verb="predict", **headers):
        lower = {name.replace("_", "-").encode(): v.encode() for name, v in headers.items()}
        path = f"/v1/models/{hostile.MODEL}:{verb}"
        answer = loop.run_until_complete(answered(HttpRequest("POST", path, b"", lower, body)))
        return answer.status, answer.body

    yield post
    loop.close()


@pytest.fixture(scope="module")
def call(models):
    server = make_server(threads=2)
    add_services(server, models, models.reload)
    port = server.add_insecure_port("localhost:0")
    server.start()
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(f"localhost:{port}", options=options) as channel:
        yield channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    server.stop(None).wait()


def check(status, answer):
    if status == 200:
        return
    assert status < 500 or status in SERVER_ERRORS, answer
    assert list(json.loads(answer)) == ["error"]


def check_rpc(call, message):
    try:
        call(message, timeout=60)
    except grpc.RpcError as error:
        if error.code() in MISTAKES:
            assert error.details() == NO_MESSAGE, (error.code(), error.details())


def test_no_body_is_a_mistake_of_the_server(post):
    @many
    @given(hostile.bodies())
    def each(body):
        check(*post(body))
        check(*post(body, "classify"))
        check(*post(body, "regress"))

    each()
    assert post(RIGHT) == (200, b'{"predictions":[[1.5,2.0]]}')


def test_no_message_is_a_mistake_of_the_server(call):
    @many
    @given(hostile.messages())
    def each(message):
        check_rpc(call, message)

    each()


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_large_to_read_is_answered(post, name):
    check(*post(BODIES[name]))
    assert post(RIGHT)[0] == 200


@pytest.mark.parametrize("name", GZIP_BODIES)
def test_a_hostile_gzip_body_is_answered(post, name):
    check(*post(GZIP_BODIES[name], content_encoding="gzip"))
    assert post(RIGHT)[0] == 200


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_that_asks_for_too_much_is_refused(call, name):
    with pytest.raises(grpc.RpcError) as refused:
        call(MESSAGES[name], timeout=60)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "tensor parsing error: x" in refused.value.details()
