"""jax's cache of compiled programs on disk, which workers are told of by the environment."""

import numpy as np
import pytest

from discovery.core.jobs import AlgorithmSpec, Job
from discovery.executors import make_executor
from discovery.executors.inline import Inline
from environments.task import Setup, Task
from tests.executors.fakes import key
from tests.executors.test_executors import assert_same

SETUP = Setup("Catch-bsuite", n_envs=4, n_steps=8, n_epochs=1, n_minibatches=2, hidden=(8,), curve_points=2)
JOBS = [
    Job(key(seed), AlgorithmSpec("ppo"), Task("catch", SETUP, 640), {}, np.array([0, seed], np.uint32), 20)
    for seed in range(2)
]


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["processes", "ray"])
def test_programs_are_kept_on_disk_between_processes(executor, monkeypatch, tmp_path):
    """A second worker compiles nothing that the first one has; both come to the bits of this process."""
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
    for ours, one, other in zip(Inline(2).run(JOBS), first, second, strict=True):
        assert (one.id, one.error, one.extra["device"]) == (ours.id, None, "cpu")
        assert_same(one.outcome, ours.outcome)
        assert_same(other.outcome, ours.outcome)
