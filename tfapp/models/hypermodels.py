"""KerasTuner's HyperModels as models: what they declare are their options, and can be searched.

    build_model("my_search:MyHyperModel", {"units": 64}, feature_shape=(8, 8, 1), outputs=10)
    discover_space("my_search:MyHyperModel", {"units": 64})
    # {"model.options.lr": Hyperparameter(floats=(1e-4, 1e-2), log=True)}

A HyperModel declares its hyperparameters while it builds a model, so what there are is known only
after building. KerasTuner is imported where a model turns out to be one, not before.
"""

from __future__ import annotations

import inspect
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tfapp import names
from tfapp.errors import ModelMismatch, TfappError, UsageError, did_you_mean, reason_of
from tfapp.models.hyperspace import space_of
from tfapp.runs import flatten
from tfapp.space import Hyperparameter


class HyperModelMaker:
    """Makes models from values of the hyperparameters that a HyperModel declares.

    Args:
        name: Its import path.
        source: A `keras_tuner.HyperModel`, or a function `build(hp)`.
    """

    def __init__(self, name: str, source: Any) -> None:
        self.name = name
        self.takes_raw_features = bool(getattr(source, "takes_raw_features", False))
        self.__doc__ = source.__doc__
        self._source = source

    def __call__(self, /, **options: Any) -> Any:
        """Builds a model.

        Args:
            **options: Values by name, the rest at their defaults. One whose hyperparameter is
                declared only where others have other values is without effect.

        Raises:
            ModelMismatch: The HyperModel never declares one of the names, or not this value of it.
        """
        from tfapp.models.hyperparameters import GivenHyperParameters

        given = flatten(options)
        hp = GivenHyperParameters(given)
        model = self._build(hp)
        with _randomness_kept():
            self._check_names(given, hp.space)
        return model

    def declared(self, options: Mapping[str, Any]) -> list[Any]:
        """Returns what the HyperModel declares, parents before children.

        Args:
            options: Values that are given; what shows only with others of them is left out.

        Returns:
            KerasTuner's hyperparameters; one name comes several times if its conditions differ.

        Raises:
            ModelMismatch: An option is never declared, or not with this value, or it cannot be
                built.
        """
        from tfapp.models.hyperparameters import check_given

        given = flatten(options)
        found = self._explore(given)
        self._check_names(given, found)
        check_given(found, given)
        return found

    def _explore(self, given: Mapping[str, Any]) -> list[Any]:
        from tfapp.models.hyperparameters import explore

        try:
            return explore(self._build, given)
        except TfappError:
            raise
        except Exception as error:
            values = "".join(f"{key}={value!r} and " for key, value in given.items())
            raise ModelMismatch(
                f"model {self.name!r} cannot be built with {values}the defaults of its"
                f" hyperparameters: {reason_of(error)}"
            ) from error

    def _check_names(self, given: Mapping[str, Any], declared: Sequence[Any]) -> None:
        """Refuses names that are declared neither there nor with any other values."""
        known = dict.fromkeys(each.name for each in declared)
        if given.keys() <= known.keys():
            return
        known |= dict.fromkeys(each.name for each in self._explore({}))
        problems = [
            f"no hyperparameter {name!r}.{did_you_mean(name, known)}"
            for name in given
            if name not in known
        ]
        if problems:
            raise ModelMismatch(
                f"model {self.name!r} has {' It has '.join(problems)} It declares:"
                f" {', '.join(known) or 'none'}."
            )

    def _build(self, hp: Any) -> Any:
        if not hasattr(self._source, "build"):
            return self._source(hp)
        self._source.declare_hyperparameters(hp)
        return self._source.build(hp)


def hypermodel_of(name: str, found: Any) -> HyperModelMaker | None:
    """Returns how models are made of a HyperModel; `None` if it is none.

    Args:
        name: Its import path.
        found: What the path names: a subclass of `keras_tuner.HyperModel`, an instance of one, or
            a function whose only required parameter is `hp`.

    Raises:
        ModelMismatch: The class needs arguments.
        UsageError: It has a `fit` of its own, which would not be called.
    """
    base = getattr(sys.modules.get("keras_tuner"), "HyperModel", None)
    if base and isinstance(found, type) and issubclass(found, base):
        try:
            found = found()
        except Exception as error:
            raise ModelMismatch(
                f"the HyperModel {name!r} cannot be made without arguments: {reason_of(error)}."
                " Give them defaults, or name an instance in its module instead of the class."
            ) from error
    if base and isinstance(found, base):
        if type(found).fit is not base.fit:
            raise UsageError(
                f"the HyperModel {name!r} has a fit() of its own, which is not called here: tfapp"
                " trains with its own loop. Take it out, and search what it searches in"
                " [tune.space], e.g. data.batch_size = { choice = [32, 64] }."
            )
        return HyperModelMaker(name, found)
    return HyperModelMaker(name, found) if _takes_hp(found) else None


def discover_space(name: str, options: Mapping[str, Any]) -> dict[str, Hyperparameter]:
    """Returns what a search may vary in a HyperModel.

    Args:
        name: A model's name or import path.
        options: `model.options` of the config; what they hold is not searched.

    Returns:
        By config key, e.g. `model.options.units`, parents before children; empty for a model that
        is no HyperModel.

    Raises:
        UsageError: A hyperparameter cannot be searched as it is declared, or the name cannot be
            imported.
        ModelMismatch: It does not declare one of the options, or cannot be built.
    """
    if not names.is_import_path(name):
        return {}
    maker = hypermodel_of(name, names.import_object("model", name))
    return {} if maker is None else space_of(maker.declared(options), flatten(options))


def _takes_hp(found: Any) -> bool:
    """Tells whether `found` is a function whose only required parameter is `hp`."""
    if not callable(found) or isinstance(found, type):
        return False
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):  # of some functions written in C
        return False
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    required = [p for p in parameters if p.default is p.empty and p.kind not in optional]
    return [p.name for p in required] == ["hp"]


@contextmanager
def _randomness_kept() -> Iterator[None]:
    """Puts back what Keras draws the seeds of initial weights from."""
    state, numpy_state = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)
