"""Searches hyperparameters: begins a search or goes on with one, and trains the best in the end.

search = tune_model(config)          # config.tune says what is varied, and how
search.best.values, search.best.score
train_best(search.path)              # the same run directory now holds the model
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tfapp.config import Config, load_config, to_toml
from tfapp.environment import read_environment
from tfapp.errors import (
    ConfigError,
    ExitCode,
    Interrupted,
    ModelMismatch,
    StorageError,
    TfappError,
    UnknownName,
    UsageError,
    storage_errors,
)
from tfapp.locks import hold, is_held
from tfapp.models import discover_space
from tfapp.runs import Run, claim_run, flatten, open_run, write_whole
from tfapp.settings import data_folder, runs_folder
from tfapp.space import TuneConfig, empty_space
from tfapp.training.actions import lower_is_better
from tfapp.training.assembly import Assembly, assemble, monitored_values
from tfapp.training.hparams import write_experiment, write_session
from tfapp.training.writers import Writer
from tfapp.trials import FOLDER, Search, SearchState, config_file, read_search, search_lock
from tfapp.tuning.execution import Stop, TrialRunner
from tfapp.tuning.journal import Journal
from tfapp.tuning.leader import MOST_FAILED_AT_FIRST, Leader, Moment, Watch
from tfapp.tuning.oracles import Algorithm, count_trials

# What may change when a search goes on.
_FREE = ("name", "tune.trials", "tune.budget")
_WAIT_SECONDS = 0.05
# The whole of a search in one process.
_WORKER = "tuner0"

Work = Callable[[Leader, Run, Config], None]


@dataclass(frozen=True)
class SearchPlan:
    """What a search would be.

    Attributes:
        objective: Name of the value that is searched for.
        direction: Whether less or more of it is better.
        first: Config of its first trial; where that one's values make no model, of the first that
            has one.
        parameters: Trainable values of that trial's model.
        trials: How many trials there will be.
    """

    objective: str
    direction: Literal["min", "max"]
    first: Config
    parameters: int
    trials: int | None


def tune_model(
    config: Config,
    *,
    runs: str | Path | None = None,
    name: str | None = None,
    data_dir: str | Path | None = None,
    watch: Watch = lambda moment: None,
    writers: Sequence[Writer] = (),
    stop: Stop = lambda: None,
) -> Search:
    """Searches hyperparameters in a new run directory, one trial after another.

    Args:
        config: What to train on what; its `tune` table says what is varied.
        runs: Folder of run directories; `settings` decides when omitted.
        name: Name of the run directory; made from the time and the config when omitted.
        data_dir: Where prepared data sets are kept; `settings` decides when omitted.
        watch: Is told whenever something has happened.
        writers: Are told of each training.
        stop: Asked a few times a second; an exit code ends the search, which can be gone on with.

    Raises:
        TfappError: No trial has a score; or the search cannot begin, and nothing was written.
        Interrupted: `stop` gave a code. `resume_search` goes on from there.
    """
    run = begin_search(config, runs=runs, name=name, data_dir=data_dir)
    work = in_this_process(data_folder(data_dir), writers=writers, stop=stop)
    return lead(run, work, watch=watch, stop=stop)


def resume_search(
    run: Run | str | Path,
    *,
    config: Config | None = None,
    data_dir: str | Path | None = None,
    watch: Watch = lambda moment: None,
    writers: Sequence[Writer] = (),
    stop: Stop = lambda: None,
) -> Search:
    """Goes on with a search: what has ended stays, what was interrupted begins again.

    Args:
        run: The run that it belongs to, or its path or name.
        config: Its config with more trials or time; as it was when omitted.
        data_dir: As in `tune_model`.
        watch: As in `tune_model`.
        writers: As in `tune_model`.
        stop: As in `tune_model`.

    Raises:
        MissingError: The run has no search.
        UsageError: It is complete, is led by another process, or something else has changed.
        TfappError: As in `tune_model`.
        Interrupted: As in `tune_model`.
    """
    opened = open_run(run)
    prepare_resume(opened, config)
    work = in_this_process(data_folder(data_dir), writers=writers, stop=stop)
    return lead(opened, work, watch=watch, stop=stop)


def begin_search(
    config: Config,
    *,
    runs: str | Path | None = None,
    name: str | None = None,
    data_dir: str | Path | None = None,
) -> Run:
    """Makes the run directory of a search that has not begun.

    Args:
        config: As in `tune_model`.
        runs: As in `tune_model`.
        name: As in `tune_model`.
        data_dir: As in `tune_model`.

    Raises:
        TfappError: The search cannot begin; nothing was written.
    """
    config = whole_space(config)
    plan = plan_search(config, data_dir=data_dir)
    tune = config.tune
    assert tune is not None
    run = claim_run(runs_folder(runs), config, name=name)
    with storage_errors(run.path):
        (run.path / FOLDER).mkdir()
    write_whole(config_file(run), to_toml(config))
    run.write_json("environment.json", vars(read_environment()))
    Journal(run).search(
        algorithm=tune.algorithm,
        objective=plan.objective,
        direction=plan.direction,
        seed=config.seed,
        trials=tune.most_trials,
        executions=tune.executions,
        space={key: value.model_dump(mode="json") for key, value in tune.space.items()},
    )
    return run


def whole_space(config: Config) -> Config:
    """Returns the config with the space that a KerasTuner HyperModel declares, if its model is one.

    What `tune.space` says of the same keys is what holds.
    """
    declared = discover_space(config.model.name, config.model.options)
    if not declared:
        return config
    tune = config.tune or TuneConfig()
    # Checked anew, as a whole.
    space = {key: value.model_dump() for key, value in {**declared, **tune.space}.items()}
    table = {**tune.model_dump(exclude_none=True), "space": space}
    return Config.model_validate({**config.model_dump(exclude_none=True), "tune": table})


def plan_search(config: Config, *, data_dir: str | Path | None = None) -> SearchPlan:
    """Builds the first trial of a search and trains nothing.

    Raises:
        TfappError: What makes the search impossible.
    """
    tune = config.tune
    if tune is None or not tune.space:
        raise UsageError(empty_space())
    parts = _first_that_works(config, tune, data_folder(data_dir))
    objective = tune.objective
    if objective == "auto":
        objective = parts.config.train.monitor
    known = monitored_values(parts.config.train.metrics)
    if objective not in known:
        raise UnknownName("objective", objective, known, "Give one of them with --objective.")
    mode = config.train.monitor_mode
    if mode == "auto":
        mode = "min" if lower_is_better(objective) else "max"
    trials = count_trials(tune, epochs=config.train.epochs, seed=config.seed)
    return SearchPlan(objective, mode, parts.config, parts.parameters, trials)


def prepare_resume(run: Run, config: Config | None) -> None:
    """Checks that a search can go on, and takes over what has changed.

    Args:
        run: The run that it belongs to.
        config: The new config; `None` for no change.

    Raises:
        MissingError: The run has no search.
        UsageError: It cannot go on, or not with this config.
    """
    search = read_search(run)
    if is_held(search_lock(run)):
        raise _led_by_another(run)
    before = searched_config(run)
    now = config or before
    if changes := _changes(before, now):
        raise UsageError(
            f"the search of run {run.name} would not go on as it began: {'; '.join(changes)}. Put"
            " that back, or begin a new search. Only tune.trials and tune.budget may change."
        )
    trials = now.tune.most_trials if now.tune else None
    done = len(search.trials)
    if search.state == "done" and (trials is None or trials <= done):
        raise UsageError(
            f"the search of run {run.name} is complete: it has {done} trials. To"
            f" train the best: tfapp train --tune --resume {run.path}"
            + (f"; for more: tfapp tune --resume {run.path} --trials {2 * done}" if trials else "")
        )
    if now != before:
        write_whole(config_file(run), to_toml(now))


def lead(
    run: Run,
    work: Work,
    *,
    workers: int = 1,
    grace: float = 0.0,
    watch: Watch = lambda moment: None,
    stop: Stop = lambda: None,
) -> Search:
    """Leads a search while others, or `work` itself, run its trials.

    Args:
        run: The run that it belongs to.
        work: Returns when there is nothing more to do.
        workers: How many trials run at once.
        grace: As in `Leader`.
        watch: Is told whenever something has happened.
        stop: Its code is that of the interruption.

    Raises:
        TfappError: No trial has a score.
        Interrupted: `stop` gave a code.
        UsageError: Another process leads it.
    """
    config = searched_config(run)
    with _alone(run):
        leader = Leader(run, config, workers=workers, grace=grace, watch=_told_to(watch))
        write_experiment(leader.search)
        try:
            work(leader, run, config)
        except BaseException as error:
            state: SearchState = "failed" if isinstance(error, Exception) else "interrupted"
            with suppress(TfappError):  # on a full disk what happened matters more
                leader.end(state, f"{type(error).__name__}: {error}")
            raise
        if code := stop():
            leader.end("interrupted", "it was asked to stop")
            if leader.search.state == "interrupted":  # else it came to its end before
                raise _interrupted(leader.search, code)
    return _checked(leader.search)


def searched_config(run: Run) -> Config:
    """Returns the config that a run's search varies.

    Raises:
        MissingError: The run has no search.
    """
    read_search(run)
    return load_config(config_file(run))


def in_this_process(
    data_dir: Path, *, writers: Sequence[Writer] = (), stop: Stop = lambda: None
) -> Work:
    """Returns the work of a search whose trials run here, one after another.

    Args:
        data_dir: Where prepared data sets are kept.
        writers: Are told of each training.
        stop: A code ends the trial that runs, and the search.
    """

    def work(leader: Leader, run: Run, config: Config) -> None:
        runner = TrialRunner(run, config, leader.search, data_dir=data_dir)

        def ends() -> ExitCode | None:
            return stop() or (ExitCode.INTERRUPTED if leader.is_over() else None)

        while not stop():
            assignment = leader.next(_WORKER)
            if assignment == "stop":
                return
            if assignment == "wait":
                time.sleep(_WAIT_SECONDS)
                continue
            outcome = runner.run(assignment, writers=writers, stop=ends)
            leader.finish(assignment.number, assignment.attempt, outcome)

    return work


def _told_to(watch: Watch) -> Watch:
    """Has TensorBoard's HParams tab know of each trial that ends, before anybody else is told."""

    def told(moment: Moment) -> None:
        trial = moment.trial
        if trial is not None and trial.state != "running":
            write_session(moment.search, trial, started=time.time() - trial.seconds)
        watch(moment)

    return told


