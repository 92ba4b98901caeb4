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
from tfapp.errors import ConfigError, ExitCode
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


def problem(*assignments: str) -> str:
    """The one line with which a config of these assignments is refused."""
    with pytest.raises(ConfigError) as caught:
        load_config(None, assignments)
    assert caught.value.exit_code == ExitCode.USAGE
    (line,) = caught.value.problems
    return line


def refused(hyperparameter: str, key: str = RATE) -> str:
    """What is said of a hyperparameter, without the key that it begins with."""
    start, told = f"tune.space.{key}: ", problem(f"tune.space.{key}={hyperparameter}")
    assert told.startswith(start)
    return told.removeprefix(start)


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


NONE = "expected one of float, int, choice, boolean, found none of them; e.g. { int = [1, 4] }"
KNOWN = "Known: boolean, choice, float, int, log, step, when."
TWO_NUMBERS = "expected the lowest and the highest number, e.g. [0.1, 0.5], found"
TWO_WHOLE = "expected the lowest and the highest whole number, e.g. [1, 4], found"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{}", NONE),
        ("{log=true}", NONE),
        ("{int=[1,2],float=[1,2]}", NONE.replace("none of them", "float and int")),
        ("{choice=[]}", "choice is empty: give at least two values"),
        ("{choice=[3,4,3]}", "choice has a value twice: [3, 4, 3]"),
        ("{choice=[1,1.0]}", "choice has a value twice: [1, 1.0]"),
        (
            "{choice=[1979-05-27,2]}",
            "a value of a choice is a finite number, a text, true, false, or a list or table of"
            " these, found 1979-05-27",
        ),
        (
            "{choice=[[1,nan],2]}",
            "a value of a choice is a finite number, a text, true, false, or a list or table of"
            " these, found [1, nan]",
        ),
        ("{int=[5,3]}", "expected the lowest value before a greater one, found [5, 3]"),
        ("{float=[3,3]}", "expected the lowest value before a greater one, found [3, 3]"),
        ("{float=[1,inf]}", "expected finite numbers, found [1, inf]"),
        ("{float=[nan,1]}", "expected finite numbers, found [nan, 1]"),
        ("{float=[0,1],log=true}", "log needs a lowest value above 0, found 0"),
        ("{int=[-2,1],log=true}", "log needs a lowest value above 0, found -2"),
        (
            "{int=[1,4],step=5}",
            "step 5 is longer than the way from 1 to 4, so there is only one value",
        ),
        (
            "{float=[1,4],log=true,step=5}",
            "step 5 is longer than the way from 1 to 4, so there is only one value",
        ),
        ("{float=[1,4],log=true,step=1}", "with log the step is a quotient above 1, found 1"),
        ("{int=[1,4],log=true,step=0.5}", "with log the step is a quotient above 1, found 0.5"),
        ("{int=[1,4],step=1.5}", "the step of an int is a whole number, found 1.5"),
        ("{choice=[1,2],log=true}", "log goes with float and int, not with choice"),
        ("{choice=[1,2],step=1}", "step goes with float and int, not with choice"),
        ("{boolean=true,log=true}", "log goes with float and int, not with boolean"),
    ],
)
def test_what_contradicts_itself_is_refused(text: str, told: str):
    assert refused(text, "model.options.x") == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{int=3}", f".int: {TWO_WHOLE} 3"),
        ("{int=[1,2,3]}", f".int: {TWO_WHOLE} [1, 2, 3]"),
        ("{int=[1.5,3]}", f".int: {TWO_WHOLE} [1.5, 3]"),
        ("{float='a'}", f".float: {TWO_NUMBERS} 'a'"),
        ("{choice='abc'}", ".choice: expected a list of values, e.g. [32, 64, 128], found 'abc'"),
        ("{boolean=false}", ".boolean: input should be True, found False"),
        ("{int=[1,4],step=0}", ".step: input should be greater than 0, found 0"),
        ("{int=[1,4],lgo=true}", f".lgo: unknown. Did you mean 'log'? {KNOWN}"),
        ("{choices=[1,2]}", f".choices: unknown. Did you mean 'choice'? {KNOWN}"),
        ("{bool=true}", f".bool: unknown. Did you mean 'boolean'? {KNOWN}"),
        ("{int=[1,4],when=3}", ".when: input should be a valid dictionary, found 3"),
    ],
)
def test_what_is_mistyped_is_told_where_it_is(text: str, told: str):
    assert problem(f"tune.space.model.options.x={text}") == f"tune.space.model.options.x{told}"


