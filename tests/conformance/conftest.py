from __future__ import annotations

from collections.abc import Iterator

import keras
import pytest
from descriptors import DESCRIPTORS, Descriptor


@pytest.fixture(params=DESCRIPTORS, ids=lambda descriptor: descriptor.name)
def case(request: pytest.FixtureRequest) -> Descriptor:
    """Each registered model in turn."""
    return request.param


@pytest.fixture(autouse=True)
def restored_policy() -> Iterator[None]:
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)
