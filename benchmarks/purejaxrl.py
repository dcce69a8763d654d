"""(b) Our training against PureJaxRL's own `ppo.py`, from a checkout: same recipe, width, one thread each.

    python -m benchmarks hosts --purejaxrl PATH

The script is imported as it is. gymnax 1.0 is presented to it as the version it was written for; see
`benchmarks.hosts.FiveValues`. distrax and navix may be missing: a categorical distribution
takes the former's place, and nothing of the latter is used.
"""

import contextlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import gymnax
import jax
import jax.numpy as jnp

from benchmarks.hosts import FiveValues
from benchmarks.tasks import BREAKOUT, CARTPOLE, PPO, inputs, shortened, steps
from benchmarks.timing import Figure, rate, ratio, rounds, timed
from discovery.inner.compile import run_chunk
from environments.task import Task


class Categorical:
    """What the script uses of `distrax.Categorical`."""

    def __init__(self, logits: jax.Array) -> None:
        self.log_p = jax.nn.log_softmax(logits)

    def sample(self, seed: jax.Array) -> jax.Array:
        return jax.random.categorical(seed, self.log_p)

    def log_prob(self, value: jax.Array) -> jax.Array:
        return jnp.take_along_axis(self.log_p, value[..., None], axis=-1)[..., 0]

    def entropy(self) -> jax.Array:
        return -(jnp.exp(self.log_p) * self.log_p).sum(-1)


def script(checkout: Path) -> ModuleType:
    """`purejaxrl/ppo.py` of a checkout, as a module.

    Raises:
        SystemExit: there is no such file.
    """
    path = checkout / "purejaxrl" / "ppo.py"
    if not path.is_file():
        raise SystemExit(f"--purejaxrl needs a checkout of PureJaxRL, with purejaxrl/ppo.py; got {checkout}")
    for name, contents in (("distrax", {"Categorical": Categorical}), ("navix", {})):
        if importlib.util.find_spec(name) is None:
            sys.modules[name] = ModuleType(name)
            sys.modules[name].__dict__.update(contents)
    spec = importlib.util.spec_from_file_location("purejaxrl_ppo", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))  # it imports its neighbor, wrappers.py
    try:
        spec.loader.exec_module(module)
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(path.parent))
    module.gymnax = SimpleNamespace(make=_make)  # type: ignore[attr-defined]
    return module


def _make(name: str) -> Any:
    environment, params = gymnax.make(name)
    return FiveValues(environment), params


def config_of(task: Task) -> dict[str, Any]:
    """The script's configuration of a task; its network is two layers of 64."""
    setup, numbers = task.setup, task.numbers
    assert setup.hidden == (64, 64)
    return {
        "LR": numbers["learning_rate"],
        "NUM_ENVS": setup.n_envs,
        "NUM_STEPS": setup.n_steps,
        "TOTAL_TIMESTEPS": steps(task, 1),
        "UPDATE_EPOCHS": setup.n_epochs,
        "NUM_MINIBATCHES": setup.n_minibatches,
        "GAMMA": 0.99,
        "GAE_LAMBDA": 0.95,
        "CLIP_EPS": 0.2,
        "ENT_COEF": numbers["entropy_coef"],
        "VF_COEF": 0.5,
        "MAX_GRAD_NORM": 0.5,
        "ACTIVATION": setup.activation,
        "ENV_NAME": setup.environment,
        "ANNEAL_LR": False,
        "DEBUG": False,
    }


def _compared(make_train: Any, task: Task, width: int, n: int) -> Figure:
    keys, lifetimes = inputs(task, width)
    theirs_keys = jax.random.split(jax.random.key(0), width)
    theirs = jax.jit(jax.vmap(make_train(config_of(task)))).lower(theirs_keys).compile()
    seconds = rounds(
        {
            "ours": timed(lambda: run_chunk(PPO, task, {}, keys, lifetimes)),
            "PureJaxRL": timed(lambda: jax.block_until_ready(theirs(theirs_keys))),
        },
        n,
    )
    rates = {name: rate(steps(task, width), values) for name, values in seconds.items()}
    name = f"{task.name}, {width} agents per call: our speed / PureJaxRL's"
    return ratio(name, seconds["PureJaxRL"], seconds["ours"], rates, at_least=1.0)


def measure(n: int, checkout: Path) -> list[Figure]:
    """Agents one at a time, and as many as our workers batch."""
    make_train, half = script(checkout).make_train, shortened(BREAKOUT, 0.5)
    return [
        _compared(make_train, task, width, n)
        for task, width in ((CARTPOLE, 1), (CARTPOLE, 8), (half, 1), (half, 2))
    ]
