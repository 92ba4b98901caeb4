"""`/docs` and `/openapi.json` of a real server, sent as they say, looked at in a real browser."""

from __future__ import annotations

import html
import http.client
import json
import re
import subprocess
import sys
import time
from contextlib import nullcontext
from urllib.parse import quote, urlencode

import jsonschema
import models_for_tests as written
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from live_browser import DESKTOP, PHONE, browser, needs_browser
from openapi_spec_validator import OpenAPIV31SpecValidator
from ports_for_tests import free_port
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from tfapp.serving.configs import model_configs
from tfapp.serving.describing import Descriptions
from tfapp.serving.description_pages import base_url
from tfapp.serving.docs_page import docs_page, takes
from tfapp.serving.flags import Flags
from tfapp.serving.http1 import HttpRequest
from tfapp.serving.models import ModelSpec, State, VersionStatus
from tfapp.serving.servable import TensorInfo, load_servable
from tfapp.serving.server import ModelServer
from tfapp.serving.status import invalid

NASTY = "<script>alert(1)</script> \"'&{x}"
WRITERS = {
    "half": written.write_half_plus_two,
    "several": written.write_several,
    "strings": written.write_strings,
    "examples": written.write_example_classifier,
    "types": written.write_types,
    "any": written.write_unknown_rank,
    NASTY: written.write_keras,
}
FEATURES = [[0.5, -1.25], [3.0, 4.0]]


def write_large(path):
    """`x` float [?, 500] -> `y` [?], the sum of each row."""

    class Sum(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 500], tf.float32, "x")])
        def add(self, x):
            return {"y": tf.reduce_sum(x, axis=1)}

    module = Sum()
    tf.saved_model.save(module, str(path), {"serving_default": module.add})


def write_broken_rows(path):
    """A model whose export was compared with rows that cannot be read any more."""
    written.write_half_plus_two(path)
    (path / "assets.extra").mkdir(exist_ok=True)
    (path / "assets.extra" / "tfapp_check.npz").touch()


