"""What a search may vary in a HyperModel."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

import keras_tuner
import pytest

from tfapp.config import load_config, to_toml
from tfapp.errors import ExitCode, ModelMismatch, UsageError
from tfapp.models import build_model, discover_space
from tfapp.space import Hyperparameter

# Each is the body of `build(hp)`, after which a dense layer is returned.
BODIES = {
    "kinds": """
        hp.Float("share", 0.1, 0.5)
        hp.Float("rate", 1e-4, 1e-2, sampling="log")
        hp.Float("decade", 1e-4, 1e-1, step=10, sampling="log")
        hp.Float("tenth", 0.0, 1.0, step=0.1)
        hp.Int("units", 32, 256, step=32)
        hp.Int("batch", 2, 64, sampling="log")
        hp.Int("heads", 1, 9)
        hp.Choice("activation", ["relu", "gelu"])
        hp.Choice("width", [64, 8])
        hp.Boolean("bias")
        hp.Fixed("depth", 3)
        """,
    "single": """
        hp.Int("a", 3, 3)
        hp.Float("b", 0.5, 0.5)
        hp.Choice("c", ["x"])
        hp.Choice("d", ["x", "x"])
        hp.Int("e", 1, 3, step=5)
        """,
    "layers": """
        for i in range(hp.Int("layers", 1, 3)):
            hp.Int(f"units_{i}", 4, 64)
            if hp.Boolean(f"drop_{i}"):
                hp.Float(f"rate_{i}", 0.1, 0.5)
        """,
    "conditions": """
        kind = hp.Choice("kind", ["mlp", "cnn", "rnn"])
        with hp.conditional_scope("kind", ["cnn", "rnn"]):
            if kind != "mlp":
                norm = hp.Boolean("norm")
                with hp.conditional_scope("norm", [True]):
                    if norm:
                        hp.Float("momentum", 0.8, 0.99)
        hp.Int("hidden", 4, 64, parent_name="kind", parent_values=["mlp"])
        """,
    "counted": """
        layers = hp.Int("layers", 1, 4)
        with hp.conditional_scope("layers", [2, 3]):
            if layers in (2, 3):
                hp.Boolean("skip")
        """,
    "alike": """
        kind = hp.Choice("kind", ["mlp", "cnn", "rnn"])
        hp.Int("units", 4, 64, parent_name="kind", parent_values=["mlp"])
        hp.Int("units", 4, 64, parent_name="kind", parent_values=["cnn"])
        """,
    "unlike": """
        kind = hp.Choice("kind", ["mlp", "cnn"])
        hp.Int("units", 4, 64, parent_name="kind", parent_values=["mlp"])
        hp.Int("units", 8, 16, parent_name="kind", parent_values=["cnn"])
        """,
    "crossed": """
        hp.Choice("kind", ["mlp", "cnn"])
        hp.Boolean("norm")
        hp.Int("units", 4, 64, parent_name="kind", parent_values=["cnn"])
        hp.Int("units", 4, 64, parent_name="norm", parent_values=[True])
        """,
    "reverse": """
        hp.Float("momentum", 0.9, 0.999, sampling="reverse_log")
        """,
    "number": """
        hp.Float("share", 0.0, 1.0)
        hp.Boolean("more", parent_name="share", parent_values=[0.5])
        """,
    "dots": """
        hp.Int("conv.units", 4, 64)
        with hp.name_scope("my head"):
            hp.Int("units", 4, 64)
        """,
    "prefix": """
        hp.Int("conv", 1, 4)
        hp.Int("conv.units", 4, 64)
        """,
    "fragile": """
        if hp.Choice("kernel", [3, 99]) == 99:
            hp.Boolean("dilated")
            raise ValueError("the kernel is larger than the image")
        """,
    "crash": """
        raise ValueError("the fuse is out")
        """,
}
HEAD = "import keras\nimport keras_tuner\n"
TAIL = "return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)])\n"


@pytest.fixture(autouse=True)
def own_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    functions = [
        f"def {name}(hp):\n{textwrap.indent(textwrap.dedent(body) + TAIL, '    ')}"
        for name, body in BODIES.items()
    ]
    (tmp_path / "own_spaces.py").write_text(HEAD + "\n".join(functions), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("own_spaces", None)


def discover(name: str, **options: Any) -> dict[str, Hyperparameter]:
    space = discover_space(f"own_spaces:{name}", options)
    assert all(key.startswith("model.options.") for key in space)
    return {key.removeprefix("model.options."): value for key, value in space.items()}


def refusal(name: str, **options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        discover(name, **options)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_each_kind_comes_with_its_range_step_and_sampling():
    assert discover("kinds") == {
        "share": Hyperparameter(floats=(0.1, 0.5)),
        "rate": Hyperparameter(floats=(1e-4, 1e-2), log=True),
        "decade": Hyperparameter(floats=(1e-4, 1e-1), log=True, step=10),
        "tenth": Hyperparameter(floats=(0.0, 1.0), step=0.1),
        "units": Hyperparameter(ints=(32, 256), step=32),
        "batch": Hyperparameter(ints=(2, 64), log=True),
        "heads": Hyperparameter(ints=(1, 9)),
        "activation": Hyperparameter(choice=("relu", "gelu")),
        "width": Hyperparameter(choice=(64, 8)),
        "bias": Hyperparameter(boolean=True),
    }


def test_what_has_one_value_is_not_searched():
    assert discover("single") == {}


def test_what_is_given_is_not_searched():
    assert list(discover("kinds", share=0.2, units=64, bias=False)) == [
        "rate",
        "decade",
        "tenth",
        "batch",
        "heads",
        "activation",
        "width",
    ]


def test_layers_that_are_counted_are_found_with_what_their_switches_bring_in():
    found = discover("layers")
    names = [f"{name}_{i}" for name in ("units", "drop", "rate") for i in range(3)]
    assert sorted(found) == sorted(["layers", *names])
    assert next(iter(found)) == "layers"


def test_layers_that_are_given_bound_what_is_found():
    assert sorted(discover("layers", layers=2, drop_1=False)) == [
        "drop_0",
        "rate_0",
        "units_0",
        "units_1",
    ]


def test_conditions_are_those_of_all_scopes_around_it():
    found = discover("conditions")
    kind, norm = "model.options.kind", "model.options.norm"
    assert {name: dict(each.when) for name, each in found.items()} == {
        "kind": {},
        "norm": {kind: ("cnn", "rnn")},
        "momentum": {kind: ("cnn", "rnn"), norm: (True,)},
        "hidden": {kind: ("mlp",)},
    }


def test_given_value_settles_conditions():
    assert {n: dict(h.when) for n, h in discover("conditions", kind="cnn").items()} == {
        "norm": {},
        "momentum": {"model.options.norm": (True,)},
    }
    assert list(discover("conditions", kind="mlp")) == ["hidden"]


def test_whole_number_on_which_others_depend_becomes_a_choice():
    found = discover("counted")
    assert found["layers"] == Hyperparameter(choice=(1, 2, 3, 4))
    assert found["skip"].when == {"model.options.layers": (2, 3)}


def test_same_name_under_two_conditions():
    assert discover("alike")["units"].when == {"model.options.kind": ("mlp", "cnn")}


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (
            "unlike",
            "hyperparameter 'units' is declared several times with different values. Give each a"
            " name of its own, or fix it: --set model.options.units=4.",
        ),
        (
            "crossed",
            "hyperparameter 'units' is declared several times under conditions on different"
            " others. Give each a name of its own.",
        ),
        (
            "reverse",
            "hyperparameter 'momentum' is sampled by 'reverse_log', which tfapp does not search by."
            " Let it be 'linear' or 'log', or fix it: --set model.options.momentum=0.9",
        ),
        (
            "number",
            "others depend on the hyperparameter 'share', which is a number of many values. Let it"
            " be a Choice, or fix it: --set model.options.share=0.0",
        ),
        (
            "prefix",
            "the hyperparameters 'conv' and 'conv.units' cannot both be keys of a config, where a"
            " dot leads into a table. Rename one of them.",
        ),
        (
            "crash",
            "model 'own_spaces:crash' cannot be built with the defaults of its hyperparameters:"
            " the fuse is out",
        ),
    ],
)
def test_what_cannot_be_searched_is_told(name: str, problem: str):
    assert refusal(name) == problem


@pytest.mark.parametrize(
    ("name", "options"),
    [("unlike", {"units": 8}), ("reverse", {"momentum": 0.95}), ("number", {"share": 0.25})],
)
def test_what_is_fixed_need_not_be_searchable(name: str, options: dict[str, Any]):
    assert not discover(name, **options).keys() & options.keys()


def test_unknown_option_is_refused():
    with pytest.raises(ModelMismatch, match=r"no hyperparameter 'unit_0'\. Did you mean 'units_0'"):
        discover("layers", unit_0=8)


def test_value_of_what_comes_up_later_is_looked_at_too():
    assert refusal("layers", rate_2=0.9) == (
        "model.options.rate_2 must be a number from 0.1 to 0.5, as the HyperModel declares it,"
        " found 0.9."
    )


def test_values_that_cannot_be_built_hide_nothing():
    assert list(discover("fragile")) == ["kernel", "dilated"]


@pytest.mark.parametrize("name", ["mlp", "keras:Sequential"])
def test_other_models_declare_nothing(name: str):
    assert discover_space(name, {"whatever": 1}) == {}


@pytest.mark.parametrize("name", ["kinds", "layers", "conditions", "counted", "alike", "dots"])
def test_every_corner_of_the_space_is_a_config_that_builds(name: str):
    """The space survives its file, and each of its values reaches `build`."""
    space = discover_space(f"own_spaces:{name}", {})
    config = load_config(overrides={"model.name": f"own_spaces:{name}", "tune": {"space": space}})
    Path("again.toml").write_text(to_toml(config), encoding="utf-8")
    assert load_config(Path("again.toml")).tune.space == space
    seen: list[dict[str, Any]] = []
    module = sys.modules["own_spaces"]
    function = getattr(module, name)

    def build(hp: keras_tuner.HyperParameters) -> Any:
        model = function(hp)
        seen.append(dict(hp.values))
        return model

    setattr(module, name, build)
    for pick in (0, -1):
        values = {key: each.values[pick] for key, each in space.items()}
        options = config.with_values(values).model.options
        build_model(f"own_spaces:{name}", options, feature_shape=(4,), outputs=3)
        active = {f"model.options.{key}": value for key, value in seen[0].items()}
        reached = {key: active[key] for key in values if key in active}
        assert reached == {key: values[key] for key in reached}
        assert next(iter(reached)) == next(iter(values))
        seen.clear()
