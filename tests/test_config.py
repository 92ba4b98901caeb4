from __future__ import annotations

import math
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tfapp import names
from tfapp.config import Config, load_config, to_toml
from tfapp.errors import ConfigError, ExitCode, MissingError


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write_toml(text: str) -> Path:
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_toml


def problems(*assignments: str, path: Path | None = None, **rest: Any) -> tuple[str, ...]:
    """The lines with which a config of these assignments is refused."""
    with pytest.raises(ConfigError) as caught:
        load_config(path, assignments, **rest)
    assert caught.value.exit_code == ExitCode.USAGE
    return caught.value.problems


def problem(*assignments: str, **rest: Any) -> str:
    (line,) = problems(*assignments, **rest)
    return line


def test_nothing_given_is_the_defaults():
    assert load_config() == Config()


def test_later_sources_win(write: Callable[[str], Path]):
    path = write("seed = 1\n[train]\nepochs = 1\n[data]\nbatch_size = 1\n[model]\nname = 'cnn'")
    config = load_config(
        path,
        ["train.epochs=3", "data.batch_size=3"],
        environment={"seed": 2, "train.epochs": 2, "data.batch_size": 2},
        overrides={"data.batch_size": 4},
    )
    assert config.data.validation == Config().data.validation  # default
    assert config.model.name == "cnn"  # file
    assert config.seed == 2  # environment
    assert config.train.epochs == 3  # --set
    assert config.data.batch_size == 4  # named option


def test_of_two_assignments_the_last_wins():
    assert load_config(None, ["seed=1", "seed=2"]).seed == 2


def test_assignment_reaches_into_a_table_of_the_file(write: Callable[[str], Path]):
    path = write("[train.optimizer]\nname = 'sgd'\nmomentum = 0.5\n")
    optimizer = load_config(path, ["train.optimizer.nesterov=true"]).train.optimizer
    assert (optimizer.name, optimizer.options) == ("sgd", {"momentum": 0.5, "nesterov": True})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-0.5", -0.5),
        ("1e-3", 1e-3),
        ("true", True),
        ("[256, 128]", [256, 128]),
        ('["a", "b"]', ["a", "b"]),
        ("{ units = 3, deep = { x = 1 } }", {"units": 3, "deep": {"x": 1}}),
        ("'3'", "3"),
        ("relu", "relu"),
        ("mypackage.layers:Mine", "mypackage.layers:Mine"),
        ("a = b", "a = b"),
        ("two words", "two words"),
        ("[1, 2", "[1, 2"),
        ("", ""),
    ],
)
def test_assigned_value_is_toml_or_else_plain_text(text: str, value: Any):
    config = load_config(None, [f"model.options.given={text}"])
    assert config.model.options == {"given": value}
    assert type(config.model.options["given"]) is type(value)


def test_spaces_around_the_equals_sign_do_not_matter():
    assert load_config(None, [" seed = 3 "]).seed == 3


@pytest.mark.parametrize("assignment", ["train.epochs", "=3", " = 3"])
def test_assignment_without_key_or_value_shows_the_form(assignment: str):
    assert problem(assignment) == (
        f"--set {assignment}: expected key=value, e.g. --set train.epochs=3"
    )


def test_missing_file_is_told_with_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingError) as caught:
        load_config(Path("nowhere.toml"))
    assert str(caught.value).startswith(f"no config file nowhere.toml in {tmp_path}. Leave it out")
    assert caught.value.exit_code == ExitCode.MISSING


@pytest.mark.parametrize("content", [b"[train\nepochs = 3", b"name = '\xff'", b"a = 1\na = 2"])
def test_file_that_is_not_toml_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    assert problem(path=path).startswith(f"{path}: not readable as TOML: ")


def test_folder_in_place_of_a_file_is_refused(tmp_path: Path):
    assert "not readable as TOML" in problem(path=tmp_path)


def test_every_mistake_is_told_at_once(write: Callable[[str], Path]):
    path = write(
        """
        sead = 1
        [data]
        batch_sise = 3
        [train]
        epochs = 0
        loss = "hingee"
        [train.early_stopping]
        patince = 2
        [train.optimizer]
        name = "adm"
        """
    )
    lines = problems("train.metrics=['acuracy']", "nonsense", path=path)
    assert len(lines) == 8
    text = "\n".join(lines)
    assert (
        "sead: unknown. Did you mean 'seed'? Known: data, model, name, seed, train, tune." in text
    )
    assert "data.batch_sise: unknown. Did you mean 'batch_size'?" in text
    assert "train.epochs: input should be greater than 0, found 0" in text
    assert "train.loss: no loss named 'hingee'. Did you mean 'hinge'?" in text
    assert "train.early_stopping.patince: unknown. Did you mean 'patience'?" in text
    assert "train.optimizer: no optimizer named 'adm'. Did you mean 'adam'?" in text
    assert "train.metrics: no metric named 'acuracy'. Did you mean 'accuracy'?" in text
    assert "--set nonsense: expected key=value" in text


