"""Classify, Regress and MultiInference: methods of gRPC that take records of tf.Example."""

from __future__ import annotations

import grpc
import models_for_tests as written
import pytest
from rpc_for_tests import INVALID, Served, load_models, refused
from tensorflow_serving.apis import classification_pb2, inference_pb2, regression_pb2

from tfapp.serving.rpc import RpcOptions

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return load_models(tmp_path_factory.mktemp("rpc"), "half", "any", "classifier")


@pytest.fixture(scope="module")
def served(models):
    served = Served(models)
    yield served
    served.close()


def classify_request(name: str, signature: str = "") -> classification_pb2.ClassificationRequest:
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = name, signature
    return request


def test_classify_answers_per_example(served):
    request = classify_request("half", "classify_both")
    request.input.example_list.examples.extend([written.example(x=2.0), written.example(x=4.0)])

    response = served.predictions.Classify(request)

    rows = response.result.classifications
    assert [[(c.label, c.score) for c in row.classes] for row in rows] == [
        [("low", -3.0), ("high", 3.0)],
        [("low", -4.0), ("high", 4.0)],
    ]
    assert response.model_spec.signature_name == "classify_both"
    assert response.model_spec.version.value == 2


def test_a_context_is_part_of_every_example_that_does_not_say_otherwise(served):
    request = classify_request("classifier")
    examples = request.input.example_list_with_context
    examples.context.CopyFrom(written.example(name=b"shared"))
    examples.examples.append(written.example(x=[1.0, 2.0]))
    examples.examples.append(written.example(x=[3.0, 4.0], name=b"own"))

    response = served.predictions.Classify(request)

    rows = response.result.classifications
    assert [[c.label for c in row.classes] for row in rows] == [
        ["shared:first", "shared:second"],
        ["own:first", "own:second"],
    ]
    assert [c.score for c in rows[1].classes] == [3.0, 4.0]
    assert response.model_spec.signature_name == "serving_default"


def test_labels_that_are_no_text_are_sent_readable(served):
    request = classify_request("classifier")
    request.input.example_list.examples.append(written.example(x=[1.0, 2.0], name=b"\xff"))

    row = served.predictions.Classify(request).result.classifications[0]

    assert [c.label for c in row.classes] == ["\ufffd:first", "\ufffd:second"]


def test_regress_answers_a_value_per_example(served):
    request = regression_pb2.RegressionRequest()
    request.model_spec.name = "half"
    request.model_spec.signature_name = "regress_x_to_y"
    request.input.example_list.examples.extend([written.example(x=2.0), written.example(x=0.5)])

    response = served.predictions.Regress(request)

    assert [found.value for found in response.result.regressions] == [3.0, 2.25]
    assert response.model_spec.signature_name == "regress_x_to_y"


@pytest.mark.parametrize("kind", [None, "example_list", "example_list_with_context"])
def test_an_empty_input_is_refused(served, kind):
    request = classify_request("half", "classify_x_to_y")
    if kind:
        getattr(request.input, kind).SetInParent()
    assert refused(served.predictions.Classify, request) == (INVALID, "Input is empty.")

    regress = regression_pb2.RegressionRequest(model_spec=request.model_spec, input=request.input)
    regress.model_spec.signature_name = "regress_x_to_y"
    assert refused(served.predictions.Regress, regress) == (INVALID, "Input is empty.")


def test_an_unknown_signature_and_a_bad_example_are_refused(served):
    request = classify_request("half", "none")
    request.input.example_list.examples.append(written.example(x=1.0))
    code, text = refused(served.predictions.Classify, request)
    assert code is INVALID
    assert text.startswith("No signature was found with the name: none")

    request.model_spec.signature_name = "classify_x_to_y"
    request.input.example_list.examples.append(written.example(x=1))  # int64, not float
    code, text = refused(served.predictions.Classify, request)
    assert code is INVALID
    assert "Data types don't match" in text


def test_method_names_are_checked_if_asked_for(models):
    served = Served(models, RpcOptions(check_method_name=True))
    request = classify_request("half", "regress_x_to_y")
    request.input.example_list.examples.append(written.example(x=1.0))
    try:
        answer = refused(served.predictions.Classify, request)
    finally:
        served.close()

    text = f"Expected classification signature method_name to be {CLASSIFY}. Was: {REGRESS}"
    assert answer == (INVALID, text)


def multi_request(*tasks: tuple[str, str, str]) -> inference_pb2.MultiInferenceRequest:
    request = inference_pb2.MultiInferenceRequest()
    for model, signature, method in tasks:
        task = request.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = model, signature
    request.input.example_list.examples.extend([written.example(x=2.0), written.example(x=4.0)])
    return request


def test_multi_inference_answers_in_order_with_the_version_of_the_first_task(served):
    request = multi_request(
        ("half", "regress_x_to_y2", REGRESS), ("half", "classify_x_to_y", CLASSIFY)
    )
    request.tasks[0].model_spec.version.value = 1

    results = served.predictions.MultiInference(request).results

    assert [found.value for found in results[0].regression_result.regressions] == [4.0, 5.0]
    rows = results[1].classification_result.classifications
    assert [row.classes[0].score for row in rows] == [3.0, 4.0]
    assert [result.model_spec.version.value for result in results] == [1, 1]
    assert results[1].model_spec.signature_name == "classify_x_to_y"


@pytest.mark.parametrize(
    ("tasks", "code", "text"),
    [
        ((), INVALID, "ModelSpec has no name specified."),
        ((("", "", REGRESS),), INVALID, "ModelSpec has no name specified."),
        (
            (("half", "regress_x_to_y", REGRESS), ("", "regress_x_to_y2", REGRESS)),
            INVALID,
            "Found ModelSpec with an empty model name.",
        ),
        (
            (("half", "regress_x_to_y", REGRESS), ("any", "", REGRESS)),
            INVALID,
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ),
        (
            (("half", "regress_x_to_y", REGRESS), ("half", "regress_x_to_y", REGRESS)),
            INVALID,
            "Duplicate evaluation of signature: regress_x_to_y",
        ),
        (
            (("half", "", "tensorflow/serving/predict"),),
            grpc.StatusCode.UNIMPLEMENTED,
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
    ],
)
def test_wrong_tasks_are_refused(served, tasks, code, text):
    assert refused(served.predictions.MultiInference, multi_request(*tasks)) == (code, text)
