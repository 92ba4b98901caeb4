"""One way to compute a module; each has a function that takes a `Task` and yields its steps."""
