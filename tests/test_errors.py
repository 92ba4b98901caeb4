from __future__ import annotations

from pathlib import Path

import pytest

from tfapp import errors
from tfapp.errors import (
    ConfigError,
    ExitCode,
    Interrupted,
    StorageError,
    TfappError,
    UnknownName,
    did_you_mean,
    storage_errors,
)


def every_error() -> list[type[TfappError]]:
    found = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, TfappError)]
    return sorted(found, key=lambda c: c.__name__)


def test_tree_in_the_docstring_is_the_tree_of_the_classes():
    drawn, above = {}, "TfappError"
    for line in (errors.__doc__ or "").splitlines():
        words = line.strip("│├└─ ").split()
        if words and hasattr(errors, words[0]):
            inner = line.startswith("    │   ")
            parent = above if inner else "TfappError"
            above = above if inner else words[0]
            drawn[words[0]] = "Exception" if words[0] == "TfappError" else parent
    assert drawn == {c.__name__: c.__base__.__name__ for c in every_error()}


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("TfappError", 1),
        ("UsageError", 2),
        ("UnknownName", 2),
        ("ConfigError", 2),
        ("RunExists", 2),
        ("ModelMismatch", 2),
        ("DataError", 2),
        ("MissingError", 4),
        ("CheckpointError", 1),
        ("ExportError", 1),
        ("StorageError", 1),
        ("Diverged", 5),
    ],
)
def test_each_kind_has_its_exit_code(name: str, code: int):
    assert getattr(errors, name).exit_code == code


@pytest.mark.parametrize("code", [ExitCode.INTERRUPTED, ExitCode.TERMINATED])
def test_interruption_carries_the_code_of_its_signal(code: ExitCode):
    error = Interrupted("saved at step 3", code)
    assert (str(error), error.exit_code) == ("saved at step 3", code)
    assert code - 128 in (2, 15)  # SIGINT and SIGTERM, by the shell's rule


def test_unknown_name_says_what_is_near_and_what_there_is():
    assert str(UnknownName("model", "resent", ["resnet", "mlp"], "Or write one.")) == (
        "no model named 'resent'. Did you mean 'resnet'? Known: mlp, resnet. Or write one."
    )


def test_known_names_may_come_from_an_iterator():
    message = str(UnknownName("model", "mpl", iter(["resnet", "mlp"])))
    assert message == "no model named 'mpl'. Did you mean 'mlp'? Known: mlp, resnet."


def test_config_error_holds_one_line_for_each_problem():
    error = ConfigError(line for line in ("a: wrong", "b: wrong"))
    assert error.problems == ("a: wrong", "b: wrong")
    assert str(error) == "a: wrong\nb: wrong"


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("ADAM", " Did you mean 'Adam'?"),
        ("adaam", " Did you mean 'Adam'?"),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_nearest_name_ignores_case(given: str, hint: str):
    assert did_you_mean(given, ["Adam", "SGD"]) == hint


def test_refusal_of_the_disk_names_path_and_reason_and_what_to_do():
    with pytest.raises(StorageError) as caught, storage_errors(Path("runs/x")):
        raise OSError(28, "No space left on device")
    message = str(caught.value)
    assert message.startswith("cannot write runs/x: No space left on device.")
    assert "Free some space" in message
    assert isinstance(caught.value.__cause__, OSError)


def test_refusal_without_a_reason_is_still_told():
    with pytest.raises(StorageError, match="cannot write x: torn"), storage_errors(Path("x")):
        raise OSError("torn")


def test_other_errors_pass_through():
    with pytest.raises(KeyError), storage_errors(Path("x")):
        raise KeyError("k")
