"""Versions of models: found, loaded, lent to requests, replaced and unloaded."""

from __future__ import annotations

import logging
import re
import shutil
import threading
import time
from contextlib import contextmanager

import pytest
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from tfapp.serving.configs import ModelConfig
from tfapp.serving.loading import LoadOptions
from tfapp.serving.models import ModelSpec, State
from tfapp.serving.repository import Repository, RepositoryOptions
from tfapp.serving.status import Code, ServingError
from tfapp.serving.versions import All, Latest, Specific, scan


class Light:
    """A servable that weighs nothing: what a state machine can see of one."""

    def __init__(self, name, version, path):
        self.name, self.version, self.path = name, version, path
        self.closed = False

    def close(self):
        self.closed = True


class Loader:
    """Loads `Light` servables; fails for folders with a file `bad`, waits for `gates`."""

    def __init__(self):
        self.loaded = []
        self.tries = []
        self.gates = {}

    def __call__(self, name, version, path):
        self.tries.append((name, version))
        if gate := self.gates.get(version):
            assert gate.wait(10)
        if (path / "bad").exists():
            raise ServingError(Code.DATA_LOSS, f"{path.name} is damaged")
        self.loaded.append(Light(name, version, path))
        return self.loaded[-1]


@pytest.fixture
def loader():
    return Loader()


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "m"
    add(folder, 1)
    return folder


def add(base, version, *, bad=False):
    folder = base / str(version)
    folder.mkdir(parents=True)
    if bad:
        (folder / "bad").touch()


@contextmanager
def repository(loader, **options):
    """A repository that looks into its folders only when it is told to, and retries fast."""
    loading = LoadOptions(
        retries=options.pop("retries", 0), retry_seconds=options.pop("retry_seconds", 0.01)
    )
    kept = Repository(loader, RepositoryOptions(poll_seconds=0, loading=loading, **options))
    try:
        yield kept
    finally:
        for gate in loader.gates.values():
            gate.set()
        kept.close(5)


