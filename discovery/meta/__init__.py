"""Meta-optimizers: how a search chooses what to try next. The contract is in `base`."""
