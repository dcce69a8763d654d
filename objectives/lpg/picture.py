"""The picture of learned targets: their values on a delayed chain, next to A2C's advantages."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from objectives.base import Algorithm, MetaParams, Progress, Trajectory
from objectives.family import Found, NothingToDraw, Picture, differ
from objectives.lpg.algorithm import episode
from objectives.lpg.learned_targets import LpgTargets
from objectives.parts import LOSS_DEFAULTS, gae

FRACTIONS = (0.0, 0.5, 1.0)
"""Points n/N of a training at which temporally-aware targets are drawn."""

LENGTH = 16
"""T: steps of the chain."""

ROUNDS = 200
"""How often a bootstrap vector is set to its target."""

BRANCHES = {"good first action": (0, "o"), "bad first action": (1, "s")}
"""The two kinds of episodes, with their color numbers and markers."""

KNOWLEDGE = ("--", "-")
"""Lines before and after the bootstrap vector, or the value, has been learned."""


class Recommended(NamedTuple):
    """pi_hat by point of the training, knowledge and branch; A2C's advantages by knowledge and branch."""

    pi_hat: Float[np.ndarray, "F 2 2 T"]
    advantage: Float[np.ndarray, "2 2 T"]


def lpg_picture(found: Found, plots: Any) -> Figure:
    """Learned targets on a delayed chain, next to A2C's advantages.

    Only the first of T actions matters, and its reward comes at the end. So there are two kinds of episodes.
    For both, pi_hat is drawn for a policy that gives every action probability 1/2. Dashed: all bootstrap
    vectors are uniform, about as in a new agent. Solid: each was set `ROUNDS` times to its target y_hat, and
    in the first state to the vector with the least KL to both branches' targets, as if the agent had learned
    it. Next to it are generalized advantages: dashed with value 0 everywhere, solid with the policy's true
    values. Temporally-aware targets are drawn at the points `FRACTIONS` of a training of N =
    `found.n_updates` rollouts.

    Raises:
        NothingToDraw: the algorithm's targets are not of this family.
    """
    drawn = recommendations(found)
    figure = plots.Picture(figsize=(1.4 + 3.1 * (1 + len(drawn.pi_hat)), 4.4), layout="constrained")
    *panels, beside = figure.subplots(1, len(drawn.pi_hat) + 1)
    for panel in panels[1:]:
        panel.sharey(panels[0])
        panel.tick_params(labelleft=False)
    for panel, fraction, lines in zip(panels, FRACTIONS, drawn.pi_hat, strict=False):
        at = f", n/N = {fraction:g}" if len(panels) > 1 else ""
        _draw(panel, lines, found.label + at, plots)
    panels[0].set_ylabel("policy target π̂")
    _draw(beside, drawn.advantage, "A2C", plots)
    beside.set_ylabel("advantage")
    key = [
        Line2D([], [], color=plots.COLORS[color], marker=mark, markersize=4)
        for color, mark in BRANCHES.values()
    ]
    key += [Line2D([], [], color="0.3", linestyle=line) for line in KNOWLEDGE]
    names = [
        *BRANCHES,
        "bootstrap vectors uniform (A2C: value 0)",
        "bootstrap vectors settled (A2C: true value)",
    ]
    figure.legend(key, names, loc="outside upper center", ncols=2, frameon=False)
    gamma, decay = discounts(found.meta_params)
    life = f" The life has N = {found.n_updates} rollouts." if len(panels) > 1 else ""
    plots.small_print(
        figure,
        f"The two kinds of episodes on a delayed chain of {LENGTH} steps: the first action decides whether "
        "the only reward, at the end, is 1 or −1. The policy is uniform over two actions. Settled: each "
        f"bootstrap vector was set {ROUNDS} times to its own target. A2C: γ={gamma:g}, λ={decay:g}.{life}",
    )
    return figure


