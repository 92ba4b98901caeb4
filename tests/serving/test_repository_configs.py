"""New configs of a repository: models that come and go, who waits for them, and labels."""

from __future__ import annotations

import threading
import time

import pytest
from google.protobuf import text_format
from repository_for_tests import add, refused, repository, served, states, until
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from tfapp.serving.configs import ModelConfig
from tfapp.serving.models import State
from tfapp.serving.status import Code, ServingError
from tfapp.serving.versions import All


def config_of(**bases):
    config = ModelServerConfig()
    for name, model_folder in bases.items():
        config.model_config_list.config.add(
            name=name, base_path=str(model_folder), model_platform="tensorflow"
        )
    return config


def labelled(model_folder, **labels):
    return [ModelConfig("m", model_folder, All(), labels)]


def test_a_reload_is_the_whole_truth(loader, model_folder, tmp_path):
    add(tmp_path / "n", 5)
    with repository(loader) as models:
        models.reload(config_of(m=model_folder))
        models.reload(config_of(n=tmp_path / "n"))
        assert models.names() == ("n",)
        assert states(models, "n") == {5: State.AVAILABLE}
        until(lambda: states(models) == {1: State.END})
        models.reload(config_of(m=model_folder, n=tmp_path / "n"))
        assert served(models) == 1
        assert [light.closed for light in loader.loaded] == [True, False, False]


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("", Code.FAILED_PRECONDITION, "Cannot transition to requested config."),
        (
            "model_config_list { config { name: 'm' base_path: 'm' model_platform: 'tensorflow' }}",
            Code.INVALID_ARGUMENT,
            "Expected model m to have an absolute path or URI; got base_path()=m",
        ),
    ],
)
def test_a_reload_that_is_refused_changes_nothing(loader, model_folder, text, code, told):
    with repository(loader) as models:
        models.reload(config_of(m=model_folder))
        with pytest.raises(ServingError) as caught:
            models.reload(text_format.Parse(text, ModelServerConfig()))
        assert caught.value.code is code
        assert told in str(caught.value)
        models.poll()
        assert served(models) == 1
        assert models.names() == ("m",)


def test_a_reload_with_a_bad_new_model_says_so_and_serves_the_others(
    loader, model_folder, tmp_path
):
    add(tmp_path / "n", 4, bad=True)
    with repository(loader) as models:
        models.reload(config_of(m=model_folder))
        with pytest.raises(
            ServingError, match=r"^1 model\(s\) did not become available: {{{name: n version"
        ):
            models.reload(config_of(m=model_folder, n=tmp_path / "n"))
        assert served(models) == 1


def test_a_config_with_a_wrong_path_can_be_put_right_while_somebody_waits_for_it(
    loader, model_folder, tmp_path
):
    add(tmp_path / "right", 7)
    with repository(loader) as models:
        models.reload(config_of(m=model_folder))
        ended = threading.Event()

        wrong = config_of(m=model_folder, n=tmp_path / "wrong")

        def wait() -> None:
            text = "Another config has been taken meanwhile."
            refused(Code.ABORTED, text, models.reload, wrong)
            ended.set()

        waiting = threading.Thread(target=wait)
        waiting.start()
        until(lambda: models.names() == ("m", "n"))
        models.follow(wrong)  # waits for nothing, and is no other
        time.sleep(0.5)
        assert not ended.is_set()
        models.follow(config_of(m=model_folder, n=tmp_path / "right"))
        until(lambda: states(models, "n") == {7: State.AVAILABLE})
        assert ended.wait(10)
        waiting.join()
        assert served(models) == 1


def test_who_asks_again_for_models_that_are_still_loading_waits_for_them(
    loader, model_folder, tmp_path
):
    add(tmp_path / "n", 7)
    loader.gates[7] = threading.Event()
    config = config_of(m=model_folder, n=tmp_path / "n")
    with repository(loader) as models:
        models.reload(config_of(m=model_folder))
        models.reload(config, stopped=lambda: True)  # its client has given up
        answered = threading.Event()
        again = threading.Thread(target=lambda: (models.reload(config), answered.set()))
        again.start()
        assert not answered.wait(0.3)
        loader.gates[7].set()
        assert answered.wait(10)
        assert states(models, "n") == {7: State.AVAILABLE}
        models.reload(config)