def _first_that_works(config: Config, tune: TuneConfig, data_dir: Path) -> Assembly:
    """Builds the first trial, or, where its values make no model, one of the next."""
    algorithm = Algorithm(tune, direction="max", seed=config.seed, epochs=config.train.epochs)
    refused: TfappError | None = None
    for _ in range(MOST_FAILED_AT_FIRST):
        proposal = algorithm.propose()
        if refused is not None and proposal.status != "run":
            break
        try:
            return assemble(config.with_values(proposal.values or {}), data_dir=data_dir)
        except (ConfigError, ModelMismatch) as error:
            refused = refused or error
    assert refused is not None
    raise refused


def _changes(before: Config, now: Config) -> list[str]:
    old, new = flatten(before.model_dump(mode="json")), flatten(now.model_dump(mode="json"))
    return [
        f"{key} was {old.get(key, 'not there')!r}, is now {new.get(key, 'not there')!r}"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key) and key not in _FREE
    ]


@contextmanager
def _alone(run: Run) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            with storage_errors(search_lock(run)):
                stack.enter_context(hold(search_lock(run)))
        except StorageError as error:
            if not isinstance(error.__cause__, BlockingIOError):
                raise
            raise _led_by_another(run) from error
        yield


def _led_by_another(run: Run) -> UsageError:
    return UsageError(
        f"the search of run {run.name} is led by another process. Wait for it, or stop it."
    )


def _interrupted(search: Search, code: ExitCode) -> Interrupted:
    done = search.count("done", "failed", "diverged")
    of = f" of {search.wanted}" if search.wanted else ""
    return Interrupted(
        f"stopped; {done}{of} trials are done. Continue with: tfapp tune --resume {search.path}",
        code,
    )


def _checked(search: Search) -> Search:
    if search.best is not None:
        return search
    reasons = [trial.reason for trial in search.trials if trial.reason]
    told = f" The last one: {reasons[-1]}" if reasons else ""
    raise TfappError(
        f"the search of run {search.run.name} found nothing: none of its {len(search.trials)}"
        f" trials has a score.{told}"
    )
