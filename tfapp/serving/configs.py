"""Which models are to be served: `--model_config_file` and reload requests, checked.

model_config_list {
  config {
    name: "digits"
    base_path: "/models/digits"
    model_platform: "tensorflow"
    model_version_policy { specific { versions: 1 versions: 2 } }
    version_labels { key: "stable" value: 1 }
  }
}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from tfapp.serving.flags import Flags
from tfapp.serving.status import Code, ServingError, invalid
from tfapp.serving.text_protos import read_text_proto
from tfapp.serving.versions import All, Latest, Policy, Specific

PLATFORM = "tensorflow"


@dataclass(frozen=True)
class ModelConfig:
    """One model that is to be served.

    Attributes:
        name: What requests call it.
        base_path: Folder of its versions.
        policy: Which versions are wanted.
        labels: Numbers of versions by their labels.
    """

    name: str
    base_path: Path
    policy: Policy = field(default_factory=Latest)
    labels: Mapping[str, int] = field(default_factory=dict)


def configs_of(flags: Flags) -> tuple[ModelConfig, ...]:
    """Returns the models that flags name: those of the config file, or the one model.

    Raises:
        ServingError: `INVALID_ARGUMENT`: the file cannot be read, or is not a `ModelServerConfig`.
    """
    if flags.model_config_file:
        return model_configs(read_config(Path(flags.model_config_file)))
    name, base_path = flags.model_name, flags.model_base_path
    if "://" not in base_path:
        base_path = str(Path(base_path).absolute())
    config = ModelServerConfig()
    try:
        config.model_config_list.config.add(name=name, base_path=base_path, model_platform=PLATFORM)
    except UnicodeEncodeError as error:
        raise invalid(
            f"the model {name} in {base_path}: names and paths of models are UTF-8. Rename it, or"
            " serve it by a link whose path is."
        ) from error
    return model_configs(config)


def read_config(file: Path) -> Any:
    """Reads a text file that holds a `ModelServerConfig`.

    Raises:
        ServingError: `INVALID_ARGUMENT`: it cannot be read, or is not one; with line and column.
    """
    return read_text_proto(
        file,
        ModelServerConfig(),
        what="model config file",
        flag="--model_config_file",
        holds="a model_config_list",
    )


def model_configs(config: Any) -> tuple[ModelConfig, ...]:
    """Returns the models of a `ModelServerConfig`, in its order.

    Raises:
        ServingError: `INVALID_ARGUMENT`: a model is listed twice, has no platform or one that is
            not TensorFlow, or its base path is not absolute.

    Source: TensorFlow Serving, `ValidateModelConfigList` in `model_servers/server_core.cc`.
    """
    if config.WhichOneof("config") == "custom_model_config":
        raise ServingError(
            Code.INVALID_ARGUMENT,
            "Missing custom_model_config_loader in ServerCore Options: list the models in a"
            " model_config_list.",
        )
    found: dict[str, ModelConfig] = {}
    for entry in config.model_config_list.config:
        if entry.name in found:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"Illegal to list model {entry.name} multiple times in config list",
            )
        _check_platform(entry)
        found[entry.name] = ModelConfig(
            entry.name, _base_path(entry), _policy(entry), dict(entry.version_labels)
        )
    return tuple(found.values())


def _check_platform(entry: Any) -> None:
    if entry.model_type and entry.model_platform:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            "Illegal setting both ModelServerConfig::model_type (deprecated) and"
            f" ModelServerConfig::model_platform. Model: {entry.name}",
        )
    if not entry.model_type and not entry.model_platform:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor"
            f" ModelServerConfig::model_platform. Give model {entry.name or '?'}"
            f' model_platform: "{PLATFORM}"',
        )
    if entry.model_platform not in ("", PLATFORM) or entry.model_type not in (0, 1):
        given = entry.model_platform or f"model_type {entry.model_type}"
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"model {entry.name} has the platform {given}; this server serves"
            f' model_platform: "{PLATFORM}" only',
        )


def _base_path(entry: Any) -> Path:
    text = entry.base_path.removeprefix("file://")
    if "://" in text:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"model {entry.name}: this server reads folders of this machine, not {text}. Copy or"
            " mount it, and give its path.",
        )
    if "\0" in text:
        raise ServingError(
            Code.INVALID_ARGUMENT, f"model {entry.name}: no base_path has a NUL byte: {text!r}"
        )
    if not Path(text).is_absolute():
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"Expected model {entry.name} to have an absolute path or URI; got base_path()={text}",
        )
    return Path(text)


def _policy(entry: Any) -> Policy:
    policy = entry.model_version_policy
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return All()
    if kind == "specific":
        return Specific(frozenset(policy.specific.versions))
    return Latest(policy.latest.num_versions)
