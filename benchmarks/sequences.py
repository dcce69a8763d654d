"""(f) Speed of the linear recurrence relative to the GRU, for sequences of different length.

Both process sequences of up to 128 steps step by step. The linear recurrence processes chunks of longer
sequences in parallel.
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
    """Whole trainings with the same number of steps, in one process with one thread, for each length."""
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
