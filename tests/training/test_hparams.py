"""What the HParams tab of TensorBoard shows of a search, asked of the tab's own backend."""

from __future__ import annotations

import pytest
from journals import ended, make_search
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.data import provider
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.list_session_groups import Handler

from tfapp.config import load_config
from tfapp.runs import Run
from tfapp.training.hparams import write_experiment, write_session
from tfapp.training.train import train_model
from tfapp.trials import read_search

RATE = "train.optimizer.learning_rate"
TRIALS = [
    {RATE: 0.01, "train.epochs": 3, "model.options.hidden": [8], "train.optimizer.amsgrad": True},
    {RATE: 0.1, "model.options.hidden": [16, 8], "data.batch_size": 24},
    {RATE: 0.001, "model.options.activation": "tanh"},
]
STATUSES = (
    api_pb2.STATUS_UNKNOWN,
    api_pb2.STATUS_SUCCESS,
    api_pb2.STATUS_FAILURE,
    api_pb2.STATUS_RUNNING,
)


class Backend:
    """The HParams plugin on a folder."""

    def __init__(self, folder):
        events = EventMultiplexer()
        events.AddRunsFromDirectory(str(folder))
        events.Reload()
        data = MultiplexerDataProvider(events, str(folder))
        self._context = Context(TBContext(data_provider=data))

    @property
    def experiment(self):
        found = self._context.hparams_metadata(RequestContext(), "")
        none = provider.ListHyperparametersResult(hyperparameters=[], session_groups=[])
        return self._context.experiment_from_metadata(RequestContext(), "", True, found, none)

    @property
    def groups(self):
        request = api_pb2.ListSessionGroupsRequest(
            allowed_statuses=STATUSES,
            aggregation_type=api_pb2.AGGREGATION_AVG,
            start_index=0,
            slice_size=100,
        )
        response = Handler(RequestContext(), self._context, "", request).run()
        return {group.name: group for group in response.session_groups}


def metrics_of(group):
    return {(metric.name.group, metric.name.tag): metric.value for metric in group.metric_values}


def values_of(group):
    return {key: getattr(v, v.WhichOneof("kind")) for key, v in group.hparams.items()}


