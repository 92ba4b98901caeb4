"""KerasTuner's algorithms, for a search that keeps its own journal.

An oracle is asked for values and told scores, nothing else: files, workers and failures are the
leader's. What is worked round here without touching KerasTuner 1.4.8:

- a seed of 0 means none to it, and Bayesian search loses its random state when it is resumed; so
  the values of trial n are drawn from a seed made of the search's and n;
- grid search loses its place when it is resumed, and runs one trial at a time however many workers
  there are, because new hyperparameters might turn up in a trial; here none can;
- an oracle that raises keeps its lock for ever (keras-tuner issue 915 is one way to meet it); so
  what an algorithm raises is kept and told by the leader;
- a float with a step leaves out its highest value where the quotient is not exact;
- a choice takes values of one type of text and numbers only; others go in as JSON;
- Bayesian search forgets trials that failed, and proposes the same place again and again;
- Hyperband keeps the places of trials that failed, so that of a bracket with a few of them nothing
  is promoted; it ends when a small space has been tried once, before anything is; and calls the
  bracket of a promoted trial by the number of the newest one;
- 21 draws in a row that were drawn before are no proof that a space is exhausted.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine import hyperparameters

# `conditional_scope`, the public way, cannot make one hyperparameter depend on two others.
from keras_tuner.src.engine import conditions

from tfapp.space import Hyperparameter, TuneConfig
from tfapp.tuning.seeds import derive_seed

OBJECTIVE = "score"
# What a grid tries of a number that has no step.
GRID_VALUES = 10
# Of a space that a simulation has not come to the end of, more is not told.
_MOST_COUNTED = 10_000


@dataclass(frozen=True)
class Proposal:
    """What an algorithm wants next.

    Attributes:
        status: `run`; `wait` for a running trial to end; `end` when there is nothing more.
        values: By config key.
        first_epoch: Epochs that `parent` has done of it.
        epochs: Where it is to end; `None` for the config's own length.
        parent: Number of the trial that it goes on with.
        bracket: Bracket and round of Hyperband.
    """

    status: str
    values: Mapping[str, Any] | None = None
    first_epoch: int = 0
    epochs: int | None = None
    parent: int | None = None
    bracket: tuple[int, int] | None = None


class Algorithm:
    """One of KerasTuner's oracles, asked and told in the words of a search.

    Args:
        config: Algorithm, space, and its own settings.
        direction: `min` or `max` of the objective.
        seed: Decides what is drawn.
        epochs: Length of a whole training; Hyperband divides it.
        known: Values of the trials there are, by number; what an algorithm would compute at length
            is taken from there when a search is made again.
    """

    def __init__(
        self,
        config: TuneConfig,
        *,
        direction: str,
        seed: int,
        epochs: int,
        known: Mapping[int, Mapping[str, Any]] | None = None,
    ) -> None:
        self._space = config.space
        self._forms = {key: _form(h, config.algorithm) for key, h in config.space.items()}
        self._trials: list[keras_tuner.engine.trial.Trial] = []
        encoded = {number: self._encode(values) for number, values in (known or {}).items()}
        common = {
            "objective": keras_tuner.Objective(OBJECTIVE, direction),
            "hyperparameters": self._hyperparameters(),
            "seed": derive_seed(seed) + 1,
            "allow_new_entries": False,
            "tune_new_entries": False,
        }
        self._oracle = _ORACLES[config.algorithm](config, epochs, common)
        self._oracle.begin(seed, encoded)

    @property
    def error(self) -> Exception | None:
        """What the algorithm raised; then it proposes nothing more."""
        return self._oracle.error

    def propose(self) -> Proposal:
        """Returns what to try as trial number n, n counted from 0 over the proposals to run."""
        # A name of its own for each trial: a worker's would tie the two together for ever.
        trial = self._oracle.create_trial(f"trial {len(self._trials)}")
        if trial.status != "RUNNING":
            return Proposal("wait" if trial.status == "IDLE" else "end")
        self._trials.append(trial)
        values = dict(trial.hyperparameters.values)
        parent = values.pop("tuner/trial_id", None)
        epochs = values.pop("tuner/epochs", None)
        first = values.pop("tuner/initial_epoch", 0)
        bracket, round_number = values.pop("tuner/bracket", None), values.pop("tuner/round", 0)
        return Proposal(
            "run",
            {key: self._forms[key].decode(values[key]) for key in self._space if key in values},
            first_epoch=first,
            epochs=epochs,
            parent=None if parent is None else int(parent),
            bracket=None if bracket is None else (bracket, round_number),
        )

    def tell(self, number: int, score: float | None) -> None:
        """Takes the score of a trial; `None` where it failed."""
        trial = self._trials[number]
        if score is None:
            trial.status = "FAILED"
        else:
            self._oracle.update_trial(trial.trial_id, {OBJECTIVE: score})
            trial.status = "COMPLETED"
        self._oracle.end_trial(trial)

    def _hyperparameters(self) -> keras_tuner.HyperParameters:
        made = keras_tuner.HyperParameters()
        for key, hyperparameter in self._space.items():
            needed = [
                conditions.Parent(parent, [self._forms[parent].encode(v) for v in values])
                for parent, values in hyperparameter.when.items()
            ]
            made.merge([self._forms[key].make(name=key, conditions=needed)])
        return made

    def _encode(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {key: self._forms[key].encode(value) for key, value in values.items()}


def count_trials(config: TuneConfig, *, epochs: int, seed: int = 0) -> int | None:
    """Returns how many trials a search will have, or `None` if that is not known.

    Args:
        config: What is searched, and how.
        epochs: Length of a whole training.
        seed: As in `Algorithm`.
    """
    wanted = config.most_trials
    if config.algorithm == "bayesian" or (wanted is None and config.algorithm == "random"):
        return wanted  # to find out whether the space ends before would take too long
    most = min(wanted or _MOST_COUNTED, _MOST_COUNTED)
    algorithm = Algorithm(config, direction="max", seed=seed, epochs=epochs)
    for number in range(most):
        if algorithm.propose().status != "run":
            return number
        algorithm.tell(number, float(number))
    return wanted


class _Kept:
    """What all oracles here have in common; the journal is their memory, so they write no files."""

    def begin(self, seed: int, known: Mapping[int, Mapping[str, Any]]) -> None:
        self.error: Exception | None = None
        self._search_seed = seed
        self._known = known
        self.verbose = 0

    def save(self) -> None:
        """Does nothing."""

    def _save_trial(self, trial: Any) -> None:
        """Does nothing."""

    def _check_consecutive_failures(self) -> None:
        """Does nothing; what a search that always fails does is the leader's to say."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        try:
            self._seed_state = derive_seed(self._search_seed, int(trial_id))
            return self._populate(trial_id)
        except Exception as error:
            self.error = error
            return {"status": "STOPPED", "values": None}

    def _populate(self, trial_id: str) -> dict[str, Any]:
        return super().populate_space(trial_id)  # type: ignore[misc]


