"""From a name and options to a built model, or one sentence on why there is none."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from tfapp import names
from tfapp.errors import ModelMismatch, TfappError, did_you_mean, reason_of
from tfapp.models.hypermodels import HyperModelMaker, hypermodel_of


def build_model(
    name: str, options: Mapping[str, Any], *, feature_shape: tuple[int, ...], outputs: int
) -> keras.Model | tf.Module:
    """Makes a model and calls it once on zeros, so that every variable exists.

    Args:
        name: A registered name, or the import path of a `keras.Model` or `tf.Module` class, of
            a function that returns a model, or of a HyperModel of KerasTuner.
        options: Arguments of its constructor. `outputs` and `feature_shape` are added where it
            has parameters of these names and the options do not. Of a HyperModel, values of its
            hyperparameters by name.
        feature_shape: Shape of one example.
        outputs: Number of classes, or of values to predict.

    Returns:
        A model that gives `[batch, n]` for `[batch, *feature_shape]`.

    Raises:
        UnknownName: No model has this name, or the module no such object.
        ModelMismatch: It cannot be made with these options or does not take these examples.
    """
    maker = find_maker(name)
    arguments = dict(options)
    if not isinstance(maker, HyperModelMaker):
        offered = {"feature_shape": feature_shape, "outputs": outputs}
        arguments = _arguments(name, maker, options, offered)
    model = _make(name, maker, arguments)
    _check_call(name, model, feature_shape)
    if not model.trainable_variables:
        raise ModelMismatch(
            f"model {name!r} has no trainable variables: there is nothing to train. Keep its layers"
            " and variables as attributes of the model, and leave `trainable` on."
        )
    return model


def find_maker(name: str) -> Callable[..., Any]:
    """Returns the class or function that makes the model called `name`.

    Raises:
        UsageError: There is none, it does not import, or it is a HyperModel that trains by itself.
        ModelMismatch: What is there makes no model.
    """
    names.check_name("model", name, names.MODELS)
    found = names.import_object("model", names.MODELS.get(name, name))
    if hypermodel := hypermodel_of(name, found):
        return hypermodel
    if isinstance(found, type):
        fits = issubclass(found, (keras.Model, tf.Module))
    else:
        # A finished model can be called too, but on examples, not to make a model.
        fits = callable(found) and not isinstance(found, (keras.Layer, tf.Module))
    if not fits:
        what = f"the class {found.__name__}" if isinstance(found, type) else _a(found)
        raise ModelMismatch(
            f"{name!r} names {what}; it must name a subclass of keras.Model or tf.Module, a"
            " HyperModel of KerasTuner, or a function that returns a model."
        )
    return found


def parameters_of(maker: Callable[..., Any]) -> list[inspect.Parameter]:
    """Returns the parameters of a model's constructor, or of the function that makes it."""
    if not isinstance(maker, type):
        return list(inspect.signature(maker).parameters.values())
    # Not `signature(maker)`: that reads Keras's `__new__(cls, *args, **kwargs)` instead.
    return list(inspect.signature(maker.__init__).parameters.values())[1:]  # type: ignore[misc]


def _arguments(
    name: str, maker: Callable[..., Any], options: Mapping[str, Any], offered: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the user's options with what is offered added; refuses unknown and missing ones."""
    parameters = parameters_of(maker)
    named = {p.name: p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    takes = f"It takes: {', '.join(sorted(named)) or 'no options'}."
    unknown = [option for option in options if option not in named]
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters):
        problems = [f"no option {key!r}.{did_you_mean(key, named)}" for key in unknown]
        raise ModelMismatch(f"model {name!r} has {' It has '.join(problems)} {takes}")
    arguments = {key: offered[key] for key in offered if key in named} | dict(options)
    missing = [p.name for p in named.values() if p.default is p.empty and p.name not in arguments]
    if missing:
        raise ModelMismatch(
            f"model {name!r} needs a value for {', '.join(map(repr, missing))}: give it with"
            f" --set model.options.{missing[0]}=... {takes}"
        )
    return arguments


def _make(
    name: str, maker: Callable[..., Any], arguments: Mapping[str, Any]
) -> keras.Model | tf.Module:
    try:
        model = maker(**arguments)
    except TfappError:
        raise
    except Exception as error:
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise ModelMismatch(
            f"model {name!r} cannot be made with {given or 'no options'}: {reason_of(error)}"
        ) from error
    if not isinstance(model, (keras.Model, tf.Module)):
        raise ModelMismatch(
            f"{name!r} returned {_a(model)}; it must return a keras.Model or a tf.Module."
        )
    return model


def _check_call(name: str, model: Any, feature_shape: tuple[int, ...]) -> None:
    """Calls the model on two examples of zeros; this also makes what is made at the first call."""
    shape = [2, *feature_shape]
    try:
        result = model(tf.zeros(shape), training=False)
    except TfappError:
        raise
    except Exception as error:
        raise ModelMismatch(
            f"model {name!r} does not take examples of shape {list(feature_shape)}; called on zeros"
            f" {shape} with training=False it raised {reason_of(error)}"
        ) from error
    if not tf.is_tensor(result):
        raise ModelMismatch(
            f"model {name!r} gives {_a(result)}; it must give one tensor [batch, outputs]."
        )
    if result.shape.rank != 2 or result.shape[0] != 2:
        raise ModelMismatch(
            f"model {name!r} gives {result.shape.as_list()} for a batch of 2; it must give"
            " [batch, outputs], here [2, n]."
        )


def _a(thing: object) -> str:
    return "None" if thing is None else f"an object of type {type(thing).__name__}"