def until(true, seconds=10):
    """Waits until something holds; fails if it never does."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.005)


def states(models, name="m"):
    try:
        return {status.version: status.state for status in models.statuses(name)}
    except ServingError:
        return {}


def served(models, **spec):
    with models.use(ModelSpec("m", **spec)) as servable:
        return servable.version


def refused(code, text, call, *arguments, **named):
    with pytest.raises(ServingError) as caught:
        call(*arguments, **named)
    assert (caught.value.code, str(caught.value)) == (code, text)


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


def test_the_newest_version_is_served(loader, base):
    add(base, 3)
    with repository(loader) as models:
        models.serve([ModelConfig("m", base)])
        assert served(models) == served(models, version=3) == 3
        assert states(models) == {3: State.AVAILABLE}
        specific = "Servable not found for request: Specific(m, 1). Versions of m that answer: 3."
        refused(Code.NOT_FOUND, specific, served, models, version=1)


def test_what_is_not_there_is_told_as_clients_expect_it(loader, base):
    with repository(loader) as models:
        models.serve([ModelConfig("m", base)])

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


def test_a_new_version_is_loaded_before_the_old_one_goes(loader, base):
    loader.gates[2] = threading.Event()
    with repository(loader) as models:
        models.serve([ModelConfig("m", base)])
        add(base, 2)
        models.poll()
        until(lambda: states(models).get(2) is State.LOADING)
        assert served(models) == 1
        assert states(models)[1] is State.AVAILABLE
        loader.gates[2].set()
        until(lambda: states(models) == {2: State.AVAILABLE, 1: State.END})
        assert served(models) == 2
        assert [light.closed for light in loader.loaded] == [True, False]


def test_a_request_keeps_its_version_until_it_is_done(loader, base):
    with repository(loader) as models:
        models.serve([ModelConfig("m", base)])
        with models.use(ModelSpec("m")) as first, models.use(ModelSpec("m", 1)) as again:
            assert first is again
            add(base, 2)
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


def test_a_load_that_fails_is_retried_and_then_ends_with_its_text(loader, base):
    with repository(loader, retries=2) as models:
        models.serve([ModelConfig("m", base)])
        add(base, 2, bad=True)
        models.poll()
        until(lambda: states(models)[2] is State.END)
        assert loader.tries == [("m", 1), ("m", 2), ("m", 2), ("m", 2)]
        newest, oldest = models.statuses("m")
        assert (newest.code, newest.message) == (Code.DATA_LOSS, "2 is damaged")
        assert (oldest.state, oldest.code, oldest.message) == (State.AVAILABLE, Code.OK, "")
        assert served(models) == 1
        models.poll()
        assert len(loader.tries) == 4, "it is not tried for ever"


def test_a_version_that_is_mended_between_tries_is_served(loader, base):
    with repository(loader, retries=5, retry_seconds=0.3) as models:
        models.serve([ModelConfig("m", base)])
        add(base, 2, bad=True)
        models.poll()
        until(lambda: ("m", 2) in loader.tries)
        until(lambda: models.statuses("m", 2)[0].message)
        (status,) = models.statuses("m", 2)
        assert (status.state, status.code) == (State.LOADING, Code.OK), "it may still come"
        told = r"Try \d+ to load it failed, another will follow: 2 is damaged"
        assert re.fullmatch(told, status.message)
        (base / "2" / "bad").unlink()
        until(lambda: states(models) == {2: State.AVAILABLE, 1: State.END})
        assert [status.message for status in models.statuses("m")] == ["", ""]


def test_a_version_that_is_removed_between_tries_is_given_up(loader, base):
    with repository(loader, retries=5, retry_seconds=60) as models:
        models.serve([ModelConfig("m", base)])
        add(base, 2, bad=True)
        models.poll()
        until(lambda: ("m", 2) in loader.tries)
        shutil.rmtree(base / "2")
        models.poll()
        until(lambda: states(models)[2] is State.END)
        add(base, 2)
        models.poll()
        until(lambda: served(models) == 2)


def test_anything_a_model_raises_is_told(base):
    def load(name, version, path):
        raise RuntimeError("its own fault")

    models = Repository(load, RepositoryOptions(0, loading=LoadOptions(retries=0)))
    with pytest.raises(ServingError, match="due to error: UNKNOWN: RuntimeError: its own fault"):
        models.serve([ModelConfig("m", base)])
    models.close()


def test_removing_the_newest_folder_goes_back_to_the_one_before(loader, base):
    add(base, 2)
    with repository(loader) as models:
        models.serve([ModelConfig("m", base)])
        assert served(models) == 2
        shutil.rmtree(base / "2")
        models.poll()
        until(lambda: states(models) == {2: State.END, 1: State.AVAILABLE})
        add(base, 2)
        models.poll()
        until(lambda: states(models) == {2: State.AVAILABLE, 1: State.END})


def test_a_missing_base_path_unloads_nothing_but_an_empty_one_does(loader, base, caplog):
    with repository(loader) as models:
        models.serve([ModelConfig("m", base)])
        base.rename(base.with_name("away"))
        models.poll()
        assert f"Could not find base path {base} for servable m" in caplog.text
        assert served(models) == 1
        base.mkdir()
        models.poll()
        assert f"No versions of servable m found under base path {base}." in caplog.text
        until(lambda: states(models) == {1: State.END})
        latest = "Servable not found for request: Latest(m). Versions of m that answer: none."
        refused(Code.NOT_FOUND, latest, served, models)


def test_what_stays_wrong_is_not_logged_at_every_look(loader, base, caplog):
    said = "Could not find base path"
    with repository(loader) as models:
        models.serve([ModelConfig("m", base)])
        for times in (1, 2):
            base.rename(base.with_name("away"))
            for _ in range(3):
                models.poll()
            assert caplog.text.count(said) == times
            base.with_name("away").rename(base)
            models.poll()  # it is there again, so when it goes that is news


def test_specific_versions_are_served_side_by_side(loader, base, caplog):
    add(base, 2)
    add(base, 3)
    with repository(loader) as models:
        policy = Specific(frozenset({1, 2, 9}))
        models.serve([ModelConfig("m", base, policy)])
        until(lambda: states(models) == {1: State.AVAILABLE, 2: State.AVAILABLE})
        assert (served(models), served(models, version=1)) == (2, 1)
        assert "Version 9 of servable m" in caplog.text
        models.serve([ModelConfig("m", base, Specific(frozenset({1})))])
        until(lambda: states(models) == {1: State.AVAILABLE, 2: State.END})
        assert served(models) == 1


def test_the_start_waits_for_the_first_version(loader, base):
    loader.gates[1] = threading.Event()
    with repository(loader) as models:
        start = threading.Thread(target=models.serve, args=([ModelConfig("m", base)],))
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


def test_a_bad_model_makes_the_start_fail(loader, base, tmp_path):
    add(tmp_path / "n", 4, bad=True)
    with repository(loader) as models:
        text = (
            "1 model(s) did not become available: {{{name: n version: 4} due to error:"
            " DATA_LOSS: 4 is damaged}, }"
        )
        configs = [ModelConfig("m", base), ModelConfig("n", tmp_path / "n")]
        refused(Code.UNKNOWN, text, models.serve, configs)


def config_of(**bases):
    config = ModelServerConfig()
    for name, base in bases.items():
        config.model_config_list.config.add(
            name=name, base_path=str(base), model_platform="tensorflow"
        )
    return config


def test_a_reload_is_the_whole_truth(loader, base, tmp_path):
    add(tmp_path / "n", 5)
    with repository(loader) as models:
        models.reload(config_of(m=base))
        models.reload(config_of(n=tmp_path / "n"))
        assert models.names() == ("n",)
        assert states(models, "n") == {5: State.AVAILABLE}
        until(lambda: states(models) == {1: State.END})
        models.reload(config_of(m=base, n=tmp_path / "n"))
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
def test_a_reload_that_is_refused_changes_nothing(loader, base, text, code, told):
    with repository(loader) as models:
        models.reload(config_of(m=base))
        with pytest.raises(ServingError) as caught:
            models.reload(text_format.Parse(text, ModelServerConfig()))
        assert caught.value.code is code
        assert told in str(caught.value)
        models.poll()
        assert served(models) == 1
        assert models.names() == ("m",)


def test_a_reload_with_a_bad_new_model_says_so_and_serves_the_others(loader, base, tmp_path):
    add(tmp_path / "n", 4, bad=True)
    with repository(loader) as models:
        models.reload(config_of(m=base))
        with pytest.raises(
            ServingError, match=r"^1 model\(s\) did not become available: {{{name: n version"
        ):
            models.reload(config_of(m=base, n=tmp_path / "n"))
        assert served(models) == 1


def test_a_config_with_a_wrong_path_can_be_put_right_while_somebody_waits_for_it(
    loader, base, tmp_path
):
    add(tmp_path / "right", 7)
    with repository(loader) as models:
        models.reload(config_of(m=base))
        ended = threading.Event()

        wrong = config_of(m=base, n=tmp_path / "wrong")

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
        models.follow(config_of(m=base, n=tmp_path / "right"))
        until(lambda: states(models, "n") == {7: State.AVAILABLE})
        assert ended.wait(10)
        waiting.join()
        assert served(models) == 1


def test_a_config_that_is_refused_disturbs_nobody_who_waits(loader, base, tmp_path):
    with repository(loader) as models:
        models.reload(config_of(m=base))
        late = tmp_path / "late"
        waiting = threading.Thread(target=models.reload, args=[config_of(m=base, n=late)])
        waiting.start()
        until(lambda: models.names() == ("m", "n"))
        text = (
            "Request to assign label to version 3 of model m, which is not currently available for"
            " inference"
        )
        refused(Code.FAILED_PRECONDITION, text, models.serve, labelled(base, stable=3))
        time.sleep(0.5)  # longer than it sleeps between looks
        assert waiting.is_alive()
        add(late, 7)
        models.poll()
        waiting.join(10)
        assert states(models, "n") == {7: State.AVAILABLE}


def test_who_waits_for_a_model_is_told_when_there_will_be_none(loader, base, tmp_path):
    with repository(loader) as models:
        models.reload(config_of(m=base))
        soon = threading.Timer(0.1, models.stop)
        soon.start()
        config = config_of(m=base, n=tmp_path / "missing")
        refused(Code.UNAVAILABLE, "The server is being closed.", models.reload, config)
        assert served(models) == 1, "what is loaded answers on"


def test_a_folder_that_cannot_be_asked_for_does_not_keep_others_from_new_versions(
    loader, base, caplog
):
    with repository(loader) as models:
        nobody = ModelConfig("a", base.with_name("a\0b"))
        models.serve([nobody, ModelConfig("m", base)], stopped=lambda: models.names() != ())
        until(lambda: states(models) == {1: State.AVAILABLE})
        add(base, 2)
        models.poll()
        until(lambda: served(models) == 2)
    assert "looking for versions of a failed" in caplog.text


def test_a_model_that_comes_later_does_not_make_a_server_unready(loader, base, tmp_path):
    with repository(loader) as models:
        models.serve([ModelConfig("m", base)])
        assert models.ready()
        add(tmp_path / "n", 1, bad=True)
        models.follow(config_of(m=base, n=tmp_path / "n"))
        until(lambda: states(models, "n") == {1: State.END})
        assert models.ready()
        models.follow(config_of(n=tmp_path / "n"))
        models.follow(config_of(m=base.with_name("missing"), n=tmp_path / "n"))
        until(lambda: states(models) == {1: State.END})
        assert not models.ready(), "it has answered before"
        models.serve([])
        assert not models.ready()


def labelled(base, **labels):
    return [ModelConfig("m", base, All(), labels)]


def test_a_folder_without_versions_is_told_what_it_holds(loader, base, tmp_path, caplog):
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


def test_a_config_without_models_is_told_of(loader, caplog):
    with repository(loader) as models:
        models.serve([])
        assert models.names() == ()
    assert "Taking no action for empty config" in caplog.text


def test_labels_name_versions_that_are_available(loader, base):
    add(base, 2)
    with repository(loader) as models:
        models.serve(labelled(base))
        until(lambda: len(states(models)) == 2 and set(states(models).values()) == {30})
        models.serve(labelled(base, stable=1, canary=2))
        assert (served(models, label="stable"), served(models, label="canary")) == (1, 2)
        text = (
            "Request to assign label to version 3 of model m, which is not currently available for"
            " inference"
        )
        refused(Code.FAILED_PRECONDITION, text, models.serve, labelled(base, stable=3))
        assert served(models, label="stable") == 1
        models.serve(labelled(base, stable=2))
        assert served(models, label="stable") == 2
        gone = "Unrecognized servable version label: canary. Labels of m: stable."
        refused(Code.INVALID_ARGUMENT, gone, served, models, label="canary")


def test_labels_at_the_start_are_refused_unless_they_may_be_early(loader, base):
    with repository(loader) as models, pytest.raises(ServingError, match="not currently available"):
        models.serve(labelled(base, stable=1))
    with repository(loader, early_labels=True) as models:
        models.serve(labelled(base, stable=1, later=7))
        assert served(models, label="stable") == 1
        missing = "Servable not found for request: Specific(m, 7). Versions of m that answer: 1."
        refused(Code.NOT_FOUND, missing, served, models, label="later")
        with pytest.raises(ServingError, match="not currently available"):
            models.serve(labelled(base, stable=7))


def test_folders_are_looked_into_all_the_time(loader, base):
    options = RepositoryOptions(poll_seconds=0.02, loading=LoadOptions(retries=0))
    models = Repository(loader, options)
    try:
        models.serve([ModelConfig("m", base)])
        add(base, 2)
        until(lambda: served(models) == 2)
    finally:
        models.close()
    assert all(light.closed for light in loader.loaded)


def test_no_request_fails_while_versions_come_and_go(loader, base):
    with repository(loader) as models:
        models.serve([ModelConfig("m", base)])
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
            add(base, version)
            models.poll()
            until(lambda version=version: states(models)[version] is State.AVAILABLE)
        done.set()
        for thread in threads:
            thread.join(10)
        assert wrong == []
        assert min(counts) > 0
        until(lambda: sum(not light.closed for light in loader.loaded) == 1)


def test_closing_waits_for_requests_and_unloads(loader, base):
    models = Repository(loader, RepositoryOptions(poll_seconds=0))
    models.serve([ModelConfig("m", base)])
    lease = models.use(ModelSpec("m"))
    servable = lease.__enter__()
    closing = threading.Thread(target=models.close, args=(10,))
    closing.start()
    until(lambda: states(models) == {1: State.UNLOADING})
    assert not servable.closed
    lease.__exit__(None, None, None)
    closing.join(10)
    assert servable.closed


def test_a_request_that_outlives_the_end_is_not_disturbed(loader, base):
    models = Repository(loader, RepositoryOptions(poll_seconds=0))
    models.serve([ModelConfig("m", base)])
    with models.use(ModelSpec("m")) as servable:
        models.close(0.01)
        assert not servable.closed


def test_what_happens_is_logged(loader, base, caplog):
    caplog.set_level(logging.INFO, "tfapp.serving")
    with repository(loader) as models:
        models.serve([ModelConfig("m", base)])
        add(base, 2)
        models.poll()
        until(lambda: states(models) == {2: State.AVAILABLE, 1: State.END})
    assert "loaded m version 2 in " in caplog.text
    assert "unloaded m version 1" in caplog.text
