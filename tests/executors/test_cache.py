"""jax's cache of compiled programs on disk, which workers are told of by the environment."""

import jax.tree_util as tree
import numpy as np
import pytest

from discovery.core.jobs import AlgorithmSpec, Job
from discovery.executors import make_executor
from discovery.executors.environment import worker_environment
from environments.task import Setup, Task
from tests.executors.fakes import key

SETUP = Setup("Catch-bsuite", n_envs=4, n_steps=8, n_epochs=1, n_minibatches=2, hidden=(8,), curve_points=2)
JOBS = [
    Job(key(seed), AlgorithmSpec("ppo"), Task("catch", SETUP, 640), {}, np.array([0, seed], np.uint32), 20)
    for seed in range(2)
]


def test_workers_keep_what_is_set_for_jax():
    settings = {"JAX_COMPILATION_CACHE_DIR": "/a", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    assert settings.items() <= worker_environment(settings | {"SOME_KEY": "secret"}).items()


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["processes", "ray"])
def test_programs_are_kept_on_disk_between_processes(executor, monkeypatch, tmp_path):
    """A second worker compiles nothing that the first one has, and comes to the same bits."""
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

    def run():
        with make_executor(executor, workers=1, agents_per_call=2) as workers:
            results = {result.id: result for result in workers.run(JOBS)}
        return [results[job.id] for job in JOBS]

    first, kept = run(), sorted(tmp_path.glob("jit__train_lane*-cache"))
    assert len(kept) == 1
    second = run()
    assert sorted(tmp_path.glob("jit__train_lane*-cache")) == kept
    assert 0 < second[0].compile_seconds < first[0].compile_seconds
    for one, other in zip(first, second, strict=True):
        for a, b in zip(*map(tree.tree_leaves, (one.outcome, other.outcome)), strict=True):
            np.testing.assert_array_equal(a, b)
