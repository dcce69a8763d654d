"""PPO against the literature: `python -m benchmarks.learning cartpole pendulum breakout`.

Prints mean and 95% interval of the final return (episodes of the last fifth of training), and the curve.
Minutes for the first two, half an hour on two cores for Breakout.
"""

import argparse
import time

import numpy as np

from benchmarks.tasks import BREAKOUT, CARTPOLE, PPO, shortened
from discovery.evaluation import report_jobs
from discovery.executors import make_executor
from discovery.statistics import interval
from environments.task import Setup, Task

PENDULUM = Task(
    name="Pendulum-v1",
    setup=Setup(
        "Pendulum-v1",
        n_envs=16,
        n_steps=128,
        n_epochs=8,
        n_minibatches=16,
        normalize_observation=True,
        normalize_reward=True,
    ),
    total_steps=500_000,
    numbers={"learning_rate": 1e-3, "gamma": 0.95},
)
TASKS = {
    "cartpole": (shortened(CARTPOLE, 500_000 / CARTPOLE.total_steps), 32, 8, "at least 475"),
    "pendulum": (PENDULUM, 16, 8, "interval above -400"),
    "breakout": (shortened(BREAKOUT, 10_000_000 / BREAKOUT.total_steps), 8, 4, "at least 45"),
}
"""Name to (task, seeds, agents per call, goal); CartPole and Breakout are PureJaxRL's recipes."""


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning", description=__doc__)
    parser.add_argument(
        "tasks", nargs="*", choices=[*TASKS, []], default=[], help="which ones; all unless named"
    )
    for name in parser.parse_args().tasks or TASKS:
        task, seeds, width, goal = TASKS[name]
        began = time.perf_counter()
        with make_executor("processes", agents_per_call=width, timeout=7200.0) as executor:
            results = list(executor.run(report_jobs("ppo", PPO, {}, [task], seeds)))
        outcomes = [result.outcome for result in results if result.outcome is not None]
        score = interval(np.array([float(o.final) for o in outcomes]))
        curve = np.nanmean([o.curve for o in outcomes], axis=0)
        print(
            f"PPO on {task.name}, {task.total_steps:,} steps, {len(outcomes)} seeds: "
            f"{score.estimate:.1f} [{score.low:.1f}, {score.high:.1f}] (goal: {goal}), "
            f"{time.perf_counter() - began:.0f} s\n  curve {np.round(curve, 1).tolist()}",
            flush=True,
        )


if __name__ == "__main__":
    main()