class _Random(_Kept, keras_tuner.oracles.RandomSearchOracle):
    def begin(self, seed: int, known: Mapping[int, Mapping[str, Any]]) -> None:
        super().begin(seed, known)
        self._max_collisions = 1000


class _Hyperband(_Kept, keras_tuner.oracles.HyperbandOracle):
    def end_trial(self, trial: Any) -> None:
        if trial.status == "FAILED":  # it ends last in its round
            worst = -math.inf if self.objective.direction == "max" else math.inf
            self.update_trial(trial.trial_id, {OBJECTIVE: worst})
            trial.status = "COMPLETED"
        super().end_trial(trial)

    def _populate(self, trial_id: str) -> dict[str, Any]:
        while (response := super()._populate(trial_id))["status"] == "RUNNING":
            number, place = self._place_of(trial_id)
            parent = place["past_id"]
            if parent is None or math.isfinite(self.trials[parent].score):
                response["values"]["tuner/bracket"] = number
                break
            place["id"] = parent  # too few have a score, so this one cannot go on either
        return response

    def _place_of(self, trial_id: str) -> tuple[int, dict[str, Any]]:
        """Returns the number of a trial's bracket, and its place in a round."""
        return next(
            (bracket["bracket_num"], place)
            for bracket in self._brackets
            for round_ in bracket["rounds"]
            for place in round_
            if place["id"] == trial_id
        )

    def _random_values(self) -> dict[str, Any]:
        if (values := super()._random_values()) is None:
            # Source: Li et al. 2018, Hyperband, algorithm 1: each is drawn independently.
            self._tried_so_far.clear()
            values = super()._random_values()
        return values


class _Grid(_Kept, keras_tuner.oracles.GridSearchOracle):
    def _populate(self, trial_id: str) -> dict[str, Any]:
        response = super()._populate(trial_id)
        if response["status"] == "RUNNING":
            self._populate_next.append(trial_id)  # the next need not wait for the end of this one
        return response


