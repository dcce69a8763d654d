"""The inner-loop recipe that a loss was tuned to, by this package's names and by a host's."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from discovery.export.literals import plain
from environments.task import Task

_GROUPS = {  # written out: objectives.parts would import jax, which an export need not
    "rollout": ("environment", "total_steps", "n_envs", "n_steps", "n_epochs", "n_minibatches"),
    "network": (
        "hidden",
        "activation",
        "shared_torso",
        "filters",
        "layer_norm",
        "experts",
        "recurrence",
        "sequence_length",
    ),
    "signals": ("normalize_observation", "normalize_reward", "actions", "legacy_truncation"),
    "optimizer": (
        "learning_rate",
        "anneal",
        "adam_b1",
        "adam_b2",
        "adam_eps",
        "max_grad_norm",
        "clip_by_torso",
    ),
}
"""Order and groups of numbers in headers; all others follow."""

_KEYS = [key for group in _GROUPS.values() for key in group]


def recipe(task: Task, defaults: Mapping[str, float]) -> dict[str, Any]:
    """Everything needed to repeat the inner training of `task`, by this package's names."""
    setup = dataclasses.asdict(task.setup)
    del setup["curve_points"]  # what is recorded, not what is done
    numbers = {name: float(plain(value)) for name, value in {**defaults, **task.numbers}.items()}
    return ordered({"total_steps": task.total_steps, **setup, **numbers})


def ordered(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same entries in the order of the groups, followed by the others by name."""
    others = sorted(key for key in values if key not in _KEYS)
    return {key: values[key] for key in [*(k for k in _KEYS if k in values), *others]}


def common(recipes: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The entries that all recipes share, and each one's rest by name: at least environment and budget."""
    first = next(iter(recipes.values()), {})
    own = ("environment", "total_steps")
    shared = {
        key: value
        for key, value in first.items()
        if key not in own and all(other[key] == value for other in recipes.values())
    }
    rest = {
        name: {key: value for key, value in values.items() if key not in shared}
        for name, values in recipes.items()
    }
    return shared, rest


def lines(values: Mapping[str, Any]) -> dict[str, str]:
    """For a header: each group's name with its entries as one text."""
    groups = {**_GROUPS, "numbers": tuple(key for key in values if key not in _KEYS)}
    texts = {
        name: ", ".join(f"{key} {values[key]}" for key in keys if key in values)
        for name, keys in groups.items()
    }
    return {name: text for name, text in texts.items() if text}


def purejaxrl_config(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values`, a `recipe`, as the CONFIG of a PureJaxRL script."""
    return {
        "ENV_NAME": values["environment"],
        "TOTAL_TIMESTEPS": values["total_steps"],
        "NUM_ENVS": values["n_envs"],
        "NUM_STEPS": values["n_steps"],
        "UPDATE_EPOCHS": values["n_epochs"],
        "NUM_MINIBATCHES": values["n_minibatches"],
        "ACTIVATION": values["activation"],
        "LR": values["learning_rate"],
        "ANNEAL_LR": values["anneal"] > 0,
        "MAX_GRAD_NORM": values["max_grad_norm"],
        "GAMMA": values["gamma"],
        "GAE_LAMBDA": values["gae_lambda"],
        "CLIP_EPS": values["value_clip"],
        "VF_COEF": values["value_coef"],
        "ENT_COEF": values["entropy_coef"],
    }


def rejax_config(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values`, a `recipe`, as arguments of rejax's `PPO.create`.

    rejax trains in whole evaluation periods, so the period is chosen to end exactly at the budget.
    """
    per_update = values["n_envs"] * values["n_steps"]
    n_updates = values["total_steps"] // per_update
    evaluations = max(k for k in range(1, 11) if n_updates % k == 0)
    return {
        "env": values["environment"],
        "total_timesteps": n_updates * per_update,
        "eval_freq": n_updates // evaluations * per_update,
        "num_envs": values["n_envs"],
        "num_steps": values["n_steps"],
        "num_epochs": values["n_epochs"],
        "num_minibatches": values["n_minibatches"],
        "agent_kwargs": {
            "hidden_layer_sizes": tuple(values["hidden"]),
            "activation": values["activation"],
        },
        "normalize_observations": values["normalize_observation"],
        "normalize_rewards": values["normalize_reward"],
        "learning_rate": values["learning_rate"],
        "gamma": values["gamma"],
        "gae_lambda": values["gae_lambda"],
        "clip_eps": values["value_clip"],
        "vf_coef": values["value_coef"],
        "ent_coef": values["entropy_coef"],
    }
