"""Started by test_rejax.py in a process of its own: trains rejax's PPO with exported files.

    python -I rejax_host.py PROBE FOUND_FILE STEPS [PPO_FILE]

Our packages cannot be imported here. Prints one line of JSON.
"""

import copy
import importlib.util
import json
import pickle
import sys
from types import SimpleNamespace


def load(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def largest_difference(a, b):
    import jax
    import jax.numpy as jnp

    return max(
        float(jnp.abs(x - y).max()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def same_update(file):
    """How far apart one update of the exported PPO and of rejax's own end, and how far they go."""
    import gymnax
    import jax
    import rejax
    from rejax.algos.ppo import AdvantageMinibatch

    env, env_params = gymnax.make("CartPole-v1")
    settings = {
        "env": file.FiveValueStep(env), "env_params": env_params, "num_envs": 4, "num_steps": 32,
        "num_minibatches": 2, "num_epochs": 2, "ent_coef": 0.01, "learning_rate": 1e-3,
    }  # fmt: skip
    own, ours = rejax.PPO.create(**settings), file.DiscoveredPPO.create(**settings)
    ts = own.init_state(jax.random.PRNGKey(0))
    ts, trajectories = jax.jit(own.collect_trajectories)(ts)
    keys = jax.random.split(jax.random.PRNGKey(1), 3)
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), trajectories)
    flat = flat.replace(log_prob=flat.log_prob + 0.3 * jax.random.normal(keys[0], flat.log_prob.shape))
    batch = AdvantageMinibatch(flat, *(3.0 * jax.random.normal(key, flat.value.shape) for key in keys[1:]))
    a, b = jax.jit(own.update)(ts, batch), jax.jit(ours.update)(ts, batch)
    return {
        # With the optimizer's moments: Adam's first step alone would hide a wrong scale.
        "actor": largest_difference(a.actor_ts, b.actor_ts),
        "critic": largest_difference(a.critic_ts, b.critic_ts),
        "moved": largest_difference(ts.actor_ts.params, b.actor_ts.params),
    }


def train(file, steps):
    """A short training from the id of an environment, as a user would start it."""
    import jax

    algorithm = file.DiscoveredPPO.create(
        env="CartPole-v1", num_envs=16, num_steps=64, num_minibatches=4, num_epochs=4, learning_rate=1e-3,
        total_timesteps=steps, eval_freq=steps, ent_coef=0.0, skip_initial_evaluation=True,
    )  # fmt: skip
    ts, (length, returns) = jax.jit(algorithm.train)(jax.random.PRNGKey(0))
    state = jax.tree.map(lambda x: x[0], ts.env_state)
    wrapped = file.FiveValueStep(algorithm.env.env)
    copies = [copy.copy(wrapped), copy.deepcopy(wrapped), pickle.loads(pickle.dumps(wrapped))]
    return {
        "global_step": int(ts.global_step),
        "returns": [float(row.mean()) for row in returns],
        "length": [float(row.mean()) for row in length],
        "finite": all(bool(jax.numpy.isfinite(x).all()) for x in jax.tree.leaves(ts.actor_ts.params)),
        "copies": [type(env.env).__name__ for env in copies],
        "step_values": len(algorithm.env.step(jax.random.PRNGKey(0), state, 0, algorithm.env_params)),
    }


def fractions(file):
    """n / N at the first, second and last update of a training, and beyond its end."""
    import jax.numpy as jnp

    algorithm = file.DiscoveredPPO.create(
        env="CartPole-v1", num_envs=4, num_steps=8, num_minibatches=1, total_timesteps=320, eval_freq=64
    )
    states = [SimpleNamespace(global_step=jnp.int32(updates * 32)) for updates in (1, 2, 10, 11)]
    return [float(algorithm.training_fraction(state)) for state in states]


def main(probe, found, steps, ppo=None):
    sys.meta_path.insert(0, load(probe, "probe").Blocker())
    found = load(found, "exported_found")
    result = {"train": train(found, int(steps)), "fractions": fractions(found)}
    if ppo is not None:  # in this process too, because one of its own would import everything again
        result["same"] = same_update(load(ppo, "exported_ppo"))
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