def test_a_plain_value_in_the_space_is_told_what_it_may_be():
    told = problem("tune.space.train.epochs=3")
    assert told.startswith("tune.space.train.epochs: a table, not a value, found 3. Its keys: ")


def test_steps_that_only_rounding_makes_too_long_are_fine():
    # 0.3 - 0.2 is 0.09999999999999998.
    assert space_of("model.options.x = { float = [0.2, 0.3], step = 0.1 }")


@pytest.mark.parametrize(
    ("when", "told"),
    [
        (
            "{model.options.hiden=[[64]]}",
            "it depends on model.options.hiden, which is not in the space."
            f" Did you mean {HIDDEN!r}?",
        ),
        (
            "{train.epochs=[1]}",
            "it depends on train.epochs, which has numbers from a lowest to a highest; let that be"
            " a choice",
        ),
        (
            f"{{{HIDDEN}=[[65],[64]]}}",
            f"it depends on {HIDDEN} being [65], but that is one of [64], [128]",
        ),
        (
            f"{{{HIDDEN}=[]}}",
            f"it depends on {HIDDEN} being nothing, but that is one of [64], [128]",
        ),
        (
            "{train.optimizer.amsgrad='yes'}",
            "it depends on train.optimizer.amsgrad being 'yes', but that is one of False, True",
        ),
        (f"{{{DROPOUT}=[0.1]}}", f"it depends on {DROPOUT}, in a circle"),
    ],
)
def test_when_on_what_cannot_be_is_refused(when: str, told: str):
    line = problem(
        f"tune.space.{HIDDEN}={{choice=[[64],[128]]}}",
        "tune.space.train.optimizer.amsgrad={boolean=true}",
        "tune.space.train.epochs={int=[1,3]}",
        f"tune.space.{DROPOUT}={{float=[0,0.5],when={when}}}",
    )
    assert line == f"tune.space.{DROPOUT}: {told}"


def test_two_that_depend_on_each_other_are_refused():
    line = problem(
        "tune.space.model.options.a={boolean=true,when={model.options.b=true}}",
        "tune.space.model.options.b={boolean=true,when={model.options.a=true}}",
    )
    assert "tune.space.model.options.a: it depends on model.options.b, in a circle" in line


@pytest.mark.parametrize("key", ["name", "train.monitor", "train.monitor_mode", "train.strategy"])
def test_what_the_search_stands_on_cannot_be_searched(key: str):
    assert refused("{choice=['a','b']}", key) == (
        "it cannot be searched, being about the search itself"
    )
    assert refused("{int=[1,2]}", "tune.trials") == (
        "it cannot be searched, being about the search itself"
    )


def test_a_key_inside_another_key_is_refused():
    keys = {"train.optimizer": {"choice": [{"name": "sgd"}]}, RATE: {"float": [0.1, 0.2]}}
    with pytest.raises(ConfigError) as caught:
        load_config(overrides={"tune.space": keys})
    assert caught.value.problems == (
        f"tune.space.train.optimizer: it holds {RATE}, so only one of them can be searched",
    )


