"""Versions of models: loaded, lent to requests, replaced and unloaded."""

from __future__ import annotations

import logging
import re
import shutil
import threading

import pytest
from repository_for_tests import add, refused, repository, served, states, until

from tfapp.serving.configs import ModelConfig
from tfapp.serving.loading import LoadOptions
from tfapp.serving.models import ModelSpec, State
from tfapp.serving.repository import Repository, RepositoryOptions
from tfapp.serving.status import Code, ServingError


def test_the_newest_version_is_served(loader, model_folder):
    add(model_folder, 3)
    with repository(loader) as models:
        models.serve([ModelConfig("m", model_folder)])
        assert served(models) == served(models, version=3) == 3
        assert states(models) == {3: State.AVAILABLE}
        specific = "Servable not found for request: Specific(m, 1). Versions of m that answer: 3."
        refused(Code.NOT_FOUND, specific, served, models, version=1)


def test_what_is_not_there_is_told_as_clients_expect_it(loader, model_folder):
    with repository(loader) as models:
        models.serve([ModelConfig("m", model_folder)])

        def use(spec):
            with models.use(spec):
                raise AssertionError

        missing = "Servable not found for request: Latest(n). Models: m."
        refused(Code.NOT_FOUND, missing, use, ModelSpec("n"))
        refused(Code.INVALID_ARGUMENT, "ModelSpec has no name specified.", use, ModelSpec(""))
        label = "Unrecognized servable version label: x."
        refused(
            Code.INVALID_ARGUMENT, f"{label} Labels of m: none.", use, ModelSpec("m", label="x")
        )
        refused(Code.INVALID_ARGUMENT, f"{label} Models: m.", use, ModelSpec("n", label="x"))
        unknown = "Could not find any versions of model n. Models: m."
        refused(Code.NOT_FOUND, unknown, models.statuses, "n")
        other = "Could not find version 9 of model m. Versions of m that answer: 1."
        refused(Code.NOT_FOUND, other, models.statuses, "m", 9)


def test_a_new_version_is_loaded_before_the_old_one_goes(loader, model_folder):
    loader.gates[2] = threading.Event()
    with repository(loader) as models:
        models.serve([ModelConfig("m", model_folder)])
        add(model_folder, 2)
        models.poll()
        until(lambda: states(models).get(2) is State.LOADING)
        assert served(models) == 1
        assert states(models)[1] is State.AVAILABLE
        loader.gates[2].set()
        until(lambda: states(models) == {2: State.AVAILABLE, 1: State.END})
        assert served(models) == 2
        assert [light.closed for light in loader.loaded] == [True, False]


def test_a_request_keeps_its_version_until_it_is_done(loader, model_folder):
    with repository(loader) as models:
        models.serve([ModelConfig("m", model_folder)])
        with models.use(ModelSpec("m")) as first, models.use(ModelSpec("m", 1)) as again:
            assert first is again
            add(model_folder, 2)
            models.poll()
            until(lambda: states(models)[1] is State.UNLOADING)
            assert served(models) == 2
            assert not first.closed
            refused(
                Code.NOT_FOUND,
                "Servable not found for request: Specific(m, 1). Versions of m that answer: 2."
                " Version 1 is UNLOADING.",
                served,
                models,
                version=1,
            )
        until(lambda: states(models)[1] is State.END)
        assert first.closed


def test_a_load_that_fails_is_retried_and_then_ends_with_its_text(loader, model_folder):
    with repository(loader, retries=2) as models:
        models.serve([ModelConfig("m", model_folder)])
        add(model_folder, 2, bad=True)
        models.poll()
        until(lambda: states(models)[2] is State.END)
        assert loader.tries == [("m", 1), ("m", 2), ("m", 2), ("m", 2)]
        newest, oldest = models.statuses("m")
        assert (newest.code, newest.message) == (Code.DATA_LOSS, "2 is damaged")
        assert (oldest.state, oldest.code, oldest.message) == (State.AVAILABLE, Code.OK, "")
        assert served(models) == 1
        models.poll()
        assert len(loader.tries) == 4, "it is not tried for ever"


def test_a_version_that_is_mended_between_tries_is_served(loader, model_folder):
    with repository(loader, retries=5, retry_seconds=0.3) as models:
        models.serve([ModelConfig("m", model_folder)])
        add(model_folder, 2, bad=True)
        models.poll()
        until(lambda: ("m", 2) in loader.tries)
        until(lambda: models.statuses("m", 2)[0].message)
        (status,) = models.statuses("m", 2)
        assert (status.state, status.code) == (State.LOADING, Code.OK), "it may still come"
        told = r"Try \d+ to load it failed, another will follow: 2 is damaged"
        assert re.fullmatch(told, status.message)
        (model_folder / "2" / "bad").unlink()
        until(lambda: states(models) == {2: State.AVAILABLE, 1: State.END})
        assert [status.message for status in models.statuses("m")] == ["", ""]


