"""The configuration of a run: TOML on disk, checked whole, every mistake reported at once.

    config = load_config(Path("examples/digits_mlp.toml"), ["train.epochs=3"])
    config.train.epochs   # 3
    to_toml(config)       # what `config.toml` of the run will hold

Order, later wins: defaults, file, environment, `--set`, named options.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import tomli_w
from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from tfapp import names
from tfapp.errors import ConfigError, MissingError, did_you_mean
from tfapp.sections import Fraction, Positive, Section, check_known
from tfapp.space import Hyperparameter, TuneConfig
from tfapp.train_config import CheckpointConfig as CheckpointConfig
from tfapp.train_config import EarlyStoppingConfig as EarlyStoppingConfig
from tfapp.train_config import OptimizerConfig as OptimizerConfig
from tfapp.train_config import ScheduleConfig as ScheduleConfig
from tfapp.train_config import TrainConfig as TrainConfig


class DataConfig(Section):
    """Where examples come from and how they are cut into splits and batches."""

    source: str = Field("digits", description="embedded name, TFDS name, or a path")
    batch_size: Positive = Field(64, description="examples of one step")
    validation: Fraction = Field(
        0.1, description="share of train that becomes validation, where the source has none"
    )
    test: Fraction = Field(0.15, description="share that becomes test, where the source has none")
    split_seed: int = Field(0, ge=0, description="decides which examples those are")
    task: Literal["auto", "classification", "regression"] = Field(
        "auto", description="what the labels are; auto: from their type"
    )
    label: str | None = Field(None, description="label column or array; default: 'label' or last")
    classes: list[str] | None = Field(
        None, description="class names in order; default: as found in the data"
    )
    scaling: Literal["auto", "standard", "minmax", "none"] = Field(
        "auto",
        description="standard: mean 0, deviation 1; minmax: 0 to 1; both over the training split;"
        " auto: standard, but none for a model that takes features as they are",
    )
    image_size: tuple[Positive, Positive] | None = Field(
        None, description="[height, width] that images of a folder are resized to"
    )
    memory_limit_mb: Positive = Field(
        2048, description="sources larger than this are read batch by batch"
    )
    options: dict[str, Any] = Field({}, description="options of a synthetic source")


class ModelConfig(Section):
    """Which model is trained."""

    name: str = Field("mlp", description="registered name, or 'mypackage.models:Mine'")
    options: dict[str, Any] = Field(
        {}, description="arguments of its constructor, or hyperparameters of a HyperModel"
    )
    outputs: Literal["auto", "logits", "probabilities"] = Field(
        "auto", description="what a classifier's last layer gives; auto: looked at on one batch"
    )

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        check_known("model", name, names.MODELS)
        return name


class Config(Section):
    """Everything that decides what a run computes."""

    name: str | None = Field(
        None, description="label of the run; default: data and model", pattern=r"^[\w.-]+$"
    )
    # Keras takes seeds of 32 bits.
    seed: int = Field(
        0, ge=0, lt=2**32, description="of initial weights, dropout and example order"
    )
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    tune: TuneConfig | None = None

    @model_validator(mode="after")
    def _searchable(self) -> Config:
        if self._space and self.train.refit:
            raise ValueError(
                "tune.space: train.refit leaves no validation split to compare trials by. Leave it"
                " out, and train the best on both with tfapp train --tune --refit"
            )
        problems = [problem for key in self._space for problem in self._refused(key)]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def _space(self) -> dict[str, Hyperparameter]:
        return self.tune.space if self.tune else {}

    def _refused(self, key: str) -> Iterator[str]:
        """What the config would object to if a search gave `key` its first or last value."""
        values = self._space[key].values
        for value in values if self._space[key].kind == "choice" else (values[0], values[-1]):
            try:
                self.with_values({**self._needed(key), key: value})
            except ConfigError as error:
                yield f"tune.space.{key}: {error.problems[0]}"
                return

    def _needed(self, key: str) -> dict[str, Any]:
        """Values of what a key of the space depends on, with which it is searched."""
        found: dict[str, Any] = {}
        for parent, values in self._space[key].when.items():
            found |= {**self._needed(parent), parent: values[0]}
        return found

    def with_values(self, values: Mapping[str, Any]) -> Config:
        """Returns the config of one trial: these values in it, and no search.

        Args:
            values: By dotted key.

        Raises:
            ConfigError: With one line for each value that cannot be.
        """
        plain = self.model_dump(exclude={"tune"}, exclude_none=True)
        for key, value in values.items():
            _assign(plain, key, value)
        try:
            return Config.model_validate(plain)
        except ValidationError as error:
            raise ConfigError([_explain(item) for item in error.errors()]) from error

    @property
    def label(self) -> str:
        """The run's name: as configured, else made of data and model, e.g. `digits-mlp`."""
        if self.name:
            return self.name
        source = Path(self.data.source).stem or "data"
        model = self.model.name.rpartition(":")[2]
        return "".join(c if c.isalnum() or c in "-_." else "-" for c in f"{source}-{model}".lower())


