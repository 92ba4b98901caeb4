"""What `tfapp models show` tells of one model: its arguments, its variables, its size."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfapp import names
from tfapp.models.catalogue import OutputKind
from tfapp.models.hypermodels import HyperModelMaker
from tfapp.models.registry import build_model, find_maker, parameters_of


@dataclass(frozen=True)
class Argument:
    """One argument of a model's constructor, or one hyperparameter of a HyperModel.

    Attributes:
        name: What stands behind `model.options.`
        default: Python text; `None` if a value is required.
        values: What a hyperparameter may be, in words; empty for an argument.
    """

    name: str
    default: str | None
    values: str = ""


@dataclass(frozen=True)
class VariableRow:
    """One variable of a built model."""

    path: str
    shape: tuple[int, ...]
    dtype: str
    trainable: bool


@dataclass(frozen=True)
class ModelReport:
    """Everything `tfapp models show` prints.

    Attributes:
        name: The name or import path that was asked for.
        class_path: Import path of the class or function.
        docstring: Its docstring, empty when it has none.
        arguments: Its arguments in order, without `*args` and `**kwargs`; of a HyperModel, its
            hyperparameters.
        parameters: Numbers held in all variables.
        trainable_parameters: Those that training moves.
        variables: One row a variable, in the model's order; random states are left out.
        output_shape: What it gives for a batch; `None` is the batch.
        output_kind: What the output means; `None` where the class does not declare it.
    """

    name: str
    class_path: str
    docstring: str
    arguments: tuple[Argument, ...]
    parameters: int
    trainable_parameters: int
    variables: tuple[VariableRow, ...]
    output_shape: tuple[int | None, ...]
    output_kind: OutputKind | None


def describe_model(
    name: str, options: Mapping[str, Any], feature_shape: tuple[int, ...], outputs: int
) -> ModelReport:
    """Builds a model as `build_model` does, and tells what came out.

    Raises:
        UnknownName: No model has this name.
        ModelMismatch: It cannot be built.
    """
    maker = find_maker(name)
    model = build_model(name, options, feature_shape=feature_shape, outputs=outputs)
    rows = variable_rows(model)
    result = model(tf.zeros([2, *feature_shape]), training=False)
    return ModelReport(
        name=name,
        class_path=names.MODELS.get(name, name),
        # Not `inspect.getdoc`: for a class without a docstring it gives that of keras.Model.
        docstring=inspect.cleandoc(maker.__doc__ or ""),
        arguments=_arguments(maker, options),
        parameters=sum(math.prod(row.shape) for row in rows),
        trainable_parameters=sum(math.prod(row.shape) for row in rows if row.trainable),
        variables=rows,
        output_shape=(None, *result.shape[1:]),
        output_kind=getattr(model, "output_kind", None),
    )


def _arguments(maker: Any, options: Mapping[str, Any]) -> tuple[Argument, ...]:
    if isinstance(maker, HyperModelMaker):
        from tfapp.models.hyperparameters import describe

        first: dict[str, Any] = {}
        for declared in maker.declared(options):
            first.setdefault(declared.name, declared)
        return tuple(
            Argument(name, repr(declared.default), describe(declared))
            for name, declared in first.items()
        )
    return tuple(
        Argument(p.name, None if p.default is p.empty else repr(p.default))
        for p in parameters_of(maker)
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    )


def variable_rows(model: Any) -> tuple[VariableRow, ...]:
    """Returns one row a variable of a built model, in its order, without random states."""
    trainable = {id(variable) for variable in model.trainable_variables}
    # Keras's `variables` would add the states of dropout's random generators.
    variables = model.variables if isinstance(model, tf.Module) else model.weights
    return tuple(
        VariableRow(
            path=getattr(variable, "path", variable.name.removesuffix(":0")),
            shape=tuple(variable.shape),
            dtype=tf.as_dtype(variable.dtype).name,
            trainable=id(variable) in trainable,
        )
        for variable in variables
    )
