"""The same programs as `tf.compat.v1` sessions, for people who own TF1 code.

    python -m legacy_tf1 list
    python -m legacy_tf1 run quadratic --json

Every program builds a graph of its own and runs it in a session of its own. Importing the package
or running a program switches nothing: eager execution stays on, and `tf.keras` is Keras 3.
"""