def train(run, trial, *, execution=0, **settings):
    folder = run.path / "tune"
    name = f"{trial:04d}" + (f"-{execution + 1}" if execution else "")
    config = load_config(overrides={"data.source": "iris", "seed": execution} | settings)
    result = train_model(config, runs=folder, name=name)
    (folder / "latest").unlink()  # a trial is not the latest run of anybody
    return result


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search of two trials that were trained twice each, one that failed, one that goes on."""
    runs = tmp_path_factory.mktemp("runs")
    ran = make_search(runs, "empty", executions=2)
    scores = []
    for number, rate in enumerate((0.01, 0.1)):
        settings = {RATE: rate, "train.epochs": 3, "model.options": {"hidden": [8]}}
        settings |= {"train.monitor": "val_accuracy"}
        results = [train(ran, number, execution=n, **settings) for n in range(2)]
        scores.append([result.best for result in results])
    trials = [
        *(ended(values, *each) for values, each in zip(TRIALS, scores, strict=False)),
        ended(TRIALS[2]),
        {"values": TRIALS[2]},
    ]
    run = make_search(runs, "searched", trials, over=None, executions=2)
    for folder in (ran.path / "tune").glob("0*"):
        folder.rename(run.path / "tune" / folder.name)
    for name in ("0002", "0003"):
        (run.path / "tune" / name).mkdir()
    search = read_search(run)
    write_experiment(search)
    for trial in search.trials:
        write_session(search, trial, started=1_800_000_000.0)
    return search


def test_the_experiment_tells_the_space_and_the_objective(searched):
    experiment = Backend(searched.path).experiment
    infos = {info.name: info for info in experiment.hparam_infos}
    assert infos.keys() == searched.space.keys()
    assert infos[RATE].type == api_pb2.DATA_TYPE_FLOAT64
    assert (infos[RATE].domain_interval.min_value, infos[RATE].domain_interval.max_value) == (
        1e-4,
        0.1,
    )
    assert "log" in infos[RATE].description
    assert infos[RATE].display_name == "learning_rate"
    assert infos["train.epochs"].domain_interval.max_value == 4
    choices = {name: list(info.domain_discrete) for name, info in infos.items()}
    assert choices["model.options.hidden"] == ["[16, 8]", "[8]"]
    assert choices["model.options.activation"] == ["relu", "tanh"]
    assert choices["data.batch_size"] == [12, 24]
    assert choices["train.optimizer.amsgrad"] == [False, True]
    names = [metric.display_name for metric in experiment.metric_infos]
    assert names == ["best val_accuracy", "val_accuracy of the last epoch"]


def test_keys_that_end_in_the_same_word_are_told_apart(tmp_path):
    space = {key: {"int": [1, 9]} for key in ("data.width", "model.options.width", "train.epochs")}
    write_experiment(read_search(make_search(tmp_path, "widths", space=space)))
    labels = [info.display_name for info in Backend(tmp_path).experiment.hparam_infos]
    assert labels == ["data.width", "model.options.width", "epochs"]


def test_a_trial_has_its_values_and_the_mean_of_its_scores(searched):
    groups = Backend(searched.path).groups
    assert groups.keys() == {f"000{number} of searched" for number in range(4)}
    for trial in searched.trials[:2]:
        group = groups[f"{trial.name} of searched"]
        assert len(group.sessions) == 2
        assert metrics_of(group)["", "best/val_accuracy"] == pytest.approx(trial.score)
        assert {session.status for session in group.sessions} == {api_pb2.STATUS_SUCCESS}
        session = group.sessions[0]
        assert session.end_time_secs - session.start_time_secs == pytest.approx(trial.seconds)
    assert values_of(groups["0000 of searched"]) == {
        RATE: 0.01,
        "train.epochs": 3,
        "model.options.hidden": "[8]",
        "train.optimizer.amsgrad": True,
    }
    assert values_of(groups["0001 of searched"])["model.options.hidden"] == "[16, 8]"


def test_a_session_finds_the_curve_of_its_own_training(searched):
    groups = Backend(searched.path).groups
    for trial in searched.trials[:2]:
        for session in groups[f"{trial.name} of searched"].sessions:
            rows = Run((searched.path / session.name).parent).metrics()
            last = [row["accuracy"] for row in rows if row["split"] == "validation"][-1]
            assert metrics_of(session)["validation", "accuracy"] == pytest.approx(last)


def test_a_trial_without_a_score_has_none(searched):
    groups = Backend(searched.path).groups
    failed, running = groups["0002 of searched"], groups["0003 of searched"]
    assert not metrics_of(failed) and not metrics_of(running)
    assert failed.sessions[0].status == api_pb2.STATUS_FAILURE
    assert running.sessions[0].status == api_pb2.STATUS_UNKNOWN
    assert values_of(failed) == {RATE: 0.001, "model.options.activation": "tanh"}


def test_a_trial_that_is_told_twice_is_one_session(tmp_path):
    space = {"seed": {"choice": [[1], 2, "three"]}}
    begun = make_search(tmp_path, "begun", [{"values": {"seed": 2}}], over=None, space=space)
    (begun.path / "tune" / "0000").mkdir()
    write_experiment(read_search(begun))
    write_session(read_search(begun), read_search(begun).trials[0], started=10.0)
    groups = Backend(tmp_path).groups
    assert values_of(groups["0000 of begun"]) == {"seed": "2"}, (
        "one type for all values of a choice"
    )
    done = make_search(tmp_path / "after", "begun", [ended({"seed": 2}, 0.5)], space=space)
    (begun.path / "tune" / "0000").rename(done.path / "tune" / "0000")
    write_session(read_search(done), read_search(done).trials[0], started=10.0)
    (group,) = Backend(done.path).groups.values()
    assert [session.status for session in group.sessions] == [api_pb2.STATUS_SUCCESS]


def test_searches_side_by_side_do_not_share_trials(tmp_path):
    for name, score in (("one", 0.25), ("two", 0.75)):
        run = make_search(tmp_path, name, [ended({RATE: 0.01}, score)], objective="loss")
        (run.path / "tune" / "0000").mkdir()
        write_experiment(read_search(run))
        write_session(read_search(run), read_search(run).trials[0], started=10.0)
    (tmp_path / "latest").unlink()
    groups = Backend(tmp_path).groups
    scores = {name: metrics_of(group)["", "best/loss"] for name, group in groups.items()}
    assert scores == {"0000 of one": 0.25, "0000 of two": 0.75}


def test_a_trial_whose_training_never_began_makes_no_folder(tmp_path):
    run = make_search(tmp_path, "early", [ended({RATE: 0.01})])
    write_session(read_search(run), read_search(run).trials[0], started=10.0)
    assert [path.name for path in (run.path / "tune").iterdir()] == ["journal.jsonl"]
