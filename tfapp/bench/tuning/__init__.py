"""What a search costs: the same trials by `tfapp tune` and by KerasTuner with `fit`."""