def test_only_what_the_file_says_is_laid_to_the_file(write: Callable[[str], Path]):
    path = write("[data]\nbatch_size = 0\n[train]\nepochs = 2")
    told = problems(
        "train.epocs=3",
        path=path,
        environment={"seed": -1},
        overrides={"model.name": "mpl"},
    )
    in_file = {line.startswith(f"{path}: "): line for line in told}
    assert len(told) == 4
    assert in_file[True].startswith(f"{path}: data.batch_size: ")
    assert sum(line.startswith(f"{path}: ") for line in told) == 1


@pytest.mark.parametrize(
    ("assignment", "near"),
    [
        ("trian.epochs=3", "train"),
        ("data.sorce=digits", "source"),
        ("model.optons={}", "options"),
        ("train.epoch=3", "epochs"),
        ("train.checkpoint.kep=3", "keep"),
        ("train.early_stopping.min_dleta=1", "min_delta"),
    ],
)
def test_unknown_key_names_the_nearest(assignment: str, near: str):
    assert f"unknown. Did you mean {near!r}? Known: " in problem(assignment)


@pytest.mark.parametrize(
    ("assignment", "line"),
    [
        ("train.epochs=0", "train.epochs: input should be greater than 0, found 0"),
        ("data.validation=1", "data.validation: input should be less than 1, found 1"),
        ("train.optimizer.learning_rate=-1", "input should be greater than 0, found -1"),
        ("train.optimizer.learning_rate=nan", "input should be a finite number, found nan"),
        ("train.optimizer.learning_rate=inf", "input should be a finite number, found inf"),
        ("train.epochs=true", "input should be a valid integer, found True"),
        ("data.batch_size=2.5", "found 2.5"),
        ("data.task=sorting", "'auto', 'classification' or 'regression', found 'sorting'"),
        ("name='my run'", "found 'my run'"),
        ("train.precision=float8", "found 'float8'"),
    ],
)
def test_wrong_value_is_told_with_what_is_allowed(assignment: str, line: str):
    told = problem(assignment)
    assert told.startswith(assignment.partition("=")[0] + ": ")
    assert line in told


@pytest.mark.parametrize("given", ["balancd", "3", "[1, 'a']", "{a = 1}"])
def test_wrong_class_weights_are_told_in_one_line(given: str):
    line = problem(f"train.class_weights={given}")
    assert line.startswith(
        "train.class_weights: expected 'balanced' or a number from 0 up for each class,"
    )


def test_class_weights_take_both_forms():
    assert load_config(None, ["train.class_weights=balanced"]).train.class_weights == "balanced"
    assert load_config(None, ["train.class_weights=[1, 2.5]"]).train.class_weights == [1.0, 2.5]


@pytest.mark.parametrize("section", ["train.optimizer", "train.schedule", "model"])
def test_name_in_place_of_a_table_shows_the_key_to_use(section: str):
    line = problem(f"{section}=adam")
    assert line.startswith(f"{section}: a table, not a value, found 'adam'.")
    assert f"{section}.name" in line


@pytest.mark.parametrize(
    ("assignments", "said"),
    [
        (
            ["train.optimizer.beta1=0.5"],
            "optimizer 'adam' has no option 'beta1'. Did you mean 'beta_1'? It takes: ",
        ),
        (["train.optimizer.momentum=0.5"], "optimizer 'adam' has no option 'momentum'."),
        (
            ["train.schedule.name=cosine", "train.schedule.decay_stps=9"],
            "schedule 'cosine' has no option 'decay_stps'. Did you mean 'decay_steps'? It takes: "
            "alpha, decay_steps, name, warmup_steps.",
        ),
        (["train.schedule.alpha=0.1"], "schedule 'constant' has no option 'alpha'."),
        (
            ["train.schedule.name=cosin"],
            "no schedule named 'cosin'. Did you mean 'cosine'?",
        ),
        (
            ["train.optimizer.beta_1=.9"],
            "optimizer 'adam' takes a number for beta_1, e.g. 0.9, found '.9'.",
        ),
        (
            ["train.schedule.name=exponential", "train.schedule.decay_rate=half"],
            "schedule 'exponential' takes a number for decay_rate, e.g. 0.9, found 'half'.",
        ),
    ],
)
def test_options_are_checked_against_what_is_named(assignments: list[str], said: str):
    assert said in problem(*assignments)


@pytest.mark.parametrize("name", names.OPTIMIZERS)
def test_each_optimizer_takes_its_options(name: str):
    options = dict.fromkeys((*names.OPTIMIZERS[name][1], "clipnorm", "use_ema"), 1)
    config = Config(train={"optimizer": {"name": name, **options}})
    assert config.train.optimizer.options == options


