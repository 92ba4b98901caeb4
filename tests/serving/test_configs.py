"""Model config files as users write them: what they mean, and where a mistake is."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from tfapp.serving.configs import ModelConfig, configs_of, model_configs, read_config
from tfapp.serving.flags import Flags
from tfapp.serving.status import Code, ServingError
from tfapp.serving.versions import All, Latest, Specific

EXAMPLE = """
# Comments are allowed, commas and colons optional.
model_config_list: {
  config {
    name: "digits",
    base_path: '/models/digits'
    model_platform: "tensorflow"
    model_version_policy { specific { versions: 1 versions: 42 } }
    version_labels { key: "stable" value: 1 }
    version_labels { key: "canary" value: 42 }
  }
  config { name: "iris" base_path: "file:///models/iris" model_type: TENSORFLOW
           model_version_policy: { latest { num_versions: 2 } } }
  config { name: "all" base_path: "/a" model_platform: "tensorflow"
           model_version_policy { all {} }
           logging_config { sampling_config { sampling_rate: 0.1 } } }
  config { name: "plain" base_path: "/p" model_platform: "tensorflow" }
}
"""


def parse(text):
    return model_configs(text_format.Parse(text, ModelServerConfig()))


def refusal(call, *arguments):
    with pytest.raises(ServingError) as caught:
        call(*arguments)
    assert caught.value.code is Code.INVALID_ARGUMENT
    return str(caught.value)


def test_a_config_file_says_which_models_are_served(tmp_path):
    file = tmp_path / "models.config"
    file.write_text(EXAMPLE)
    assert model_configs(read_config(file)) == (
        ModelConfig(
            "digits",
            Path("/models/digits"),
            Specific(frozenset({1, 42})),
            {"stable": 1, "canary": 42},
        ),
        ModelConfig("iris", Path("/models/iris"), Latest(2)),
        ModelConfig("all", Path("/a"), All()),
        ModelConfig("plain", Path("/p"), Latest(0)),
    )


def test_flags_name_one_model_or_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = Flags(model_name="m", model_base_path="models/m")
    (config,) = configs_of(flags)
    assert (config.name, config.base_path) == ("m", tmp_path / "models" / "m")
    Path("models.config").write_text(EXAMPLE)
    flags = Flags(model_base_path="/other", model_config_file="models.config")
    assert [config.name for config in configs_of(flags)] == ["digits", "iris", "all", "plain"]


@pytest.mark.parametrize("flags", [{"model_name": "m\udce9"}, {"model_base_path": "/caf\udce9"}])
def test_names_that_no_protocol_could_send_are_refused(flags):
    with pytest.raises(ServingError, match=r"names and paths of models are UTF-8\.") as caught:
        configs_of(Flags(**{"model_name": "m", "model_base_path": "/m"} | flags))
    assert caught.value.code is Code.INVALID_ARGUMENT
    str(caught.value).encode()


def test_an_empty_file_serves_nothing(tmp_path):
    (tmp_path / "empty").touch()
    assert configs_of(Flags(model_config_file=str(tmp_path / "empty"))) == ()


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("improper model config file", "1:1", 'has no field named "improper"'),
        ("model_config_list {\n  config {\n    nam: 'x' } }", "3:5", "Did you mean 'name'?"),
        ("model_config_list {\n config { name: x } }", "2:17", "Expected string"),
        ("model_config_list {", "", "Expected"),
    ],
)
def test_a_mistake_in_the_file_is_shown_where_it_is(tmp_path, text, where, said):
    file = tmp_path / "models.config"
    file.write_text(text)
    told = refusal(read_config, file)
    start = "Error parsing text-format tensorflow.serving.ModelServerConfig: "
    assert told.startswith(f"{start}{file}:{where}")
    assert said in told


@pytest.mark.parametrize("kind", ["missing", "folder", "binary"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, kind):
    file = tmp_path / "models.config"
    if kind == "folder":
        file.mkdir()
    elif kind == "binary":
        file.write_bytes(b"\xff\xfe")
    told = refusal(read_config, file)
    assert told.startswith(f"cannot read the model config file {file}: ")
    assert "--model_config_file" in told


def config(**fields):
    given = {"name": '"m"', "base_path": '"/m"', "model_platform": '"tensorflow"'} | fields
    written = " ".join(f"{key}: {value}" for key, value in given.items() if value)
    return f"config {{ {written} }}"


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (config() + config(), "Illegal to list model m multiple times in config list"),
        (config(model_platform=None), "Illegal setting neither ModelServerConfig::model_type"),
        (config(model_type="TENSORFLOW"), "Illegal setting both ModelServerConfig::model_type"),
        (config(model_platform='"pytorch"'), "platform pytorch; this server serves model_platform"),
        (config(model_platform=None, model_type="OTHER"), "platform model_type 2"),
        (
            config(base_path=r'"/models/\000m"'),
            r"model m: no base_path has a NUL byte: '/models/\x00m'",
        ),
        (
            config(base_path='"models/m"'),
            "Expected model m to have an absolute path or URI; got base_path()=models/m",
        ),
        (config(base_path='"gs://bucket/m"'), "folders of this machine, not gs://bucket/m"),
    ],
)
def test_what_cannot_be_served_is_refused(entries, said):
    assert said in refusal(parse, f"model_config_list {{ {entries} }}")


def test_a_custom_config_is_refused():
    assert "model_config_list" in refusal(parse, "custom_model_config {}")
