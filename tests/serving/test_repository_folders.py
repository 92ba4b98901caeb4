"""Folders of models: which versions are found in them and wanted, and what is told of them."""

from __future__ import annotations

import shutil

import pytest
from repository_for_tests import add, refused, repository, served, states, until

from tfapp.serving.configs import ModelConfig
from tfapp.serving.loading import LoadOptions
from tfapp.serving.models import State
from tfapp.serving.repository import Repository, RepositoryOptions
from tfapp.serving.status import Code
from tfapp.serving.versions import All, Latest, Specific, scan


def test_folders_with_numbers_are_versions(tmp_path, caplog):
    for name in ("1", "00000123", "123", "9223372036854775807", "9223372036854775808"):
        (tmp_path / name).mkdir()
    for name in ("v2", "2.0", "-3", "temp-4", "٤"):
        (tmp_path / name).mkdir()
    (tmp_path / "5").touch()
    found = scan(tmp_path)
    assert {number: path.name for number, path in found.items()} == {
        1: "1",
        123: "123",
        2**63 - 1: "9223372036854775807",
    }
    assert "Duplicate version directories detected. Version 123" in caplog.text


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        (Latest(), {7}),
        (Latest(0), {7}),
        (Latest(2), {3, 7}),
        (Latest(9), {1, 3, 7}),
        (All(), {1, 3, 7}),
        (Specific(frozenset({1, 4})), {1}),
    ],
)
def test_a_policy_says_which_are_wanted(policy, wanted):
    assert policy.wanted([3, 7, 1]) == wanted


def test_specific_versions_are_served_side_by_side(loader, model_folder, caplog):
    add(model_folder, 2)
    add(model_folder, 3)
    with repository(loader) as models:
        policy = Specific(frozenset({1, 2, 9}))
        models.serve([ModelConfig("m", model_folder, policy)])
        until(lambda: states(models) == {1: State.AVAILABLE, 2: State.AVAILABLE})
        assert (served(models), served(models, version=1)) == (2, 1)
        assert "Version 9 of servable m" in caplog.text
        models.serve([ModelConfig("m", model_folder, Specific(frozenset({1})))])
        until(lambda: states(models) == {1: State.AVAILABLE, 2: State.END})
        assert served(models) == 1


def test_removing_the_newest_folder_goes_back_to_the_one_before(loader, model_folder):
    add(model_folder, 2)
    with repository(loader) as models:
        models.serve([ModelConfig("m", model_folder)])
        assert served(models) == 2
        shutil.rmtree(model_folder / "2")
        models.poll()
        until(lambda: states(models) == {2: State.END, 1: State.AVAILABLE})
        add(model_folder, 2)
        models.poll()
        until(lambda: states(models) == {2: State.AVAILABLE, 1: State.END})


def test_a_missing_base_path_unloads_nothing_but_an_empty_one_does(loader, model_folder, caplog):
    with repository(loader) as models:
        models.serve([ModelConfig("m", model_folder)])
        model_folder.rename(model_folder.with_name("away"))
        models.poll()
        assert f"Could not find base path {model_folder} for servable m" in caplog.text
        assert served(models) == 1
        model_folder.mkdir()
        models.poll()
        assert f"No versions of servable m found under base path {model_folder}." in caplog.text
        until(lambda: states(models) == {1: State.END})
        latest = "Servable not found for request: Latest(m). Versions of m that answer: none."
        refused(Code.NOT_FOUND, latest, served, models)


def test_what_stays_wrong_is_not_logged_at_every_look(loader, model_folder, caplog):
    said = "Could not find base path"
    with repository(loader) as models:
        models.serve([ModelConfig("m", model_folder)])
        for times in (1, 2):
            model_folder.rename(model_folder.with_name("away"))
            for _ in range(3):
                models.poll()
            assert caplog.text.count(said) == times
            model_folder.with_name("away").rename(model_folder)
            models.poll()  # it is there again, so when it goes that is news


def test_a_folder_that_cannot_be_asked_for_does_not_keep_others_from_new_versions(
    loader, model_folder, caplog
):
    with repository(loader) as models:
        nobody = ModelConfig("a", model_folder.with_name("a\0b"))
        models.serve([nobody, ModelConfig("m", model_folder)], stopped=lambda: models.names() != ())
        until(lambda: states(models) == {1: State.AVAILABLE})
        add(model_folder, 2)
        models.poll()
        until(lambda: served(models) == 2)
    assert "looking for versions of a failed" in caplog.text


def test_a_folder_without_versions_is_told_what_it_holds(loader, model_folder, tmp_path, caplog):
    (tmp_path / "named" / "first").mkdir(parents=True)
    (tmp_path / "saved" / "variables").mkdir(parents=True)
    (tmp_path / "saved" / "saved_model.pb").touch()
    (tmp_path / "empty").mkdir()
    with repository(loader) as models:
        names = ("named", "saved", "empty")
        configs = [ModelConfig(name, tmp_path / name) for name in names]
        models.serve(configs, stopped=lambda: True)
    forgot = "Did you forget to name your leaf directory as a number (eg. '/1/')?"
    hints = {
        name: record.getMessage().partition(forgot)[2]
        for name in names
        for record in caplog.records
        if f"No versions of servable {name} " in record.getMessage()
    }
    assert hints == {
        "named": " Its folders are first.",
        "saved": f" It is a SavedModel itself: name the folder above it, {tmp_path}.",
        "empty": " It is empty.",
    }


def test_folders_are_looked_into_all_the_time(loader, model_folder):
    options = RepositoryOptions(poll_seconds=0.02, loading=LoadOptions(retries=0))
    models = Repository(loader, options)
    try:
        models.serve([ModelConfig("m", model_folder)])
        add(model_folder, 2)
        until(lambda: served(models) == 2)
    finally:
        models.close()
    assert all(light.closed for light in loader.loaded)
