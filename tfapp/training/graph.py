"""The graph of a model as TensorBoard shows it: what a prediction computes, under readable names.

A traced function is full of names that nobody wrote: Keras opens the scope of a layer twice, which
makes `hidden_1` of a layer `hidden`; a variable is called after the operation that reads it first;
outputs are called `Identity`. Here all of them have the names that they have in the code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any

import keras
import tensorflow as tf

from tfapp.models.predictor import Predictor

_NUMBERED = re.compile(r"(.+)_\d+")


def prediction_graph(predictor: Predictor) -> Any:
    """Returns the `GraphDef` of a prediction for a batch of any size; nothing is computed.

    Its input is `features` `[B, *feature_shape]`, its outputs have the names of what the predictor
    returns, and each variable is a placeholder under its path.

    Raises:
        Exception: Whatever the model raises for a batch of unknown size.
    """
    features = tf.TensorSpec([None, *predictor.info.feature_shape], tf.float32, name="features")
    function = tf.function(predictor.__call__, input_signature=[features]).get_concrete_function()
    graph = function.graph.as_graph_def()
    outputs = {value.op.name: name for name, value in function.structured_outputs.items()}
    _drop_order(graph, outputs)
    names = _tidy((node.name for node in graph.node), _layer_names(predictor.model))
    for name, better in (_variable_names(function, predictor.model) | outputs).items():
        if name in names and better not in names.values():
            names[name] = better
    _rename(graph, names)
    return graph


def _drop_order(graph: Any, outputs: Iterable[str]) -> None:
    """Lets outputs wait for nothing but their values: that all variables are read is no news."""
    for node in graph.node:
        if node.name in outputs:
            node.input[:] = [name for name in node.input if not name.startswith("^")]
    used = {name.removeprefix("^") for node in graph.node for name in node.input}
    kept = [node for node in graph.node if node.op != "NoOp" or node.name in used]
    del graph.node[:]
    graph.node.extend(kept)


def _tidy(names: Iterable[str], layers: set[str]) -> dict[str, str]:
    """Returns names whose scopes are called as the layers are, by the names that were."""
    scopes = {name: list(accumulate(name.split("/"), "{}/{}".format)) for name in names}
    taken = {path for paths in scopes.values() for path in paths}
    tidy: dict[str, str] = {"": ""}
    for path in (path for paths in scopes.values() for path in paths):
        if path in tidy:
            continue
        parent, _, own = path.rpartition("/")
        before = f"{tidy[parent]}/" if parent else ""
        match = _NUMBERED.fullmatch(own)
        free = match is not None and match[1] in layers and before + match[1] not in taken
        tidy[path] = before + (match[1] if match and free else own)
        taken.add(tidy[path])
    return {name: tidy[name] for name in scopes}


def _layer_names(model: Any) -> set[str]:
    layers, waiting = set(), [model]
    while waiting:
        item = waiting.pop()
        if isinstance(item, keras.layers.Layer):
            layers.add(item.name)
            waiting += item._layers  # there is no public way to those of a layer
    return layers


def _variable_names(function: Any, model: Any) -> dict[str, str]:
    """Returns the path of each variable by the name of its placeholder."""
    paths = {id(v.handle): v.name.removesuffix(":0") for v in function.variables}
    for variable in getattr(model, "variables", ()):
        if isinstance(variable, keras.Variable):  # TensorFlow's name has not all of the path
            copies = getattr(variable.value, "values", [variable.value])  # one a device
            paths[id(copies[0].handle)] = variable.path
    captured = function.captured_inputs
    inside = function.inputs[len(function.inputs) - len(captured) :]
    return {
        placeholder.op.name: paths[id(outside)]
        for outside, placeholder in zip(captured, inside, strict=True)
        if id(outside) in paths
    }


def _rename(graph: Any, names: Mapping[str, str]) -> None:
    def renamed(source: str) -> str:
        mark = "^" if source.startswith("^") else ""
        name, colon, number = source.removeprefix("^").partition(":")
        return f"{mark}{names[name]}{colon}{number}"

    for node in graph.node:
        node.name = names[node.name]
        node.input[:] = [renamed(source) for source in node.input]
