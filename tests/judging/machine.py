"""What workers run in the tests of retries: quick arithmetic, or the fault that FAULT names. No jax."""

import os

import numpy as np

from discovery.core.jobs import Outcome

RUN_CHUNK = "tests.judging.machine:run_chunk"


def run_chunk(algorithm, task, meta_params, keys, lifetimes, until=None, checkpoint=None):
    """A score from each key and the searched numbers, as `discovery.inner.compile.run_chunk` returns it."""
    fault = os.environ.get("FAULT", "")
    if fault == "crashed":
        os._exit(1)
    if fault == "failed":
        raise ArithmeticError("the algorithm's own fault")
    if fault == "environment":
        from environments.make import make

        make("nowhere.to_be_found:nothing")
    noise = np.array([np.random.default_rng(key).normal() for key in keys])
    score = (noise + _total(meta_params, len(keys))).astype(np.float32)
    curve = np.tile(score[:, None], (1, task.setup.curve_points))
    zeros = np.zeros_like(curve)
    whole = np.full(len(keys), -1)
    return Outcome(score, score, score, curve, zeros, zeros, whole, {"entropy": zeros}), None, 0.0


def _total(tree, width):
    """Sum of all numbers of each lane ``[W]``."""
    if isinstance(tree, dict):
        return sum((_total(item, width) for item in tree.values()), np.zeros(width))
    return np.asarray(tree, float).reshape(width, -1).sum(axis=1)
