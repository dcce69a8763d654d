"""Recurrent agents: how fast the linear recurrence trains beside the GRU, as sequences grow.

Up to 128 steps both take them one by one; of longer sequences the linear recurrence takes chunks, side by
side.
"""

from dataclasses import replace

from benchmarks.tasks import PPO, inputs, steps
from benchmarks.timing import Figure, rate, ratio, rounds, timed
from discovery.inner.compile import run_chunk
from environments.task import Setup, Task

LENGTHS = (64, 256, 1024)
TASK = Task(
    name="repeat-first",
    setup=Setup(
        "memory/repeat-first", n_envs=16, n_epochs=4, n_minibatches=4, hidden=(64,), shared_torso=True
    ),
    total_steps=4 * 16 * LENGTHS[-1],
    numbers={"learning_rate": 1e-3},
)


def measure(n: int) -> list[Figure]:
    """Whole trainings of the same number of steps, in one process with one thread, for each length."""
    figures = []
    for length in LENGTHS:
        tasks = {
            name: replace(TASK, setup=replace(TASK.setup, n_steps=length, recurrence=name))
            for name in ("gru", "linear")
        }
        seconds = rounds({name: timed(_training(task)) for name, task in tasks.items()}, n)
        notes = {name: rate(steps(task, 1), seconds[name]) for name, task in tasks.items()}
        figures.append(
            ratio(f"linear recurrence / GRU, {length} steps", seconds["gru"], seconds["linear"], notes)
        )
    return figures


def _training(task: Task):
    keys, lifetimes = inputs(task, 1)
    return lambda: run_chunk(PPO, task, {}, keys, lifetimes)
