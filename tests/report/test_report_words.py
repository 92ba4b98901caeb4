from __future__ import annotations

import pytest

from tfapp.report.words import counted, disk_size, duration, shortened, shown


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "-"),
        (True, "True"),
        (12345, "12,345"),
        (0.97916, "0.9792"),
        (-0.00001234, "-1.234e-05"),
        (123456.7, "123,457"),
        (1e12, "1e+12"),
        ("relu", "relu"),
        ([256, 128], "[256, 128]"),
    ],
)
def test_values(value, said):
    assert shown(value) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (2.13, "2.1 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_times(seconds, said):
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("size", "said"),
    [(0, "0 kB"), (1, "1 kB"), (812_000, "812 kB"), (3_400_000, "3.4 MB"), (2e9, "2.0 GB")],
)
def test_sizes(size, said):
    assert disk_size(int(size)) == said


def test_names_keep_their_ends():
    assert shortened("trouser", 7) == "trouser"
    assert shortened("20261121-034500-digits-mlp", 13) == "202611…ts-mlp"
    assert len(shortened("x" * 100, 20)) == 20


def test_one_is_not_several():
    assert [counted(n, "epoch") for n in (0, 1, 2000)] == ["0 epochs", "1 epoch", "2,000 epochs"]
