from __future__ import annotations

import models_for_tests as written
import numpy as np
import pytest
from tensorflow_serving.apis import input_pb2

from tfapp.serving import example_signatures, inference
from tfapp.serving.example_signatures import CLASSIFY, PREDICT, REGRESS
from tfapp.serving.inference import Task, definitions
from tfapp.serving.servable import load_servable
from tfapp.serving.status import Code, ServingError

A = np.array([[1, 2], [3, 4]], np.float32)
SIX = {"a": A, "b": 2 * A, "factor": np.float32(2)}


def predict(*arguments, **options):
    return inference.predict(*arguments, **options).result()


def classify(*arguments, **options):
    return inference.classify(*arguments, **options).result()


def regress(*arguments, **options):
    return inference.regress(*arguments, **options).result()


def multi_inference(*arguments, **options):
    return inference.multi_inference(*arguments, **options).result()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inference")
    return {
        name: load_servable(name, 1, write(folder / name))
        for name, write in {
            "half": written.write_half_plus_two,
            "several": written.write_several,
            "examples": written.write_example_classifier,
            "odd": written.write_odd_classifiers,
            "keras": written.write_keras,
        }.items()
    }


def serialized(*examples) -> np.ndarray:
    array = np.empty(len(examples), object)
    array[:] = [example.SerializeToString() for example in examples]
    return array


TWO = serialized(written.example(x=2.0, x2=10.0), written.example(x=-4.0))


def refused(code: Code, call, *arguments, **options) -> str:
    with pytest.raises(ServingError) as caught:
        call(*arguments, **options)
    assert caught.value.code is code
    return str(caught.value)


@pytest.mark.parametrize("name", ["", "serving_default"])
def test_predict_computes_the_named_or_the_default_signature(models, name):
    answer = predict(models["several"], name, SIX)

    np.testing.assert_array_equal(answer["sum"], 6 * A)
    assert sorted(answer) == ["rows", "sum", "total"]


def test_predict_computes_the_outputs_of_the_filter_only(models):
    assert list(predict(models["several"], "", SIX, ["total"])) == ["total"]


def test_an_unknown_signature_is_a_failed_precondition(models):
    text = refused(Code.FAILED_PRECONDITION, predict, models["several"], "x", SIX)

    assert text.startswith('Serving signature key "x" not found.')
    assert text.endswith(" Signatures of the model: serving_default, with_default.")


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (
            ["a"],
            "input size does not match signature: 1!=3 len({a}) != len({a,b,factor})."
            " Sent extra: {}. Missing but required: {b,factor}.",
        ),
        (
            ["b", "a", "factor", "z", "c"],
            "input size does not match signature: 5!=3 len({a,b,c,factor,z}) != len({a,b,factor})."
            " Sent extra: {c,z}. Missing but required: {}.",
        ),
        (
            [],
            "input size does not match signature: 0!=3 len({}) != len({a,b,factor})."
            " Sent extra: {}. Missing but required: {a,b,factor}.",
        ),
        (
            ["a", "b", "z"],
            "input tensor alias not found in signature: z. Inputs expected to be in the set"
            " {a,b,factor}.",
        ),
    ],
)
def test_wrong_names_of_inputs_are_told_apart(models, names, text):
    inputs = dict.fromkeys(names, A)

    assert refused(Code.INVALID_ARGUMENT, predict, models["several"], "", inputs) == text


def test_a_default_stands_for_an_input_that_is_left_out(models):
    inputs = {"a": A, "b": A}

    by_default = predict(models["several"], "with_default", inputs)
    given = predict(models["several"], "with_default", SIX)

    np.testing.assert_array_equal(by_default["sum"], 10 * 2 * A)
    np.testing.assert_array_equal(given["sum"], 6 * A)
    missing = refused(Code.INVALID_ARGUMENT, predict, models["several"], "with_default", {"a": A})
    assert "Missing but required: {b}." in missing
    unknown = refused(
        Code.INVALID_ARGUMENT, predict, models["several"], "with_default", inputs | {"z": A}
    )
    assert unknown == (
        "input tensor alias not found in signature: z. Inputs expected to be in the set"
        " {a,b,factor}."
    )


def test_unknown_and_repeated_outputs_are_refused(models):
    several = models["several"]

    unknown = refused(Code.INVALID_ARGUMENT, predict, several, "", SIX, ["sum", "z"])
    twice = refused(Code.INVALID_ARGUMENT, predict, several, "", SIX, ["sum", "rows", "sum"])

    assert unknown == (
        "output tensor alias not found in signature: z Outputs expected to be in the set"
        " {rows,sum,total}."
    )
    assert twice == "duplicate output tensor alias: sum"


def test_regress_gives_a_value_per_example(models):
    assert regress(models["half"], "regress_x_to_y", TWO) == [3.0, 0.0]
    assert regress(models["half"], "regress_x_to_y2", TWO) == [4.0, 1.0]
    assert regress(models["half"], "regress_x2_to_y3", TWO) == [8.0, 3.0]


