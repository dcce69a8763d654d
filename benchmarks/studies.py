"""What learns, and how well: recipes of the literature, with the scores that PPO should reach.

A study draws the learning curves of one environment, of one agent or of several side by side.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from benchmarks.tasks import BREAKOUT, CARTPOLE, shortened
from environments.task import Setup, Task


@dataclass(frozen=True)
class Study:
    """Trainings of PPO that are drawn into one picture.

    Attributes:
        tasks: label in the picture to task.
        seeds: trainings of each.
        goal: what the final return should be, in words.
        width: trainings per compiled call.
    """

    tasks: Mapping[str, Task]
    seeds: int
    goal: str
    width: int = 4


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


def minatar(game: str, learning_rate: float, adam_b2: float, goal: str) -> Study:
    """PPO as OPEN tuned it (Goldie et al. 2024): 10M steps, 64 environments, two relu layers of 64."""
    name = f"{game}-MinAtar"
    task = replace(
        BREAKOUT,
        name=name,
        setup=replace(BREAKOUT.setup, environment=name),
        total_steps=10_000_000,
        numbers={"learning_rate": learning_rate, "adam_b2": adam_b2, "entropy_coef": 0.01},
    )
    return Study({"PPO": task}, 8, goal, width=1)


STUDIES: Mapping[str, Study] = {
    "cartpole": Study({"PPO": shortened(CARTPOLE, 500_000 / CARTPOLE.total_steps)}, 32, "at least 475", 8),
    "pendulum": Study({"PPO": PENDULUM}, 16, "interval above -400", 8),
    "asterix": minatar("Asterix", 3e-3, 0.999, "15.0, within 15%"),
    "breakout": minatar("Breakout", 1e-2, 0.99, "50.1, within 15%"),
    "freeway": minatar("Freeway", 1e-3, 0.99, "61.8, within 15%"),
    "spaceinvaders": minatar("SpaceInvaders", 7e-3, 0.99, "167, within 15%"),
}
"""Every study by name."""
