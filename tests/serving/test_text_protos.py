"""Config files as TensorFlow Serving reads them, of messages that come with no package."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pool

from tfapp.serving.status import Code, ServingError
from tfapp.serving.text_protos import new_message, read_text_proto


def read(file, text, name="SSLConfig"):
    file.write_text(text, encoding="utf-8")
    return read_text_proto(
        file, new_message(name), what="some file", flag="--some_file", holds="something"
    )


def test_a_string_may_have_several_lines_as_in_cpp(tmp_path):
    text = """
    # It's a comment with a "quote
    server_key: "first
second \\" third
"  # 'and' another
    server_cert: 'one' "two", client_verify: true
    custom_ca: '# no comment
"'
    """
    found = read(tmp_path / "ssl.config", text)
    assert found.server_key == 'first\nsecond " third\n'
    assert found.server_cert == "onetwo"
    assert found.custom_ca == '# no comment\n"'
    assert found.client_verify


@pytest.mark.parametrize(
    ("name", "text", "where", "said"),
    [
        ("MonitoringConfig", "prometheus {}", "1:1", "Did you mean 'prometheus_config'?"),
        (
            "MonitoringConfig",
            "prometheus_config {\n  enabled: true }",
            "2:3",
            "Known: enable,",
        ),
        ("MonitoringConfig", "prometheus_config { enable: maybe }", "1:29", "maybe"),
        ("MonitoringConfig", "prometheus_config {", "", "Expected"),
        (
            "SSLConfig",
            'server_key: "a\nb\nc"\nserver_crt: "x"',
            "4:1",
            "Did you mean 'server_cert'",
        ),
        ("SSLConfig", 'client_verify: "true"', "1:16", "true"),
    ],
)
def test_a_mistake_is_shown_where_it_is(tmp_path, name, text, where, said):
    with pytest.raises(ServingError) as caught:
        read(tmp_path / "file", text, name)
    assert caught.value.code is Code.INVALID_ARGUMENT
    told = str(caught.value)
    start = f"Error parsing text-format tensorflow.serving.{name}: {tmp_path / 'file'}:{where}"
    assert told.startswith(start)
    assert said in told


def test_the_messages_are_not_in_the_way_of_others():
    new_message("SSLConfig")
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("tensorflow.serving.SSLConfig")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ServingError, match=r"cannot read the some file .*none: No such file"):
        read_text_proto(
            tmp_path / "none",
            new_message("SSLConfig"),
            what="some file",
            flag="--some_file",
            holds="something",
        )