def test_classify_gives_labels_and_scores_as_far_as_there_are_any(models):
    assert classify(models["half"], "classify_x_to_y", TWO) == [[("", 3.0)], [("", 0.0)]]
    assert classify(models["half"], "classify_both", TWO) == [
        [(b"low", -3.0), (b"high", 3.0)],
        [(b"low", 0.0), (b"high", 0.0)],
    ]
    text = np.array([b"", b"", b""], object)
    assert classify(models["odd"], "classes_only", text) == [[(b"name", 0.0)] * 2] * 3


def test_a_keras_style_classifier_works_whatever_its_method_name(models):
    given = serialized(written.example(x=[0.25, 0.75], name="Zürich".encode()))

    answer = classify(models["examples"], "", given)

    assert answer == [[("Zürich:first".encode(), 0.25), ("Zürich:second".encode(), 0.75)]]


NO_EXAMPLES = np.empty(0, object)
TEXT = np.array([b"", b""], object)


@pytest.mark.parametrize(
    ("signature", "code", "text"),
    [
        ("missing", Code.INVALID_ARGUMENT, "No signature was found with the name: missing"),
        ("two_inputs", Code.INVALID_ARGUMENT, "Expected one input Tensor."),
        (
            "other_input",
            Code.FAILED_PRECONDITION,
            "No classification inputs found in SignatureDef: ",
        ),
        (
            "three_outputs",
            Code.INVALID_ARGUMENT,
            "Expected one or two output Tensors, found 3",
        ),
        (
            "other_outputs",
            Code.FAILED_PRECONDITION,
            'Expected classification signature outputs to contain at least one of "classes" or'
            ' "scores". Signature was: ',
        ),
        (
            "vector_scores",
            Code.INVALID_ARGUMENT,
            "Expected Tensor shape: [batch_size num_classes] but got [2]",
        ),
        (
            "vector_classes",
            Code.INVALID_ARGUMENT,
            "Expected Tensor shape: [batch_size num_classes] but got [2]",
        ),
        (
            "double_scores",
            Code.INVALID_ARGUMENT,
            "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE",
        ),
        (
            "float_classes",
            Code.INVALID_ARGUMENT,
            "Expected classes Tensor of DT_STRING. Got: DT_FLOAT",
        ),
        (
            "short_scores",
            Code.INVALID_ARGUMENT,
            "Expected scores output batch size of 2. Got: 1",
        ),
        (
            "short_classes",
            Code.INVALID_ARGUMENT,
            "Expected classes output batch size of 2. Got: 1",
        ),
        (
            "unequal",
            Code.INVALID_ARGUMENT,
            "Tensors class and score should match in dim_size(1). Got 2 vs. 3",
        ),
    ],
)
def test_each_rule_of_classify_has_its_text(models, signature, code, text):
    assert refused(code, classify, models["odd"], signature, TEXT).startswith(text)


@pytest.mark.parametrize(
    ("signature", "code", "text"),
    [
        ("missing", Code.INVALID_ARGUMENT, "No signature was found with the name: missing"),
        ("two_inputs", Code.INVALID_ARGUMENT, "Expected one input Tensor."),
        ("other_input", Code.FAILED_PRECONDITION, "No regression inputs found in SignatureDef: "),
        ("three_outputs", Code.INVALID_ARGUMENT, "Expected one output Tensor."),
        (
            "vector_scores",
            Code.FAILED_PRECONDITION,
            "No regression outputs found in SignatureDef: ",
        ),
        (
            "matrix_outputs",
            Code.INVALID_ARGUMENT,
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got"
            " [2,2]",
        ),
        (
            "double_outputs",
            Code.INVALID_ARGUMENT,
            "Expected output Tensor of DT_FLOAT.  Got: DT_DOUBLE",
        ),
        (
            "short_outputs",
            Code.INVALID_ARGUMENT,
            "Input batch size did not match output batch size: 2 vs. 1",
        ),
    ],
)
def test_each_rule_of_regress_has_its_text(models, signature, code, text):
    assert refused(code, regress, models["odd"], signature, TEXT).startswith(text)


def test_no_examples_are_refused(models):
    half = models["half"]
    for call, name in ((classify, "classify_x_to_y"), (regress, "regress_x_to_y")):
        assert refused(Code.INVALID_ARGUMENT, call, half, name, NO_EXAMPLES) == "Input is empty."
    tasks = [Task("regress_x_to_y", REGRESS)]
    assert (
        refused(Code.INVALID_ARGUMENT, multi_inference, half, tasks, NO_EXAMPLES)
        == "Input is empty."
    )


