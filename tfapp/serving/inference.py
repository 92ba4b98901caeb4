"""Predict, classify, regress and multi-inference: the checks before a run and after it.

Each is a `Computation`: what was checked before, the tensors to compute, and what is made of them.
Who has one may run it at once, or together with others.

Texts and codes are those of TensorFlow Serving, which clients match on; hints come after them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from tensorflow_serving.apis import get_model_metadata_pb2

from tfapp.serving.calls import Call
from tfapp.serving.example_signatures import (
    CLASSIFY,
    PREDICT,
    REGRESS,
    Classifications,
    classifications,
    classify_outputs,
    regress_outputs,
    regressions,
    with_context,
)
from tfapp.serving.hints import explain, signatures_hint
from tfapp.serving.models import DEFAULT_SIGNATURE
from tfapp.serving.observing import RequestRecord
from tfapp.serving.servable import Servable, Signature
from tfapp.serving.status import Code, ServingError
from tfapp.serving.tensors import to_arrays

T = TypeVar("T")
S = TypeVar("S")


class Computation(NamedTuple, Generic[T]):
    """A request that was checked.

    Attributes:
        servable: Who computes it.
        call: The tensors to feed and to fetch.
        arrays: One for each feed.
        finish: Checks the fetched arrays, and makes the result of them.
        explain: Adds to an error of the run what was meant.
    """

    servable: Servable
    call: Call
    arrays: Sequence[np.ndarray]
    finish: Callable[[Sequence[np.ndarray]], T]
    explain: Callable[[ServingError], ServingError] = lambda error: error

    def result(self, record: RequestRecord | None = None) -> T:
        """Computes it.

        Args:
            record: Is told of rows and times.

        Raises:
            ServingError: With the code and text of TensorFlow.
        """
        return self.result_of(lambda: self.servable.compute(self.call, self.arrays, record))

    def result_of(self, run: Callable[[], Sequence[np.ndarray]]) -> T:
        """Makes the result of what a run gives.

        Args:
            run: Gives the fetched arrays.

        Raises:
            ServingError: That of the run, and what was meant; or the arrays are not as they should.
        """
        try:
            values = run()
        except ServingError as error:
            raise self.explain(error) from error
        return self.finish(values)

    def then(self, make: Callable[[T], S]) -> Computation[S]:
        """Returns a computation of what is made of this one's result."""
        return Computation(
            self.servable,
            self.call,
            self.arrays,
            lambda values: make(self.finish(values)),
            self.explain,
        )


@dataclass(frozen=True)
class Task:
    """One of the signatures of a multi-inference.

    Attributes:
        signature_name: Of the signature; `serving_default` if empty.
        method_name: `CLASSIFY` or `REGRESS`.
    """

    signature_name: str
    method_name: str


