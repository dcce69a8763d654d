"""Learned optimizers: PPO whose step is searched, or learns while it runs; other algorithms can use them."""
