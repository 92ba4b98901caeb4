"""`tfapp bench tuning`: the same trials for all, and what they cost."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import keras_tuner
import pytest

from tfapp.bench.tuning import suite
from tfapp.bench.tuning.__main__ import Worker
from tfapp.bench.tuning.check import find_objections, tolerance
from tfapp.bench.tuning.contender import SearchContender, give
from tfapp.bench.tuning.keras_tuner_search import EpochAnExecution, KerasTunerSearch
from tfapp.bench.tuning.results import SearchRound, SearchRow, TrainedTrial, TuningBench, compare
from tfapp.bench.tuning.roster import ROSTER
from tfapp.bench.tuning.targets import TARGETS, judge
from tfapp.bench.tuning.task import DROPOUTS, LEARNING_RATES, UNITS, SearchTask, Values
from tfapp.bench.tuning.tfapp_tune import TfappTune
from tfapp.cli import bench_display
from tfapp.errors import ExitCode
from tfapp.evaluation import evaluate_run
from tfapp.runs import Run
from tfapp.timing import turns
from tfapp.timing.machine import Machine
from tfapp.timing.process import ContenderFailed
from tfapp.timing.schedule import Schedule
from tfapp.timing.worker import answer
from tfapp.trials import read_search

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
MACHINE = Machine("a processor", 2, "a system", 0.1, {"tfapp": "1.0"})
WANTED = [Values(0.001, 64, 0.0), Values(0.01, 128, 0.25), Values(0.002, 64, 0.0)]
TASK = SearchTask(trials=3, epochs=4)


def searched(seconds=9.0, alone=1.0, accuracies=(0.9, 0.9, 0.9), values=WANTED, epochs=4):
    """Returns a round of as many trials as there are accuracies."""
    trials = zip(values, accuracies, strict=False)
    return SearchRound(seconds, alone, tuple(TrainedTrial(v, epochs, a) for v, a in trials))


# --- in this process ---------------------------------------------------------------------------


class Asked:
    """A contender's process without the process; what it answers passes through JSON."""

    def __init__(self, maker, folder, task):
        self.worker = Worker(maker)
        self.prepared = self.ask({"do": "prepare", "task": asdict(task), "folder": str(folder)})

    def ask(self, request):
        found = json.loads(json.dumps(answer(self.worker.actions, request)))
        assert "error" not in found, found
        return found

    def time(self):
        """Has it search once more; returns all rounds."""
        self.answer = self.ask({"do": "time", "seconds": 1.0})
        return [SearchRound.from_json(content) for content in self.answer["rounds"]]


