"""Loads TensorFlow without the lines its C++ side writes before anything has happened."""

from __future__ import annotations

import atexit
import faulthandler
import os
import re
import sys
import threading
from collections.abc import Callable

from tfapp.errors import UsageError
from tfapp.settings import keras_backend, tensorflow_log_level

# Severities I and W of both of TensorFlow's loggers, and what a machine without GPU gets at start.
NOISE = re.compile(
    rb"[IW]\d{4} \d\d:\d\d:[\d.]+ "
    rb"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IW] "
    rb"|WARNING: All log messages before absl::InitializeLog"
    rb"|To enable the following instructions: "
    rb"|.*failed call to cuInit: "
    rb"|.*oneDNN supports DT_(INT32|HALF) only on platforms with AVX-512"
    # The second line of such a line: where in a graph a request failed.
    rb"|\t \[\[\{\{"
    # What is said in many lines when a worker joins or is lost; we say it in one.
    rb"|/job:worker/replica:\d+/task:\d+"
    rb"|E\d{4} [\d:.]+ +\d+ (base_collective|ring|coordination|collective|rpc_collective)\w*\.cc"
    rb"|The tasks? ha(s|ve) crashed\."
    rb"|The error could be from a previous operation\."
)


def load_tensorflow(tell: Callable[[str], None] | None = None) -> None:
    """Imports TensorFlow and lets only its warnings worth reading through to stderr.

    TensorFlow 2.21 announces oneDNN, missing GPUs and CPU features at every start and
    `TF_CPP_MIN_LOG_LEVEL` does not silence it (tensorflow issue 100442), so its lines are
    filtered on their way out. A user who sets that variable wants to read them all.

    Args:
        tell: Gets each line that is worth reading, instead of stderr.

    Raises:
        UsageError: Keras is set to another backend.
    """
    if keras_backend() != "tensorflow":
        raise UsageError(
            f"KERAS_BACKEND is {keras_backend()!r}; tfapp needs 'tensorflow'."
            " Unset it, or type: export KERAS_BACKEND=tensorflow"
        )
    if "tensorflow" not in sys.modules and tensorflow_log_level() is None:
        _filter_native_stderr(tell)
    import tensorflow  # noqa: F401  (loading it is the purpose)


def _filter_native_stderr(tell: Callable[[str], None] | None) -> None:
    """Puts a filter behind file descriptor 2, which C++ writes to; Python's stderr goes past it."""
    sys.stderr.flush()
    terminal = os.dup(2)
    source, sink = os.pipe()
    os.dup2(sink, 2)
    os.close(sink)
    sys.stderr = os.fdopen(terminal, "w", buffering=1, closefd=False)
    faulthandler.enable(sys.stderr)  # what a crash says in the pipe would be lost

    def forward() -> None:
        with os.fdopen(source, "rb") as lines:
            for line in lines:
                if NOISE.match(line):
                    continue
                if tell is None:
                    os.write(terminal, line)
                else:
                    tell(line.decode(errors="replace").rstrip())

    thread = threading.Thread(target=forward, name="native-stderr", daemon=True)
    thread.start()

    def restore() -> None:
        os.dup2(terminal, 2)  # closes the pipe, which ends the thread
        thread.join(timeout=1)

    atexit.register(restore)
