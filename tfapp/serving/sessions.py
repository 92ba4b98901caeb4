"""The session that a model runs in, as the flags of TensorFlow Serving describe it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfapp.serving.flags import Flags
from tfapp.serving.servable import default_session_config
from tfapp.serving.text_protos import read_text_proto


def session_config(flags: Flags) -> Any:
    """Returns the `ConfigProto` of every session.

    It is `default_session_config()`, then what the config file says, then what single flags say.

    Args:
        flags: Of them `tensorflow_session_config_file`, `tensorflow_session_parallelism`,
            `tensorflow_intra_op_parallelism`, `tensorflow_inter_op_parallelism` and
            `per_process_gpu_memory_fraction`.

    Raises:
        ServingError: `INVALID_ARGUMENT`: the file cannot be read or is no `ConfigProto`.
    """
    config = default_session_config()
    if flags.tensorflow_session_config_file:
        given = read_text_proto(
            Path(flags.tensorflow_session_config_file),
            type(config)(),
            what="session config file",
            flag="--tensorflow_session_config_file",
            holds="a ConfigProto of TensorFlow",
        )
        config.MergeFrom(given)
    both = flags.tensorflow_session_parallelism
    if threads := flags.tensorflow_intra_op_parallelism or both:
        config.intra_op_parallelism_threads = threads
    if threads := flags.tensorflow_inter_op_parallelism or both:
        config.inter_op_parallelism_threads = threads
    if flags.per_process_gpu_memory_fraction:
        config.gpu_options.per_process_gpu_memory_fraction = flags.per_process_gpu_memory_fraction
    return config
