"""What benchmarks/serving_networks.py sends, in short, to networks that once ended the process."""

from __future__ import annotations

import numpy as np
import pytest
from programs_for_tests import program

load = program("serving_load")
hostile_networks = program("hostile_networks")
hostile_tensors = program("hostile_tensors")
serving_networks = program("serving_networks")

# Of each way to end it one, and with them a right answer of text, of an image and of a loop.
NAMES = (
    *("convolution_grouped", "convolution_pooled", "max3d", "adaptivemax1d"),
    *("scatter", "labels", "as_string", "encoded_image", "loop"),
)


@pytest.fixture(scope="module")
def networks():
    return [each for each in hostile_networks.networks() if each.name in NAMES]


def test_networks_stand_what_is_not_theirs(networks, tmp_path):
    report = load.Report()
    assert len(networks) == len(NAMES)
    with serving_networks.Served(tmp_path, networks, ()) as served:
        serving_networks.strain(served, networks, 150, report)
        serving_networks.strain_rest(served, networks[:3], report)
        served.end()
        assert not served.tracebacks
    assert not report.missed


def test_every_shape_can_be_sent_and_is_small_on_the_wire(networks):
    for network in networks:
        for what, inputs in hostile_tensors.requests(network.right):
            assert inputs.keys() == network.right.keys()
            for alias, array in inputs.items():
                assert array.dtype == network.right[alias].dtype, what
                assert array.size <= 2**20
                stored = array.size if any(array.strides) else 1
                assert stored <= 2**20


def test_an_array_of_one_value_is_written_as_that_value():
    proto = serving_networks.predict_pb2.PredictRequest().inputs["x"]
    serving_networks.write_small(np.broadcast_to(np.float32(2), [3, 5]), proto)

    assert (list(proto.float_val), [dim.size for dim in proto.tensor_shape.dim]) == ([2.0], [3, 5])