def recommendations(found: Found) -> Recommended:
    """The numbers of the picture; at only one point of the training if its targets do not change over it.

    Raises:
        NothingToDraw: the algorithm's targets are not of this family.
    """
    if "bootstrap" not in found.algorithm.policy.heads(2, False):
        raise NothingToDraw(f"the targets of {found.label} are not those of lpg: it has no bootstrap vector")
    rewards = jnp.asarray(np.stack([chain_rewards(good) for good in (True, False)]))
    points = [Progress(fraction * found.n_updates, found.n_updates) for fraction in FRACTIONS]  # type: ignore[arg-type]
    pi_hat = [
        np.stack(_knowing_more(found.algorithm, ROUNDS, found.meta_params, rewards, progress))
        for progress in points
    ]
    if not differ(pi_hat[0], pi_hat[-1]):
        pi_hat = pi_hat[:1]
    gamma, decay = discounts(found.meta_params)
    value = gamma ** jnp.arange(LENGTH - 2, -1, -1) * rewards[:, -1:]  # of the states after the first action
    true = jnp.pad(value, ((0, 0), (1, 1)))  # the first state's is 0, since both branches are equally likely
    advantage = [
        _advantage(rewards, each, {"gamma": gamma, "gae_lambda": decay})
        for each in (jnp.zeros_like(true), true)
    ]
    return Recommended(np.stack(pi_hat), np.stack(advantage))


def chain_rewards(good: bool) -> Float[np.ndarray, " T"]:
    """Rewards of the delayed chain (`environments.chain`) after a good first action, or a bad one."""
    rewards = np.zeros(LENGTH, np.float32)
    rewards[-1] = 1.0 if good else -1.0
    return rewards


@functools.partial(jax.jit, static_argnums=0)
def _knowing_more(
    algorithm: Algorithm,
    rounds: Int[Array, ""] | int,
    meta_params: MetaParams,
    rewards: Float[Array, "2 T"],
    progress: Progress,
) -> tuple[Float[Array, "2 T"], Float[Array, "2 T"]]:
    """pi_hat with uniform bootstrap vectors, and with settled ones."""
    size = algorithm.policy.heads(2, False)["bootstrap"].size
    uniform = jnp.full((2, LENGTH + 1, size), -jnp.log(size))

    def targets(log_y: Float[Array, "2 states m"]) -> LpgTargets:
        return algorithm.targets(meta_params, (), _episodes(rewards, jnp.exp(log_y)), progress)

    def settle(_: Array, log_y: Array) -> Array:
        following = targets(log_y).log_y_hat.swapaxes(0, 1)
        both = jax.nn.log_softmax(following[:, 0].mean(0))
        return log_y.at[:, 1:-1].set(following[:, 1:]).at[:, 0].set(both)

    settled = jax.lax.fori_loop(0, rounds, settle, uniform)
    return targets(uniform).pi_hat.T, targets(settled).pi_hat.T


def _episodes(rewards: Float[Array, "2 T"], bootstrap: Float[Array, "2 states m"]) -> Trajectory:
    """Both branches side by side, each action of probability 1/2."""
    both = [episode(*each) for each in zip(rewards, jnp.full_like(rewards, 0.5), bootstrap, strict=True)]
    return jax.tree.map(lambda *branches: jnp.concatenate(branches, axis=1), *both)


def discounts(meta_params: MetaParams) -> tuple[float, float]:
    """A2C's gamma and lambda: the recipe's if it has them, else the usual ones."""
    gamma, decay = ({**LOSS_DEFAULTS, **meta_params}[name] for name in ("gamma", "gae_lambda"))
    return float(gamma), float(decay)


def _advantage(
    rewards: Float[Array, "2 T"], value: Float[Array, "2 states"], numbers: MetaParams
) -> Float[np.ndarray, "2 T"]:
    trajectory = _episodes(rewards, jnp.ones((2, LENGTH + 1, 1)))._replace(
        outputs={"value": value[:, :-1].T}, outputs_next={"value": value[:, 1:].T}
    )
    return np.asarray(gae(numbers, (), trajectory, Progress(0, 1)).advantage.T)


def _draw(axes: Axes, lines: Float[np.ndarray, "2 2 T"], title: str, plots: Any) -> None:
    """One panel; solid lines first, so that dashed ones show where both coincide."""
    for (color, mark), known, new in zip(BRANCHES.values(), lines[1], lines[0], strict=True):
        for values, line in ((known, KNOWLEDGE[1]), (new, KNOWLEDGE[0])):
            look: dict[str, Any] = {"color": plots.COLORS[color], "linestyle": line, "marker": mark}
            axes.plot(np.arange(LENGTH), values, markersize=3, **look)
    axes.axhline(0.0, color="0.3", linewidth=0.6)
    plots.tidy(axes, title=title)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("step of the chain")


PICTURE = Picture(
    "targets",
    lpg_picture,
    "Curves of the recommended policy target at each step of a delayed chain, after a good and a bad "
    "first action; next to them, the advantages of A2C.",
    "What is recommended at each step of a chain on which the first action alone matters, and is "
    "rewarded at the end. A2C with true values says so: only the first action counts.",
)
