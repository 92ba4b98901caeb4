"""Spaces and searches that cannot be: each is refused with one line that says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tfapp.config import Config, load_config
from tfapp.errors import ConfigError, ExitCode

RATE = "train.optimizer.learning_rate"
HIDDEN = "model.options.hidden"
DROPOUT = "model.options.dropout"


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