def test_tfapp_searches_as_its_command_does(tmp_path):
    asked = Asked(TfappTune, tmp_path, SearchTask(trials=2, epochs=1))
    (done,) = asked.time()
    (run,) = [path for path in (tmp_path / "round-0").iterdir() if not path.is_symlink()]
    search = read_search(Run(run))
    assert search.state == "done"
    for number, (trial, told) in enumerate(zip(search.trials, done.trials, strict=True)):
        given = asked.prepared["values"][number]
        assert trial.values["train.optimizer.learning_rate"] == given["learning_rate"]
        assert trial.values["model.options.hidden"] == [given["units"], given["units"] // 2]
        assert trial.values["model.options.dropout"] == given["dropout"]
        assert asdict(told.values) == given
        of_trial = search.run_of(trial)
        assert (of_trial.path / "checkpoints").is_dir()
        assert list(of_trial.path.glob("tensorboard/*/events*"))
        measured = evaluate_run(of_trial, split="validation").metrics["accuracy"]
        assert told.accuracy == pytest.approx(measured)
    assert asked.answer["steps"] == 2
    assert asked.prepared["validation"] == 144
    assert " s where a network is new" in asked.answer["remarks"]
    assert 0 < done.training_seconds < done.trial_seconds


def test_keras_tuner_is_given_the_same_trials_and_who_trains_less_is_found(tmp_path):
    asked = Asked(KerasTunerSearch, tmp_path, SearchTask(trials=2, epochs=1))
    (done,) = asked.time()
    assert [asdict(told.values) for told in done.trials] == asked.prepared["values"]
    files = sorted((tmp_path / "round-0" / "search").glob("trial_*/trial.json"))
    trials = [json.loads(file.read_text()) for file in files]
    assert [trial["hyperparameters"]["values"] for trial in trials] == asked.prepared["values"]
    # Of one epoch the best is the last.
    scores = [trial["score"] for trial in trials]
    assert [told.accuracy for told in done.trials] == pytest.approx(scores)
    assert 0 < done.training_seconds < done.trial_seconds

    wanted = [Values(**values) for values in asked.prepared["values"]]
    (tmp_path / "hasty").mkdir()
    told = {"keras-tuner": [done], "own:Hasty": [rashly(tmp_path / "hasty")]}
    found = find_objections(told, wanted, epochs=1, validation=asked.prepared["validation"])
    assert list(found) == ["own:Hasty"]
    assert found["own:Hasty"].startswith("its mean val_accuracy is 0.")
    found = find_objections(told, wanted, epochs=2, validation=asked.prepared["validation"])
    assert set(found.values()) == {"trial 0 was trained for 1 epochs, not 2"}


class Hasty(KerasTunerSearch):
    """Takes one step an epoch."""

    def _fit_options(self, epochs):
        return super()._fit_options(epochs) | {"batch_size": 2000}


def rashly(folder):
    """Returns the round of a contender that trains too little and does not say so."""
    contender = Hasty(give(SearchTask(trials=2, epochs=1)))
    contender.search(folder, 2)
    return SearchRound(1.0, 0.1, tuple(contender.told()))


def test_an_epoch_may_be_one_execution():
    parameters = keras_tuner.HyperParameters()
    given = give(SearchTask(trials=1))
    assert given.splits.train.size == 20 * 64 + 14
    model = EpochAnExecution(given)._model.build(parameters)
    assert model.steps_per_execution == 21
    assert KerasTunerSearch(given)._model.build(parameters).steps_per_execution == 1


class Fake(SearchContender):
    """Trains nothing."""

    def search(self, folder, trials):
        (folder / "mine").write_text(str(trials))

    def told(self):
        return [TrainedTrial(values, 10, 0.5) for values in self.given.values]

    def train_alone(self, number):
        return 1.0 + self.given.values[number].dropout


def test_the_training_alone_is_the_mean_over_trials(tmp_path):
    asked = Asked(Fake, tmp_path, SearchTask())
    (first,) = asked.time()
    dropouts = [values["dropout"] for values in asked.prepared["values"]]
    assert set(dropouts) == set(DROPOUTS)
    assert first.training_seconds == pytest.approx(1.0 + sum(dropouts) / 20)
    assert len(first.trials) == 20
    assert asked.time()[0] == first, "an answer tells of all rounds"
    asked.time()
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        *("cold", "round-0", "round-1", "round-2", "warm")
    ]
    assert (tmp_path / "warm" / "mine").read_text() == "1"
    assert (tmp_path / "round-2" / "mine").read_text() == "20"


# --- without training --------------------------------------------------------------------------


def test_a_trial_costs_what_is_not_training():
    done = searched(seconds=9.0, alone=1.25)
    assert done.trial_seconds == 3.0
    assert done.overhead_seconds == 1.75


