"""What a model's own `compile()` says of its training, in the terms of a config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras

from tfapp import names
from tfapp.config import ScheduleConfig, TrainConfig
from tfapp.data.splits import DataInfo
from tfapp.errors import UsageError, reason_of
from tfapp.metrics import build_metrics
from tfapp.optimizers import compiled_optimizer, constant_rate
from tfapp.outputs import Outputs

# What `compile()` may be given for a metric of `names.METRICS`, besides its name there.
_SPELLINGS = {class_name: name for name, class_name in names.METRICS.items()} | {
    "acc": "accuracy",
    "binary_accuracy": "accuracy",
    "BinaryAccuracy": "accuracy",
    "categorical_accuracy": "accuracy",
    "CategoricalAccuracy": "accuracy",
    "sparse_categorical_accuracy": "accuracy",
    "SparseCategoricalAccuracy": "accuracy",
    "sparse_top_k_categorical_accuracy": "top_5_accuracy",
}
# What a metric is called and how outputs come to it: that is settled here.
_FREE = {"name", "dtype", "from_logits"}


def settle_compiled(
    train: TrainConfig, model: Any, info: DataInfo, outputs: Outputs
) -> tuple[TrainConfig, tuple[str, ...]]:
    """Returns the config with what the model was compiled with in the place of `auto`.

    Args:
        train: What the user asks for; what is said there stays.
        model: A built model, compiled or not.
        info: What the labels are.
        outputs: What the model gives.

    Returns:
        The config, and for the log what of `compile()` is used and what is not.

    Raises:
        UsageError: The model was compiled with `loss_weights`, and its loss is to be used.
    """
    notes: list[str] = []
    train = _with_optimizer(train, model, notes)
    if getattr(model, "compiled", False):
        compiled: dict[str, Any] = {}
        try:
            compiled = model.get_compile_config()
        except (NotImplementedError, TypeError, ValueError) as error:  # Keras cannot write a part
            notes.append(f"metrics of the model's compile() are left out: {reason_of(error)}")
        train = _with_loss(train, model, compiled, notes)
        train = _with_metrics(train, compiled, info, outputs, notes)
    return train, tuple(notes)


def _with_optimizer(train: TrainConfig, model: Any, notes: list[str]) -> TrainConfig:
    found, config = compiled_optimizer(model), train.optimizer
    name = config.name
    if name == "auto":
        name = names.DEFAULT_OPTIMIZER if found is None else names.COMPILED
    update: dict[str, Any] = {"name": name}
    if name != names.COMPILED and config.learning_rate is None:
        update["learning_rate"] = names.DEFAULT_RATE
    train = train.model_copy(update={"optimizer": config.model_copy(update=update)})
    if found is None:
        return train
    kind = type(getattr(found, "inner_optimizer", found)).__name__
    if name != names.COMPILED:
        notes.append(f"optimizer {name}, as train.optimizer says; compile() says {kind}")
        return train
    rate = constant_rate(found)
    rates = "a schedule" if rate is None else f"learning rate {rate:g}"
    changed = [*(["learning_rate"] if config.learning_rate else []), *config.options]
    but = f", but {', '.join(changed)} as train.optimizer says" if changed else ""
    notes.append(f"optimizer of the model's compile(): {kind} with {rates}{but}")
    if rate is None and config.learning_rate is None and train.schedule == ScheduleConfig():
        train = train.model_copy(update={"schedule": ScheduleConfig(name=names.COMPILED)})
    return train


def _with_loss(
    train: TrainConfig, model: Any, compiled: Mapping[str, Any], notes: list[str]
) -> TrainConfig:
    if model.loss is None:
        return train
    said = getattr(model.loss, "__name__", model.loss)
    told = said if isinstance(said, str) else type(said).__name__
    if train.loss not in ("auto", names.COMPILED):
        notes.append(f"loss {train.loss}, as train.loss says; compile() says {told}")
        return train
    if compiled.get("loss_weights") is not None:
        raise UsageError(
            "the model was compiled with loss_weights, which weigh losses of several outputs; here"
            f" there is one. Leave them out, or choose the loss yourself: --loss {told}"
        )
    notes.append(f"loss of the model's compile(): {told}")
    return train.model_copy(update={"loss": names.COMPILED})


def _with_metrics(
    train: TrainConfig,
    compiled: Mapping[str, Any],
    info: DataInfo,
    outputs: Outputs,
    notes: list[str],
) -> TrainConfig:
    known: list[str] = []
    for said in _flat([compiled.get("metrics"), compiled.get("weighted_metrics")]):
        try:
            name = _name_of(said)
            build_metrics([name], info, outputs)
            known.append(name)
        except UsageError as error:
            notes.append(f"a metric of the model's compile() is left out: {error}")
    metrics = [n for m in train.metrics for n in (known if m == "auto" and known else [m])]
    return train.model_copy(update={"metrics": metrics})


def _flat(said: Any) -> Iterator[Any]:
    """Yields the metrics in lists and, by output, in tables."""
    if isinstance(said, dict) and "class_name" not in said:
        said = list(said.values())
    if isinstance(said, (list, tuple)):
        for each in said:
            yield from _flat(each)
    elif said is not None:
        yield said


def _name_of(said: Any) -> str:
    """Returns the name in `names.METRICS` of a metric as Keras writes it down.

    Raises:
        UsageError: None of them is the same.
    """
    options: dict[str, Any] = {}
    text, module = said, "keras.metrics"
    if isinstance(said, dict):
        text, module, options = said["class_name"], said["module"], said["config"]
        if text == "function":
            text, module, options = said["config"], "keras.metrics", {}
    name = _SPELLINGS.get(text) or text.lower()
    if module == "keras.metrics" and name in names.METRICS and _is_plain(text, options):
        return name
    raise UsageError(f"{text}, as it is made there, is none of those that go by name here")


def _is_plain(class_name: str, options: Mapping[str, Any]) -> bool:
    """Tells whether these are the arguments that the class has when none are given."""
    if not options:
        return True
    plain = getattr(keras.metrics, class_name)().get_config()
    return all(plain.get(key) == value for key, value in options.items() if key not in _FREE)