def test_method_names_are_checked_only_if_asked_for(models):
    half, keras = models["half"], models["keras"]

    assert refused(
        Code.INVALID_ARGUMENT, regress, half, "classify_x_to_y", TWO, check_method=True
    ) == (f"Expected regression signature method_name to be {REGRESS}. Was: {CLASSIFY}")
    assert refused(
        Code.INVALID_ARGUMENT, classify, half, "regress_x_to_y", TWO, check_method=True
    ) == (f"Expected classification signature method_name to be {CLASSIFY}. Was: {REGRESS}")
    assert refused(
        Code.INTERNAL, predict, keras, "__saved_model_init_op", {}, check_method=True
    ) == (
        "Expected prediction signature method_name to be one of"
        f" {{{PREDICT}, {CLASSIFY}, {REGRESS}}}. Was: "
    )
    assert regress(half, "regress_x_to_y", TWO, check_method=True) == [3.0, 0.0]
    assert classify(half, "classify_x_to_y", TWO, check_method=True)[0] == [("", 3.0)]
    assert predict(models["several"], "", SIX, check_method=True)["rows"] == 2


def test_multi_inference_answers_every_task_in_its_order(models):
    tasks = [
        Task("regress_x_to_y2", REGRESS),
        Task("classify_both", CLASSIFY),
        Task("regress_x_to_y", REGRESS),
    ]

    results = multi_inference(models["half"], tasks, TWO)

    assert results == [
        [4.0, 1.0],
        [[(b"low", -3.0), (b"high", 3.0)], [(b"low", 0.0), (b"high", 0.0)]],
        [3.0, 0.0],
    ]


def test_multi_inference_runs_the_graph_once(models, monkeypatch):
    half, runs = models["half"], []
    compute = half.compute
    monkeypatch.setattr(half, "compute", lambda *args: runs.append(args) or compute(*args))

    multi_inference(half, [Task("regress_x_to_y", REGRESS), Task("classify_x_to_y", CLASSIFY)], TWO)

    assert len(runs) == 1


@pytest.mark.parametrize(
    ("model", "tasks", "code", "text"),
    [
        (
            "half",
            [("", "tensorflow/serving/predict")],
            Code.UNIMPLEMENTED,
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
        (
            "half",
            [("classify_both", CLASSIFY), ("classify_both", CLASSIFY)],
            Code.INVALID_ARGUMENT,
            "Duplicate evaluation of signature: classify_both",
        ),
        (
            "half",
            [("none", CLASSIFY)],
            Code.INVALID_ARGUMENT,
            "Requested signature not found in model graph: none. Signatures of the model:"
            " classify_both, classify_x_to_y, regress_x2_to_y3, regress_x_to_y, regress_x_to_y2,"
            " serving_default.",
        ),
        (
            "odd",
            [("classes_only", CLASSIFY), ("elsewhere", CLASSIFY)],
            Code.INVALID_ARGUMENT,
            "Input tensor must be the same for all Signatures.",
        ),
        (
            "half",
            [("classify_both", REGRESS)],
            Code.INVALID_ARGUMENT,
            "Expected one output Tensor.",
        ),
        ("half", [], Code.INVALID_ARGUMENT, "Inference request has no tasks."),
    ],
)
def test_each_rule_of_multi_inference_has_its_text(models, model, tasks, code, text):
    tasks = [Task(*task) for task in tasks]

    assert refused(code, multi_inference, models[model], tasks, TWO) == text


def test_definitions_hold_every_signature_as_it_was_written(models):
    found = definitions(models["keras"]).signature_def

    assert set(found) == {"__saved_model_init_op", "serve", "serving_default"}
    features = found["serving_default"].inputs["features"]
    assert [dim.size for dim in features.tensor_shape.dim] == [-1, 2]


def test_a_context_is_not_repeated_without_end(monkeypatch):
    monkeypatch.setattr(example_signatures, "_CONTEXTS_LIMIT", 10_000)
    given = input_pb2.Input()
    given.example_list_with_context.context.CopyFrom(written.example(x=1.0, text=b"a" * 900))
    for _ in range(10):
        given.example_list_with_context.examples.append(written.example(x=2.0))
    assert len(inference.examples_of(given)) == 10
    for _ in range(10):
        given.example_list_with_context.examples.append(written.example(x=2.0))
    said = refused(Code.INVALID_ARGUMENT, inference.examples_of, given)
    assert said.startswith("A context of ")
    assert "for each of 20 examples" in said


def test_the_order_of_the_filter_makes_no_other_call(models):
    several = models["several"]
    orders = [["total", "rows", "sum"], ["rows", "sum", "total"], []]
    plans = [inference.predict(several, "", SIX, order) for order in orders]
    assert len({plan.call for plan in plans}) == 1
    found = [plan.result() for plan in plans]
    assert [list(outputs) for outputs in found] == [*orders[:2], ["rows", "sum", "total"]]
    for outputs in found:
        assert (outputs["rows"], outputs["total"]) == (2, 60.0)
        np.testing.assert_array_equal(outputs["sum"], 6 * A)