@pytest.mark.parametrize(
    ("rounds", "said"),
    [
        ([searched(accuracies=(0.9, 0.9))], "it ran 2 trials, not 3"),
        (
            [searched(), searched(values=[WANTED[0], WANTED[0], WANTED[2]])],
            "trial 1 had learning_rate 0.001, not 0.01",
        ),
        (
            [searched(values=[*WANTED[:2], replace(WANTED[2], units=128)])],
            "trial 2 had units 128, not 64",
        ),
        ([searched(epochs=3)], "trial 0 was trained for 3 epochs, not 4"),
        ([searched(accuracies=(0.9, math.nan, 0.9))], "trial 1 came to a val_accuracy of nan"),
        (
            [searched(accuracies=(0.8, 0.8, 0.8)), searched(accuracies=(0.9, 0.8, 0.8))],
            "its mean val_accuracy is 0.817, that of keras-tuner 0.900; up to",
        ),
    ],
    ids=["fewer", "other rate", "other width", "shorter", "nan", "less accurate"],
)
def test_other_work_is_no_measure_of_cost(rounds, said):
    told = {"tfapp": rounds, "keras-tuner": [searched()]}
    found = find_objections(told, WANTED, epochs=4, validation=1000)
    assert list(found) == ["tfapp"]
    assert found["tfapp"].startswith(said)


def test_without_keras_tuner_the_first_is_the_measure():
    told = {"own:A": [searched()], "own:B": [searched(accuracies=(0.5, 0.5, 0.5))]}
    found = find_objections(told, WANTED, epochs=4, validation=1000)
    assert list(found) == ["own:B"]
    assert "that of own:A 0.900" in found["own:B"]


def test_few_short_trials_may_differ_by_chance():
    # Three times sqrt(2 * 0.5 * 0.5 / (2 * 50)).
    assert tolerance(0.5, trials=2, validation=50) == pytest.approx(3 * math.sqrt(0.005))
    assert tolerance(0.97, trials=20, validation=144) == 0.03


def rows(ours, theirs):
    """Returns rows of two contenders that were compared, and the reference."""
    found = [SearchRow("keras-tuner", "ok", rounds=tuple(theirs))]
    return compare([*found, SearchRow("tfapp", "ok", rounds=tuple(ours))], "tfapp")


def test_rows_are_compared_round_by_round():
    ours = [searched(3.0, 0.7), searched(6.0, 1.2), searched(4.5, 0.5)]
    theirs = [searched(6.0), searched(9.0), searched(18.0)]
    reference, compared = rows(ours, theirs)
    assert reference == "tfapp"
    assert [row.contender for row in compared] == ["tfapp", "keras-tuner"]
    assert compared[0].seconds.median == 4.5
    assert compared[0].trial_seconds.median == 1.5
    assert compared[0].training_seconds.median == 0.7
    assert compared[0].overhead_seconds.median == pytest.approx(0.8)  # of 0.3, 0.8 and 1.0
    assert [row.ratio for row in compared] == [1.0, 2.0]  # the middle one of 2, 1.5 and 4


def test_who_does_not_count_comes_last_and_is_no_reference():
    failed = SearchRow("tfapp", "failed", "no luck")
    reference, compared = compare([failed, SearchRow("own:A", "ok", rounds=(searched(),))], "tfapp")
    assert reference == "own:A"
    assert compared[0].ratio == 1.0
    assert compared[1] == failed
    assert compare([failed], "tfapp") == (None, [failed])


def test_targets_are_judged():
    _, compared = rows([searched(3.0, 0.5)], [searched(4.5)])
    verdicts = judge(compared)
    assert [verdict.measured for verdict in verdicts] == [0.5, 1.5]
    assert [verdict.wanted for verdict in verdicts] == ["at most 0.5", "at least 1.5"]
    assert [verdict.met for verdict in verdicts] == [True, True]
    _, compared = rows([searched(3.1, 0.5)], [searched(4.5)])
    assert [verdict.met for verdict in judge(compared)] == [False, False]
    assert len(judge(compared[:1])) == 1, "tfapp alone"
    assert judge(compared[1:]) == ()


