"""One inner training: `init`, `advance`, `train` over a `TrainingState`."""
