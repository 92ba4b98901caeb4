"""One way to compute a module: of a `Task`, `run` yields the steps and `train` just makes them."""