def predict(
    servable: Servable,
    signature_name: str,
    inputs: Mapping[str, Any],
    output_filter: Sequence[str] = (),
    *,
    check_method: bool = False,
) -> Computation[dict[str, np.ndarray]]:
    """Checks a request for outputs of a signature.

    Args:
        servable: The model.
        signature_name: `serving_default` if empty.
        inputs: Arrays or `TensorProto`s by alias; one may be left out if the signature has a
            default for it.
        output_filter: Aliases of the outputs to compute; all of them if empty.
        check_method: Refuse a signature that says it is for something else than inference.

    Returns:
        What gives the outputs by alias.

    Raises:
        ServingError: `FAILED_PRECONDITION` for an unknown signature, `INVALID_ARGUMENT` for wrong
            names of inputs or outputs, and for tensors that cannot be read.
    """
    name = signature_name or DEFAULT_SIGNATURE
    signature = servable.signatures.get(name)
    if signature is None:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f'Serving signature key "{name}" not found.'
            + signatures_hint(name, servable.signatures),
        )
    if check_method and signature.method_name not in (PREDICT, CLASSIFY, REGRESS):
        raise ServingError(
            Code.INTERNAL,
            "Expected prediction signature method_name to be one of"
            f" {{{PREDICT}, {CLASSIFY}, {REGRESS}}}. Was: {signature.method_name}",
        )
    # Names first: a tensor may be much larger than its message.
    arrays = to_arrays(_complete_inputs(signature, inputs))
    _check_outputs(signature, output_filter)
    aliases = tuple(output_filter or signature.outputs)
    # In the order of the signature, whatever theirs is: requests in another are the same call.
    computed = tuple(sorted(aliases)) if output_filter else aliases

    def finish(values: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        found = dict(zip(computed, values, strict=True))
        return found if computed == aliases else {alias: found[alias] for alias in aliases}

    return Computation(
        servable,
        servable.signature_call(signature, computed),
        [arrays[alias] for alias in signature.inputs],
        finish,
        lambda error: explain(error, signature, arrays),
    )


def _complete_inputs(signature: Signature, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Adds the defaults of a signature to the inputs of a request.

    Raises:
        ServingError: `INVALID_ARGUMENT`: an input is missing that has no default, or one is sent
            that the signature does not have.
    """
    if inputs.keys() == signature.inputs.keys():
        return inputs
    defaults = signature.definition.defaults
    extra = inputs.keys() - signature.inputs.keys()
    missing = signature.inputs.keys() - inputs.keys() - set(defaults)
    if extra and len(inputs) == len(signature.inputs):
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"input tensor alias not found in signature: {min(extra)}. Inputs expected to be in"
            f" the set {_set(signature.inputs)}.",
        )
    if extra or missing:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"input size does not match signature: {len(inputs)}!={len(signature.inputs)}"
            f" len({_set(inputs)}) != len({_set(signature.inputs)})."
            f" Sent extra: {_set(extra)}. Missing but required: {_set(missing)}.",
        )
    left_out = signature.inputs.keys() - inputs.keys()
    return {**inputs, **{alias: defaults[alias] for alias in left_out}}


def classify(
    servable: Servable, signature_name: str, examples: np.ndarray, *, check_method: bool = False
) -> Computation[Classifications]:
    """Checks a request to classify examples.

    Args:
        servable: The model.
        signature_name: Of a signature with the input `inputs` and the outputs `classes`, `scores`
            or both; `serving_default` if empty.
        examples: `[N]`, serialized tf.Example as `bytes`.
        check_method: Refuse a signature that does not say that it is for this.

    Returns:
        What gives for each example its classes as (label, score). A label is `bytes` as the model
        gives it; it is empty, or the score 0, if the model does not give it.

    Raises:
        ServingError: `INVALID_ARGUMENT` for no examples or an unknown signature.
    """
    signature = _example_signature(servable, signature_name)
    fetches = classify_outputs(signature, check_method)
    return _of_examples(servable, signature, fetches, examples).then(
        lambda values: classifications(signature, values, len(examples))
    )


def regress(
    servable: Servable, signature_name: str, examples: np.ndarray, *, check_method: bool = False
) -> Computation[list[float]]:
    """Checks a request for a value of each example.

    Args:
        servable: The model.
        signature_name: Of a signature with the input `inputs` and the output `outputs`;
            `serving_default` if empty.
        examples: `[N]`, serialized tf.Example as `bytes`.
        check_method: Refuse a signature that does not say that it is for this.

    Returns:
        What gives N values, exactly as float32 holds them.

    Raises:
        ServingError: As `classify`.
    """
    signature = _example_signature(servable, signature_name)
    fetches = regress_outputs(signature, check_method)
    return _of_examples(servable, signature, fetches, examples).then(
        lambda values: regressions(signature, values, len(examples))
    )


def multi_inference(
    servable: Servable, tasks: Sequence[Task], examples: np.ndarray, *, check_method: bool = False
) -> Computation[list[Classifications | list[float]]]:
    """Checks a request to classify and regress the same examples in one run of the graph.

    Args:
        servable: The model.
        tasks: Distinct signatures that read the same tensor.
        examples: `[N]`, serialized tf.Example as `bytes`.
        check_method: Refuse signatures that do not say that they are for their task.

    Returns:
        What gives for each task what `classify` or `regress` would.

    Raises:
        ServingError: `UNIMPLEMENTED` for another method, `INVALID_ARGUMENT` for a signature that is
            unknown or named twice, or other tensors; else as `classify`.
    """
    signatures: dict[str, Signature] = {}
    fetches: dict[str, None] = {}
    for task in tasks:
        signature = _task_signature(servable, task.signature_name, signatures)
        fetches |= dict.fromkeys(_task_outputs(task, signature, check_method))
        first = next(iter(signatures.values()))
        if signature.inputs["inputs"].name != first.inputs["inputs"].name:
            raise ServingError(
                Code.INVALID_ARGUMENT, "Input tensor must be the same for all Signatures."
            )
    if not signatures:
        raise ServingError(Code.INVALID_ARGUMENT, "Inference request has no tasks.")

    def results(values: Mapping[str, np.ndarray]) -> list[Classifications | list[float]]:
        return [
            classifications(signature, values, len(examples))
            if task.method_name == CLASSIFY
            else regressions(signature, values, len(examples))
            for task, signature in zip(tasks, signatures.values(), strict=True)
        ]

    return _of_examples(servable, first, list(fetches), examples).then(results)


def definitions(servable: Servable) -> get_model_metadata_pb2.SignatureDefMap:
    """Returns the signatures of a model as the metadata of both protocols hold them."""
    found = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in servable.signatures.items():
        found.signature_def[name].CopyFrom(signature.definition)
    return found


def _example_signature(servable: Servable, signature_name: str) -> Signature:
    name = signature_name or DEFAULT_SIGNATURE
    signature = servable.signatures.get(name)
    if signature is None:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"No signature was found with the name: {name}."
            + signatures_hint(name, servable.signatures),
        )
    return signature


def _task_signature(servable: Servable, name: str, seen: dict[str, Signature]) -> Signature:
    name = name or DEFAULT_SIGNATURE
    if name in seen:
        raise ServingError(Code.INVALID_ARGUMENT, f"Duplicate evaluation of signature: {name}")
    if name not in servable.signatures:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"Requested signature not found in model graph: {name}."
            + signatures_hint(name, servable.signatures),
        )
    seen[name] = servable.signatures[name]
    return seen[name]


def _task_outputs(task: Task, signature: Signature, check_method: bool) -> list[str]:
    if task.method_name == CLASSIFY:
        return classify_outputs(signature, check_method)
    if task.method_name == REGRESS:
        return regress_outputs(signature, check_method)
    raise ServingError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}")


def _check_outputs(signature: Signature, output_filter: Sequence[str]) -> None:
    for index, alias in enumerate(output_filter):
        if alias not in signature.outputs:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"output tensor alias not found in signature: {alias} Outputs expected to be in"
                f" the set {_set(signature.outputs)}.",
            )
        if alias in output_filter[:index]:
            raise ServingError(Code.INVALID_ARGUMENT, f"duplicate output tensor alias: {alias}")


def _of_examples(
    servable: Servable, signature: Signature, fetches: Sequence[str], examples: np.ndarray
) -> Computation[dict[str, np.ndarray]]:
    if not len(examples):
        raise ServingError(Code.INVALID_ARGUMENT, "Input is empty.")
    return Computation(
        servable,
        servable.call(signature, tuple(fetches)),
        [examples],
        lambda values: dict(zip(fetches, values, strict=True)),
    )


def _set(names: Collection[str]) -> str:
    return f"{{{','.join(sorted(names))}}}"


def examples_of(given: Any) -> np.ndarray:
    """Returns the serialized `tf.train.Example`s `[N]` of an `Input` message; N may be 0.

    Raises:
        ServingError: `INVALID_ARGUMENT`: they would be too large, each with the context.
    """
    kind = given.WhichOneof("kind")
    if kind is None:
        return np.empty(0, object)
    found = getattr(given, kind)
    context = b"" if kind == "example_list" else found.context.SerializeToString()
    return with_context(context, [example.SerializeToString() for example in found.examples])