def load_config(
    path: str | Path | None = None,
    assignments: Iterable[str] = (),
    *,
    environment: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """Reads and checks a config.

    Args:
        path: TOML file; `None` for the defaults alone.
        assignments: `key.path=value` strings; values are TOML, or plain text where TOML fails.
        environment: Dotted keys with values that assignments may override.
        overrides: Dotted keys with values that override everything.

    Raises:
        MissingError: The file is not there.
        ConfigError: With one line for each mistake in all of them.
    """
    values = {} if path is None else _read_toml(Path(path))
    problems: list[str] = []
    typed = [*(environment or {}), *(overrides or {})]
    for key, value in (environment or {}).items():
        _assign(values, key, value)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if equals and key.strip():
            _assign(values, key.strip(), _parse_value(text.strip()))
            typed.append(key.strip())
        else:
            problems.append(f"--set {assignment}: expected key=value, e.g. --set train.epochs=3")
    for key, value in (overrides or {}).items():
        _assign(values, key, value)
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        for item in error.errors():
            key = ".".join(str(part) for part in item["loc"])
            in_file = path and not any(key.startswith(t) or t.startswith(key) for t in typed)
            problems.append((f"{path}: " if in_file else "") + _explain(item))
    if problems:
        raise ConfigError(problems)
    return config


def to_toml(config: Config) -> str:
    """Returns `config` as TOML that `load_config` reads back to an equal config."""
    return tomli_w.dumps(config.model_dump(exclude_none=True))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingError(
            f"no config file {path} in {Path.cwd()}. Leave it out to train with the defaults, or"
            " start from one in examples/."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError([f"{path}: not readable as TOML: {error}"]) from error


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _assign(values: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        child = values.setdefault(parent, {})
        if not isinstance(child, dict):
            child = values[parent] = {}
        values = child
    values[last] = value


def _explain(item: Any) -> str:
    """Turns one pydantic error into `key: what is wrong, what is right`."""
    path = [str(part) for part in item["loc"]]
    key = ".".join(path) or "config"
    if item["type"] == "extra_forbidden":
        known = _keys_of(path[:-1])
        return f"{key}: unknown.{did_you_mean(path[-1], known)} Known: {', '.join(known)}."
    if item["type"] == "model_type":
        keys = ", ".join(f"{key}.{name}" for name in _keys_of(path))
        return f"{key}: a table, not a value, found {item['input']!r}. Its keys: {keys}."
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":  # one that knows better where it belongs says so
        return message if message.startswith("tune.space") else f"{key}: {message}"
    near = ""
    if item["type"] == "literal_error" and isinstance(item["input"], str):
        near = did_you_mean(item["input"], re.findall(r"'([^']+)'", item["ctx"]["expected"]))
    found = f"found {item['input']!r}"
    return f"{key}: {message[0].lower()}{message[1:]}, {found}{near and '.' + near}"


def _keys_of(path: list[str]) -> list[str]:
    section: Any = Config
    for part in path:
        if get_origin(section) is dict:  # whose keys are free
            section = get_args(section)[1]
            continue
        annotation = section.model_fields[part].annotation
        candidates = [annotation, *get_args(annotation)]
        section = next(c for c in candidates if _is_section(c) or get_origin(c) is dict)
    return sorted(field.alias or name for name, field in section.model_fields.items())


def _is_section(candidate: Any) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, BaseModel)
