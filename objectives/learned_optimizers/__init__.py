"""Learned optimizers: PPO whose step is searched, or learns while it runs; others can take the optimizer."""
