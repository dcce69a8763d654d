"""(b) Our training against PureJaxRL's own `ppo.py`, from a checkout: same recipe, width, one thread each.

    python -m benchmarks hosts --purejaxrl PATH

The script is imported unchanged. `benchmarks.hosts.FiveValues` gives gymnax 1.0 the interface it expects.
If distrax is missing, a categorical distribution replaces it; navix may be missing because it is not used.
"""

import contextlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import gymnax
import jax
import jax.numpy as jnp

from benchmarks.hosts import CALLS, FiveValues, compared
from benchmarks.tasks import steps
from benchmarks.timing import Figure
from environments.task import Task


class Categorical:
    """The part of `distrax.Categorical` that the script uses."""

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
    sys.path.insert(0, str(path.parent))  # it imports wrappers.py from its folder
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


def _training(make_train: Any, task: Task, width: int) -> Callable[[], object]:
    keys = jax.random.split(jax.random.key(0), width)
    train = jax.jit(jax.vmap(make_train(config_of(task)))).lower(keys).compile()
    return lambda: jax.block_until_ready(train(keys))


def measure(n: int, checkout: Path) -> list[Figure]:
    """Every call of `CALLS`."""
    make_train = script(checkout).make_train
    return [
        compared("PureJaxRL", _training(make_train, task, width), task, width, n) for task, width in CALLS
    ]
