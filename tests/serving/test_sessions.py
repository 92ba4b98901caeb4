"""TensorFlow Serving's flags for sessions, and the threads that come of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from models_for_tests import write_keras

from tfapp.serving import server
from tfapp.serving.configs import configs_of
from tfapp.serving.flags import Flags, StartError
from tfapp.serving.server import ModelServer
from tfapp.serving.sessions import session_config

OURS = {"inter_op_parallelism_threads": -1, "allow_soft_placement": True}


def config(**given):
    return tf.compat.v1.ConfigProto(**(OURS | given))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, {}),
        (
            {"tensorflow_session_parallelism": 3},
            {"intra_op_parallelism_threads": 3, "inter_op_parallelism_threads": 3},
        ),
        ({"tensorflow_intra_op_parallelism": 2}, {"intra_op_parallelism_threads": 2}),
        ({"tensorflow_inter_op_parallelism": 2}, {"inter_op_parallelism_threads": 2}),
        (
            {"tensorflow_session_parallelism": 3, "tensorflow_inter_op_parallelism": 2},
            {"intra_op_parallelism_threads": 3, "inter_op_parallelism_threads": 2},
        ),
        (
            {"per_process_gpu_memory_fraction": 0.5},
            {"gpu_options": tf.compat.v1.GPUOptions(per_process_gpu_memory_fraction=0.5)},
        ),
    ],
    ids=lambda given: " ".join(given) or "none",
)
def test_flags_make_the_config_of_sessions(flags, expected):
    assert session_config(Flags(**flags)) == config(**expected)


def test_a_file_goes_before_the_flags_and_after_what_is_ours(tmp_path):
    file = tmp_path / "session.config"
    file.write_text(
        "intra_op_parallelism_threads: 4\ngpu_options { allow_growth: true }\n"
        "graph_options { optimizer_options { global_jit_level: ON_1 } }"
    )
    found = session_config(
        Flags(tensorflow_session_config_file=str(file), per_process_gpu_memory_fraction=0.25)
    )
    assert (found.intra_op_parallelism_threads, found.inter_op_parallelism_threads) == (4, -1)
    assert found.gpu_options.allow_growth
    assert found.gpu_options.per_process_gpu_memory_fraction == 0.25
    assert found.graph_options.optimizer_options.global_jit_level == 1
    flags = Flags(tensorflow_session_config_file=str(file), tensorflow_intra_op_parallelism=1)
    assert session_config(flags).intra_op_parallelism_threads == 1


def test_a_mistake_in_the_file_keeps_the_server_from_starting(tmp_path):
    file = tmp_path / "session.config"
    file.write_text("intra_op_parallelism_threads: 4\ngpu_option {}")
    flags = Flags(model_base_path="/m", tensorflow_session_config_file=str(file))
    with pytest.raises(StartError) as caught:
        ModelServer(flags, configs_of(flags))
    start = "Failed to start server. Error: INVALID_ARGUMENT: Error parsing text-format"
    assert str(caught.value).startswith(f"{start} tensorflow.ConfigProto: {file}:2:1: ")
    assert "Did you mean 'gpu_options'?" in str(caught.value)


RUN = """
import json, sys
from pathlib import Path
import numpy as np
from tfapp.serving.flags import Flags
from tfapp.serving.servable import load_servable
from tfapp.serving.sessions import session_config

flags = Flags(tensorflow_inter_op_parallelism=int(sys.argv[2]))
model = load_servable("keras", 1, Path(sys.argv[1]), session_config=session_config(flags))
signature = model.signatures["serving_default"]
outputs = model.run(signature, {"features": np.ones([1, 2], np.float32)})
names = [file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")]
print(json.dumps([outputs["output_0"].tolist(), names.count("tf_Compute")]))
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads have names on Linux only")
def test_the_threads_that_were_asked_for_are_there(tmp_path):
    model = write_keras(tmp_path / "keras")
    found = {}
    for threads in (0, 5):
        command = [sys.executable, "-c", RUN, str(model), str(threads)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        outputs, found[threads] = json.loads(done.stdout)
        assert outputs == [[1.5, 3.0, 1.0]]
    assert found[5] == 5
    assert found[0] < 5


def test_a_server_loads_its_models_so(tmp_path, monkeypatch):
    write_keras(tmp_path / "keras" / "1")
    seen, load = [], server.load_servable

    def load_servable(*arguments, session_config, **named):
        seen.append(session_config)
        return load(*arguments, session_config=session_config, **named)

    monkeypatch.setattr(server, "load_servable", load_servable)
    flags = Flags(model_base_path=str(tmp_path / "keras"), tensorflow_session_parallelism=2)
    running = ModelServer(flags, configs_of(flags))
    running.models.serve(configs_of(flags))
    running.close()
    expected = config(intra_op_parallelism_threads=2, inter_op_parallelism_threads=2)
    assert seen == [expected]
