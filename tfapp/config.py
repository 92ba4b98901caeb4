"""The configuration of a run: TOML on disk, checked whole, every mistake reported at once.

    config = load_config(Path("examples/digits_mlp.toml"), ["train.epochs=3"])
    config.train.epochs   # 3
    to_toml(config)       # what `config.toml` of the run will hold

Order, later wins: defaults, file, environment, `--set`, named options.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from tfapp import names
from tfapp.errors import ConfigError, MissingError, UnknownName, did_you_mean

Fraction = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[int, Field(gt=0, strict=True)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _check_name(kind: str, name: str, known: Iterable[str]) -> None:
    try:
        names.check_name(kind, name, known)
    except UnknownName as error:
        raise ValueError(str(error)) from error  # the form in which pydantic collects mistakes


class Section(BaseModel):
    """A table of the config: unknown keys are refused, values cannot be changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OpenSection(BaseModel):
    """A table that also takes the options of what it names; they are checked against `names`."""

    model_config = ConfigDict(extra="allow", frozen=True)

    @property
    def options(self) -> dict[str, Any]:
        """The keys beside the declared ones."""
        return dict(self.model_extra or {})

    def check_options(self, what: str, known: Iterable[str]) -> None:
        """Raises `ValueError` naming each option that is not in `known` or is text."""
        known = sorted({*known, *type(self).model_fields})
        problems = [
            f"{what} has no option {key!r}.{did_you_mean(key, known)} It takes: {', '.join(known)}."
            for key in self.options
            if key not in known
        ]
        problems += [  # no option of Keras's is text; `.9` and `1e-3x` come here from `--set`
            f"{what} takes a number for {key}, e.g. 0.9, found {value!r}."
            for key, value in self.options.items()
            if key in known and isinstance(value, str)
        ]
        if problems:
            raise ValueError(" ".join(problems))


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
    options: dict[str, Any] = Field({}, description="arguments of its constructor")
    outputs: Literal["auto", "logits", "probabilities"] = Field(
        "auto", description="what a classifier's last layer gives; auto: looked at on one batch"
    )

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        _check_name("model", name, names.MODELS)
        return name


class OptimizerConfig(OpenSection):
    """A Keras optimizer by name, with any argument of its constructor."""

    name: str = Field("adam", description="Keras optimizer, or an import path")
    learning_rate: float = Field(
        1e-3, gt=0, allow_inf_nan=False, description="the rate, or the peak of the schedule"
    )

    @model_validator(mode="after")
    def _known(self) -> OptimizerConfig:
        _check_name("optimizer", self.name, names.OPTIMIZERS)
        if not names.is_import_path(self.name):
            own = names.OPTIMIZERS[self.name][1]
            self.check_options(f"optimizer {self.name!r}", (*own, *names.OPTIMIZER_OPTIONS))
        for key in ("clipnorm", "clipvalue", "global_clipnorm", "weight_decay"):
            value = self.options.get(key)
            if isinstance(value, int | float) and not value >= 0:
                raise ValueError(f"{key} is a number from 0 up, found {value!r}")
        return self


class ScheduleConfig(OpenSection):
    """How the learning rate moves; `decay_steps` is what warm-up leaves of the run unless said."""

    name: str = Field("constant", description="shape of the decay")
    warmup_steps: int = Field(0, ge=0, description="steps of linear rise from 0 before it")

    @model_validator(mode="after")
    def _known(self) -> ScheduleConfig:
        if self.name not in names.SCHEDULES:
            raise ValueError(str(UnknownName("schedule", self.name, names.SCHEDULES)))
        self.check_options(f"schedule {self.name!r}", names.SCHEDULES[self.name][1])
        return self


class EarlyStoppingConfig(Section):
    """Ends a run whose monitored value has stopped improving."""

    patience: Positive = Field(5, description="epochs without improvement")
    min_delta: float = Field(0.0, ge=0, description="least change that counts as improvement")


