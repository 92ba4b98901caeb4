"""Hyperparameter search: KerasTuner's algorithms over tfapp's own training loop."""