def test_a_version_that_is_removed_between_tries_is_given_up(loader, model_folder):
    with repository(loader, retries=5, retry_seconds=60) as models:
        models.serve([ModelConfig("m", model_folder)])
        add(model_folder, 2, bad=True)
        models.poll()
        until(lambda: ("m", 2) in loader.tries)
        shutil.rmtree(model_folder / "2")
        models.poll()
        until(lambda: states(models)[2] is State.END)
        add(model_folder, 2)
        models.poll()
        until(lambda: served(models) == 2)


def test_anything_a_model_raises_is_told(model_folder):
    def load(name, version, path):
        raise RuntimeError("its own fault")

    models = Repository(load, RepositoryOptions(0, loading=LoadOptions(retries=0)))
    with pytest.raises(ServingError, match="due to error: UNKNOWN: RuntimeError: its own fault"):
        models.serve([ModelConfig("m", model_folder)])
    models.close()


def test_the_start_waits_for_the_first_version(loader, model_folder):
    loader.gates[1] = threading.Event()
    with repository(loader) as models:
        start = threading.Thread(target=models.serve, args=([ModelConfig("m", model_folder)],))
        start.start()
        until(lambda: states(models) == {1: State.LOADING})
        assert not models.ready()
        assert start.is_alive()
        loader.gates[1].set()
        start.join(10)
        assert not start.is_alive()
        assert models.ready()
        assert served(models) == 1


def test_who_waits_for_the_start_can_give_up(loader, tmp_path):
    (tmp_path / "empty").mkdir()
    with repository(loader) as models:
        asked = []
        models.serve(
            [ModelConfig("m", tmp_path / "empty")],
            stopped=lambda: asked.append(1) or len(asked) > 1,
        )
        assert not models.ready()
        assert len(asked) == 2


def test_a_bad_model_makes_the_start_fail(loader, model_folder, tmp_path):
    add(tmp_path / "n", 4, bad=True)
    with repository(loader) as models:
        text = (
            "1 model(s) did not become available: {{{name: n version: 4} due to error:"
            " DATA_LOSS: 4 is damaged}, }"
        )
        configs = [ModelConfig("m", model_folder), ModelConfig("n", tmp_path / "n")]
        refused(Code.UNKNOWN, text, models.serve, configs)


def test_no_request_fails_while_versions_come_and_go(loader, model_folder):
    with repository(loader) as models:
        models.serve([ModelConfig("m", model_folder)])
        done, wrong, counts = threading.Event(), [], [0] * 4

        def ask(index):
            while not done.is_set():
                try:
                    with models.use(ModelSpec("m")) as servable:
                        if servable.closed:
                            wrong.append(servable.version)
                        counts[index] += 1
                except ServingError as error:
                    wrong.append(str(error))

        threads = [threading.Thread(target=ask, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        for version in range(2, 12):
            add(model_folder, version)
            models.poll()
            until(lambda version=version: states(models)[version] is State.AVAILABLE)
        done.set()
        for thread in threads:
            thread.join(10)
        assert wrong == []
        assert min(counts) > 0
        until(lambda: sum(not light.closed for light in loader.loaded) == 1)


def test_closing_waits_for_requests_and_unloads(loader, model_folder):
    models = Repository(loader, RepositoryOptions(poll_seconds=0))
    models.serve([ModelConfig("m", model_folder)])
    lease = models.use(ModelSpec("m"))
    servable = lease.__enter__()
    closing = threading.Thread(target=models.close, args=(10,))
    closing.start()
    until(lambda: states(models) == {1: State.UNLOADING})
    assert not servable.closed
    lease.__exit__(None, None, None)
    closing.join(10)
    assert servable.closed


def test_a_request_that_outlives_the_end_is_not_disturbed(loader, model_folder):
    models = Repository(loader, RepositoryOptions(poll_seconds=0))
    models.serve([ModelConfig("m", model_folder)])
    with models.use(ModelSpec("m")) as servable:
        models.close(0.01)
        assert not servable.closed


def test_what_happens_is_logged(loader, model_folder, caplog):
    caplog.set_level(logging.INFO, "tfapp.serving")
    with repository(loader) as models:
        models.serve([ModelConfig("m", model_folder)])
        add(model_folder, 2)
        models.poll()
        until(lambda: states(models) == {2: State.AVAILABLE, 1: State.END})
    assert "loaded m version 2 in " in caplog.text
    assert "unloaded m version 1" in caplog.text
