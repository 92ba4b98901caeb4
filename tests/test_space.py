from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from search_spaces import spaces

from tfapp.config import Config, load_config, to_toml
from tfapp.errors import ExitCode
from tfapp.space import Hyperparameter, TuneConfig, empty_space, seconds_of

RATE = "train.optimizer.learning_rate"
HIDDEN = "model.options.hidden"
DROPOUT = "model.options.dropout"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write_toml(text: str) -> Path:
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_toml


def space_of(*lines: str) -> dict[str, Hyperparameter]:
    """The space of a config file whose [tune.space] has these lines."""
    tune = Config.model_validate(tomllib.loads("\n".join(["[tune.space]", *lines]))).tune
    assert tune is not None
    return tune.space


@pytest.mark.parametrize(
    ("text", "kind", "values", "told"),
    [
        ("{ float = [1e-4, 1e-1], log = true }", "float", (1e-4, 0.1), "float 0.0001 to 0.1, log"),
        ("{ float = [0, 1] }", "float", (0.0, 1.0), "float 0 to 1"),
        ("{ float = [0, 1], step = 0.25 }", "float", (0.0, 1.0), "float 0 to 1, step 0.25"),
        ("{ int = [1, 4] }", "int", (1, 4), "int 1 to 4"),
        ("{ int = [8, 64], log = true, step = 2 }", "int", (8, 64), "int 8 to 64, log, step 2"),
        ("{ choice = [[64], [128, 64]] }", "choice", ([64], [128, 64]), "choice [64], [128, 64]"),
        ("{ choice = ['relu', 3, 0.5, true] }", "choice", ("relu", 3, 0.5, True), None),
        ("{ boolean = true }", "boolean", (False, True), "boolean"),
    ],
)
def test_every_form_of_a_hyperparameter(text: str, kind: str, values: Any, told: str | None):
    (found,) = space_of(f"model.options.x = {text}").values()
    assert (found.kind, found.values) == (kind, values)
    assert [type(value) for value in found.values] == [type(value) for value in values]
    assert told is None or found.describe() == told


def test_when_holds_the_values_of_other_keys():
    space = space_of(
        f"{HIDDEN} = {{ choice = [[64], [128, 64]] }}",
        "train.optimizer.amsgrad = { boolean = true }",
        f"{DROPOUT} = {{ float = [0, 0.5], when = {{ '{HIDDEN}' = [[128, 64]] }} }}",
        "model.options.a = { int = [1, 2], when = { train.optimizer.amsgrad = true } }",
    )
    assert space[DROPOUT].when == {HIDDEN: ([128, 64],)}
    assert space["model.options.a"].when == {"train.optimizer.amsgrad": (True,)}


def test_dotted_and_quoted_keys_mean_the_same():
    dotted = space_of(
        f"{HIDDEN} = {{ choice = [[64], [128]] }}",
        f"{DROPOUT} = {{ float = [0, 0.5], when = {{ {HIDDEN} = [[128]] }} }}",
    )
    quoted = space_of(
        f"'{HIDDEN}' = {{ choice = [[64], [128]] }}",
        f"'{DROPOUT}' = {{ float = [0, 0.5], when = {{ '{HIDDEN}' = [[128]] }} }}",
    )
    tables = space_of(
        "[tune.space.model.options.hidden]",
        "choice = [[64], [128]]",
        "[tune.space.model.options.dropout]",
        "float = [0, 0.5]",
        f"when = {{ '{HIDDEN}' = [[128]] }}",
    )
    assert dotted == quoted == tables
    assert list(dotted) == [HIDDEN, DROPOUT]


def test_set_reaches_a_hyperparameter_of_the_file(write: Callable[[str], Path]):
    path = write(to_toml(load_config(None, [f"tune.space.{RATE}={{float=[0.1,0.2]}}"])))
    assert f'"{RATE}"' in path.read_text()  # which a dotted key replaces all the same
    config = load_config(path, [f"tune.space.{RATE}={{float=[0.3,0.4]}}"])
    assert config.tune is not None
    assert config.tune.space[RATE].values == (0.3, 0.4)


def test_order_of_the_file_is_kept_but_for_what_depends_on_others():
    independent = ["seed = { int = [0, 3] }", "train.epochs = { int = [1, 3] }"]
    assert list(space_of(*independent)) == ["seed", "train.epochs"]
    assert list(space_of(*reversed(independent))) == ["train.epochs", "seed"]
    # TOML gathers `train`, so that the rate comes before the model on which it depends.
    assert list(
        space_of(
            "train.epochs = { int = [1, 3] }",
            "model.name = { choice = ['mlp', 'cnn'] }",
            f"{RATE} = {{ float = [0.1, 0.2], when = {{ model.name = 'mlp' }} }}",
            "seed = { int = [0, 3] }",
        )
    ) == ["train.epochs", "model.name", RATE, "seed"]


