"""The timed trainings: two PPO recipes of the literature with reduced budgets."""

from dataclasses import replace

import numpy as np

from discovery.core.jobs import AlgorithmSpec, Job
from discovery.search.requests import report_jobs
from environments.task import Setup, Task

CARTPOLE = Task(
    name="CartPole-v1",
    setup=Setup("CartPole-v1", n_envs=4, n_steps=128, n_epochs=4, n_minibatches=4, hidden=(64, 64)),
    total_steps=64_000,
    numbers={"learning_rate": 2.5e-4, "entropy_coef": 0.01},
)
BREAKOUT = Task(
    name="Breakout-MinAtar",
    setup=Setup(
        "Breakout-MinAtar",
        n_envs=64,
        n_steps=128,
        n_epochs=4,
        n_minibatches=8,
        hidden=(64, 64),
        activation="relu",
    ),
    total_steps=64 * 128 * 12,
    numbers={"learning_rate": 1e-2, "entropy_coef": 0.01},
)
PPO = AlgorithmSpec("ppo")


def shortened(task: Task, factor: float) -> Task:
    """The same task with another budget."""
    steps = max(int(task.total_steps * factor), task.setup.steps_per_update)
    return replace(task, total_steps=steps)


def jobs(task: Task, agents: int) -> list[Job]:
    """`agents` trainings of PPO on `task`, on different seeds."""
    return report_jobs("ppo", PPO, {}, [task], agents)


def steps(task: Task, agents: int) -> int:
    """Environment steps of all these trainings."""
    return task.n_updates * task.setup.steps_per_update * agents


def inputs(task: Task, agents: int) -> tuple[np.ndarray, np.ndarray]:
    """Raw keys ``[W, 2]`` and lifetimes ``[W]`` of these trainings."""
    work = jobs(task, agents)
    return np.stack([job.key for job in work]), np.array([job.lifetime for job in work], np.int32)
