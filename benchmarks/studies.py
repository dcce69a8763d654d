"""Studies: recipes of the literature, with the scores that PPO should reach.

A study draws the learning curves of one or several agents on one environment.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from benchmarks.tasks import BREAKOUT, CARTPOLE, shortened
from discovery.core.suites import load_suite
from environments.levelsets import grid_task
from environments.task import Setup, Task
from objectives.optimizers import TUNED_ADAM


@dataclass(frozen=True)
class Study:
    """Trainings that are drawn into one picture.

    Attributes:
        tasks: label in the picture -> task. The algorithm is the one whose name is the label in lower case;
            PPO if there is none.
        seeds: trainings of each task.
        goal: the expected final return, as text; empty if algorithms are compared.
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


def minatar(game: str, goal: str, **numbers: float) -> Study:
    """PPO as tuned for OPEN (Goldie et al. 2024): 10M steps, 64 environments, two relu layers of 64.

    OPEN clips the gradients of its learned optimizers separately for actor and critic (`clip_by_torso`). The
    paper does not say whether this applies to its tuned PPO. Here, Asterix uses it, because it stayed 19%
    below 15.0 without.
    """
    name = f"{game}-MinAtar"
    task = replace(
        BREAKOUT,
        name=name,
        setup=replace(BREAKOUT.setup, environment=name),
        total_steps=10_000_000,
        numbers={**TUNED_ADAM[name], "entropy_coef": 0.01, **numbers},
    )
    return Study({"PPO": task}, 8, goal, width=1)


BRAX = Setup(
    n_envs=32,
    n_steps=64,
    n_epochs=8,
    n_minibatches=8,
    normalize_observation=True,
    normalize_reward=True,
)


def brax(name: str, steps: int, goal: str, backend: str = "generalized", **numbers: float) -> Study:
    """PPO on episodes of 1,000 steps, with PureJaxRL's normalization."""
    setup = replace(BRAX, environment=f"brax/{name}", options={"backend": backend})
    task = Task(f"brax/{name}", setup, steps, {"learning_rate": 1e-3, **numbers})
    return Study({"PPO": task}, 8, goal)


REACHER = Task(
    name="brax/reacher",
    setup=replace(BRAX, environment="brax/reacher", n_envs=128, options={"action_repeat": 4}),
    total_steps=2_000_000,
    numbers={"learning_rate": 1e-3, "gamma": 0.95},
)
"""Four control steps per action, and gamma, as in LPO's recipe (Lu et al. 2022); so it takes 8M control
steps.

The minibatch size is 1,024. With 256 and 512 the KL of an update rose to 0.05 and 0.03, and a few episodes in
a hundred ended with the arm spinning with a folded elbow, which costs a return of 200 each.
"""


def memory(name: str, steps: int, n_steps: int, goal: str, entropy: float = 0.01, **options: int) -> Study:
    """The same recipe for an agent without memory, and for two with memory."""
    setup = Setup(f"memory/{name}", 16, n_steps, n_epochs=4, n_minibatches=4, hidden=(64,), options=options)
    task = Task(f"memory/{name}", setup, steps, {"learning_rate": 1e-3, "entropy_coef": entropy})
    agents = {"MLP": "none", "GRU": "gru", "linear recurrence": "linear"}
    return Study(
        {
            label: replace(task, setup=replace(setup, recurrence=recurrence))
            for label, recurrence in agents.items()
        },
        8,
        goal,
    )


def pqn(name: str) -> Study:
    """PQN with the paper's recipe for CartPole (Gallici et al. 2025), and PPO with the suite's recipe."""
    suite = load_suite("classic")
    entry = next(entry for entry in (*suite.train, *suite.selection) if entry.task.name == name)
    task = replace(entry.task, total_steps=500_000)
    setup = Setup(
        task.setup.environment,
        n_envs=32,
        n_steps=64,
        n_epochs=4,
        n_minibatches=16,
        hidden=(256, 256),
        activation="relu",
        layer_norm=True,
    )
    numbers = {"learning_rate": 1e-4, "q_lambda": 0.95, "reward_scale": 0.1}
    numbers |= {"epsilon_end": 0.2, "epsilon_decay": 0.2}
    return Study({"PPO": task, "PQN": replace(task, setup=setup, numbers=numbers)}, 16, "", 8)


def pqn_minatar(game: str) -> Study:
    """PQN with the paper's recipe for MinAtar, and PPO with OPEN's, both with a fifth of the budget."""
    task = replace(minatar(game, "").tasks["PPO"], total_steps=2_000_000)
    setup = Setup(
        task.setup.environment,
        n_envs=128,
        n_steps=32,
        n_epochs=2,
        n_minibatches=32,
        filters=(16,),
        hidden=(128,),
        activation="relu",
        layer_norm=True,
    )
    return Study({"PPO": task, "PQN": replace(task, setup=setup, numbers={})}, 4, "", width=1)


_ALL = grid_task("all", tabular=False)
GRID = replace(
    _ALL,
    setup=replace(_ALL.setup, n_epochs=2, n_minibatches=4, hidden=(64, 64)),
    numbers={"learning_rate": 1e-3, "entropy_coef": 0.01},
)

STUDIES: Mapping[str, Study] = {
    "cartpole": Study({"PPO": shortened(CARTPOLE, 500_000 / CARTPOLE.total_steps)}, 32, "at least 475", 8),
    "pendulum": Study({"PPO": PENDULUM}, 16, "interval above -400", 8),
    "asterix": minatar("Asterix", "15.0, within 15%", clip_by_torso=1.0),
    "breakout": minatar("Breakout", "50.1, within 15%"),
    "freeway": minatar("Freeway", "61.8, within 15%"),
    "spaceinvaders": minatar("SpaceInvaders", "167, within 15%"),
    "inverted-pendulum": brax("inverted_pendulum", 400_000, "at least 950"),
    "inverted-double-pendulum": brax("inverted_double_pendulum", 1_000_000, "at least 8,000"),
    "reacher": Study({"PPO": REACHER}, 6, "above -15", width=3),
    "halfcheetah": brax("halfcheetah", 1_000_000, "first and final intervals apart", "spring"),
    "grid": Study({"PPO": GRID}, 32, "first and final intervals apart", 8),
    "cartpole-position": memory(
        "cartpole-position", 1_000_000, 128, "at least 400 with a memory, at most 100 without", entropy=0.0
    ),
    "chain": memory("chain", 300_000, 64, "1 with a memory, 0 without", length=20),
    "repeat-first": memory("repeat-first", 500_000, 128, "1 with a memory, -0.5 without"),
    "pqn-cartpole": pqn("CartPole-v1"),
    "pqn-acrobot": pqn("Acrobot-v1"),
    "pqn-catch": pqn("Catch-bsuite"),
    "pqn-fourrooms": pqn("FourRooms-misc"),
    "pqn-breakout": pqn_minatar("Breakout"),
    "pqn-spaceinvaders": pqn_minatar("SpaceInvaders"),
}
"""Every study by name."""
