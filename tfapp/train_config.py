"""The table `[train]` of a config and those in it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from tfapp import names
from tfapp.errors import UnknownName
from tfapp.sections import OpenSection, Positive, Section, Weight, check_known


class OptimizerConfig(OpenSection):
    """A Keras optimizer by name, with any argument of its constructor."""

    name: str = Field(
        "auto",
        description="Keras optimizer, or an import path; compiled: that of the model's compile();"
        " auto: that if there is one, else adam",
    )
    learning_rate: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="the rate, or the peak of the schedule; default: that of a compiled optimizer,"
        " else 0.001",
    )

    @model_validator(mode="after")
    def _known(self) -> OptimizerConfig:
        check_known("optimizer", self.name, (*names.OPTIMIZERS, names.COMPILED, "auto"))
        name = names.DEFAULT_OPTIMIZER if self.name == "auto" else self.name
        if name in names.OPTIMIZERS:
            own = names.OPTIMIZERS[name][1]
            self.check_options(f"optimizer {name!r}", (*own, *names.OPTIMIZER_OPTIONS))
        for key in ("clipnorm", "clipvalue", "global_clipnorm", "weight_decay"):
            value = self.options.get(key)
            if isinstance(value, int | float) and not value >= 0:
                raise ValueError(f"{key} is a number from 0 up, found {value!r}")
        return self


class ScheduleConfig(OpenSection):
    """How the learning rate moves; `decay_steps` is what warm-up leaves of the run unless said."""

    name: str = Field(
        "constant", description="shape of the decay; compiled: that of the compiled optimizer"
    )
    warmup_steps: int = Field(0, ge=0, description="steps of linear rise from 0 before it")

    @model_validator(mode="after")
    def _known(self) -> ScheduleConfig:
        if self.name not in (known := (*names.SCHEDULES, names.COMPILED)):
            raise ValueError(str(UnknownName("schedule", self.name, known)))
        own = names.SCHEDULES[self.name][1] if self.name in names.SCHEDULES else ()
        self.check_options(f"schedule {self.name!r}", own)
        if self.name == names.COMPILED and self.warmup_steps:
            raise ValueError("warmup_steps does not go with the schedule 'compiled'; name another")
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
    loss: str = Field(
        "auto",
        description="Keras loss, 'model_output', or an import path; compiled: that of the model's"
        " compile(); auto: that if there is one, else what suits the task",
    )
    metrics: list[str] = Field(
        ["auto"], description="Keras metrics; auto: those of compile(), else what suits the task"
    )
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
        "auto",
        description="decides the best checkpoint; auto: val_accuracy or val_loss; with refit loss",
    )
    monitor_mode: Literal["auto", "min", "max"] = Field(
        "auto", description="what is better; auto: less of a loss or an error, more of the rest"
    )
    early_stopping: EarlyStoppingConfig | None = None
    checkpoint: CheckpointConfig = CheckpointConfig()
    refit: bool = Field(
        False,
        description="train on the validation split too; nothing is then held out but the test"
        " split",
    )

    @model_validator(mode="after")
    def _held_out(self) -> TrainConfig:
        if self.refit and self.monitor.startswith("val_"):
            raise ValueError(
                "refit trains on the validation split too, so there is no"
                f" {self.monitor!r} to choose a checkpoint or stop early by. Set"
                " train.monitor=auto, which is then the training loss, or leave refit out."
            )
        return self

    @field_validator("loss")
    @classmethod
    def _known_loss(cls, name: str) -> str:
        check_known("loss", name, (*names.LOSSES, names.OUTPUT_LOSS, names.COMPILED, "auto"))
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
            check_known("metric", name, (*names.METRICS, "auto"))
        return metrics
