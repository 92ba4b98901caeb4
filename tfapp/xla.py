"""Whether XLA compiles what is being traced: some operations are better written otherwise there."""

from __future__ import annotations

import tensorflow as tf


def in_xla() -> bool:
    """Tells whether the code that calls this becomes a part of a program of XLA."""
    return tf.__internal__.get_enclosing_xla_context() is not None
