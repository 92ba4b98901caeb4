"""Reading an export back: in a process of its own while exporting, and anywhere later."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tfapp.errors import ExitCode, ExportError
from tfapp.export.verification import (
    CHECK,
    differences_in_new_process,
    largest_differences,
    read_check,
    refuse_differences,
    verify_export,
    worst_difference,
    write_check,
)
from tfapp.exported import sha256
from tfapp.training.restore import load_trained
from tfapp.training.samples import read_samples


def change_answers(folder, by):
    """As if the live model had answered something else."""
    check = read_check(folder)
    write_check(folder, type(check)(check.inputs, {n: v + by for n, v in check.outputs.items()}))
    card = json.loads((folder / "tfapp.json").read_text())
    card["files"][str(CHECK)] = sha256(folder / CHECK)
    (folder / "tfapp.json").write_text(json.dumps(card))


def test_an_export_carries_rows_and_the_live_models_answers(digits_export, digits_run):
    check = read_check(digits_export)
    np.testing.assert_array_equal(check.inputs["image"], read_samples(digits_run).features)
    live = load_trained(digits_run).predictor(check.inputs["image"])
    np.testing.assert_array_equal(check.outputs["probabilities"], live["probabilities"])
    assert check.rows == 64


def test_every_signature_is_asked(digits_export):
    found = largest_differences(digits_export)
    assert set(found) == {"serving_default", "predict", "classify", "encoded_image"}
    assert max(found.values()) <= 1e-6
    change_answers(digits_export, by=-0.25)
    # No answer is above 1, so differences are not scaled.
    assert largest_differences(digits_export) == pytest.approx(dict.fromkeys(found, 0.25), abs=1e-5)


def test_another_process_finds_the_same(digits_export):
    change_answers(digits_export, by=-0.125)
    found = differences_in_new_process(digits_export)
    assert found == pytest.approx(largest_differences(digits_export), abs=1e-6)
    (digits_export / "saved_model.pb").write_bytes(b"no model")
    with pytest.raises(ExportError, match="cannot be used elsewhere: the SavedModel"):
        differences_in_new_process(digits_export)


@pytest.mark.usefixtures("with_calendar")
def test_files_in_the_working_folder_are_not_taken_for_modules(digits_export):
    assert max(differences_in_new_process(digits_export).values()) <= 1e-5


@pytest.mark.parametrize("names", ["ab", "ba"], ids=" ".join)
@pytest.mark.parametrize("live", [1.0, np.nan])
def test_a_nan_is_never_rounding(names, live):
    values = {"a": np.array([0.5]), "b": np.array([live])}
    others = values | {"b": np.array([np.nan])}
    found = worst_difference({name: values[name] for name in names}, others)
    assert np.isnan(found)
    with pytest.raises(ExportError, match="differs by nan"):
        refuse_differences({"predict": found}, 1.0)


def test_verify_tells_what_it_saw(digits_export, cli, tmp_path):
    elsewhere = tmp_path / "elsewhere" / "7"
    shutil.copytree(digits_export, elsewhere)
    result = cli("export", "verify", elsewhere.parent, "--json")
    assert result.code == ExitCode.DONE
    told = json.loads(result.out)
    assert (told["path"], told["ok"], told["examples"]) == (str(elsewhere), True, 64)
    assert told["files"] == sum(p.is_file() for p in elsewhere.rglob("*")) - 1  # but tfapp.json
    shown = cli("export", "verify", elsewhere).out
    assert "encoded_image" in shown
    assert "the same: up to 1e-05 is rounding" in shown


@pytest.mark.parametrize(
    "words",
    [("--json", "verify", "digits"), ("-q", "--json", "verify", "digits/1", "--debug")],
    ids=" ".join,
)
def test_flags_may_stand_before_verify(digits_export, cli, words):
    result = cli("export", *words)
    assert result.code == ExitCode.DONE, result.err
    assert json.loads(result.out)["ok"] is True


def test_where_verify_is_a_run_or_a_word_too_many(cli):
    for words in (("--output", "x", "verify"), ("--", "verify")):
        result = cli("export", *words)
        assert result.code == ExitCode.MISSING
        assert "no run 'verify'" in result.err
    for words in (("--output", "x", "verify", "digits"), ("digits", "verify")):
        result = cli("export", *words)
        assert result.code == ExitCode.USAGE
        assert "type verify first: tfapp export verify PATH" in result.err
    assert "verify first" not in cli("export", "digits", "--version", "0", "verify").err


def test_the_page_shows_what_verify_prints(digits_export, cli):
    page = Path(__file__).parents[2] / "docs" / "exporting.md"
    shown = re.search(r"\$ tfapp export verify \S+\n(SavedModel .*?)\n```", page.read_text(), re.S)
    printed = cli("export", "verify", digits_export).out

    def comparable(text):
        text = re.sub(r"(?m)^SavedModel .*|(?<=difference )\S+|[ \t]+$", "", text)
        return text.split("\n")

    assert comparable(shown[1]) == comparable(printed.rstrip())


def test_other_answers_are_a_no(digits_export, cli):
    change_answers(digits_export, by=1e-3)
    result = cli("export", "verify", digits_export)
    assert result.code == ExitCode.DIFFERS
    assert "NOT the same" in result.out


def test_a_changed_file_is_named(digits_export, cli):
    with (digits_export / "saved_model.pb").open("ab") as file:
        file.write(b" ")
    result = cli("export", "verify", digits_export)
    assert result.code == ExitCode.FAILED
    assert "saved_model.pb is not what was written" in result.err


def test_what_is_no_export(cli, tmp_path):
    result = cli("export", "verify", tmp_path)
    assert result.code == ExitCode.MISSING
    assert f"no SavedModel in {tmp_path}. Export one with tfapp export RUN." in result.err
    result = cli("export", "verify")
    assert result.code == ExitCode.USAGE
    assert "Missing argument 'PATH'" in result.err


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        *((key, None, f"it has no '{key}'") for key in ("check", "files", "run", "info")),
        ("check", [1e-5], "its 'check' is not an object"),
        ("files", ["saved_model.pb"], "its 'files' is not an object"),
        ("version", "1", "its 'version' is not a whole number"),
        *(
            ("check", {"tolerance": value}, "'tolerance' in its 'check' is not a number from 0 to")
            for value in ("1e-5", float("nan"), float("inf"), -1, True)
        ),
        ("check", {}, "'tolerance' in its 'check' is not a number"),
    ],
)
def test_a_card_that_lacks_something_is_told_in_a_sentence(digits_export, cli, key, value, said):
    card = json.loads((digits_export / "tfapp.json").read_text())
    if value is None:
        del card[key]
    else:
        card[key] = value
    (digits_export / "tfapp.json").write_text(json.dumps(card))
    result = cli("export", "verify", digits_export)
    assert result.code == ExitCode.FAILED
    assert result.err.startswith(f"error: {digits_export}/tfapp.json is damaged: ")
    assert said in result.err
    assert "Export the run again with tfapp export." in result.err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "it holds no JSON object"),
        ("null", "it holds no JSON object"),
        ("{", "it is no JSON (Expecting"),
        ("[" * 100_000, "it is no JSON (maximum recursion"),
        ("\udcff", "it is no JSON ('utf-8' codec"),
        (None, "cannot be read: Is a directory"),
    ],
    ids=["list", "null", "torn", "deep", "no text", "folder"],
)
def test_what_is_no_card_is_told_in_a_sentence(digits_export, cli, content, said):
    card = digits_export / "tfapp.json"
    if content is None:
        card.unlink()
        card.mkdir()
    else:
        card.write_text(content, errors="surrogateescape")
    result = cli("export", "verify", digits_export)
    assert result.code == ExitCode.FAILED
    assert result.err.startswith(f"error: {card}")
    assert said in result.err


def test_an_export_without_its_rows_cannot_be_verified(digits_export):
    card = json.loads((digits_export / "tfapp.json").read_text())
    del card["files"][str(CHECK)]
    (digits_export / "tfapp.json").write_text(json.dumps(card))
    (digits_export / CHECK).unlink()
    with pytest.raises(ExportError, match=r"holds no examples to check it with"):
        verify_export(digits_export)


def test_the_card_says_what_was_measured(digits_export, digits_run):
    card = json.loads((digits_export / "tfapp.json").read_text())
    assert card["check"]["examples"] == 64
    found = max(largest_differences(digits_export).values())
    assert card["check"]["max_difference"] == pytest.approx(found, abs=1e-6)
    rows = {r["split"]: r for r in digits_run.metrics() if r["step"] == card["step"]}
    for split in ("train", "validation"):
        assert card["metrics"][split]["accuracy"] == rows[split]["accuracy"]
        assert set(card["metrics"][split]) == {"loss", "accuracy"}
    assert card["other_signatures"] == ["classify", "encoded_image"]
