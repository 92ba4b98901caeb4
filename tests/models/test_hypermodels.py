"""KerasTuner's HyperModels behind import paths: what is accepted, built and refused."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tfapp.errors import ExitCode, ModelMismatch, UsageError
from tfapp.models import Argument, build_model, describe_model

OWN = '''
    import keras
    import keras_tuner

    def dense(hp, outputs=3):
        model = keras.Sequential([keras.layers.Flatten()])
        model.add(keras.layers.Dense(hp.Int("units", 4, 64, step=4), "relu"))
        if hp.Boolean("dropped"):
            model.add(keras.layers.Dropout(hp.Float("rate", 0.1, 0.5)))
        model.add(keras.layers.Dense(outputs, hp.Choice("activation", ["linear", "softmax"])))
        return model

    class Mine(keras_tuner.HyperModel):
        """The one that is searched."""

        def build(self, hp):
            return dense(hp)

    class Wide(keras_tuner.HyperModel):
        def __init__(self, outputs):
            super().__init__()
            self.outputs = outputs

        def build(self, hp):
            return dense(hp, self.outputs)

    five = Wide(5)
    closed = Mine(tunable=False)

    class Trains(Mine):
        def fit(self, hp, model, *args, **kwargs):
            return model.fit(*args, batch_size=hp.Choice("batch", [16, 32]), **kwargs)

    class Empty(keras_tuner.HyperModel):
        pass

    class Crash(keras_tuner.HyperModel):
        def build(self, hp):
            if hp.Int("units", 1, 9) == 1:
                raise RuntimeError("the fuse is out")
            return dense(hp)

    class Scoped(keras_tuner.HyperModel):
        def build(self, hp):
            model = keras.Sequential([keras.layers.Flatten()])
            for name in ("first layer", "second.layer"):
                with hp.name_scope(name):
                    model.add(keras.layers.Dense(hp.Int("units", 4, 64)))
            return model

    class Layered(keras_tuner.HyperModel):
        def build(self, hp):
            model = keras.Sequential([keras.layers.Flatten()])
            for i in range(hp.Int("layers", 1, 3)):
                model.add(keras.layers.Dense(hp.Int(f"units_{i}", 4, 64)))
            model.add(keras.layers.Dense(3))
            return model

    class Nested(keras_tuner.HyperModel):
        def build(self, hp):
            hp.Choice("kind", ["dense", "wide"])
            with hp.conditional_scope("kind", ["wide"]):
                hp.Choice("shape", ["narrow", "broad"])
                units = hp.Int("units", 4, 64, parent_name="shape", parent_values=["broad"])
            return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(units or 2)])

    class Fixing(keras_tuner.HyperModel):
        def build(self, hp):
            units = hp.Fixed("units", 7)
            return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(units)])

    def needs_more(hp, outputs):
        return dense(hp, outputs)

    def parameter(hp=None):
        return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(hp or 2)])
    '''


@pytest.fixture(autouse=True)
def own_hypermodels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "own_hypermodels.py").write_text(textwrap.dedent(OWN), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("own_hypermodels", None)


def build(name: str, **options: Any) -> Any:
    return build_model(f"own_hypermodels:{name}", options, feature_shape=(2, 2), outputs=3)


def shapes(model: Any) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in model.weights]


def refusal(name: str, kind: type[UsageError] = ModelMismatch, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        build(name, **options)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["Mine", "dense"])
def test_class_and_function_take_hyperparameters_as_options(name: str):
    assert shapes(build(name, units=12)) == [(4, 12), (12,), (12, 3), (3,)]


def test_instance_of_a_class_with_arguments():
    assert shapes(build("five", units=12))[-1] == (5,)


def test_what_is_not_given_is_at_its_default():
    model = build("Mine")
    assert shapes(model)[0] == (4, 4)
    assert [type(layer).__name__ for layer in model.layers] == ["Flatten", "Dense", "Dense"]


def test_what_others_bring_in_takes_its_value():
    model = build("Mine", dropped=True, rate=0.25)
    [dropout] = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert dropout.rate == 0.25


def test_option_that_these_values_leave_without_effect_is_no_mistake():
    """A search gives every trial a value of what a plain `if` declares."""
    assert shapes(build("Layered", layers=1, units_2=8)) == [(4, 4), (4,), (4, 3), (3,)]


def test_looking_for_names_does_not_move_the_initial_weights():
    weights = []
    for options in ({"layers": 1}, {"layers": 1, "units_2": 8}):
        keras.utils.set_random_seed(3)
        weights.append(build("Layered", **options).get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "options",
    [
        {"first layer/units": 5, "second": {"layer/units": 6}},
        {"first layer/units": 5, "second.layer/units": 6},
    ],
    ids=["as --set and tables give it", "as a quoted key"],
)
def test_names_with_slashes_spaces_and_dots(options: dict[str, Any]):
    assert shapes(build("Scoped", **options))[::2] == [(4, 5), (5, 6)]


def test_value_of_what_is_inactive_activates_nothing():
    given = {"kind": "dense", "shape": "broad", "units": 9}
    assert shapes(build("Nested", **given))[0] == (4, 2)
    assert shapes(build("Nested", **given | {"kind": "wide"}))[0] == (4, 9)


def test_unknown_hyperparameter_answers_with_the_nearest_of_all():
    assert refusal("Mine", rat=0.2) == (
        "model 'own_hypermodels:Mine' has no hyperparameter 'rat'. Did you mean 'rate'? It"
        " declares: units, dropped, activation, rate."
    )


def test_hypermodel_that_is_not_tunable_takes_nothing():
    assert refusal("closed", units=8).endswith("It declares: none.")
    assert shapes(build("closed"))[0] == (4, 4)


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("units", 3, "a whole number from 4 to 64"),
        ("units", 65, "a whole number from 4 to 64"),
        ("units", 8.0, "a whole number from 4 to 64"),
        ("units", True, "a whole number from 4 to 64"),
        ("units", "8", "a whole number from 4 to 64"),
        ("rate", 0.6, "a number from 0.1 to 0.5"),
        ("rate", float("nan"), "a number from 0.1 to 0.5"),
        ("dropped", 1, "one of True, False"),
        ("activation", "relu", "one of 'linear', 'softmax'"),
    ],
)
def test_value_outside_of_what_is_declared(option: str, value: Any, allowed: str):
    options = {"dropped": True, option: value}
    assert refusal("Mine", **options) == (
        f"model.options.{option} must be {allowed}, as the HyperModel declares it, found {value!r}."
    )


def test_what_is_fixed_stays():
    assert shapes(build("Fixing", units=7))[0] == (4, 7)
    assert "model.options.units must be 7, as" in refusal("Fixing", units=8)


def test_rounding_of_a_search_by_logarithm_is_no_mistake():
    assert build("Mine", dropped=True, rate=0.5 * (1 + 1e-15)).layers[2].rate == 0.5


def test_fit_of_its_own_is_refused_with_what_to_do_instead():
    assert refusal("Trains", UsageError) == (
        "the HyperModel 'own_hypermodels:Trains' has a fit() of its own, which is not called here:"
        " tfapp trains with its own loop. Take it out, and search what it searches in [tune.space],"
        " e.g. data.batch_size = { choice = [32, 64] }."
    )


def test_class_that_needs_arguments_is_refused():
    assert refusal("Wide").startswith(
        "the HyperModel 'own_hypermodels:Wide' cannot be made without arguments: "
    )


def test_build_that_raises_is_told_with_the_values():
    assert refusal("Crash", units=1) == (
        "model 'own_hypermodels:Crash' cannot be made with units=1: RuntimeError: the fuse is out"
    )


def test_hypermodel_without_build_is_refused():
    assert "cannot be made with no options: NotImplementedError" in refusal("Empty")


def test_function_with_another_required_argument_is_an_ordinary_one():
    assert "needs a value for 'hp'" in refusal("needs_more")


def test_function_with_an_optional_hp_is_an_ordinary_one():
    assert shapes(build("parameter", hp=6))[0] == (4, 6)


def test_report_tells_hyperparameters():
    report = describe_model("own_hypermodels:Mine", {"units": 12}, (2, 2), 3)
    assert report.docstring == "The one that is searched."
    assert report.arguments == (
        Argument("units", "4", "a whole number from 4 to 64, step 4"),
        Argument("dropped", "False", "one of True, False"),
        Argument("activation", "'linear'", "one of 'linear', 'softmax'"),
        Argument("rate", "0.1", "a number from 0.1 to 0.5"),
    )
    assert report.variables[0].shape == (4, 12)


def test_report_tells_conditions():
    report = describe_model("own_hypermodels:Nested", {}, (2, 2), 3)
    assert report.arguments[2].values == (
        "a whole number from 4 to 64 where kind is 'wide' and shape is 'broad'"
    )


def test_ordinary_models_import_no_keras_tuner():
    code = (
        "import sys; from tfapp.models import build_model, discover_space\n"
        "sys.path.insert(0, '.')\n"
        "open('plain.py', 'w').write('import keras\\n"
        "def model(outputs): return keras.Sequential([keras.layers.Dense(outputs)])')\n"
        "for name in ('mlp', 'plain:model'):\n"
        "    build_model(name, {}, feature_shape=(4,), outputs=3)\n"
        "    assert discover_space(name, {}) == {}\n"
        "sys.exit('keras_tuner' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
