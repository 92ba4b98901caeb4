from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfapp import names
from tfapp.errors import ExitCode, UnknownName, UsageError

# Loss is the base. CTC scores label sequences and Circle embeddings of pairs: neither compares
# the outputs for one example with its one label, which is all that a data set here has.
NOT_LOSSES = {"Loss", "CTC", "Circle"}
# The base; two that wrap other optimizers; and what MultiOptimizer is configured with.
NOT_OPTIMIZERS = {"Optimizer", "LossScaleOptimizer", "MultiOptimizer", "OptimizerMap"}


def public_classes(module: Any) -> set[str]:
    return {name for name, found in vars(module).items() if inspect.isclass(found)}


def arguments(cls: type) -> set[str]:
    found = inspect.signature(cls.__init__).parameters.values()
    return {p.name for p in found if p.kind is not p.VAR_KEYWORD} - {"self"}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder to put modules in; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_losses_are_those_of_keras():
    assert set(names.LOSSES.values()) == public_classes(keras.losses) - NOT_LOSSES


@pytest.mark.parametrize("name", sorted(set(names.LOSSES) - {"mae", "mse"}))
def test_loss_is_called_by_its_class_in_snake_case(name: str):
    assert re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=L)(?=Di)", "_", names.LOSSES[name]).lower() == name


def test_short_names_of_losses_are_those_of_keras():
    assert keras.losses.get("mse") is keras.losses.get(names.LOSSES["mse"]).fn
    assert keras.losses.get("mae") is keras.losses.get(names.LOSSES["mae"]).fn


def test_optimizers_are_those_of_keras():
    known = {class_name for class_name, _ in names.OPTIMIZERS.values()}
    assert known == public_classes(keras.optimizers) - NOT_OPTIMIZERS


@pytest.mark.parametrize("name", names.OPTIMIZERS)
def test_optimizer_options_are_the_arguments_of_the_class(name: str):
    class_name, own = names.OPTIMIZERS[name]
    taken = arguments(getattr(keras.optimizers, class_name))
    assert set(own) == taken - set(names.OPTIMIZER_OPTIONS)
    assert set(names.OPTIMIZER_OPTIONS) <= taken


def test_optimizers_are_called_as_keras_calls_them():
    for name, (class_name, _) in names.OPTIMIZERS.items():
        assert name.replace("_", "") == class_name.lower()


@pytest.mark.parametrize("name", names.SCHEDULES)
def test_schedule_options_are_arguments_of_the_class(name: str):
    class_name, options = names.SCHEDULES[name]
    if class_name is None:
        assert options == ()
        return
    taken = arguments(getattr(keras.optimizers.schedules, class_name))
    # The rate is the optimizer's, and the warm-up is ours for all of them.
    ours = {"name", "initial_learning_rate", "warmup_target", "warmup_steps"}
    assert set(options) == taken - ours


def test_schedules_are_those_of_keras():
    known = {class_name for class_name, _ in names.SCHEDULES.values()} - {None}
    assert known == public_classes(keras.optimizers.schedules) - {"LearningRateSchedule"}


@pytest.mark.parametrize("name", names.METRICS)
def test_metric_exists(name: str):
    assert issubclass(getattr(keras.metrics, names.METRICS[name]), keras.metrics.Metric)


@pytest.mark.parametrize("name", names.MODELS)
def test_model_can_be_imported(name: str):
    assert inspect.isclass(names.import_object("model", names.MODELS[name]))


def test_tables_load_neither_tensorflow_nor_numpy():
    code = (
        "import sys, tfapp.names, tfapp.config, tfapp.runs, tfapp.settings, tfapp.environment;"
        "print([m for m in ('tensorflow', 'keras', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


identifiers = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True)


@given(st.lists(identifiers, min_size=1, max_size=3), identifiers)
def test_dotted_module_and_object_is_an_import_path(parts: list[str], attribute: str):
    module = ".".join(parts)
    assert names.is_import_path(f"{module}:{attribute}")
    assert not names.is_import_path(f"{module}.{attribute}")
    assert not names.is_import_path(f"{module}:{attribute}.more")
    assert not names.is_import_path(f"{module}.:{attribute}")


