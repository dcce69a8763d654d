"""Hosts: the code after the kernel that adapts it to a particular code base.

Every format has the same kernel text; an `Adapter` adds imports, code and texts for the header.
"""

from collections.abc import Callable, Mapping
from string import Template
from typing import Any, NamedTuple

from discovery.export.literals import dictionary
from discovery.export.recipe import purejaxrl_config, rejax_config


class Adapter(NamedTuple):
    """What a host needs besides the kernel.

    Attributes:
        host: for the title.
        usage: how to use the file there, as code.
        differences: what that host does differently from the inner loop.
        code: source after the policy loss; may be empty.
    """

    host: str
    usage: str
    differences: tuple[str, ...] = ()
    code: str = ""


class Needs(NamedTuple):
    """What adapters must know about a kernel: whether it expects normalized advantages, and `fraction`."""

    normalize_advantage: bool
    temporal: bool


STANDARDIZED = "(A - A.mean()) / (A.std() + 1e-8)"
"""What a minibatch's advantages are where losses expect standardized ones."""


def jax_adapter(needs: Needs, recipe: Mapping[str, Any]) -> Adapter:
    """The kernel alone: numpy and jax only."""
    fraction = ", fraction=n / N" if needs.temporal else ""
    advantage = STANDARDIZED if needs.normalize_advantage else "A, as it is"
    usage = f"""
        from THIS_FILE import policy_loss

        advantage = ...  # {advantage}, over the minibatch
        loss = policy_loss(log_prob, old_log_prob, advantage{fraction}).mean()  # minimize
    """
    return Adapter("jax and numpy", usage)


def torch_adapter(needs: Needs, recipe: Mapping[str, Any]) -> Adapter:
    """The kernel alone, for PyTorch."""
    jax = jax_adapter(needs, recipe)
    usage = jax.usage.replace("A.std()", "A.std(correction=0)").replace("# minimize", "# then .backward()")
    return Adapter("PyTorch", usage)


_PUREJAXRL = Template('''\
def loss_actor(log_prob, traj_log_prob, gae$parameter):
    """PureJaxRL's `loss_actor`, a scalar: the mean of `policy_loss`$over."""
$normalize    return policy_loss(log_prob, traj_log_prob, gae$argument).mean()


def ppo_loss(params, traj_batch, gae, targets, *, network, config$fraction):
    """PureJaxRL's `_loss_fn` with this file's `loss_actor`; the value loss stays PPO's.

    Args:
        params: of the network.
        traj_batch: transitions, [minibatch].
        gae: advantages, not normalized, [minibatch].
        targets: of the value, [minibatch].
        network: the script's `network`; `network.apply(params, obs)` returns (pi, value).
        config: the script's `config`; "CLIP_EPS" clips the value only.
$fraction_doc
    Returns:
        (total_loss, (value_loss, loss_actor, entropy)), scalars.
    """
    pi, value = network.apply(params, traj_batch.obs)
    log_prob = pi.log_prob(traj_batch.action)

    clip = config["CLIP_EPS"]
    value_clipped = traj_batch.value + (value - traj_batch.value).clip(-clip, clip)
    value_losses = jnp.maximum(jnp.square(value - targets), jnp.square(value_clipped - targets))
    value_loss = 0.5 * value_losses.mean()

    actor = loss_actor(log_prob, traj_batch.log_prob, gae$argument)
    entropy = pi.entropy().mean()
    total = actor + config["VF_COEF"] * value_loss - config["ENT_COEF"] * entropy
    return total, (value_loss, actor, entropy)
''')

_PUREJAXRL_FRACTION = '''

def training_fraction(step, config):
    """n / N from `train_state.step`, which counts minibatches, as the script's `linear_schedule` does."""
    return step // (config["NUM_MINIBATCHES"] * config["UPDATE_EPOCHS"]) / config["NUM_UPDATES"]
'''


def purejaxrl_adapter(needs: Needs, recipe: Mapping[str, Any]) -> Adapter:
    """For PureJaxRL and the many scripts made from it."""
    names = "ppo_loss, training_fraction" if needs.temporal else "ppo_loss"
    fraction = "fraction=training_fraction(train_state.step, config)," if needs.temporal else ""
    usage = f"""
        from THIS_FILE import {names}

        # in _update_minbatch, in place of `def _loss_fn(params, traj_batch, gae, targets): ...`
        _loss_fn = functools.partial(
            ppo_loss, network=network, config=config, {fraction}
        )
    """.replace(", \n", "\n")
    code = _PUREJAXRL.substitute(
        parameter=", *, fraction" if needs.temporal else "",
        argument=", fraction=fraction" if needs.temporal else "",
        fraction=", fraction" if needs.temporal else "",
        fraction_doc="        fraction: see `training_fraction`.\n" if needs.temporal else "",
        over=" over standardized advantages" if needs.normalize_advantage else "",
        normalize="    gae = (gae - gae.mean()) / (gae.std() + 1e-8)\n" if needs.normalize_advantage else "",
    )
    config = dictionary("CONFIG", purejaxrl_config(recipe)) + "\n\n" if recipe else ""
    differences = (
        "PureJaxRL treats a time limit as the end of the task; the recipe bootstraps from the final "
        "observation unless it says legacy_truncation.",
        "PureJaxRL clips continuous actions; a recipe whose actions are squash maps them by tanh.",
        "PureJaxRL trains by Adam; a recipe without adam_b1 is for stochastic gradient descent, and its "
        "learning rate for that alone.",
        "PureJaxRL's networks know ACTIVATION tanh and relu only, with 64 x 64 hidden units.",
        "PureJaxRL needs gymnax's old five-value step: pin gymnax < 1, or wrap the environment.",
    )
    code = config + code + (_PUREJAXRL_FRACTION if needs.temporal else "")
    return Adapter("PureJaxRL", usage, differences, code)