OTHERS = {"large": write_large, "broken": write_broken_rows}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server of models of many kinds, and its port."""
    folder = tmp_path_factory.mktemp("described")
    config = ModelServerConfig()
    for place, (name, write) in enumerate((WRITERS | OTHERS).items()):
        base = folder / str(place)
        write(base / "3")
        entry = {"name": name, "base_path": str(base), "model_platform": "tensorflow"}
        config.model_config_list.config.add(**entry)
    extra = folder / str(list(WRITERS).index(NASTY)) / "3" / "assets.extra"
    extra.mkdir(exist_ok=True)
    np.savez(extra / "tfapp_check.npz", **{"input:features": np.array(FEATURES, np.float32)})
    warm_half(folder / "0" / "3")
    flags = Flags(port=free_port(), rest_api_port=free_port())
    server = ModelServer(flags, model_configs(config), drain_seconds=1)
    try:
        assert server.start(lambda: False)
        yield server, flags.rest_api_port
    finally:
        server.close()


def warm_half(path):
    """Warm-up requests of two signatures."""
    file = path / "assets.extra" / "tf_serving_warmup_requests"
    file.parent.mkdir()
    predict, regress = prediction_log_pb2.PredictionLog(), prediction_log_pb2.PredictionLog()
    tensor = tf.make_tensor_proto(np.array([[7.0], [8.0]], np.float32))
    predict.predict_log.request.inputs["x"].CopyFrom(tensor)
    request = regress.regress_log.request
    request.model_spec.signature_name = "regress_x_to_y"
    request.input.example_list.examples.append(written.example(x=9.0))
    with tf.io.TFRecordWriter(str(file)) as records:
        records.write(predict.SerializeToString())
        records.write(regress.SerializeToString())


def ask(port, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("localhost", port, timeout=60)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()


def get(port, path, **headers):
    status, _, body = ask(port, "GET", path, **headers)
    assert status == 200, body
    return body.decode()


@pytest.fixture(scope="module")
def document(served):
    return json.loads(get(served[1], "/openapi.json"))


@pytest.fixture(scope="module")
def page(served):
    return get(served[1], "/docs")


def operations(document):
    """Every operation that has requests: its path, the parts of it, its examples by signature."""
    for path, methods in document["paths"].items():
        if "post" in methods:
            content = methods["post"]["requestBody"]["content"]["application/json"]
            answered = methods["post"]["responses"]["200"]["content"]["application/json"]
            yield path, content, answered


def test_the_document_is_valid_openapi(document):
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"] == "3.1.0"


def test_every_example_of_the_document_works_and_fits_its_schema(served, document):
    port = served[1]
    count = 0
    for path, content, answered in operations(document):
        for name, example in content["examples"].items():
            if "externalValue" in example:
                where = re.sub(r"^http://[^/]*", "", example["externalValue"])
                value = json.loads(get(port, where))
            else:
                value = example["value"]
            assert value.get("signature_name", "serving_default") == name
            jsonschema.Draft202012Validator(content["schema"]).validate(value)
            status, _, body = ask(port, "POST", path, json.dumps(value))
            assert status == 200, (path, name, body)
            answer = json.loads(body)
            jsonschema.Draft202012Validator(answered["schema"]).validate(answer)
            if name in answered.get("examples", {}):
                assert answered["examples"][name]["value"] == answer
            count += 1
    # By the name of the model alone, and by its version: 6 of half, 2 of several, 11 of types, 2 of
    # Keras's, one of the four others.
    assert count == 2 * (6 + 2 + 11 + 2 + 4)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("half", {"instances": [[1]]}),
        ("half", {"inputs": {"x": [[1.5]]}, "output_filter": ["y"]}),
        ("any", {"inputs": [[[[1]]]]}),
        ("strings", {"instances": [{"b64": "QQ=="}]}),
        ("several", {"inputs": {"a": [[1, 2]], "b": [[1, 2]], "factor": 2}}),
    ],
    ids=["rows", "columns", "any rank", "bytes", "several"],
)
def test_the_schema_takes_what_the_server_takes(served, document, name, body):
    path = f"/v1/models/{name}:predict"
    content = next(c for p, c, _ in operations(document) if p == path)
    jsonschema.Draft202012Validator(content["schema"]).validate(body)
    assert ask(served[1], "POST", path, json.dumps(body))[0] == 200


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("half", {"instances": []}),
        ("half", {"instances": [["a"]]}),
        ("half", {"x": [[1]]}),
        ("several", {"inputs": {"a": [[1, 2]], "factor": 2}}),
        ("strings", {"instances": [1]}),
    ],
    ids=["no rows", "a text", "no key", "an input less", "a number"],
)
def test_the_schema_refuses_what_the_server_refuses(served, document, name, body):
    path = f"/v1/models/{name}:predict"
    content = next(c for p, c, _ in operations(document) if p == path)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(content["schema"]).validate(body)
    assert ask(served[1], "POST", path, json.dumps(body))[0] == 400


def example_of(port, model, signature="serving_default"):
    query = urlencode({"model": model, "version": 3, "signature": signature})
    return json.loads(get(port, f"/docs/request.json?{query}"))


def test_real_rows_are_preferred(served):
    port = served[1]
    assert example_of(port, "half") == {"instances": [[7.0]]}, "of the warm-up"
    assert example_of(port, "half", "regress_x_to_y")["examples"] == [{"x": 9.0}]
    assert example_of(port, NASTY) == {"instances": [FEATURES[0]]}, "of the check"
    assert example_of(port, "half", "classify_x_to_y")["examples"] == [{"x": 0.5}], "made up"
    assert example_of(port, "examples") == {"examples": [{"x": [0.5, 0.5]}]}


def test_types_without_json_are_told_of(page, document):
    _, content, _ = next(o for o in operations(document) if o[0].endswith("/types:predict"))
    assert "echo_float32" in content["examples"]
    assert not {"echo_bfloat16", "echo_complex64"} & set(content["examples"])
    assert "x is bfloat16, which has no JSON: ask by gRPC." in page


def test_names_are_escaped_and_the_host_is_the_servers(served, page):
    port = served[1]
    assert "<script>alert" not in page
    assert html.escape(NASTY).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in page
    assert f"http://localhost:{port}/v1/models/{quote(NASTY, safe='')}:predict" in html.unescape(
        page
    )
    named = html.unescape(get(port, "/docs", Host="models.example.org:81"))
    assert "curl -d '{\"instances\":[[7.0]]}' http://models.example.org:81/v1/models/half" in named


@pytest.mark.parametrize("host", ['a"><script>', "a b", "x/y", "$(id)", "", "a:b:c"])
def test_a_host_that_is_none_is_not_repeated(host):
    request = HttpRequest("GET", "/docs", b"", {b"host": host.encode()}, b"")
    assert base_url(request, "https") == "https://localhost"


def test_an_address_of_ipv6_is_a_host():
    request = HttpRequest("GET", "/docs", b"", {b"host": b"[::1]:8501"}, b"")
    assert base_url(request, "http") == "http://[::1]:8501"


def snippets(page, language):
    figure = rf"<span>{language}</span></figcaption>\s*<pre[^>]*><code>(.*?)</code>"
    found = re.findall(figure, page, re.DOTALL)
    return [html.unescape(text) for text in found]


def test_the_commands_of_the_page_do_what_it_shows(page):
    for command in snippets(page, "curl"):
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
        assert list(json.loads(done.stdout)) in (["predictions"], ["outputs"], ["results"]), command
    programs = snippets(page, "Python")
    assert len(programs) == len(snippets(page, "curl"))
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(programs)], capture_output=True, text=True, check=True
    )
    assert len(done.stdout.splitlines()) == len(programs)


def test_a_long_request_is_shortened_and_fetched(served, page):
    assert "… 500 in all" in page
    assert example_of(served[1], "large") == {"instances": [[0.5] * 500]}
    (command,) = [text for text in snippets(page, "curl") if "/models/large:" in text]
    assert "| curl -d @- " in command
    assert len(command) < 250


@pytest.mark.parametrize("query", ["", "?model=half", "?model=none&version=3&signature=x"])
def test_an_example_that_is_not_there_is_not_found(served, query):
    assert ask(served[1], "GET", f"/docs/request.json{query}")[0] == 404


def test_other_methods_are_not_found(served):
    assert ask(served[1], "POST", "/docs")[0] == 404


def test_the_page_is_made_once_for_a_set_of_versions(served):
    port = served[1]
    first = get(port, "/docs", Host="once.example.org")
    began = time.perf_counter()
    for _ in range(20):
        assert get(port, "/docs", Host="once.example.org") == first
    assert time.perf_counter() - began < 1.0
    for number in range(100):  # a client can name any host
        get(port, "/openapi.json", Host=f"host-{number}.example.org")


@needs_browser
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_the_page_is_as_wide_as_its_window_and_asks_nobody_else(served, tmp_path, width):
    url = f"http://localhost:{served[1]}/docs"
    with browser(tmp_path) as seen:
        seen.open(url, width)
        seen.run("document.querySelectorAll('details').forEach(part => { part.open = true; })")
        assert seen.run("[innerWidth, document.documentElement.scrollWidth]") == [width, width]
        titles = seen.run("[...document.querySelectorAll('h2')].map(title => title.innerText)")
        assert titles == [f"{name}, version 3" for name in (*WRITERS, *OTHERS)]
        # Side by side where there is room for it.
        tops = seen.run(
            "[...document.querySelector('.columns').children].map("
            "part => Math.round(part.getBoundingClientRect().top))"
        )
        assert (tops[0] == tops[1]) == (width == DESKTOP)
        assert seen.run("getComputedStyle(document.body).maxWidth") == "1152px", "it has its style"
        assert seen.complaints() == []
        assert seen.asked() == [url]


@needs_browser
def test_the_form_sends_the_request(served, tmp_path):
    url = f"http://localhost:{served[1]}/docs"
    send = """(async model => {
      const forms = [...document.querySelectorAll('form')];
      const form = forms.find(form => form.dataset.url === `/v1/models/${model}:predict`);
      form.closest('details').open = true;
      if (%s) form.querySelector('textarea').value = %s;
      form.querySelector('button').click();
      while (form.querySelector('pre').hidden || form.querySelector('button').disabled)
        await new Promise(done => setTimeout(done, 20));
      return [form.querySelector('output').innerText, form.querySelector('pre').innerText];
    })(%s)"""

    def sent(model, body=""):
        values = (json.dumps(bool(body)), json.dumps(body), json.dumps(quote(model, safe="")))
        told, shown = seen.run(send % values)
        return told.split()[0], json.loads(shown)

    with browser(tmp_path) as seen:
        seen.open(url, DESKTOP)
        assert sent("half") == ("200", {"predictions": [[5.5]]})
        expected = (np.array(FEATURES[:1]) @ written.WEIGHTS + written.BIAS).tolist()
        told, answer = sent(NASTY)
        assert told == "200"
        np.testing.assert_allclose(answer["predictions"], expected, rtol=1e-5)
        assert sent("large") == ("200", {"predictions": [250.0]}), "its example is fetched"
        told, answer = sent("half", "{")
        assert told == "400"
        assert answer["error"].startswith("JSON Parse error")
        refusals = [text for text in seen.complaints() if "400" not in text]
        assert refusals == []


def test_what_is_not_loaded_is_told_of(tmp_path):
    """A version that cannot be loaded beside one that answers, and a model without any."""
    written.write_half_plus_two(tmp_path / "half" / "1")
    (tmp_path / "half" / "2").mkdir()
    (tmp_path / "empty").mkdir()
    port = free_port()
    flags = Flags(port=free_port(), rest_api_port=port, max_num_load_retries=0)
    config = ModelServerConfig()
    text_format.Parse(
        f"""model_config_list {{ config {{ name: "half" base_path: "{tmp_path}/half"
        model_platform: "tensorflow" model_version_policy {{ all {{}} }} }} }}""",
        config,
    )
    server = ModelServer(flags, model_configs(config), drain_seconds=1)
    try:
        assert server.start(lambda: False)
        end = time.monotonic() + 30
        while "Could not find SavedModel" not in (page := html.unescape(get(port, "/docs"))):
            assert time.monotonic() < end, page
            time.sleep(0.1)
        assert '<span class="badge differs">END</span>' in page
        assert '<span class="badge ok">AVAILABLE</span>' in page
        assert "<h2>half, version 1</h2>" in page
        assert "<h2>half, version 2</h2>" not in page
    finally:
        server.close()


class OneModel:
    """Models of which one is served."""

    def __init__(self, servable):
        self.servable = servable

    def names(self):
        return ["half"]

    def statuses(self, name, version=None):
        return [VersionStatus(3, State.AVAILABLE)]

    def use(self, spec):
        return nullcontext(self.servable)


def test_requests_are_tried_once_and_only_as_long_as_there_is_time(served, tmp_path):
    asked = []

    def answer(servable, verb, body):
        asked.append(verb)
        return b'{"predictions": [1.0]}'

    with served[0].models.use(ModelSpec("half")) as servable:
        hurried = Descriptions(OneModel(servable), answer, seconds=0).served()
        assert not hurried.is_whole
        assert asked == []
        assert "No example yet" in docs_page(hurried, "http://localhost")
        patient = Descriptions(OneModel(servable), answer)
        assert patient.served().is_whole
        # Of a signature that takes examples the features are asked for first.
        assert set(asked) == {"predict", "classify", "regress"}
        asked.clear()
        assert patient.served().is_whole
        assert asked == []


def test_a_signature_is_not_tried_for_longer_than_there_is_time(served):
    asked = []

    def refuse(servable, verb, body):
        asked.append(verb)
        time.sleep(0.05)
        raise invalid("Feature: x (data type: float) is required but could not be found.")

    with served[0].models.use(ModelSpec("examples")) as servable:
        described = Descriptions(OneModel(servable), refuse, seconds=0.2).served()
    first = described.versions[0].signatures[0]
    assert first.missing == "None that was tried in 0.2 s was answered."
    assert len(asked) < 20


def test_nothing_is_made_up_that_could_end_the_process(tmp_path):
    class Folded(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, "x")])
        def fold(self, x):
            return {"y": tf.nn.conv2d(x, tf.ones([2, 2, 3, 1]), 1, "SAME")}

    module = Folded()
    tf.saved_model.save(module, str(tmp_path / "1"), {"serving_default": module.fold})
    servable = load_servable("folded", 1, tmp_path / "1")
    asked = []
    found = Descriptions(OneModel(servable), lambda *given: asked.append(given)).served()
    assert asked == []
    assert found.versions[0].signatures[0].missing


@pytest.mark.parametrize(
    ("dtype", "shape", "said"),
    [
        (tf.float32, (None, 2), "list of 2 numbers"),
        (tf.uint8, (None, 8, None, 1), "list of 8 lists of lists of 1 integer"),
        (tf.string, (None,), "text"),
        (tf.int64, (), "integer"),
        (tf.float32, None, "number, or lists of them"),
        (tf.bfloat16, (None,), "none: by gRPC only"),
    ],
    ids=["matrix", "image", "texts", "scalar", "unknown", "bfloat16"],
)
def test_the_json_of_a_row_is_told_in_words(dtype, shape, said):
    assert takes(TensorInfo("x", "x:0", dtype, shape)) == said