@given(spaces())
@settings(max_examples=50, deadline=None)
def test_a_space_survives_the_way_through_toml(space: dict[str, Any]):
    config = Config.model_validate({"tune": {"space": space}})
    again = Config.model_validate(tomllib.loads(to_toml(config)))
    assert again == config
    assert config.tune is not None and again.tune is not None
    assert list(again.tune.space) == list(config.tune.space) == list(space)
    assert to_toml(again) == to_toml(config)


@given(spaces())
@settings(max_examples=50, deadline=None)
def test_a_space_survives_the_way_through_the_journal(space: dict[str, Any]):
    for hyperparameter in TuneConfig(space=space).space.values():
        line = json.loads(json.dumps(hyperparameter.model_dump(mode="json")))
        assert Hyperparameter.model_validate(line) == hyperparameter


@given(spaces())
@settings(max_examples=50, deadline=None)
def test_a_space_is_what_was_written(space: dict[str, Any]):
    """Against the dictionary itself, nested as TOML reads dotted keys."""
    nested: dict[str, Any] = {}
    for key, value in space.items():
        *parents, last = key.split(".")
        table = nested
        for parent in parents:
            table = table.setdefault(parent, {})
        table[last] = value
    text = tomli_w.dumps({"tune": {"space": nested}})
    config = Config.model_validate(tomllib.loads(text))
    assert config.tune is not None
    assert config.tune.space.keys() == space.keys()
    for key, value in space.items():
        shown = config.tune.space[key].model_dump()
        kind = next(k for k in ("float", "int", "choice", "boolean") if k in value)
        assert shown[kind] == (tuple(value[kind]) if kind != "boolean" else True)
        assert {k: shown.get(k, False) for k in ("log", "step")} == {
            k: value.get(k, False) for k in ("log", "step")
        }
        when = {parent: tuple(taken) for parent, taken in value.get("when", {}).items()}
        assert shown.get("when", {}) == when


def test_steps_that_only_rounding_makes_too_long_are_fine():
    # 0.3 - 0.2 is 0.09999999999999998.
    assert space_of("model.options.x = { float = [0.2, 0.3], step = 0.1 }")


def test_an_option_that_only_one_choice_has_can_be_searched():
    config = load_config(
        None,
        [
            "tune.space.train.optimizer.name={choice=['adam','sgd']}",
            "tune.space.train.optimizer.momentum"
            "={float=[0.1,0.9],when={train.optimizer.name='sgd'}}",
        ],
    )
    assert config.tune is not None
    assert list(config.tune.space) == ["train.optimizer.name", "train.optimizer.momentum"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 30 * 60), ("1.5h", 90 * 60), ("1d", 24 * 60 * 60), (" 2 h ", 7200)],
)
def test_budget_in_seconds(text: str, seconds: float):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("settings", "trials"),
    [
        ({}, 20),
        ({"algorithm": "bayesian"}, 20),
        ({"trials": 7}, 7),
        ({"budget": "1h"}, None),
        ({"budget": "1h", "trials": 7}, 7),
        ({"algorithm": "grid"}, None),
        ({"algorithm": "hyperband"}, None),
        ({"algorithm": "grid", "trials": 7}, 7),
    ],
)
def test_most_trials(settings: dict[str, Any], trials: int | None):
    assert TuneConfig(**settings).most_trials == trials


def test_with_values_gives_the_config_of_a_trial():
    config = load_config(
        None,
        [
            "name=mine",
            "train.optimizer.name=sgd",
            "train.optimizer.momentum=0.5",
            "tune.space.train.epochs={int=[1,3]}",
        ],
    )
    made = config.with_values(
        {
            RATE: 0.25,
            HIDDEN: [8, 4],
            "train.early_stopping.patience": 2,
            "model.options.deep.er": True,
        }
    )
    assert made.tune is None
    assert made.train.optimizer.learning_rate == 0.25
    assert made.train.optimizer.options == {"momentum": 0.5}  # what was there stays
    assert made.model.options == {"hidden": [8, 4], "deep": {"er": True}}
    assert made.train.early_stopping is not None
    assert made.train.early_stopping.patience == 2
    unchanged = {"name": "mine", "seed": 0, "data": config.data}
    assert {key: getattr(made, key) for key in unchanged} == unchanged
    assert config.train.optimizer.learning_rate is None  # and the config itself is as it was
    assert config.with_values({}) == config.model_copy(update={"tune": None})


def test_the_command_tells_how_to_give_a_space(cli: Callable[..., Any]):
    result = cli("tune", "--data", "iris")
    assert (result.code, result.out) == (ExitCode.USAGE, "")
    assert result.err == f"error: {empty_space()}\n"
    example = empty_space().partition("line such as ")[2].partition(", or type")[0]
    typed = empty_space().partition("--set ")[2].strip("'")
    assert space_of(example) == load_config(None, [typed]).tune.space  # type: ignore[union-attr]