def test_who_asks_again_for_a_model_that_has_failed_meanwhile_is_told_once(
    loader, model_folder, tmp_path
):
    add(tmp_path / "n", 7, bad=True)
    loader.gates[7] = threading.Event()
    config = config_of(m=model_folder, n=tmp_path / "n")
    text = (
        "1 model(s) did not become available: {{{name: n version: 7} due to error: DATA_LOSS: 7 is"
        " damaged}, }"
    )
    with repository(loader) as models:
        models.reload(config_of(m=model_folder))
        models.reload(config, stopped=lambda: True)
        loader.gates[7].set()
        refused(Code.UNKNOWN, text, models.reload, config)
        models.reload(config)
        models.reload(config_of(m=model_folder))
        refused(Code.UNKNOWN, text, models.reload, config)


def test_a_config_that_is_refused_disturbs_nobody_who_waits(loader, model_folder, tmp_path):
    with repository(loader) as models:
        models.reload(config_of(m=model_folder))
        late = tmp_path / "late"
        waiting = threading.Thread(target=models.reload, args=[config_of(m=model_folder, n=late)])
        waiting.start()
        until(lambda: models.names() == ("m", "n"))
        text = (
            "Request to assign label to version 3 of model m, which is not currently available for"
            " inference"
        )
        refused(Code.FAILED_PRECONDITION, text, models.serve, labelled(model_folder, stable=3))
        time.sleep(0.5)  # longer than it sleeps between looks
        assert waiting.is_alive()
        add(late, 7)
        models.poll()
        waiting.join(10)
        assert states(models, "n") == {7: State.AVAILABLE}


def test_who_waits_for_a_model_is_told_when_there_will_be_none(loader, model_folder, tmp_path):
    with repository(loader) as models:
        models.reload(config_of(m=model_folder))
        soon = threading.Timer(0.1, models.stop)
        soon.start()
        config = config_of(m=model_folder, n=tmp_path / "missing")
        refused(Code.UNAVAILABLE, "The server is being closed.", models.reload, config)
        assert served(models) == 1, "what is loaded answers on"


def test_a_model_that_comes_later_does_not_make_a_server_unready(loader, model_folder, tmp_path):
    with repository(loader) as models:
        models.serve([ModelConfig("m", model_folder)])
        assert models.ready()
        add(tmp_path / "n", 1, bad=True)
        models.follow(config_of(m=model_folder, n=tmp_path / "n"))
        until(lambda: states(models, "n") == {1: State.END})
        assert models.ready()
        models.follow(config_of(n=tmp_path / "n"))
        models.follow(config_of(m=model_folder.with_name("missing"), n=tmp_path / "n"))
        until(lambda: states(models) == {1: State.END})
        assert not models.ready(), "it has answered before"
        models.serve([])
        assert not models.ready()


def test_a_config_without_models_is_told_of(loader, caplog):
    with repository(loader) as models:
        models.serve([])
        assert models.names() == ()
    assert "Taking no action for empty config" in caplog.text


def test_labels_name_versions_that_are_available(loader, model_folder):
    add(model_folder, 2)
    with repository(loader) as models:
        models.serve(labelled(model_folder))
        until(lambda: len(states(models)) == 2 and set(states(models).values()) == {30})
        models.serve(labelled(model_folder, stable=1, canary=2))
        assert (served(models, label="stable"), served(models, label="canary")) == (1, 2)
        text = (
            "Request to assign label to version 3 of model m, which is not currently available for"
            " inference"
        )
        refused(Code.FAILED_PRECONDITION, text, models.serve, labelled(model_folder, stable=3))
        assert served(models, label="stable") == 1
        models.serve(labelled(model_folder, stable=2))
        assert served(models, label="stable") == 2
        gone = "Unrecognized servable version label: canary. Labels of m: stable."
        refused(Code.INVALID_ARGUMENT, gone, served, models, label="canary")


def test_labels_at_the_start_are_refused_unless_they_may_be_early(loader, model_folder):
    with repository(loader) as models, pytest.raises(ServingError, match="not currently available"):
        models.serve(labelled(model_folder, stable=1))
    with repository(loader, early_labels=True) as models:
        models.serve(labelled(model_folder, stable=1, later=7))
        assert served(models, label="stable") == 1
        missing = "Servable not found for request: Specific(m, 7). Versions of m that answer: 1."
        refused(Code.NOT_FOUND, missing, served, models, label="later")
        with pytest.raises(ServingError, match="not currently available"):
            models.serve(labelled(model_folder, stable=7))
