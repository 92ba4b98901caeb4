"""Train, evaluate and export Keras models with explicit gradient tapes."""

__version__ = "0.1.0"
