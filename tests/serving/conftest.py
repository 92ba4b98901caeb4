from __future__ import annotations

import pytest
from counter_for_tests import write_counter
from repository_for_tests import Loader, add


@pytest.fixture
def loader():
    """What loads the versions of a repository without TensorFlow."""
    return Loader()


@pytest.fixture
def model_folder(tmp_path):
    """The folder of a model with version 1, for `loader`."""
    folder = tmp_path / "m"
    add(folder, 1)
    return folder


@pytest.fixture
def counter(tmp_path):
    """The folder of a real model with version 1."""
    folder = tmp_path / "counter"
    folder.mkdir()
    write_counter(folder, 1)
    return folder