def test_imported_optimizer_takes_any_option():
    optimizer = {"name": "mine.opt:Mine", "anything": "goes"}
    assert Config(train={"optimizer": optimizer}).train.optimizer.options == {"anything": "goes"}


@pytest.mark.parametrize("key", ["model.name", "train.loss", "train.optimizer.name"])
def test_import_path_is_taken_for_any_name(key: str):
    assert load_config(None, [f"{key}=my.own:Thing"]) != Config()


def test_options_are_a_copy():
    config = Config(train={"optimizer": {"clipnorm": 1.0}})
    config.train.optimizer.options["clipnorm"] = 2.0
    assert config.train.optimizer.options == {"clipnorm": 1.0}


def test_config_cannot_be_changed():
    with pytest.raises(ValidationError):
        Config().train.epochs = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("config", "label"),
    [
        (Config(), "digits-mlp"),
        (Config(name="My_run.2"), "My_run.2"),
        (Config(data={"source": "synthetic/blobs"}), "blobs-mlp"),
        (Config(data={"source": "/data/My Table.csv"}), "my-table-mlp"),
        (Config(data={"source": "mnist"}, model={"name": "own.models:Net"}), "mnist-net"),
        (Config(data={"source": ".."}), "..-mlp"),
        (Config(data={"source": "/"}), "data-mlp"),
    ],
)
def test_label_is_the_name_or_made_of_data_and_model(config: Config, label: str):
    assert config.label == label


@given(st.text(min_size=1, max_size=30))
def test_label_is_always_one_folder(source: str):
    label = Config(data={"source": source}).label
    assert label == Path(f"x-{label}").name.removeprefix("x-")
    assert not set(label) & set('/\\:*?"<>| \n\0')


def test_toml_leaves_out_what_is_not_set():
    written = tomllib.loads(to_toml(Config()))
    assert "name" not in written
    assert written["train"]["epochs"] == Config().train.epochs


numbers = st.one_of(st.integers(-(2**60), 2**60), st.floats(allow_nan=False), st.booleans())
values = st.recursive(
    numbers | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
tables = st.dictionaries(st.text(max_size=6), values, max_size=3)
fractions = st.floats(0, 1, exclude_min=True, exclude_max=True)
counts = st.integers(1, 10**9)
rates = st.floats(min_value=0, exclude_min=True, allow_infinity=False)


@st.composite
def optimizers(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from(sorted(names.OPTIMIZERS)))
    own = sorted({*names.OPTIMIZERS[name][1], *names.OPTIMIZER_OPTIONS} - {"name", "learning_rate"})
    options = draw(st.dictionaries(st.sampled_from(own), numbers, max_size=3))
    for key in {"clipnorm", "clipvalue", "global_clipnorm", "weight_decay"} & options.keys():
        options[key] = abs(options[key])
    return {"name": name, "learning_rate": draw(rates), **options}


@st.composite
def schedules(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from(sorted(names.SCHEDULES)))
    known = names.SCHEDULES[name][1]
    options = {key: draw(numbers) for key in known if draw(st.booleans())}
    return {"name": name, "warmup_steps": draw(st.integers(0, 10**6)), **options}


configs = st.builds(
    Config,
    name=st.none() | st.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True),
    seed=st.integers(0, 2**32 - 1),
    data=st.fixed_dictionaries(
        {"source": st.text(max_size=20), "validation": fractions, "options": tables},
        optional={
            "batch_size": counts,
            "label": st.text(max_size=9) | st.none(),
            "classes": st.none() | st.lists(st.text(max_size=5)),
            "image_size": st.none() | st.tuples(counts, counts),
        },
    ),
    model=st.fixed_dictionaries({"name": st.sampled_from(sorted(names.MODELS)), "options": tables}),
    train=st.fixed_dictionaries(
        {"epochs": counts, "optimizer": optimizers(), "schedule": schedules()},
        optional={
            "loss": st.sampled_from(["auto", *sorted(names.LOSSES)]),
            "metrics": st.lists(st.sampled_from(sorted(names.METRICS))),
            "class_weights": st.none() | st.just("balanced") | st.lists(rates),
            "early_stopping": st.none() | st.fixed_dictionaries({"patience": counts}),
        },
    ),
)


@settings(deadline=None)  # the first example imports
@given(configs)
def test_toml_reads_back_to_an_equal_config(tmp_path_factory: Any, config: Config):
    path = tmp_path_factory.getbasetemp() / "round_trip.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    assert load_config(path) == config


def test_infinity_survives_the_file(tmp_path: Path):
    path = tmp_path / "config.toml"
    path.write_text(to_toml(Config(model={"options": {"limit": math.inf}})))
    assert load_config(path).model.options == {"limit": math.inf}