@pytest.mark.parametrize(
    ("key", "text", "told"),
    [
        ("train.epochs", "{int=[0,4]}", "train.epochs: input should be greater than 0, found 0"),
        (RATE, "{float=[0,1]}", f"{RATE}: input should be greater than 0, found 0.0"),
        (
            "data.batch_size",
            "{choice=[32,'a']}",
            "data.batch_size: input should be a valid integer, found 'a'",
        ),
        (
            "data.validation",
            "{float=[0.5,1.5]}",
            "data.validation: input should be less than 1, found 1.5",
        ),
        (
            "train.loop",
            "{choice=['resident','residant']}",
            "train.loop: input should be 'auto', 'resident', 'streaming', 'streaming_xla' or"
            " 'eager', found 'residant'. Did you mean 'resident'?",
        ),
        (
            "train.epoch",
            "{int=[1,2]}",
            "train.epoch: unknown. Did you mean 'epochs'? Known: checkpoint, class_weights,"
            " early_stopping, epochs, loop, loss, metrics, monitor, monitor_mode, optimizer,"
            " precision, refit, schedule, strategy.",
        ),
    ],
)
def test_values_that_the_config_refuses_are_refused_before_any_trial(
    key: str, text: str, told: str
):
    assert refused(text, key) == told


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


def test_epochs_cannot_be_searched_with_hyperband():
    space = "tune.space.train.epochs={int=[1,3]}"
    assert problem(space, "tune.algorithm=hyperband") == (
        "tune.space.train.epochs: hyperband decides how long a trial trains; leave it out"
    )
    assert load_config(None, [space, "tune.algorithm=grid"]).tune is not None


@pytest.mark.parametrize("budget", ["", "90", "3x", "0s", "-1h", "1h30m", "m"])
def test_unreadable_budget_is_refused(budget: str):
    assert problem(f"tune.budget='{budget}'") == (
        f"tune.budget: expected a time with its unit, e.g. 90s, 30m, 2h or 1d, found {budget!r}"
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 30 * 60), ("1.5h", 90 * 60), ("1d", 24 * 60 * 60), (" 2 h ", 7200)],
)
def test_budget_in_seconds(text: str, seconds: float):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("tune.trials=0", "tune.trials: input should be greater than 0, found 0"),
        ("tune.executions=1.5", "tune.executions: input should be a valid integer, found 1.5"),
        ("tune.factor=1", "tune.factor: input should be greater than or equal to 2, found 1"),
        ("tune.iterations=0", "tune.iterations: input should be greater than 0, found 0"),
        (
            "tune.algorithm=hyperbnd",
            "tune.algorithm: input should be 'random', 'hyperband', 'bayesian' or 'grid', found"
            " 'hyperbnd'. Did you mean 'hyperband'?",
        ),
        (
            "tune.trails=3",
            "tune.trails: unknown. Did you mean 'trials'? Known: algorithm, budget, executions,"
            " factor, iterations, objective, space, trials.",
        ),
    ],
)
def test_bad_settings_of_the_search(assignment: str, told: str):
    assert problem(assignment) == told


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


def test_with_values_tells_every_value_that_cannot_be():
    with pytest.raises(ConfigError) as caught:
        Config().with_values({"train.epochs": 0, "data.batch_size": 1.5, "seed": 3})
    assert sorted(caught.value.problems) == [
        "data.batch_size: input should be a valid integer, found 1.5",
        "train.epochs: input should be greater than 0, found 0",
    ]


def test_the_command_tells_what_is_wrong_before_anything_else(cli: Callable[..., Any]):
    result = cli("tune", "--set", f"tune.space.{RATE}={{float=[1,0]}}", "--budget", "soon")
    assert (result.code, result.out) == (ExitCode.USAGE, "")
    assert sorted(result.err.splitlines()) == [
        "error: tune.budget: expected a time with its unit, e.g. 90s, 30m, 2h or 1d, found 'soon'",
        f"error: tune.space.{RATE}: expected the lowest value before a greater one, found [1, 0]",
    ]


def test_the_command_tells_how_to_give_a_space(cli: Callable[..., Any]):
    result = cli("tune", "--data", "iris")
    assert (result.code, result.out) == (ExitCode.USAGE, "")
    assert result.err == f"error: {empty_space()}\n"
    example = empty_space().partition("line such as ")[2].partition(", or type")[0]
    typed = empty_space().partition("--set ")[2].strip("'")
    assert space_of(example) == load_config(None, [typed]).tune.space  # type: ignore[union-attr]
