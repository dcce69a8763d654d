"""Started by test_rejax.py in a process of its own: rejax's PPO trains with exported optimizers, unchanged.

    python -I rejax_optimizer_host.py PROBE OPEN_FILE ROLLOUTS

Our packages cannot be imported here. Prints one line of JSON. rejax_host.py calls `train`.
"""

import importlib.util
import json
import sys


def load(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class FiveValues:
    """CartPole of gymnax 1.0 with the step of old."""

    def __init__(self, env):
        self.env = env

    def __getattr__(self, name):
        if name.startswith("_") or name == "env":
            raise AttributeError(name)
        return getattr(self.env, name)

    def step(self, key, state, action, params=None):
        observation, state, reward, terminated, truncated, info = self.env.step(key, state, action, params)
        return observation, state, reward, terminated | truncated, info


def train(file, rollouts):
    """How far a training goes, and how long its episodes are at first and at last."""
    import gymnax
    import jax
    import numpy as np
    import rejax
    from flax.training.train_state import TrainState
    from rejax.algos.algorithm import register_init

    env, env_params = gymnax.make("CartPole-v1")
    settings = {"num_envs": 16, "num_steps": 64, "num_minibatches": 4, "num_epochs": 4}

    class PPO(rejax.PPO):
        """rejax's, with optimizers of the file: noise for the actor's own tree."""

        @register_init
        def initialize_network_params(self, rng):
            states = super().initialize_network_params(rng)
            made = {"total_steps": rollouts * 16, "n_epochs": 4, "n_minibatches": 4}
            tx = {
                "actor_ts": file.optimizer(**made, actor=lambda path: True),
                "critic_ts": file.optimizer(**made),
            }
            return {
                name: TrainState.create(apply_fn=(), params=states[name].params, tx=tx[name]) for name in tx
            }

    ppo = PPO.create(
        env=FiveValues(env),
        env_params=env_params,
        ent_coef=0.0,
        agent_kwargs={"activation": "tanh"},
        **settings,
    )

    @jax.jit
    def life(key):
        def rollout(state, _):
            state = ppo.train_iteration(state)
            _, seen = ppo.collect_trajectories(state)
            return state, 1.0 / seen.done.mean()

        first = ppo.init_state(key)
        return first, *jax.lax.scan(rollout, first, None, rollouts)

    first, last, lengths = jax.device_get(life(jax.random.PRNGKey(0)))

    def distance(name):
        before, after = (jax.tree.leaves(getattr(state, name).params) for state in (first, last))
        return max(float(np.abs(a - b).max()) for a, b in zip(before, after, strict=True))

    return {
        "counts": [int(last.actor_ts.opt_state.count), int(last.critic_ts.opt_state.count)],
        "moved": [distance("actor_ts"), distance("critic_ts")],
        "finite": all(bool(np.isfinite(x).all()) for x in jax.tree.leaves(last.actor_ts.params)),
        "lengths": [float(lengths[:3].mean()), float(lengths[-5:].mean())],
    }


def main(probe, path, rollouts):
    sys.meta_path.insert(0, load(probe, "probe").Blocker())
    print(json.dumps(train(load(path, "exported"), int(rollouts))))


if __name__ == "__main__":
    main(*sys.argv[1:])
