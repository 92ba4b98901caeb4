"""One file a framework: the same workloads, trained the way its users would."""
