"""Started by its path, in a process of its own: what an exported file computes at fixed points, as JSON.

    python -I values.py FILE

Host code is tried as a host would: the loss of PureJaxRL on made-up transitions, one update of rejax's PPO,
eight steps of an optimizer that is told nothing. Floats are written as hexadecimal.
"""

import hashlib
import importlib.util
import inspect
import json
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

N, ACTIONS = 24, 4
FRACTIONS = (0.0, 0.3, 0.9)


def wave(n, period, size=1.0):
    """[n] numbers between -size and size, no two alike."""
    return jnp.asarray(size * np.sin(np.arange(1, n + 1) * period), jnp.float32)


def facts(*arrays):
    """A hash of all bytes, and the first values of each array."""
    arrays = [np.asarray(array, np.float32) for array in arrays]
    return {
        "sha256": hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:16],
        "first": [float(value).hex() for array in arrays for value in array.ravel()[:3]],
    }


def at_fractions(file, compute):
    """`compute(**keywords)` at several times of a training, where the file asks for the time."""
    if not file.NEEDS_PROGRESS:
        return {"always": facts(*jax.jit(compute)())}
    one = jax.jit(lambda fraction: compute(fraction=fraction))
    return {str(fraction): facts(*one(jnp.float32(fraction))) for fraction in FRACTIONS}


def policy_loss(file):
    """The loss and its derivative by the log-probability."""
    new, old, advantage = wave(N, 0.7) - 1.5, wave(N, 0.9) - 1.5, wave(N, 1.3, 2.0)

    def both(**keywords):
        value, pull = jax.vjp(lambda x: file.policy_loss(x, old, advantage, **keywords), new)
        return value, *pull(jnp.ones(N))

    return at_fractions(file, both)


def score_loss(file):
    """The policy, the loss of the scores, and the derivatives of both."""
    scores = wave(N * ACTIONS, 0.7, 2.0).reshape(N, ACTIONS)
    action, old, advantage = jnp.arange(N) % ACTIONS, wave(N, 0.9) - 1.5, wave(N, 1.3)

    def both(**keywords):
        def outputs(x):
            return file.policy(x, **keywords), file.score_loss(x, action, old, advantage, **keywords)

        (policy, loss), pull = jax.vjp(outputs, scores)
        return policy, loss, *pull((wave(N * ACTIONS, 1.1).reshape(N, ACTIONS), jnp.ones(N)))

    return at_fractions(file, both)


def purejaxrl(file):
    """The host's loss and its derivative by the network's parameters."""

    def apply(params, observation):
        logits = jax.nn.log_softmax(observation @ params["actor"])
        policy = SimpleNamespace(
            log_prob=lambda action: jnp.take_along_axis(logits, action[:, None], -1)[:, 0],
            entropy=lambda: -(jnp.exp(logits) * logits).sum(-1),
        )
        return policy, observation @ params["critic"]

    seen = wave(N * 3, 0.7).reshape(N, 3)
    params = {"actor": wave(3 * ACTIONS, 0.5).reshape(3, ACTIONS), "critic": wave(3, 0.4)}
    batch = SimpleNamespace(
        obs=seen, action=jnp.arange(N) % ACTIONS, log_prob=wave(N, 0.9) - 1.5, value=wave(N, 0.6)
    )
    config = {"CLIP_EPS": 0.2, "VF_COEF": 0.5, "ENT_COEF": 0.01}
    network = SimpleNamespace(apply=apply)

    def both(**keywords):
        def loss(params):
            advantage, target = wave(N, 1.3, 2.0), wave(N, 0.8)
            return file.ppo_loss(
                params, batch, advantage, target, network=network, config=config, **keywords
            )[0]

        value, gradient = jax.value_and_grad(loss)(params)
        return value, *jax.tree.leaves(gradient)

    return at_fractions(file, both)


def rejax_update(file):
    """The actor and the critic after one update of rejax's PPO with the file's loss."""
    import gymnax
    from rejax.algos.ppo import AdvantageMinibatch

    env, env_params = gymnax.make("CartPole-v1")
    algorithm = file.DiscoveredPPO.create(
        env=file.FiveValueStep(env), env_params=env_params, num_envs=4, num_steps=16, num_minibatches=2,
        num_epochs=2, ent_coef=0.01, learning_rate=1e-3, total_timesteps=640, eval_freq=64,
    )  # fmt: skip
    state = jax.jit(algorithm.init_state)(jax.random.PRNGKey(0))
    state, trajectories = jax.jit(algorithm.collect_trajectories)(state)
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), trajectories)
    batch = AdvantageMinibatch(flat, wave(64, 1.3, 2.0), wave(64, 0.8))
    state = jax.jit(algorithm.update)(state, batch)
    return facts(*jax.tree.leaves((state.actor_ts.params, state.critic_ts.params)))


def optimizer(file):
    """Eight steps on a small network, of an optimizer that is told the number of steps alone."""
    told = {"total_steps": 8, "n_epochs": 2, "n_minibatches": 2}
    takes = inspect.signature(file.optimizer).parameters
    transformation = file.optimizer(**{name: value for name, value in told.items() if name in takes})
    shapes = {"0": (3, 5), "1": (5, 2)}
    params = {
        role: {
            layer: {"kernel": wave(a * b, 0.3 + i).reshape(a, b), "bias": wave(b, 0.8 + i, 0.1)}
            for layer, (a, b) in shapes.items()
        }
        for i, role in enumerate(("actor", "critic"))
    }
    state = jax.jit(transformation.init)(params)
    update, found = jax.jit(transformation.update), []
    for step in range(8):
        gradients = jax.tree.map(lambda x, t=step: jnp.cos(3.0 * x + t), params)
        updates, state = update(gradients, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        found.append(facts(*jax.tree.leaves(updates)))
    return found


def main(path):
    """Print everything that the file at `path` offers."""
    spec = importlib.util.spec_from_file_location("exported", path)
    assert spec is not None and spec.loader is not None
    file = importlib.util.module_from_spec(spec)
    sys.modules["exported"] = file
    spec.loader.exec_module(file)
    offers = {
        "policy_loss": policy_loss, "score_loss": score_loss, "optimizer": optimizer,
        "ppo_loss": purejaxrl, "DiscoveredPPO": rejax_update,
    }  # fmt: skip
    found = {name: values(file) for name, values in offers.items() if hasattr(file, name)}
    config = {"CONFIG": json.loads(json.dumps(file.CONFIG, default=str))} if hasattr(file, "CONFIG") else {}
    print(json.dumps(found | config))


if __name__ == "__main__":
    main(sys.argv[1])