@given(st.text(max_size=20))
def test_whatever_is_typed_is_a_path_or_known_or_refused(name: str):
    if names.is_import_path(name):
        module, attribute = name.split(":")
        assert attribute.isidentifier() and all(p.isidentifier() for p in module.split("."))
        names.check_name("model", name, ["mlp"])
    elif name != "mlp":
        with pytest.raises(UnknownName, match="no model named"):
            names.check_name("model", name, ["mlp"])


@given(st.sampled_from(sorted(names.LOSSES)), st.data())
def test_a_name_with_one_letter_missing_is_recognized(name: str, data: st.DataObject):
    at = data.draw(st.integers(0, len(name) - 1))
    typo = name[:at] + name[at + 1 :]
    if len(name) > 4 and typo not in names.LOSSES:
        with pytest.raises(UnknownName, match="Did you mean '"):
            names.check_name("loss", typo, names.LOSSES)


@pytest.mark.parametrize(
    ("kind", "folder"), [("loss", "mypackage.losses:Mine"), ("model", "mypackage.models:Mine")]
)
def test_unknown_name_tells_how_to_bring_ones_own(kind: str, folder: str):
    with pytest.raises(UnknownName) as caught:
        names.check_name(kind, "mpl", ("mlp",))
    assert str(caught.value) == (
        f"no {kind} named 'mpl'. Did you mean 'mlp'? Known: mlp."
        f" For your own, give an import path such as '{folder}'."
    )


def test_object_is_imported_from_the_working_folder(package: Path):
    (package / "own_things.py").write_text("answer = 42\n")
    sys.path[:] = [entry for entry in sys.path if entry not in ("", str(package))]
    assert names.import_object("loss", "own_things:answer") == 42


def test_what_is_tfapps_own_leaves_the_working_folder_out(package: Path):
    sys.path[:] = [entry for entry in sys.path if entry not in ("", str(package))]
    names.import_object("model", names.MODELS["mlp"])
    assert str(package) not in sys.path


def test_object_is_imported_from_an_installed_package(package: Path):
    assert names.import_object("loss", "keras.losses:Hinge") is keras.losses.Hinge


def test_missing_module_says_where_it_was_looked_for(package: Path):
    with pytest.raises(UsageError) as caught:
        names.import_object("loss", "not_there_at_all:Loss")
    message = str(caught.value)
    assert "loss 'not_there_at_all:Loss': no module named 'not_there_at_all'" in message
    assert str(package) in message
    assert caught.value.exit_code == ExitCode.USAGE


def test_missing_dependency_of_a_module_is_named_itself(package: Path):
    (package / "own_needy.py").write_text("import not_installed_here\n")
    with pytest.raises(UsageError, match="no module named 'not_installed_here'"):
        names.import_object("model", "own_needy:Model")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def broken(:", "SyntaxError: "),
        ("raise SystemExit('usage: train.py')", "SystemExit: usage: train.py"),
    ],
)
def test_module_that_fails_is_told_with_its_reason(package: Path, body: str, reason: str):
    (package / "own_broken.py").write_text(body + "\n")
    with pytest.raises(UsageError) as caught:
        names.import_object("model", "own_broken:Model")
    assert f"model 'own_broken:Model': importing own_broken raised {reason}" in str(caught.value)
    assert "--debug" in str(caught.value)


def test_missing_object_names_the_nearest(package: Path):
    (package / "networks_of_mine.py").write_text("class Network: ...\n_hidden = 1\n")
    with pytest.raises(UnknownName) as caught:
        names.import_object("model", "networks_of_mine:Netwrok")
    assert str(caught.value) == (
        "no object in networks_of_mine named 'Netwrok'. Did you mean 'Network'? Known: Network."
    )