class _Bayesian(_Kept, keras_tuner.oracles.BayesianOptimizationOracle):
    def _populate(self, trial_id: str) -> dict[str, Any]:
        if (known := self._known.get(int(trial_id))) is not None:
            return {"status": "RUNNING", "values": dict(known)}
        self._random_state = np.random.RandomState(self._seed_state)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's, of how well a fit has converged
            response = super()._populate(trial_id)
        if response["status"] == "RUNNING" and self._duplicate(response["values"]):
            return self._random_populate_space()  # a trial once more would tell nothing new
        return response

    def _vectorize_trials(self) -> tuple[Any, Any]:
        """Takes failed trials for as bad as the worst there is."""
        done = [t.score for t in self.trials.values() if t.status == "COMPLETED"]
        failed = [t for t in self.trials.values() if t.status == "FAILED"]
        worst = min(done) if self.objective.direction == "max" else max(done)
        for trial in failed:
            trial.status, trial.score = "COMPLETED", worst
        try:
            return super()._vectorize_trials()
        finally:
            for trial in failed:
                trial.status, trial.score = "FAILED", None


_ORACLES: Mapping[str, Callable[[TuneConfig, int, dict[str, Any]], Any]] = {
    "random": lambda config, epochs, common: _Random(max_trials=None, **common),
    "bayesian": lambda config, epochs, common: _Bayesian(max_trials=None, **common),
    "grid": lambda config, epochs, common: _Grid(**common),
    "hyperband": lambda config, epochs, common: _Hyperband(
        max_epochs=epochs,
        factor=config.factor,
        hyperband_iterations=config.iterations,
        **common,
    ),
}


@dataclass(frozen=True)
class _Form:
    """How a hyperparameter looks to KerasTuner.

    Attributes:
        make: Returns its object, given a name and conditions.
        encode: Turns a value into one of KerasTuner's.
        decode: The other way.
    """

    make: Callable[..., Any]
    encode: Callable[[Any], Any] = lambda value: value
    decode: Callable[[Any], Any] = lambda value: value


def _form(hyperparameter: Hyperparameter, algorithm: str) -> _Form:
    kind = hyperparameter.kind
    if kind == "boolean":
        return _Form(hyperparameters.Boolean)
    if kind == "choice":
        return _choice(hyperparameter.values)
    low, high = hyperparameter.range
    step, log = hyperparameter.step, hyperparameter.log
    if step is not None:
        return _choice(_steps(low, high, step, log, whole=kind == "int"))
    if algorithm == "grid" and (kind == "float" or log):
        return _choice(_spread(low, high, log, whole=kind == "int"))
    sampling = "log" if log else "linear"
    made = hyperparameters.Int if kind == "int" else hyperparameters.Float

    def make(**named: Any) -> Any:
        return made(min_value=low, max_value=high, sampling=sampling, **named)

    return _Form(make, decode=int if kind == "int" else float)  # not NumPy's


def _choice(values: tuple[Any, ...]) -> _Form:
    plain = len({type(v) for v in values}) == 1 and isinstance(values[0], str | int | float)
    if plain and not isinstance(values[0], bool):  # KerasTuner makes numbers of booleans
        return _Form(lambda **named: hyperparameters.Choice(values=list(values), **named))

    def encode(value: Any) -> str:
        # Where a condition says 1.0, it is the 1 of `values`.
        return json.dumps(next((known for known in values if known == value), value))

    def make(**named: Any) -> Any:
        return hyperparameters.Choice(values=[json.dumps(value) for value in values], **named)

    return _Form(make, encode, json.loads)


def _steps(low: float, high: float, step: float, log: bool, *, whole: bool) -> tuple[Any, ...]:
    ratio = math.log(high / low, step) if log else (high - low) / step
    count = math.floor(ratio + 1e-9) + 1
    values = [low * step**i if log else low + i * step for i in range(count)]
    # To 12 digits, so that 0.1 + 2 * 0.1 is 0.3.
    return tuple(dict.fromkeys(round(v) if whole else float(f"{v:.12g}") for v in values))


def _spread(low: float, high: float, log: bool, *, whole: bool) -> tuple[Any, ...]:
    values = (np.geomspace if log else np.linspace)(low, high, GRID_VALUES)
    return tuple(dict.fromkeys(round(v) if whole else float(f"{v:.12g}") for v in values))
