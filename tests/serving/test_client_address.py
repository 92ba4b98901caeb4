"""URLs of served models: what each form means, and what is said of one that is none."""

from __future__ import annotations

import pytest

from tfapp.errors import MissingError, UsageError
from tfapp.serving.client import connect, is_url
from tfapp.serving.client.address import Address, parse_address


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://host:8501/v1/models/m", Address("http", "host", 8501, "", "m")),
        ("https://host/v1/models/m/", Address("https", "host", 443, "", "m")),
        ("http://host/v1/models/m/versions/7", Address("http", "host", 80, "", "m", 7)),
        ("http://host/v1/models/m/labels/a%2Fb", Address("http", "host", 80, "", "m", None, "a/b")),
        (
            "http://host/v1/models/m?label=a%2541",
            Address("http", "host", 80, "", "m", None, "a%41"),
        ),
        ("http://host/v1/models/m/versions/%37", Address("http", "host", 80, "", "m", 7)),
        ("http://host/ü/%7Ea/v1/models/m", Address("http", "host", 80, "/%C3%BC/%7Ea", "m")),
        (
            f"grpc://host/m?version={2**63 - 1}",
            Address("grpc", "host", 8500, "", "m", 2**63 - 1),
        ),
        ("http://host/v1/models/m?label=new", Address("http", "host", 80, "", "m", None, "new")),
        ("http://host/v1/models/m/versions/7:predict", Address("http", "host", 80, "", "m", 7)),
        ("http://host/v1/models/m/metadata", Address("http", "host", 80, "", "m")),
        ("http://host/team/a/v1/models/m", Address("http", "host", 80, "/team/a", "m")),
        ("HTTP://host/V1/Models/a%3Ab%20c", Address("http", "host", 80, "", "a:b c")),
        ("http://[::1]:9/v1/models/m", Address("http", "::1", 9, "", "m")),
        ("http://host:8501", Address("http", "host", 8501)),
        ("http://host:8501/", Address("http", "host", 8501)),
        ("grpc://host/m", Address("grpc", "host", 8500, "", "m")),
        ("grpcs://host:443/m?version=2", Address("grpcs", "host", 443, "", "m", 2)),
        ("grpc://host/m/labels/stable", Address("grpc", "host", 8500, "", "m", None, "stable")),
        ("grpc://host/v1/models/m/versions/3", Address("grpc", "host", 8500, "", "m", 3)),
    ],
)
def test_a_url_names_server_model_and_version(url, expected):
    assert parse_address(url) == expected
    assert parse_address(str(expected)) == expected, "what is shown may be typed again"


def test_names_are_escaped_on_the_way():
    assert parse_address("grpc://h/a%2Fb%3Ac").path == "/v1/models/a%2Fb%3Ac"
    assert Address("http", "::1", 8501, "/p", "m", 2).path == "/p/v1/models/m/versions/2"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://host/m", "begins with ftp://; a served model is asked by http://, https://, grpc"),
        ("http:///v1/models/m", "names no host; type e.g. http://localhost/v1/models/NAME"),
        ("http://host:99999/v1/models/m", "Port out of range"),
        ("http://host:x/v1/models/m", "is not a URL"),
        ("http://[::1/v1/models/m", "is not a URL"),
        ("http://host/m", "the path /m names no model; type http://host:80/v1/models/NAME"),
        ("http://host/v1/models", "the path /v1/models names no model"),
        ("http://host/v1/models/m/versions", "names no model"),
        ("http://host/v1/models/m/versions/1/labels/a", "names no model"),
        ("grpc://host", r"names no model; type grpc://host:8500/NAME"),
        ("http://host/v1/models/m/versions/new", "a version is a number, not 'new'"),
        ("http://host/v1/models/m?version=-1", "a version is a number, not '-1'"),
        ("http://host/v1/models/m?version=٤", "a version is a number, not '٤'"),
        ("grpc://host/m/versions/9223372036854775808", "the largest number of a version is 92233"),
        (f"http://host/v1/models/m/versions/{'9' * 5000}", "the largest number of a version is"),
        ("http://host/v1/models/m?version=1&label=a", "asks for more than one version"),
        ("http://host/v1/models/m/versions/1?version=2", "asks for more than one version"),
        ("http://host/v1/models/m?signature=x", r"has \?signature="),
        ("http://me:secret@host/v1/models/m", "give connect.. an Authorization header"),
    ],
)
def test_what_is_no_url_of_a_model_is_refused_before_anything_is_sent(url, said):
    with pytest.raises(UsageError, match=said) as caught:
        connect(url)
    assert "secret" not in str(caught.value)


def test_options_that_cannot_be_meant_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"is not encrypted.*type https://"):
        connect("http://host/v1/models/m", ca="ca.pem")
    with pytest.raises(UsageError, match=r"is not encrypted.*type grpcs://"):
        connect("grpc://host/m", certificate=("a", "b"))
    with pytest.raises(UsageError, match="timeout_s is 0"):
        connect("http://host/v1/models/m", timeout_s=0)
    for url in ("https://host/v1/models/m", "grpcs://host/m"):
        with pytest.raises(MissingError, match=r"cannot read .*nothing\.pem: No such file"):
            connect(url, ca=tmp_path / "nothing.pem")
    (tmp_path / "no.pem").write_text("no certificate")
    for url in ("https://host/v1/models/m", "grpcs://host/m"):
        with pytest.raises(UsageError, match=r"no\.pem: .*needed are PEM files"):
            connect(url, ca=tmp_path / "no.pem")


@pytest.mark.parametrize("url", ["http://host/v1/models/m", "grpc://host/m"])
def test_headers_that_cannot_be_sent_are_refused_without_telling_what_is_in_them(url):
    for value in ("secret\nHost: other", "secret\r", "secret\0", "secret\u2026", b"secret"):
        with pytest.raises(
            UsageError, match="the header Login holds what cannot be sent"
        ) as caught:
            connect(url, headers={"Login": value})
        assert "secret" not in str(caught.value)
    for name in ("", "a b", "a\n", "ü"):
        with pytest.raises(UsageError, match="cannot be the name of a header"):
            connect(url, headers={name: "x"})
    connect(url, headers={"Authorization": "Bearer x", "x_y.z": ""}).close()


def test_paths_and_names_of_runs_are_no_urls():
    assert is_url("http://a") and is_url("grpc://a") and is_url("ftp://a")
    assert not is_url("runs/latest") and not is_url("C:\\models") and not is_url("latest")