def test_the_config_is_what_a_user_would_write():
    config = SearchTask(trials=7, epochs=3).config()
    assert config.tune.most_trials == 7
    assert SearchTask(trials=7).config(2).tune.most_trials == 2
    assert config.tune.space["train.optimizer.learning_rate"].range == LEARNING_RATES
    assert config.tune.space["model.options.dropout"].values == DROPOUTS
    hidden = config.tune.space["model.options.hidden"].values
    assert [tuple(value) for value in hidden] == [(units, units // 2) for units in UNITS]


def test_the_time_left_takes_a_better_guess():
    schedule = Schedule(starts=0, checks=1, rounds=2, slice_seconds=5.0)
    with schedule.check():
        pass
    schedule.expect(20.0)
    assert schedule.now("digits", "round 1/2", "tfapp").seconds_left == pytest.approx(40.0, abs=0.1)


# --- the whole benchmark, with processes that a test makes up ------------------------------------


class Told:
    """In place of a crew: contenders that search in no time."""

    rounds: dict[str, list[SearchRound]]

    def __init__(self, module):
        assert module == "tfapp.bench.tuning"
        self.asked = dict.fromkeys(self.rounds, 0)

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        pass

    def start(self, names, *, at_once):
        yield from names

    def ask(self, name, what, **arguments):
        if what == "prepare":
            if not self.rounds[name]:
                raise ContenderFailed("no luck")
            assert arguments["task"] == asdict(TASK)
            values = [asdict(v) for v in WANTED]
            return {"trial_seconds": 2.0, "values": values, "validation": 144}
        self.asked[name] += 1
        done = self.rounds[name][: self.asked[name]]
        if len(done) < self.asked[name]:
            raise ContenderFailed("tired")
        told = {"steps": len(done[-1].trials), "seconds": done[-1].seconds, "remarks": "mine"}
        return told | {"rounds": [asdict(one) for one in done], "idle_cores": 0.25}


@pytest.fixture
def bench(monkeypatch):
    """Returns the result of a benchmark, given the rounds of each contender."""
    monkeypatch.setattr(turns, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(suite, "Crew", Told)

    def run(watch=lambda moment: None, **rounds):
        found = {name.replace("_", "-"): told for name, told in rounds.items()}
        found = {name if name in ROSTER else f"own:{name}": told for name, told in found.items()}
        monkeypatch.setattr(Told, "rounds", found, raising=False)
        return suite.run_tuning(TASK, list(found), rounds=2, watch=watch)

    return run


def test_searches_take_turns_and_the_rest_goes_on(bench):
    moments = []
    result = bench(
        moments.append,
        tfapp=[searched(3.0), searched(6.0)],
        keras_tuner=[searched(6.0), searched(9.0)],
        Absent=[],
        Tired=[searched()],
        Other=[searched(epochs=3), searched()],
    )
    assert [(row.contender, row.status, row.detail) for row in result.rows] == [
        ("tfapp", "ok", "mine"),
        ("keras-tuner", "ok", "mine"),
        ("own:Absent", "failed", "no luck"),
        ("own:Tired", "failed", "tired"),
        ("own:Other", "differs", "trial 0 was trained for 3 epochs, not 4"),
    ]
    assert (result.networks, result.rounds, result.reference) == (2, 2, "tfapp")
    assert result.rows[1].ratio == 1.75
    assert result.rows[0].accuracy == pytest.approx(0.9)
    assert result.rows[0].idle_cores == 0.25
    assert result.rows[4].ratio is None
    assert [verdict.measured for verdict in result.targets] == [0.5, 1.75]
    assert "keras-tuner" in result.machine.versions
    told = [(moment.stage, moment.contender) for moment in moments if moment.workload]
    assert told[5:9] == [
        ("round 1/2", "tfapp"),
        ("round 1/2", "keras-tuner"),
        ("round 1/2", "own:Tired"),
        ("round 1/2", "own:Other"),
    ]
    # Five trials of 2 s each: three of the search, two networks trained alone.
    assert moments[11].seconds_left == pytest.approx(5 * 2 * 10.0, abs=1.0)


def test_what_differs_is_not_judged(bench):
    result = bench(tfapp=[searched(accuracies=(0.2, 0.2, 0.2))] * 2, keras_tuner=[searched()] * 2)
    assert result.rows[1].contender == "tfapp"
    assert result.rows[1].status == "differs"
    assert result.rows[1].accuracy == pytest.approx(0.2)
    assert result.rows[1].rounds == ()
    assert (result.reference, result.targets) == ("keras-tuner", ())


def test_the_table(bench, capsys):
    result = bench(tfapp=[searched(3.0, 0.5)] * 2, keras_tuner=[searched(6.0)] * 2, Absent=[])
    bench_display.show_tuning(replace(result, machine=MACHINE), quiet=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].rstrip() == "digits: 3 trials of 4 epochs, batch 64, 2 networks"
    assert [" ".join(line.split()) for line in lines[1:9]] == [
        "contender search s p10 p90 x tfapp trial s training s"
        " overhead s p10 p90 val_accuracy remarks",
        "tfapp 3.0 3.0 3.0 1.00 1.00 0.50 0.50 0.50 0.50 0.900 mine",
        "keras-tuner 6.0 6.0 6.0 2.00 2.00 1.00 1.00 1.00 1.00 0.900 mine",
        "own:Absent - - - - - - - - - - failed: no luck",
        "",
        "target measured wanted met",
        "seconds of a trial besides its training 0.500 at most 0.5 yes",
        "times as fast as keras-tuner 2.000 at least 1.5 yes",
    ]
    assert lines[10].startswith("machine")
    assert "2 rounds of a search" in lines[12]


# --- the command -------------------------------------------------------------------------------


def test_two_searches_are_compared(cli, tmp_path):
    words = ("--trials", "2", "--epochs", "1", "--rounds", "1", "--json")
    result = cli("bench", "tuning", *words)
    assert result.code == ExitCode.DONE, result.err
    found = json.loads(result.out)
    assert found["schema_version"] == 1
    assert found["task"] == {"trials": 2, "epochs": 1, "batch_size": 64}
    assert {row["contender"]: row["status"] for row in found["rows"]} == {
        "tfapp": "ok",
        "keras-tuner": "ok",
    }, found["rows"]
    ((ours,), (theirs,)) = (row["rounds"] for row in found["rows"])
    for one, other in zip(ours["trials"], theirs["trials"], strict=True):
        assert one["values"] == other["values"]
        assert one["epochs"] == other["epochs"] == 1
    assert [verdict["target"] for verdict in found["targets"]] == [t.name for t in TARGETS]
    assert "digits warming up keras-tuner" in result.err
    assert "digits round 1/1" in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--contender", "kerastuner"), "no contender named 'kerastuner'. Did you mean 'keras-tu"),
        (("--trials", "0"), "0 is not in the range x>=1"),
        (("--epochs", "0"), "0 is not in the range x>=1"),
        (("--rounds", "0"), "0 is not in the range x>=1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistakes_are_answered_at_once(cli, words, said):
    result = cli("bench", "tuning", *words)
    assert result.code == ExitCode.USAGE
    assert result.out == ""
    assert said in result.err
    assert "started" not in result.err


def test_a_benchmark_without_a_time_has_failed(cli, monkeypatch):
    failed = TuningBench(
        MACHINE, "digits", TASK, 2, 0, 1.0, None, (SearchRow("tfapp", "failed", "no luck"),)
    )
    monkeypatch.setattr(suite, "run_tuning", lambda *_, **__: failed)
    result = cli("bench", "tuning")
    assert result.code == ExitCode.FAILED
    assert "failed: no luck" in result.out
    assert "x reference" in result.out
    assert "error: no contender was timed; the rows say why." in result.err


# --- the page ----------------------------------------------------------------------------------


def test_the_page_names_contenders_and_targets():
    section = PAGE.read_text(encoding="utf-8").split("## What a search costs")[1]
    section = " ".join(section.split("\n## ")[0].split())
    for name in ROSTER:
        assert f"`{name}`" in section
    for target in TARGETS:
        assert f"{target.bound} {target.value:g}" in section
    for number in (*LEARNING_RATES, *UNITS, DROPOUTS[1]):
        assert f"{number:g}" in section