_REJAX = Template('''\
class FiveValueStep:
    """An environment of gymnax 1.0, whose step returns six values, with the five that rejax 0.1.3 expects.

    It can be copied, deep-copied and pickled, which rejax needs: names with a leading underscore are
    never looked up in the environment. (gymnax's LegacyStepAPIWrapper would look them up endlessly.)
    An environment with the old step passes through unchanged.
    """

    def __init__(self, env):
        self.env = env

    def __getattr__(self, name):
        if name.startswith("_") or name == "env":
            raise AttributeError(name)
        return getattr(self.env, name)

    def step(self, key, state, action, params=None):
        """(observation, state, reward, done, info), done = terminated or truncated."""
        observation, state, reward, *ends, info = self.env.step(key, state, action, params)
        return observation, state, reward, functools.reduce(jnp.logical_or, ends), info


class DiscoveredPPO(rejax.PPO):
    """rejax's PPO with this file's policy loss.

    Its `clip_eps` clips the value only; what the policy loss reads are constants of this file.
    """

    @classmethod
    def create_env(cls, config):
        """(env, env_params) as rejax makes them, with a five-value step."""
        env, env_params = super().create_env(config)
        return FiveValueStep(env), env_params
$fraction
    def update_actor(self, ts, batch):
        """One step of gradient descent on the mean of `policy_loss`, minus the entropy bonus."""
        advantage = batch.advantages
$normalize
        def actor_loss(params):
            log_prob, entropy = self.actor.apply(
                params, batch.trajectories.obs, batch.trajectories.action, method="log_prob_entropy"
            )
$loss            return loss.mean() - self.ent_coef * entropy.mean()

        grads = jax.grad(actor_loss)(ts.actor_ts.params)
        return ts.replace(actor_ts=ts.actor_ts.apply_gradients(grads=grads))
''')

_REJAX_LOSS = {
    False: """\
            loss = policy_loss(log_prob, batch.trajectories.log_prob, advantage)
""",
    True: """\
            fraction = self.training_fraction(ts)
            loss = policy_loss(log_prob, batch.trajectories.log_prob, advantage, fraction=fraction)
""",
}

_REJAX_FRACTION = '''
    def training_fraction(self, ts):
        """n / N for the rollout that is being learned from, which `global_step` already counts.

        N is what `train` really does: whole evaluation periods of whole rollouts, which can exceed
        `total_timesteps`. A training that is continued beyond stays at the last value.
        """
        period = math.ceil(self.eval_freq / self.iteration_size)
        n_updates = period * math.ceil(self.total_timesteps / self.eval_freq)
        n = jnp.asarray(ts.global_step, jnp.float32) / self.iteration_size - 1.0
        return jnp.clip(n, 0.0, n_updates - 1.0) / n_updates
'''


def rejax_adapter(needs: Needs, recipe: Mapping[str, Any]) -> Adapter:
    """For rejax 0.1.3: a PPO of which only the actor's loss differs."""
    arguments = "**CONFIG" if recipe else 'env="CartPole-v1"'
    usage = f"""
        from THIS_FILE import DiscoveredPPO{", CONFIG" if recipe else ""}

        algorithm = DiscoveredPPO.create({arguments})
        train_state, evaluation = jax.jit(algorithm.train)(jax.random.PRNGKey(0))
    """
    normalize = "advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)"
    code = _REJAX.substitute(
        loss=_REJAX_LOSS[needs.temporal],
        fraction=_REJAX_FRACTION if needs.temporal else "",
        normalize=f"        {normalize}\n" if needs.normalize_advantage else "",
    )
    config = dictionary("CONFIG", rejax_config(recipe)) + "\n\n" if recipe else ""
    differences = (
        "rejax treats a time limit as the end of the task; the recipe bootstraps from the final "
        "observation unless it says legacy_truncation.",
        "rejax clips continuous actions; a recipe whose actions are squash maps them by tanh.",
        "rejax trains by Adam; a recipe without adam_b1 is for stochastic gradient descent, and its "
        "learning rate for that alone.",
        "rejax keeps the learning rate constant, uses Adam with eps 1e-8, and clips gradients element "
        "by element (max_grad_norm, off by default), not by their global norm.",
        "rejax gives actor and critic a network each, with flax's default initialization.",
    )
    return Adapter("rejax 0.1.3", usage, differences, config + code)


ADAPTERS: dict[str, Callable[[Needs, Mapping[str, Any]], Adapter]] = {
    "jax": jax_adapter,
    "purejaxrl": purejaxrl_adapter,
    "rejax": rejax_adapter,
    "torch": torch_adapter,
}
"""Format names to ``(needs, recipe or {}) -> Adapter``."""