class CheckpointConfig(Section):
    """What is kept on disk while a run goes on."""

    every_steps: Positive | None = Field(
        None, description="besides the best epoch, once a minute, and the end"
    )
    keep: Positive = Field(3, description="newest checkpoints kept; the best is kept besides")


class TrainConfig(Section):
    """How the model is trained."""

    epochs: Positive = Field(20, description="passes over the training split")
    loss: str = Field("auto", description="Keras loss, 'model_output', or an import path")
    metrics: list[str] = Field(["auto"], description="Keras metrics; auto: what suits the task")
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    class_weights: Literal["balanced"] | list[Weight] | None = Field(
        None, description="weight of each class in the loss, in the order of the classes"
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "float32", description="what layers compute in; variables stay float32"
    )
    loop: Literal["auto", "resident", "streaming", "streaming_xla", "eager"] = Field(
        "auto",
        description="who calls the step; auto: the fastest, found by trying; resident: XLA over"
        " examples that stay on the device; eager: step by step, for debugging",
    )
    strategy: str = Field(
        "auto",
        description="devices: one; mirrored: all GPUs of this machine; multiworker: the machines"
        " of TF_CONFIG; tpu; auto: as many as there are",
    )
    monitor: str = Field(
        "auto", description="decides the best checkpoint; auto: val_accuracy, else val_loss"
    )
    monitor_mode: Literal["auto", "min", "max"] = Field(
        "auto", description="what is better; auto: less of a loss or an error, more of the rest"
    )
    early_stopping: EarlyStoppingConfig | None = None
    checkpoint: CheckpointConfig = CheckpointConfig()

    @field_validator("loss")
    @classmethod
    def _known_loss(cls, name: str) -> str:
        _check_name("loss", name, (*names.LOSSES, names.OUTPUT_LOSS, "auto"))
        return name

    @field_validator("strategy")
    @classmethod
    def _known_strategy(cls, name: str) -> str:
        if name not in (known := (*names.STRATEGIES, "auto")):
            raise ValueError(str(UnknownName("strategy", name, known)))
        return name

    @field_validator("class_weights", mode="wrap")
    @classmethod
    def _known_weights(cls, value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        try:
            return check(value)
        except ValidationError as error:  # one line, not one for each form it may have
            raise ValueError(
                "expected 'balanced' or a number from 0 up for each class, e.g. [1.0, 2.5],"
                f" found {value!r}"
            ) from error

    @field_validator("metrics", mode="before")
    @classmethod
    def _listed(cls, metrics: Any) -> Any:
        return [metrics] if isinstance(metrics, str) else metrics

    @field_validator("metrics")
    @classmethod
    def _known_metrics(cls, metrics: list[str]) -> list[str]:
        for name in metrics:
            _check_name("metric", name, (*names.METRICS, "auto"))
        return metrics


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

    @property
    def label(self) -> str:
        """The run's name: as configured, else made of data and model, e.g. `digits-mlp`."""
        if self.name:
            return self.name
        source = Path(self.data.source).stem or "data"
        model = self.model.name.rpartition(":")[2]
        return "".join(c if c.isalnum() or c in "-_." else "-" for c in f"{source}-{model}".lower())


def load_config(
    path: Path | None = None,
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
    values = {} if path is None else _read_toml(path)
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
    if item["type"] == "value_error":
        return f"{key}: {message}"
    near = ""
    if item["type"] == "literal_error" and isinstance(item["input"], str):
        near = did_you_mean(item["input"], re.findall(r"'([^']+)'", item["ctx"]["expected"]))
    found = f"found {item['input']!r}"
    return f"{key}: {message[0].lower()}{message[1:]}, {found}{near and '.' + near}"


def _keys_of(path: list[str]) -> list[str]:
    section: type[BaseModel] = Config
    for part in path:
        annotation = section.model_fields[part].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        section = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return sorted(section.model_fields)
