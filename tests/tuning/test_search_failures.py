"""Trials that raise, diverge or need too much memory; and searches of nothing else."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest

from tfapp.config import load_config
from tfapp.errors import ExitCode, ModelMismatch, StorageError
from tfapp.runs import Run, summarize_run
from tfapp.trials import read_journal, read_search
from tfapp.tuning.search import resume_search, tune_model

IRIS = {
    "data.source": "iris",
    "data.batch_size": 36,
    "model.options": {"hidden": [4]},
    "train.epochs": 1,
    "tune.algorithm": "grid",
}
# 50,000 x 2,000,000,000 floats of 4 bytes are 400 TB: no process can address so much.
ABSURD = [50_000, 2_000_000_000]


def config_of(**more):
    return load_config(overrides=IRIS | more)


class Fussy(keras.Model):
    """Trains in most moods; in others it raises, or runs out of memory."""

    def __init__(self, outputs: int, mood: str) -> None:
        super().__init__()
        if mood == "forgetful":
            raise MemoryError("no room for my memories")
        self.mood = mood
        self.out = keras.layers.Dense(outputs)

    def call(self, x, training=False):
        if training and self.mood == "angry":
            raise RuntimeError("boom in training")
        return self.out(x)


def fussy(*moods: str, **more):
    space = {"model.options.mood": {"choice": list(moods)}}
    model = {"model.name": f"{__name__}:Fussy", "model.options": {"mood": "calm"}}
    return config_of(**(model | {"tune.space": space} | more))


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_a_search_goes_on_without_the_trials_that_fail(tmp_path):
    """Real ones: sizes that the model refuses, more memory than there is, a rate that diverges."""
    space = {
        # The first one makes no model, which must not end the search before it has begun.
        "model.options.hidden": {"choice": [[-1], [4], ABSURD]},
        "train.optimizer.learning_rate": {
            "choice": [0.05, 1e30],
            "when": {"model.options.hidden": [[4]]},
        },
    }
    config = config_of(**{"train.optimizer.name": "sgd", "tune.space": space})
    search = tune_model(config, runs=tmp_path)
    assert search.state == "done"
    found = {
        (tuple(t.values["model.options.hidden"]), t.values.get("train.optimizer.learning_rate")): t
        for t in search.trials
    }
    assert len(found) == len(search.trials) == 4
    refused, large = found[(-1,), None], found[tuple(ABSURD), None]
    good, wild = found[(4,), 0.05], found[(4,), 1e30]
    assert (good.state, search.best) == ("done", good)
    assert refused.state == "failed"
    assert "whole numbers above 0" in refused.reason
    assert "found [-1]" in refused.reason
    assert large.state == "failed"
    assert large.reason.startswith("out of memory: OOM when allocating tensor with shape")
    assert wild.state == "diverged"
    assert "is not finite" in wild.reason
    for trial in (refused, large, wild):
        assert trial.scores == ()
        assert "\n" not in trial.reason
    assert summarize_run(search.run_of(wild)).state == "diverged"
    on_disk = [(t.state, t.scores, t.reason) for t in read_search(search.run).trials]
    assert on_disk == [(t.state, t.scores, t.reason) for t in search.trials]


def test_what_a_model_of_ones_own_raises_is_the_reason(tmp_path):
    search = tune_model(fussy("angry", "calm", "forgetful"), runs=tmp_path)
    angry, calm, forgetful = search.trials
    assert [trial.state for trial in search.trials] == ["failed", "done", "failed"]
    assert angry.reason == "RuntimeError: boom in training"
    assert forgetful.reason == "out of memory: MemoryError: no room for my memories"
    assert search.best == calm


def test_the_first_trials_that_all_fail_end_a_search(cli, tmp_path):
    file = tmp_path / "search.toml"
    file.write_text(
        f"""
        data = {{ source = "iris", batch_size = 36 }}
        model = {{ name = "{__name__}:Fussy", options = {{ mood = "angry" }} }}
        train.epochs = 1
        tune.space = {{ seed = {{ int = [1, 99] }} }}
        """
    )
    result = cli("tune", file, "--run", "mine", "-q")
    assert (result.code, result.out) == (ExitCode.FAILED, "")
    assert result.err == (
        "error: the search of run mine found nothing: none of its 5 trials has a score. The last"
        " one: RuntimeError: boom in training\n"
    )
    search = read_search(Run(Path("runs/mine")))
    assert (search.state, search.count("failed")) == ("failed", 5)
    assert "its first trials all failed" in search.reason


def test_a_search_whose_trials_all_diverge_has_no_best(cli):
    words = (
        *("tune", "--data", "iris", "--epochs", "1", "--optimizer", "sgd", "--algorithm", "grid"),
        *("--set", "tune.space.train.optimizer.learning_rate={choice=[1e30,1e31]}"),
        *("--run", "mine", "-q"),
    )
    result = cli(*words)
    assert (result.code, result.out) == (ExitCode.FAILED, "")
    assert result.err.startswith("error: the search of run mine found nothing: none of its 2 ")
    assert "is not finite" in result.err
    assert read_search(Run(Path("runs/mine"))).state == "done"
    again = cli("train", "--tune", "--resume", "mine", "-q")
    assert again.code == ExitCode.USAGE
    assert "no trial with a score" in again.err


def test_a_space_of_nothing_but_mistakes_is_refused_at_once(tmp_path):
    space = {"model.options.hiden": {"choice": [[4], [8]]}}
    with pytest.raises(ModelMismatch, match=r"no option 'hiden'. Did you mean 'hidden'"):
        tune_model(config_of(**{"tune.space": space}), runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_disk_that_refuses_ends_a_search_which_can_go_on(tmp_path):
    """The operating system refuses for real, to root as well: a folder is where a file must be."""

    def block(moment) -> None:
        if moment.trial is not None and (moment.trial.number, moment.trial.state) == (0, "done"):
            (tmp_path / "mine" / "tune" / "0001").write_text("in the way")

    config = fussy("calm", "happy", "cheerful")
    with pytest.raises(StorageError, match="0001: Not a directory"):
        tune_model(config, runs=tmp_path, name="mine", watch=block)
    search = read_search(Run(tmp_path / "mine"))
    assert (search.state, [t.state for t in search.trials]) == ("failed", ["done", "stopped"])
    assert "Not a directory" in search.reason
    (tmp_path / "mine" / "tune" / "0001").unlink()
    search = resume_search(tmp_path / "mine")
    assert [t.state for t in search.trials] == ["done"] * 3
    begun = [line["trial"] for line in read_journal(search.run) if line["event"] == "begin"]
    assert begun == [0, 1, 1, 2]
