from __future__ import annotations

import gzip
import http.client
import json

import numpy as np
import pytest
import tensorflow as tf
from ports_for_tests import free_port

from tfapp.serving.compression import compressed, is_worth_it
from tfapp.serving.configs import configs_of
from tfapp.serving.flags import Flags
from tfapp.serving.http1 import HttpAnswer, HttpRequest
from tfapp.serving.options import ServerOptions
from tfapp.serving.server import ModelServer

LONG = json.dumps({"predictions": list(range(2000))}).encode()


def answered(body, accept=None, status=200):
    """Sends an answer through the compression; returns its headers and body."""
    headers = {} if accept is None else {b"accept-encoding": accept.encode()}
    request = HttpRequest("POST", "/", b"", headers, b"")
    answer = HttpAnswer(status, body, ((b"content-type", b"application/json"),))
    if is_worth_it(request, answer):
        answer = compressed(answer)
    assert answer.status == status
    return dict(answer.headers), answer.body


@pytest.mark.parametrize(
    "accept", ["gzip", "deflate, gzip;q=0.5, br", "*", "GZIP", "x-gzip", "gzip;q=1.000"]
)
@pytest.mark.parametrize("size", [1, 100], ids=["short", "long"])
def test_who_accepts_gzip_gets_it(accept, size):
    headers, body = answered(LONG * size, accept)
    assert gzip.decompress(body) == LONG * size
    assert len(body) < len(LONG * size) / 2
    assert headers[b"content-encoding"] == b"gzip"
    assert headers[b"vary"] == b"Accept-Encoding"
    assert headers[b"content-type"] == b"application/json"


@pytest.mark.parametrize(
    "accept",
    [None, "", "identity", "gzip;q=0", "gzip; q=0.0, br", "gzipped", "gzip;q=1.2.3", "gzip;q=."],
)
def test_who_does_not_gets_it_as_it_is(accept):
    headers, body = answered(LONG, accept)
    assert body == LONG
    assert b"content-encoding" not in headers


def test_what_is_short_is_not_compressed():
    headers, body = answered(b"x" * 1023, "gzip", status=400)
    assert (body, b"content-encoding" in headers) == (b"x" * 1023, False)


class Wide(tf.Module):
    """`x` float [?] -> `y` [?, 1000], each number a thousand times."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def repeat(self, x):
        return {"y": tf.repeat(x[:, None], 1000, axis=1)}


def test_a_server_compresses_and_limits_only_if_it_is_told_to(tmp_path):
    module = Wide()
    tf.saved_model.save(module, str(tmp_path / "1"), {"serving_default": module.repeat})
    for chosen in (None, ServerOptions(body_limit=200, gzip_answers=True)):
        flags = Flags(port=free_port(), rest_api_port=free_port(), model_base_path=str(tmp_path))
        server = ModelServer(flags, configs_of(flags), options=chosen, drain_seconds=1)
        try:
            assert server.start(lambda: False)
            connection = http.client.HTTPConnection("localhost", flags.rest_api_port, timeout=60)
            path, body = "/v1/models/default:predict", json.dumps({"instances": [0.5]})
            connection.request("POST", path, body, {"Accept-Encoding": "gzip"})
            answer = connection.getresponse()
            content = answer.read()
            assert (answer.headers["Content-Encoding"] == "gzip") == bool(chosen)
            found = json.loads(gzip.decompress(content) if chosen else content)
            np.testing.assert_array_equal(found["predictions"], np.full((1, 1000), 0.5))
            connection.request("POST", path, body.ljust(201))
            answer = connection.getresponse()
            assert answer.status == (413 if chosen else 200)
            answer.read()
            connection.close()
        finally:
            server.close()
